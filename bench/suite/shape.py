"""What the types cannot say of one block, table, figure or claim, and what needs no registry to see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.contracts import Value
from bench.suite.explain import explain
from bench.suite.grammar import kind
from bench.suite.schema import (
    Block,
    ClaimSpec,
    Conditions,
    Each,
    Effort,
    FigureSpec,
    PublishedRef,
    Quantity,
    Ref,
    Reproduces,
    Suite,
    TableSpec,
)
from bench.suite.source import KeyPath, Problem, Source

MAX_TIMED_CALLS = 1_000_000
"""Of one metric in one cell: (warmup + repeats) * rounds * processes."""

_LISTS: Mapping[str, type[BaseModel]] = {
    "grid": Block,
    "metrics": Ref,
    "tables": TableSpec,
    "figures": FigureSpec,
    "claims": ClaimSpec,
}
_SINGLES: Mapping[str, type[BaseModel]] = {"effort": Effort, "reproduces": Reproduces}
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FIGURE_NEEDS: Mapping[str, tuple[str, ...]] = {
    "bars": ("value", "x"),
    "lines": ("value", "x"),
    "pareto": ("value", "x_value"),
    "plane": ("value", "x_value"),
    "curves": ("value",),
    "images": ("value",),
    "strip": ("value",),
}
_PICTURES = ("images", "strip")
"""Figures that show files, so that numbers cannot be made of them."""

Piece = tuple[KeyPath, BaseModel]
"""A part of a suite that is valid by itself, and where it stands."""


def pieces(data: Any) -> Iterator[Piece]:
    """Every valid part of a suite's data, so that one bad table does not hide what is wrong in the others."""
    if not isinstance(data, Mapping):
        return
    for key, model in _SINGLES.items():
        if key in data:
            yield from _piece((key,), model, data[key])
    for key, model in _LISTS.items():
        items = data.get(key)
        for index, item in enumerate(items if isinstance(items, tuple) else ()):
            yield from _piece((key, index), model, item)


def pieces_of(suite: Suite) -> Iterator[Piece]:
    """The same of a suite that is valid as a whole."""
    for key in _SINGLES:
        if getattr(suite, key) is not None:
            yield (key,), getattr(suite, key)
    for key in _LISTS:
        for index, item in enumerate(getattr(suite, key)):
            yield (key, index), item


def shape_problems(parts: Iterable[Piece], source: Source) -> Iterator[Problem]:
    """What contradicts itself in the parts of a suite."""
    ids: dict[tuple[str | int, str], KeyPath] = {}
    for path, part in parts:
        yield from _part_problems(part, path, source)
        if isinstance(part, TableSpec | FigureSpec | ClaimSpec):
            here = (*path, "id")
            if not _IDENTIFIER.fullmatch(part.id):
                sentence = "expected 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
                yield source.problem(here, f"{sentence}, got {kind(part.id)}")
            elif (path[0], part.id) in ids:
                first = source.problem(ids[path[0], part.id], "").position.line
                yield source.problem(
                    here, f"the id {part.id!r} stands twice, first in line {first}; rename one of them"
                )
            else:
                ids[path[0], part.id] = here


def _piece(path: KeyPath, model: type[BaseModel], data: Any) -> Iterator[Piece]:
    try:
        yield path, model.model_validate(data)
    except ValidationError:
        return  # the whole suite's validation reports it


def _part_problems(part: BaseModel, path: KeyPath, source: Source) -> Iterator[Problem]:
    match part:
        case Block():
            yield from _block_problems(part, path, source)
        case Effort():
            calls = (part.warmup + part.repeats) * part.rounds * part.processes
            if calls > MAX_TIMED_CALLS:
                sentence = (
                    f"asks for {calls:,} calls of every metric in every cell; at most {MAX_TIMED_CALLS:,} are done"
                )
                yield source.problem(path, sentence)
        case TableSpec():
            yield from _table_problems(part, path, source)
        case FigureSpec():
            yield from _figure_problems(part, path, source)
        case ClaimSpec():
            if (part.than is None) == (part.than_where is None):
                yield source.problem(path, "a claim needs either 'than' (a number) or 'than_where' (other cells)")
            yield from _quantity_problems(part.value, (*path, "value"), source)
        case Reproduces():
            yield from _paper_problems(part.paper, (*path, "paper"), source)


def _block_problems(block: Block, path: KeyPath, source: Source) -> Iterator[Problem]:
    """A block's own conditions hold values that the suite's conditions could hold."""
    for name, factor in block.conditions.items():
        here = (*path, "conditions", name)
        if name not in Conditions.model_fields:
            yield from _condition_problems({name: None}, source, here[:-1], 0)
        elif isinstance(factor, Each):
            before: set[tuple[type, Value]] = set()
            for index, value in enumerate(factor.each):
                place = (*here, "each", index)
                yield from _condition_problems({name: value}, source, place, 1)
                if (type(value), value) in before:
                    yield source.problem(place, f"{kind(value)} stands twice in this axis; remove one of them")
                before.add((type(value), value))
        else:
            yield from _condition_problems({name: factor}, source, here, 1)


def _condition_problems(
    conditions: Mapping[str, Value | Each[Value]], source: Source, base: KeyPath, drop: int
) -> Iterator[Problem]:
    try:
        Conditions.model_validate(conditions)
    except ValidationError as error:
        yield from explain(error, Conditions, source, base, drop)


def _table_problems(table: TableSpec, path: KeyPath, source: Source) -> Iterator[Problem]:
    pivot = table.columns is not None or table.value is not None or table.beside
    if pivot and table.values:
        yield source.problem(path, "either a pivot ('columns' and 'value') or a list ('values'), not both")
    elif pivot and (table.columns is None or table.value is None):
        lacking = "columns" if table.columns is None else "value"
        yield source.problem(path, f"a pivot needs 'columns' and 'value'; {lacking!r} is missing")
    elif not pivot and not table.values:
        yield source.problem(path, "nothing to show; give 'columns' and 'value' for a pivot, or 'values' for a list")
    if table.ranking is not None and not table.values:
        sentence = "'ranking' says something of the columns of a list; give 'values', or remove it"
        yield source.problem((*path, "ranking"), sentence, at_key=True)
    if table.rows == ():
        yield source.problem((*path, "rows"), "expected at least one factor, got an empty list")
    if table.published is not None:
        yield from _published_problems(table.published, (*path, "published"), source)
    for here, quantity in quantities(table, path):
        yield from _quantity_problems(quantity, here, source)


def _figure_problems(figure: FigureSpec, path: KeyPath, source: Source) -> Iterator[Problem]:
    lacking = [name for name in _FIGURE_NEEDS.get(figure.kind, ()) if getattr(figure, name) is None]
    if lacking:
        yield source.problem(path, f"a figure of kind {figure.kind!r} needs {' and '.join(map(repr, lacking))}")
    if figure.kind == "curves":
        for key in ("value", "x_value"):
            yield from _raw_problems(getattr(figure, key), (*path, key), source)
    if figure.kind in _PICTURES and figure.value is not None:
        for name in ("relative", "times"):
            if getattr(figure.value, name) is not None:
                sentence = (
                    f"a figure of kind {figure.kind!r} shows pictures, of which no number is made; remove {name!r}"
                )
                yield source.problem((*path, "value", name), sentence, at_key=True)
    if figure.published is not None:
        yield from _published_problems(figure.published, (*path, "published"), source)
    for here, quantity in quantities(figure, path):
        yield from _quantity_problems(quantity, here, source)


def _raw_problems(quantity: Quantity | None, path: KeyPath, source: Source) -> Iterator[Problem]:
    """What makes one number, where a figure shows all values as they were recorded."""
    for name in ("relative", "times", "chosen"):
        if quantity is not None and getattr(quantity, name) is not None:
            sentence = f"a figure of kind 'curves' shows the values of each cell as they are; remove {name!r}"
            yield source.problem((*path, name), sentence, at_key=True)


def _quantity_problems(quantity: Quantity, path: KeyPath, source: Source) -> Iterator[Problem]:
    if quantity.relative is not None and not quantity.to:
        yield source.problem(path, "'relative' needs 'to', the factors of the cell to compare with")
    elif quantity.to is not None and quantity.relative is None:
        expected = "'time_saved', 'speedup', 'ratio' or 'difference'"
        yield source.problem((*path, "to"), f"'to' needs 'relative': {expected}", at_key=True)
    if quantity.chosen is not None and (quantity.chosen.prefer is None) == (quantity.chosen.at_most is None):
        sentence = "needs either 'prefer' (lower or higher) or 'at_most' (a number)"
        yield source.problem((*path, "chosen"), sentence)


def _published_problems(published: PublishedRef, path: KeyPath, source: Source) -> Iterator[Problem]:
    yield from _paper_problems(published.paper, (*path, "paper"), source)


def _paper_problems(paper: str, path: KeyPath, source: Source) -> Iterator[Problem]:
    """A paper is the stem of a file, so it must not lead out of its folder."""
    if not _IDENTIFIER.fullmatch(paper):
        yield source.problem(path, f"expected the stem of a file in suites/published, got {kind(paper)}")


def quantities(part: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, Quantity]]:
    """Every quantity of a table, a figure or a claim, and where it stands."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Quantity):
            yield (*path, name), value
        elif isinstance(value, tuple):
            for index, each in enumerate(value):
                if isinstance(each, Quantity):
                    yield (*path, name, index), each
