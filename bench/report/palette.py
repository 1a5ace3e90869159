"""Colours of figures, and the names by which a page may replace them for dark surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.document import Series

INK, MUTED, GRID, PAPER = "#1d2733", "#5d6977", "#e4e8ed", "#c3bdb0"
SERIES = ("#0b66ad", "#a8391b", "#14a06c", "#a585b4", "#b98c2e", "#435064")
"""Blue, brick, green, mauve, ochre, slate. Under deuteranopia, protanopia and tritanopia (simulated as Machado et al.
2009) any two are at least 20 apart in CIELAB, and each has a contrast of at least 3 to white. So do those of dark
pages, which stand in the page's style sheet."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""matplotlib's names of the shapes of points: colour is never all that tells two series apart."""
TOKENS: Mapping[str, str] = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    **{colour: f"series-{index}" for index, colour in enumerate(SERIES)},
}
"""Colour -> the name of the style sheet's own."""


def colour_of(series: Series, shown: Sequence[Series]) -> str:
    """The name of a series' colour in `TOKENS`, the same in every panel of a figure."""
    return TOKENS[colour(series, shown)]


def marker(series: Series, shown: Sequence[Series]) -> str:
    """The shape of a series' points, the same in every panel of a figure."""
    return MARKERS[_place(series, shown) % len(MARKERS)]


def colour(series: Series, shown: Sequence[Series]) -> str:
    if series.role == "paper":
        return PAPER
    return SERIES[_place(series, shown) % len(SERIES)]


def _place(series: Series, shown: Sequence[Series]) -> int:
    order = [each.label for each in shown if each.role != "paper"]
    return order.index(series.label) if series.label in order else 0
