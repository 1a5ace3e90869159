"""Tables, figures and claims against what the cells have: is that metric measured, does a cell have that factor?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files

import yaml

from bench.contracts import Scalar, Value
from bench.errors import did_you_mean
from bench.suite.grammar import kind
from bench.suite.schema import Cell, ClaimSpec, FigureSpec, Quantity, Ref, Suite, TableSpec
from bench.suite.shape import quantities
from bench.suite.source import KeyPath, Problem
from bench.vocabulary import other_words

FIGURE_METRICS: Mapping[str, str] = {"stages": "stages", "stage_times": "step_time"}
"""The metric that a kind of figure draws, whatever else it says."""


def known_factors(cells: Iterable[Cell]) -> Mapping[str, tuple[Scalar, ...]]:
    """Every factor of the cells with its values in order of appearance; conditions are called `conditions.threads`."""
    found: dict[str, dict[tuple[type, Scalar], Scalar]] = {}
    for cell in cells:
        for name, value in all_factors(cell).items():
            found.setdefault(name, {}).setdefault((type(value), value), value)
    return {name: tuple(values.values()) for name, values in found.items()}


def all_factors(cell: Cell) -> Mapping[str, Scalar]:
    """A cell's factors and its conditions, the latter as `conditions.threads`."""
    conditions: Mapping[str, Scalar] = cell.conditions.model_dump()
    return {**cell.factors, **{f"conditions.{name}": value for name, value in conditions.items()}}


def varying_factors(cells: Sequence[Cell]) -> tuple[str, ...]:
    """The factors and conditions that tell the cells apart.

    An argument that follows from the name it belongs to, such as a default that two samplers have differently, tells
    nothing that the name does not tell.
    """
    values: dict[str, dict[Scalar, set[tuple[type, Scalar]]]] = {}
    for cell in cells:
        for name, value in all_factors(cell).items():
            owner, dot, _ = name.partition(".")
            under = cell.factors.get(owner) if dot else None
            values.setdefault(name, {}).setdefault(under, set()).add((type(value), value))
    return tuple(name for name, by_owner in values.items() if any(len(found) > 1 for found in by_owner.values()))


def same(left: Scalar, right: Scalar) -> bool:
    """Equal as a suite means it: 0 is 0.0, but true is not 1 and "0" is not 0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def all_metrics(suite: Suite) -> Iterator[Ref]:
    """The suite's metrics and those of its blocks."""
    yield from suite.metrics
    for block in suite.grid:
        yield from block.metrics or ()


def metric_problems(suite: Suite) -> Iterator[Problem]:
    """Quantities whose metric the suite does not measure."""
    measured = list(dict.fromkeys(ref.name for ref in all_metrics(suite)))
    for path, part in _parts(suite):
        for here, quantity in quantities(part, path):
            for place, metric in _metrics(quantity, here):
                if metric not in measured:
                    yield suite.source.problem(place, _not_measured(metric, measured))
        if isinstance(part, FigureSpec) and FIGURE_METRICS.get(part.kind, measured[0]) not in measured:
            sentence = f"a figure of kind {part.kind!r} draws the metric {FIGURE_METRICS[part.kind]!r}"
            yield suite.source.problem((*path, "kind"), f"{sentence}, which 'metrics' does not list")


def factor_problems(suite: Suite, factors: Mapping[str, tuple[Scalar, ...]]) -> Iterator[Problem]:
    """Factors and values that no cell has."""
    for path, part in _parts(suite):
        for here, name in _named(part, path):
            if _values(name, factors) is None:
                yield suite.source.problem(here, unknown_factor(name, factors))
        for here, chosen in _chosen(part, path):
            for name, value in chosen.items():
                bare = name.removesuffix("?") if here[-1] == "where" and not isinstance(part, ClaimSpec) else name
                values = _values(bare, factors)
                if values is None:
                    yield suite.source.problem((*here, name), unknown_factor(bare, factors), at_key=True)
                    continue
                for each in value if isinstance(value, tuple) else (value,):
                    if not any(same(each, known) for known in values):
                        sentence = f"no cell has {name} = {kind(each)}; expected one of {listed(values)}"
                        yield suite.source.problem((*here, name), sentence)


def published_problems(suite: Suite) -> Iterator[Problem]:
    """Printed tables that are not among the published ones."""
    for path, part in _parts(suite):
        if isinstance(part, ClaimSpec) or part.published is None:
            continue
        here, papers = (*path, "published"), published_papers()
        if part.published.paper not in papers:
            hint = did_you_mean(part.published.paper, papers) or f" (known: {listed(papers)})"
            yield suite.source.problem((*here, "paper"), f"no paper called {part.published.paper!r}{hint}")
            continue
        tables = published_tables(part.published.paper)
        if part.published.table not in tables:
            hint = did_you_mean(part.published.table, tables) or f" (known: {listed(tables)})"
            sentence = f"{part.published.paper} has no table {part.published.table!r}{hint}"
            yield suite.source.problem((*here, "table"), sentence)


def published_papers() -> tuple[str, ...]:
    """The stems of the files in suites/published."""
    folder = files("bench.suites").joinpath("published")
    return tuple(sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml")))


@cache
def published_tables(paper: str) -> tuple[str, ...]:
    """The ids of the tables a published paper has."""
    text = files("bench.suites").joinpath("published", f"{paper}.yaml").read_text("utf-8")
    return tuple(str(table["id"]) for table in yaml.safe_load(text).get("tables", ()))


def value_text(value: Scalar) -> str:
    """A value as a person writes it in a suite: 2 for 2.0, true for True."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _values(name: str, factors: Mapping[str, tuple[Scalar, ...]]) -> tuple[Scalar, ...] | None:
    """The values of a factor, or of a condition by its plain name."""
    return factors.get(name, factors.get(f"conditions.{name}"))


def unknown_factor(name: str, factors: Iterable[str]) -> str:
    """The sentence for a factor that no cell has."""
    known = tuple(factors)
    ending = [each for each in known if each.endswith(f".{name}")]
    hint = f"; did you mean {' or '.join(map(repr, ending[:2]))}?" if ending else did_you_mean(name, known)
    return f"no cell has the factor {name!r}{hint or f' (known: {listed(known)})'}"


def listed(values: Sequence[Scalar], most: int = 20) -> str:
    """The values in words, not more of them than a person reads."""
    shown = ", ".join(value_text(value)[:60] for value in values[:most])
    return shown + (f" and {len(values) - most:,} more" if len(values) > most else "")


def _not_measured(name: str, measured: Sequence[str]) -> str:
    hint = other_words("metric", name) or did_you_mean(name, measured) or f"; expected one of {', '.join(measured)}"
    return f"the metric {name!r} is not in 'metrics'{hint}"


def _metrics(quantity: Quantity, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every metric that a quantity needs, and where it stands."""
    yield (*path, "metric"), quantity.metric
    if quantity.times is not None:
        yield (*path, "times", "metric"), quantity.times.metric
    if quantity.chosen is not None:
        yield (*path, "chosen", "by", "metric"), quantity.chosen.by.metric


def _parts(suite: Suite) -> Iterator[tuple[KeyPath, TableSpec | FigureSpec | ClaimSpec]]:
    for key in ("tables", "figures", "claims"):
        for index, part in enumerate(getattr(suite, key)):
            yield (key, index), part


def _named(part: TableSpec | FigureSpec | ClaimSpec, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """The factors a part names without choosing a value."""
    match part:
        case TableSpec(rows=rows, columns=columns):
            if isinstance(rows, str):
                yield (*path, "rows"), rows.removesuffix("?")
            else:
                for index, row in enumerate(rows):
                    yield (*path, "rows", index), row.removesuffix("?")
            if columns is not None:
                yield (*path, "columns"), columns
        case FigureSpec(x=x, series=series, panels=panels):
            if x is not None:
                yield (*path, "x"), x
            if panels is not None:
                yield (*path, "panels"), panels
            if series is not None:
                yield (*path, "series"), series
    for here, quantity in quantities(part, path):
        if quantity.chosen is not None:
            yield (*here, "chosen", "over"), quantity.chosen.over


def _chosen(part: TableSpec | FigureSpec | ClaimSpec, path: KeyPath) -> Iterator[tuple[KeyPath, Mapping[str, Value]]]:
    """The factors a part chooses a value of, or several."""
    for here, quantity in quantities(part, path):
        if quantity.to is not None:
            yield (*here, "to"), quantity.to
        yield (*here, "where"), quantity.where
    yield (*path, "where"), part.where
    if isinstance(part, ClaimSpec) and part.than_where is not None:
        yield (*path, "than_where"), part.than_where
