"""Parts that every kind of figure is made of."""

from __future__ import annotations

from collections.abc import Sequence

from bench import units
from bench.analysis import stats
from bench.analysis.reduce import Estimate
from bench.analysis.samples import Missing
from bench.report import words
from bench.report.document import Panel, Role, Series
from bench.report.grids import Grid, written
from bench.report.origins import number_entry
from bench.report.plain import clean


def grid_series(
    grid: Grid, row: int, positions: tuple[float, ...], name: str, role: Role, told: Sequence[str]
) -> Series:
    """One row of a grid, in the units the axis shows."""
    divisor = grid.scale.divisor
    found = [each if isinstance(each, Estimate) else None for each in grid.outcomes[row]]
    return Series(
        clean(name, 200),
        role,
        positions,
        tuple(each.value / divisor if each else None for each in found),
        tuple(each.low / divisor if each and each.low is not None else None for each in found),
        tuple(each.high / divisor if each and each.high is not None else None for each in found),
        tuple(
            clean(f"{where}, {name}: {' '.join(filter(None, written(each, grid)))}") if each else ""
            for where, each in zip(told, found, strict=True)
        ),
        tuple(number_entry(each, grid) if each else None for each in found),
    )


def axis_label(grid: Grid) -> str:
    symbol = grid.scale.symbol
    name = words.name_of(grid.quantity)
    return f"{name} ({symbol})" if symbol and symbol != units.TIMES else name


def y_range(panels: Sequence[Panel], *, zero: bool) -> tuple[float, float] | None:
    """One y axis for all panels, with room above the highest error bar."""
    numbers = [y for panel in panels for s in panel.series for y in (*s.y, *s.low, *s.high) if y is not None]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    low = min(0.0, low) if zero else low
    room = 0.08 * ((high - low) or abs(high) or 1.0)
    return (low if low == 0 else low - room, high + room)


def missing_notes(grids: Sequence[Grid]) -> tuple[str, ...]:
    """Why numbers are absent from a figure."""
    reasons = [
        f"{each.status}: {each.reason}"
        for grid in grids
        for row in grid.outcomes
        for each in row
        if isinstance(each, Missing)
    ]
    return tuple(
        clean(f"{units.plural(reasons.count(reason), 'number')} not shown; {reason}")
        for reason in dict.fromkeys(reasons)
    )


def interval_note(panels: Sequence[Panel]) -> str:
    shown = any(low is not None for panel in panels for series in panel.series for low in series.low)
    return f"Error bars: {100 * stats.CONFIDENCE:.0f} % interval." if shown else ""
