"""Figures as SVG. The only file that knows matplotlib, which is imported when the first figure is drawn.

Letters are drawn as paths, so that a picture looks the same in every viewer, and no text of a stranger becomes markup:
the only texts in a picture are the escaped titles that a browser shows under the pointer. The same numbers give the
same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from bench.report.document import Figure, Panel, Series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

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
"""Colours that a page may replace by its own, for dark surroundings."""

PANEL_INCHES = (3.5, 2.45)
LEFT, RIGHT = 0.55, 0.08
"""Inches beside the axes."""
LEGEND_INCHES = 0.32
COLUMNS = 3
MOST_TITLED = 400
"""Marks of one panel that get a title of their own; of more, none does."""
LONGEST_LABEL = 42
LONGEST_TICK = 14
CROWDED = 46
"""Letters of all tick names together from which on they are turned."""

RC: Mapping[str, Any] = {
    "svg.fonttype": "path",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "path.simplify": True,
}


def drawn(figure: Figure) -> Figure:
    """The figure with its pictures: one of each panel, and one of everything."""
    if not figure.panels:
        return figure
    parts = tuple(_panel_svg(figure, panel) for panel in figure.panels)
    return replace(figure, svg=_composed(figure, parts), panel_svgs=parts)


def inline(svg: str, prefix: str) -> str:
    """A picture to stand inside a page: ids that are its own, colours that the page's style sheet may change."""
    body = _own_ids(svg, prefix)
    for colour, name in TOKENS.items():
        body = body.replace(colour, f"var(--fig-{name}, {colour})")
    return body


def colour_of(series: Series, shown: Sequence[Series]) -> str:
    """The name of a series' colour in `TOKENS`, the same in every panel of a figure."""
    return TOKENS[_colour(series, shown)]


def _colour(series: Series, shown: Sequence[Series]) -> str:
    if series.role == "paper":
        return PAPER
    order = [each.label for each in shown if each.role != "paper"]
    return SERIES[(order.index(series.label) if series.label in order else 0) % len(SERIES)]


def _own_ids(svg: str, prefix: str) -> str:
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def _panel_svg(figure: Figure, panel: Panel) -> str:
    """One panel as an SVG element without background."""
    titles = _Titles()
    with _canvas(figure.id, PANEL_INCHES) as canvas:
        axes = canvas.add_subplot(facecolor="none")
        _draw(axes, figure, panel, titles)
        label = f"{figure.caption}: {panel.title}" if panel.title else figure.caption
        return _finished(_saved(canvas), label, titles)


def _composed(figure: Figure, parts: Sequence[str]) -> str:
    """All panels and the legend in one document, on white."""
    width, height = (72 * inches for inches in PANEL_INCHES)
    columns = 2 if len(parts) == 4 else min(COLUMNS, len(parts))
    rows = math.ceil(len(parts) / columns)
    pieces = [
        _placed(_own_ids(part, f"p{index}"), index % columns * width, index // columns * height, width, height)
        for index, part in enumerate(parts)
    ]
    total = rows * height
    if figure.legend:
        legend = _own_ids(_legend_svg(figure, columns * width), "legend")
        pieces.append(_placed(legend, 0, total, columns * width, 72 * LEGEND_INCHES))
        total += 72 * LEGEND_INCHES
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * width:g} {total:g}" '
        f'role="img" aria-label={quoteattr(figure.caption)}>'
    )
    return f'{head}\n<rect width="100%" height="100%" fill="#ffffff"/>\n{"".join(pieces)}</svg>\n'


def _placed(svg: str, x: float, y: float, width: float, height: float) -> str:
    """The picture as a part of a larger one."""
    return svg.replace("<svg ", f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" ', 1)


def _legend_svg(figure: Figure, width: float) -> str:
    """One legend for all panels."""
    with _canvas(f"{figure.id}-legend", (width / 72, LEGEND_INCHES)) as canvas:
        _legend(canvas, figure.legend, figure)
        return _finished(_saved(canvas), "legend", _Titles())


@contextmanager
def _canvas(salt: str, inches: tuple[float, float]) -> Iterator[Canvas]:
    """A figure under our settings and no others, that saves the same bytes every time."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: dict[Any, Any] = {**RC, "svg.hashsalt": salt}
        matplotlib.rcParams.update(settings)
        canvas = Canvas(figsize=inches, facecolor="none")
        FigureCanvasSVG(canvas)
        yield canvas


def _saved(canvas: Canvas) -> str:
    target = io.StringIO()
    canvas.savefig(target, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return target.getvalue()


class _Titles:
    """Titles of marks, by the id of the group that will carry each."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def give(self, artist: Artist, text: str) -> None:
        if text:
            name = f"mark{len(self.texts)}"
            artist.set_gid(name)
            self.texts[name] = text


def _finished(svg: str, label: str, titles: _Titles) -> str:
    """Without comments, metadata and fixed size; with a description and the titles of its marks."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<\?xml.*?\?>", "", svg)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label={quoteattr(label)} ', 1)
    svg = re.sub(
        r'<g id="(mark\d+)">',
        lambda match: f"{match[0]}<title>{escape(titles.texts[match[1]])}</title>",
        svg,
    )
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def _draw(axes: Axes, figure: Figure, panel: Panel, titles: _Titles) -> None:
    """One panel: marks, then axes and words."""
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    crowded = sum(len(tick[:LONGEST_TICK]) + 2 for tick in panel.ticks) > CROWDED
    width, height = PANEL_INCHES
    top = height - (0.46 if panel.subtitle else 0.3 if panel.title else 0.12)
    bottom = 0.85 if crowded else 0.45
    axes.set_position((LEFT / width, bottom / height, (width - LEFT - RIGHT) / width, (top - bottom) / height))
    look: Mapping[str, Callable[[Axes, Figure, Panel, _Titles], None]] = {
        "bars": _bars,
        "steps": _steps,
        "lines": _lines,
        "points": _points,
    }
    look[panel.look](axes, figure, panel, titles)
    if panel.ticks:
        names = [drawable(tick, LONGEST_TICK) for tick in panel.ticks]
        axes.set_xticks(range(len(names)), names)
        if crowded:
            axes.tick_params(axis="x", labelrotation=35)
            for tick in axes.get_xticklabels():
                tick.set(ha="right", rotation_mode="anchor")
    if figure.x_range is not None:
        axes.set_xlim(*figure.x_range)
    if figure.y_range is not None:
        low, high = figure.y_range
        axes.set_ylim(low, high * 1.12 if panel.look == "steps" else high)
    if panel.look == "steps":
        axes.set_yticks(range(int(axes.get_ylim()[1]) + 1))
    axes.set_xlabel(drawable(figure.x_label), labelpad=2)
    axes.set_ylabel(drawable(figure.y_label, 34), labelpad=3)
    if panel.title:
        axes.set_title(
            drawable(panel.title), loc="left", fontsize=9.5, fontweight="bold", y=1.0, pad=15 if panel.subtitle else 6
        )
    if panel.subtitle:
        axes.text(0, 1.035, drawable(panel.subtitle, 60), transform=axes.transAxes, fontsize=7.5, color=MUTED)


def _bars(axes: Axes, figure: Figure, panel: Panel, titles: _Titles) -> None:
    """Bars side by side, further quantities as marks across ours."""
    bars = [series for series in panel.series if series.role != "beside"]
    beside = [series for series in panel.series if series.role == "beside"]
    shown = figure.legend or panel.series
    width = 0.78 / max(1, len(bars))
    places = max(1, len(panel.ticks))
    axes.set_xlim(-0.55, places - 0.45)
    for index, series in enumerate(bars):
        offset = (index - (len(bars) - 1) / 2) * width
        numbers = list(_numbers(series))
        shapes = axes.bar(
            [n.x + offset for n in numbers],
            [n.y for n in numbers],
            width * 0.94,
            color=_colour(series, shown),
            linewidth=0,
        )
        for shape, number in zip(shapes, numbers, strict=True):
            titles.give(shape, number.text)
        _error_bars(axes, [n._replace(x=n.x + offset) for n in numbers], INK)
    ours = next((i for i, series in enumerate(bars) if series.role == "ours"), 0)
    offset = (ours - (len(bars) - 1) / 2) * width
    points = 72 * (PANEL_INCHES[0] - LEFT - RIGHT) / places * width
    for index, series in enumerate(beside):
        for number in _numbers(series):
            (mark,) = axes.plot([number.x + offset], [number.y], color=_colour(series, shown), zorder=4)
            _beside_style(mark, index, points)
            titles.give(mark, number.text)
    axes.axhline(0, color=MUTED, linewidth=0.7)


def _beside_style(mark: Line2D, index: int, points: float) -> None:
    """The first further quantity is a stroke across the bar, the others are diamonds."""
    mark.set_linestyle("none")
    mark.set_marker("_" if index == 0 else "D")
    mark.set_markersize(min(points, 40) if index == 0 else 3.5)
    mark.set_markeredgewidth(2.0 if index == 0 else 0.5)


def _error_bars(axes: Axes, numbers: Sequence[Number], colour: str) -> None:
    known = [n for n in numbers if n.low is not None and n.high is not None]
    if known:
        below = [max(0.0, n.y - (n.low or 0.0)) for n in known]
        above = [max(0.0, (n.high or 0.0) - n.y) for n in known]
        axes.errorbar(
            [n.x for n in known],
            [n.y for n in known],
            [below, above],
            fmt="none",
            ecolor=colour,
            elinewidth=0.9,
            capsize=1.8,
        )


def _steps(axes: Axes, figure: Figure, panel: Panel, titles: _Titles) -> None:
    """Flat pieces; x and y hold both ends of each."""
    (series,) = panel.series
    numbers = list(_numbers(series))
    for start, end in zip(numbers[::2], numbers[1::2], strict=True):
        area = axes.fill_between([start.x, end.x], 0, [start.y, end.y], color=SERIES[0], alpha=0.16, linewidth=0)
        titles.give(area, start.text)
    axes.plot([n.x for n in numbers], [n.y for n in numbers], color=SERIES[0], linewidth=1.6)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def _lines(axes: Axes, figure: Figure, panel: Panel, titles: _Titles) -> None:
    """A line for each series, with a band where there are intervals."""
    shown = figure.legend or panel.series
    for series in panel.series:
        numbers = list(_numbers(series))
        colour = _colour(series, shown)
        x = [n.x for n in numbers]
        band = [(n.low, n.high) for n in numbers if n.low is not None and n.high is not None]
        if numbers and len(band) == len(numbers):
            axes.fill_between(
                x, [low for low, _ in band], [high for _, high in band], color=colour, alpha=0.18, linewidth=0
            )
        axes.plot(
            x, [n.y for n in numbers], color=colour, linewidth=1.5, linestyle="--" if series.role == "paper" else "-"
        )
        for number in numbers:
            (mark,) = axes.plot([number.x], [number.y], color=colour, marker="o", markersize=3.4, linestyle="none")
            titles.give(mark, number.text)


def _points(axes: Axes, figure: Figure, panel: Panel, titles: _Titles) -> None:
    """A point for each cell, and the front that no cell beats in both quantities (both: lower is better)."""
    shown = figure.legend or panel.series
    everything = [number for series in panel.series for number in _numbers(series)]
    front = _front([(number.x, number.y) for number in everything])
    axes.plot([x for x, _ in front], [y for _, y in front], color=MUTED, linewidth=1, drawstyle="steps-post", zorder=1)
    for series in panel.series:
        numbers = list(_numbers(series))
        colour = _colour(series, shown)
        _error_bars(axes, numbers, MUTED)
        if len(everything) > MOST_TITLED:
            axes.plot(
                [n.x for n in numbers], [n.y for n in numbers], color=colour, marker="o", markersize=3, linestyle="none"
            )
            continue
        for number in numbers:
            (mark,) = axes.plot(
                [number.x], [number.y], color=colour, marker="o", markersize=4.5, linestyle="none", zorder=3
            )
            titles.give(mark, number.text)


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both numbers, from left to right."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


class Number(NamedTuple):
    """One mark."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


def _numbers(series: Series) -> Iterator[Number]:
    """Every number of a series that is there."""
    nothing: tuple[None, ...] = (None,) * len(series.x)
    texts = series.texts or ("",) * len(series.x)
    rows = zip(series.x, series.y, series.low or nothing, series.high or nothing, texts, strict=True)
    for x, y, low, high, text in rows:
        if y is not None:
            yield Number(x, y, low, high, text)


def _legend(canvas: Canvas, shown: Sequence[Series], figure: Figure) -> None:
    """What each colour and mark stands for, in one row."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bars = any(panel.look == "bars" for panel in figure.panels)
    beside = [series.label for series in shown if series.role == "beside"]
    handles: list[Artist] = []
    for series in shown:
        colour = _colour(series, shown)
        if bars and series.role != "beside":
            handles.append(Patch(color=colour, linewidth=0))
            continue
        handle = Line2D([], [], color=colour, marker="o", markersize=4)
        if bars:
            _beside_style(handle, beside.index(series.label), 11.0)
        handles.append(handle)
    names = [drawable(series.label) for series in shown]
    canvas.legend(handles, names, loc="center left", bbox_to_anchor=(0.01, 0.5), ncols=min(8, len(shown)))


def drawable(text: str, longest: int = LONGEST_LABEL) -> str:
    """The text in letters that the font has, short enough for its place."""
    known = _letters()
    shown = "".join(letter if ord(letter) in known else "\N{WHITE SQUARE}" for letter in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    """Letters that DejaVu Sans, which comes with matplotlib, can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap())
