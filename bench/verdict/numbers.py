"""Numbers of a verdict in words."""

from __future__ import annotations

from collections.abc import Iterable

from bench import units
from bench.units import Scale, Style


def scale_of(values: Iterable[float], unit: str, style: Style = "auto", relative: str | None = None) -> Scale:
    """How numbers that are compared with each other are written; savings of time are percentages."""
    return units.choose_scale(values, unit, "percent" if style == "auto" and relative == "time_saved" else style)


def written(value: float, scale: Scale, low: float | None = None, high: float | None = None, *, exact: bool) -> str:
    """`47.5 % [46.9, 48.1]`; three figures when nothing is known of the spread, all of them when there is none."""
    if low is None or high is None:
        return (units.write if exact else units.write_unsure)(value, scale)
    return units.write(value, scale, low, high)


def percent(ratio: float) -> str:
    """A ratio as a signed change: 1.053 is `+5.3 %`, 0.5 is `-50 %`, and 1 is `0 %`."""
    change = round(100 * (ratio - 1), 9)
    if abs(change) >= 1e4:
        return f"{ratio:,.3g} times"
    size = abs(change)
    digits = 0 if size >= 20 or size == 0 else 1 if size >= 1 else 2
    text = f"{change:+.{digits}f}"
    return "0 %" if float(text) == 0 else f"{text} %"


def percents(low: float, high: float) -> str:
    """`[-1.2, +3.4]`: the ends of an interval of ratios as changes in per cent."""
    return f"[{100 * (low - 1):+.1f}, {100 * (high - 1):+.1f}]"
