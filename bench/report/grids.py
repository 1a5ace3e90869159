"""Numbers laid out in rows and columns, with one scale and one look: what tables and figures are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench import units
from bench.analysis.places import place
from bench.analysis.reduce import Estimate
from bench.analysis.results import MAYBE, Key, Point, Results, as_key
from bench.analysis.samples import Missing
from bench.contracts import Value
from bench.report import words
from bench.report.plain import label, listing
from bench.report.steadiness import Unsteady
from bench.store.record import Record, RunInfo
from bench.suite.schema import Quantity

ABSENT = "\N{EN DASH}"
"""Heading of a row whose cells lack the factor."""

Outcome = Estimate | Missing | None
"""A number, the reason why there is none, or None where the suite has no cell."""


@dataclass(frozen=True)
class Measured:
    """Everything a table or a figure is made from."""

    results: Results
    info: RunInfo
    records: tuple[Record, ...]
    unsteady: Unsteady
    """What all visits together say against a timing."""
    folder: Path | None = None
    """The run's folder, where the pictures lie that records name; None when only records are known."""


@dataclass(frozen=True)
class Grid:
    """Outcomes of one quantity: [rows][columns]; None where the suite has no cell."""

    quantity: Quantity
    outcomes: tuple[tuple[Outcome, ...], ...]
    scale: units.Scale
    decimals: int
    """Usual for this quantity, so that a row of numbers is even."""

    @property
    def estimates(self) -> list[Estimate]:
        return [each for row in self.outcomes for each in row if isinstance(each, Estimate)]

    @cached_property
    def told(self) -> tuple[str, str]:
        """The quantity's name, and how it is made of raw values."""
        return words.name_of(self.quantity), words.meaning(self.quantity)


def shown(points: Iterable[Point], where: Mapping[str, Value]) -> tuple[Point, ...]:
    """Those of the cells that a table or a figure is about."""
    return tuple(point for point in points if point.matches(where))


def row_groups(points: Iterable[Point], names: Sequence[str]) -> tuple[tuple[tuple[str, ...], tuple[Point, ...]], ...]:
    """The headings and the cells of each row, in order of first appearance.

    A cell that lacks one of the factors is in no row, unless that factor is marked as one that may be missing:
    `sampler.eta?`.
    """
    found: dict[Key, tuple[tuple[str, ...], list[Point]]] = {}
    bare = [name.removesuffix(MAYBE) for name in names]
    needed = [name for name in names if not name.endswith(MAYBE)]
    for point in points:
        if all(map(point.has, needed)):
            values = [point.value(name) if point.has(name) else None for name in bare]
            heads = tuple(label(point.value(name)) if point.has(name) else ABSENT for name in bare)
            key = as_key([*map(point.has, bare), *values])
            found.setdefault(key, (heads, []))[1].append(point)
    return tuple((heads, tuple(members)) for heads, members in found.values())


def outcome(measured: Measured, points: Sequence[Point], quantity: Quantity) -> Outcome:
    """The number in one place of a table; a place that several cells claim says what tells them apart."""
    found = place(measured.results, points, quantity)
    if not isinstance(found, Estimate):
        return found
    more = measured.unsteady.get((found.cells[0], quantity.metric), ())
    return replace(found, warnings=(*found.warnings, *more)) if more else found


def unmixed(column: Sequence[Outcome]) -> list[Outcome]:
    """One column of a table, refused as a whole when its numbers were made by different recipes."""
    made = {each.recipe["fingerprint"]: each.recipe for each in column if isinstance(each, Estimate) and each.recipe}
    if len(made) < 2:
        return list(column)
    names = dict.fromkeys(name for recipe in made.values() for name in recipe if name != "fingerprint")
    told = [
        f"{name} = {listing(str(value) for value in values)}"
        for name in names
        if len(values := dict.fromkeys(recipe.get(name) for recipe in made.values())) > 1
    ]
    reason = f"the numbers of this column were made by {len(made)} recipes and cannot stand together: they differ in "
    reason += "; ".join(told) or "something that only their fingerprints show"
    return [Missing("mixed", reason, each.cells) if isinstance(each, Estimate) else each for each in column]


def make_grid(quantity: Quantity, outcomes: Iterable[Iterable[Outcome]]) -> Grid:
    """Outcomes with the scale they are written in."""
    columns = zip(*outcomes, strict=True)
    rows = tuple(zip(*map(unmixed, columns), strict=True))
    estimates = [each for row in rows for each in row if isinstance(each, Estimate)]
    scale = scale_for(quantity, estimates)
    supported = sorted(
        units.supported_decimals(each.value, scale, each.low, each.high) for each in estimates if each.low is not None
    )
    return Grid(quantity, rows, scale, supported[(len(supported) - 1) // 2] if supported else 6)


def scale_for(quantity: Quantity, estimates: Sequence[Estimate]) -> units.Scale:
    """How numbers of this quantity are written."""
    style = quantity.format
    if style == "auto" and quantity.relative == "time_saved":
        style = "percent"
    return units.choose_scale([each.value for each in estimates], estimates[0].unit if estimates else "", style)


def written(estimate: Estimate, grid: Grid) -> tuple[str, str]:
    """The number and its interval: (`47.5 %`, `[46.9, 48.1]`)."""
    if estimate.is_reference:
        return units.write(estimate.value, grid.scale, decimals=0), ""
    if estimate.low is None:
        return (units.write if estimate.exact else units.write_unsure)(estimate.value, grid.scale), ""
    own = units.supported_decimals(estimate.value, grid.scale, estimate.low, estimate.high)
    decimals = units.even_decimals(own, grid.decimals)
    text, bracket, ends = units.write(estimate.value, grid.scale, estimate.low, estimate.high, decimals).partition(" [")
    return text, bracket.strip() + ends
