"""Numbers laid out in rows and columns, with one scale and one look: what tables and figures are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench import units
from bench.analysis.reduce import Estimate, Missing, reduce
from bench.analysis.results import Key, Point, Results, as_key
from bench.contracts import Scalar
from bench.report.plain import listing
from bench.report.steadiness import Unsteady
from bench.store.record import Record, RunInfo
from bench.suite.schema import Quantity

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


def row_keys(results: Results, names: Sequence[str]) -> tuple[tuple[Scalar, ...], ...]:
    """The combinations of the row factors that some cell has, in order of first appearance."""
    found: dict[Key, tuple[Scalar, ...]] = {}
    for point in results.points:
        if all(map(point.has, names)):
            values = tuple(point.value(name) for name in names)
            found.setdefault(as_key(values), values)
    return tuple(found.values())


def outcome(measured: Measured, points: Sequence[Point], quantity: Quantity) -> Outcome:
    """The number in one place of a table; a place that several cells claim says what tells them apart."""
    results = measured.results
    if not points:
        return None
    if len(points) == 1:
        found = reduce(results, points[0], quantity)
        more = measured.unsteady.get((points[0].id, quantity.metric), ())
        return replace(found, warnings=(*found.warnings, *more)) if isinstance(found, Estimate) and more else found
    differ = [name for name in results.factor_names() if len(results.values(name, points)) > 1]
    return Missing(
        "unclear",
        f"{len(points)} cells belong here, which differ in {listing(differ) or 'nothing that has a name'}; "
        "add it to the rows or the columns of this table",
        tuple(point.id for point in points),
    )


def make_grid(quantity: Quantity, outcomes: Iterable[Iterable[Outcome]]) -> Grid:
    """Outcomes with the scale they are written in."""
    rows = tuple(tuple(row) for row in outcomes)
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
