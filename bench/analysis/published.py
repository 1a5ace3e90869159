"""The printed tables of the papers, as data. `suites/published/README.md` explains the files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from bench.analysis.results import same
from bench.contracts import Scalar
from bench.errors import UnknownName, UserError, did_you_mean
from bench.suite.schema import Frozen, Relative

UNITS: Mapping[str, float] = {"": 1.0, "%": 0.01, "s": 1.0, "GMAC": 1e9, "MB": 1e6, "MiB": 2.0**20}
"""Printed units and what one of them is in the unit we store."""
STORED: Mapping[str, str] = {"": "1", "%": "1", "s": "s", "GMAC": "MAC", "MB": "bytes", "MiB": "bytes"}
"""The unit we store for each printed one."""


Factors = Mapping[str, Scalar | tuple[Scalar, ...]]
"""Factors of our cells that a printed row or column stands for; a list where it stands for any of several values."""


class Column(Frozen):
    """One printed column."""

    label: str
    factors: Factors
    also: tuple[Factors, ...] = ()
    """Further cells that the column stands for, each as `factors`."""
    metric: str | None = None
    """Overrides the table's; likewise the two below."""
    relative: Relative | None = None
    unit: str | None = None


class Row(Frozen):
    """One printed row."""

    label: str
    factors: Factors
    also: tuple[Factors, ...] = ()
    """Further cells that the row stands for, each as `factors`."""
    printed: str
    """The numbers of the row, separated by spaces, digit for digit; `-` where nothing is printed."""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self.printed.split())


class Caveat(Frozen):
    """What a reader of a number must know. About the whole table when neither row nor column is named."""

    text: str
    row: str | None = None
    column: str | None = None


class Statement(Frozen):
    """A sentence of the paper that speaks of numbers."""

    id: str
    where: str
    text: str
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Printed:
    """One printed number."""

    row: str
    column: str
    factors: tuple[Factors, ...]
    """Of the cells it stands for: any of these."""
    metric: str
    relative: Relative | None
    text: str
    """As printed."""
    unit: str
    """As printed."""
    value: float
    """In the unit we store: 0.4752 for 47.52 %."""
    caveats: tuple[str, ...]
    """Of this number alone."""

    @property
    def stored_unit(self) -> str:
        """The unit of `value`."""
        return STORED[self.unit]

    @property
    def tolerance(self) -> float:
        """Half a unit of the last printed digit."""
        digits = len(self.text.partition(".")[2])
        return 0.5 * 10.0**-digits * UNITS[self.unit]


class PublishedTable(Frozen):
    """A printed table or figure."""

    id: str
    caption: str
    kind: Literal["table", "figure"] = "table"
    page: int | None = None
    metric: str | None = None
    relative: Relative | None = None
    unit: str
    stated: tuple[str, ...]
    """Conditions that the paper gives."""
    not_stated: tuple[str, ...]
    """Conditions that would be needed to repeat the measurement and are not given."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caveats: tuple[Caveat, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = [
            f"row {row.label!r} has {len(row.texts)} numbers for {len(self.columns)} columns"
            for row in self.rows
            if len(row.texts) != len(self.columns)
        ]
        problems += [
            f"row {row.label!r}: {text!r} is not a number"
            for row in self.rows
            for text in row.texts
            if not _number(text)
        ]
        problems += [
            f"column {each.label!r} has no metric" for each in self.columns if not (each.metric or self.metric)
        ]
        units = {self.unit, *(each.unit for each in self.columns if each.unit is not None)}
        problems += [
            f"unit {unit!r} is not one of {', '.join(map(repr, UNITS))}" for unit in sorted(units - set(UNITS))
        ]
        for kind, known in (("row", self._labels(self.rows)), ("column", self._labels(self.columns))):
            if len(set(known)) != len(known):
                problems.append(f"two {kind}s have the same label")
            for caveat in self.caveats:
                name = caveat.row if kind == "row" else caveat.column
                if name is not None and name not in known:
                    problems.append(
                        f"a caveat is about {kind} {name!r}{did_you_mean(name, known) or ', which is not there'}"
                    )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @staticmethod
    def _labels(items: tuple[Row, ...] | tuple[Column, ...]) -> list[str]:
        return [item.label for item in items]

    @property
    def name(self) -> str:
        """`Table 2` or `Figure 6`."""
        number = self.id.removeprefix("figure-").removeprefix("table-")
        return f"{self.kind.capitalize()} {number}"

    @property
    def general_caveats(self) -> tuple[str, ...]:
        """What is about the whole table."""
        return tuple(caveat.text for caveat in self.caveats if caveat.row is None and caveat.column is None)

    def entries(self) -> tuple[Printed, ...]:
        """Every printed number, row by row."""
        return tuple(
            Printed(
                row.label,
                column.label,
                tuple({**a, **b} for a in (row.factors, *row.also) for b in (column.factors, *column.also)),
                column.metric or self.metric or "",
                column.relative or self.relative,
                text,
                self.unit if column.unit is None else column.unit,
                float(text) * UNITS[self.unit if column.unit is None else column.unit],
                tuple(
                    caveat.text
                    for caveat in self.caveats
                    if (caveat.row or caveat.column)
                    and caveat.row in (None, row.label)
                    and caveat.column in (None, column.label)
                ),
            )
            for row in self.rows
            for column, text in zip(self.columns, row.texts, strict=True)
            if text != "-"
        )

    def entry(self, row: str, column: str) -> Printed:
        """The number printed there. Raises KeyError."""
        for entry in self.entries():
            if (entry.row, entry.column) == (row, column):
                return entry
        raise KeyError((row, column))

    @property
    def quantities(self) -> tuple[tuple[str, Relative | None], ...]:
        """The different quantities the table prints, as (metric, relative)."""
        return tuple(dict.fromkeys((entry.metric, entry.relative) for entry in self.entries()))

    def find(self, factors: Mapping[str, Scalar], metric: str, relative: Relative | None) -> Printed | None:
        """The number printed for a cell: all its factors must be those of the cell, and the most particular one wins.

        Returns None when nothing matches, or when two numbers match equally well.
        """
        fits = [
            (len(wanted), entry)
            for entry in self.entries()
            if (entry.metric, entry.relative) == (metric, relative)
            for wanted in entry.factors
            if all(name in factors and _among(factors[name], value) for name, value in wanted.items())
        ]
        most = max((size for size, _ in fits), default=0)
        best = [entry for size, entry in fits if size == most]
        return best[0] if len(best) == 1 else None


class Published(Frozen):
    """A paper: its tables, its sentences about numbers, and what is known to be wrong or missing."""

    schema_version: Literal[1] = Field(alias="schema")
    paper: str
    """Stem of the file."""
    title: str
    authors: str
    cite: str
    """Short form for captions."""
    address: str | None = None
    not_stated: tuple[str, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    statements: tuple[Statement, ...] = ()
    tables: tuple[PublishedTable, ...]

    def table(self, id: str) -> PublishedTable:
        """Raises UnknownName."""
        for table in self.tables:
            if table.id == id:
                return table
        known = [table.id for table in self.tables]
        raise UnknownName(f"{self.paper} has no table {id!r}{did_you_mean(id, known)} (known: {', '.join(known)})")


def _among(found: Scalar, wanted: Scalar | tuple[Scalar, ...]) -> bool:
    return any(same(found, value) for value in (wanted if isinstance(wanted, tuple) else (wanted,)))


def _number(text: str) -> bool:
    return text == "-" or re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) is not None


def published_papers() -> tuple[str, ...]:
    """Names of the papers whose tables ship with the project."""
    folder = files("bench.suites") / "published"
    return tuple(sorted(Path(each.name).stem for each in folder.iterdir() if each.name.endswith(".yaml")))


@lru_cache(maxsize=8)
def read_published(paper: str) -> Published:
    """The printed tables of a paper. Raises UnknownName, or UserError naming every mistake in the file."""
    known = published_papers()
    if paper not in known:
        raise UnknownName(
            f"no published tables called {paper!r}{did_you_mean(paper, known)} (known: {', '.join(known)})"
        )
    return parse_published((files("bench.suites") / "published" / f"{paper}.yaml").read_text("utf-8"), f"{paper}.yaml")


def parse_published(text: str, name: str) -> Published:
    """The same from a text; `name` stands in the messages."""
    try:
        data = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{name}:{line}: not YAML: {error.problem}") from error
    try:
        return Published.model_validate_json(_json(data))
    except ValidationError as error:
        lines = [
            f"{name}: {_place(each['loc'])}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors()
        ]
        raise UserError("\n".join(lines)) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: holds something that is not text, a number, a list or a mapping: {error}") from error


def _json(data: object) -> str:
    """Through JSON, because strict validation then takes lists for tuples."""
    return json.dumps(data, allow_nan=False)


def _place(path: tuple[int | str, ...]) -> str:
    """`tables[1].rows[0].printed`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".") or "the file"
