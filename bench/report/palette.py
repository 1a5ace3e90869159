"""Colours of figures, and the names by which a page may replace them for dark surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.document import Series

INK, MUTED, GRID, PAPER = "#1d2733", "#5d6977", "#e4e8ed", "#c3bdb0"
SERIES = ("#0b66ad", "#c8571b", "#118066", "#8d5aa8", "#a8842c", "#4a5a6a")
"""Blue, orange, green, purple, ochre, slate: told apart by colour-blind readers, and by their lightness in print."""
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


def colour(series: Series, shown: Sequence[Series]) -> str:
    if series.role == "paper":
        return PAPER
    order = [each.label for each in shown if each.role != "paper"]
    return SERIES[(order.index(series.label) if series.label in order else 0) % len(SERIES)]
