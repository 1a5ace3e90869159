"""Marks on axes: one panel of a figure. Only `bench.report.svg` calls this, inside its settings of matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from bench.report.document import Entry, Figure, Panel, Series
from bench.report.geometry import apart, convex_hull, pareto_front
from bench.report.palette import GRID, INK, MUTED, SERIES, colour, marker
from bench.units import COUNTS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

PANEL_INCHES = (3.5, 2.45)
ONLY_INCHES = (5.2, 2.9)
"""Of the only panel of a figure, and of a plane."""
LEGEND_INCHES = 0.32
LEFT, RIGHT = 0.62, 0.08
"""Inches beside the axes."""
MOST_MARKED = 60
"""Numbers of one line that are marked one by one; of more, only the line is drawn."""
MOST_FOUND = 60
"""Numbers of a crowded line that a pointer can still find."""
NAMES_INCHES = 1.8
"""Beside a plane, for the names of its points."""
NAME_HEIGHT = 0.062
"""Of a point's name, as part of the height of the axes."""
LEADER: Mapping[str, object] = {
    "arrowstyle": "-",
    "relpos": (0.0, 0.5),
    "color": MUTED,
    "linewidth": 0.5,
    "alpha": 0.6,
    "shrinkA": 1,
    "shrinkB": 3,
}
"""The line from a name to its point."""
PLANE_MARGIN = 0.16
"""Around all points of a plane, as part of their spread."""
LONGEST_NAME = 28
MOST_TITLED = 400
"""Marks of one panel that get a title of their own; of more, none does."""
LARGE = 1e5
"""Numbers of an axis from which on they are written with a prefix."""
LONGEST_LABEL = 42
LONGEST_TICK = 14
CROWDED = 46
"""Letters of all tick names together from which on they are turned."""


class Titles:
    """Titles of marks, by the id of the group that will carry each, and the numbers that they mark."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.entries: list[Entry | None] = []

    def give(self, artist: Artist, text: str, entry: Entry | None = None) -> None:
        if text:
            name = f"mark{len(self.texts)}"
            artist.set_gid(name)
            self.texts[name] = text
            self.entries.append(entry)


def panel_inches(figure: Figure) -> tuple[float, float]:
    """Width and height of each panel."""
    wide = len(figure.panels) == 1 or figure.panels[0].look == "plane"
    return ONLY_INCHES if wide else PANEL_INCHES


def draw_panel(axes: Axes, figure: Figure, panel: Panel, titles: Titles) -> None:
    """One panel: marks, then axes and words."""
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    crowded = sum(len(tick[:LONGEST_TICK]) + 2 for tick in panel.ticks) > CROWDED
    width, height = panel_inches(figure)
    top = height - (0.46 if panel.subtitle else 0.3 if panel.title else 0.12)
    bottom = 0.85 if crowded else 0.45
    right = NAMES_INCHES if panel.look == "plane" else RIGHT
    axes.set_position((LEFT / width, bottom / height, (width - LEFT - right) / width, (top - bottom) / height))
    look: Mapping[str, Callable[[Axes, Figure, Panel, Titles], None]] = {
        "bars": _bars,
        "steps": _steps,
        "lines": _lines,
        "points": _points,
        "plane": _plane,
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
    for axis, numeric in ((axes.xaxis, not panel.ticks), (axes.yaxis, True)):
        if numeric and max(map(abs, axis.get_view_interval())) >= LARGE:
            axis.set_major_formatter(lambda value, _: rounded(value))
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


def _bars(axes: Axes, figure: Figure, panel: Panel, titles: Titles) -> None:
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
            color=colour(series, shown),
            linewidth=0,
        )
        for shape, number in zip(shapes, numbers, strict=True):
            titles.give(shape, number.text, number.entry)
        _error_bars(axes, [n._replace(x=n.x + offset) for n in numbers], INK)
    ours = next((i for i, series in enumerate(bars) if series.role == "ours"), 0)
    offset = (ours - (len(bars) - 1) / 2) * width
    points = 72 * (panel_inches(figure)[0] - LEFT - RIGHT) / places * width
    for index, series in enumerate(beside):
        for number in _numbers(series):
            (mark,) = axes.plot([number.x + offset], [number.y], color=colour(series, shown), zorder=4)
            _beside_style(mark, index, points)
            titles.give(mark, number.text, number.entry)
    axes.axhline(0, color=MUTED, linewidth=0.7)


def _beside_style(mark: Line2D, index: int, points: float) -> None:
    """The first further quantity is a stroke across the bar, the others are diamonds."""
    mark.set_linestyle("none")
    mark.set_marker("_" if index == 0 else "D")
    mark.set_markersize(min(points, 40) if index == 0 else 3.5)
    mark.set_markeredgewidth(2.0 if index == 0 else 0.5)


def _error_bars(axes: Axes, numbers: Sequence[Number], shade: str) -> None:
    known = [n for n in numbers if n.low is not None and n.high is not None]
    if known:
        below = [max(0.0, n.y - (n.low or 0.0)) for n in known]
        above = [max(0.0, (n.high or 0.0) - n.y) for n in known]
        axes.errorbar(
            [n.x for n in known],
            [n.y for n in known],
            [below, above],
            fmt="none",
            color=shade,
            elinewidth=0.9,
            capsize=1.8,
        )


def _steps(axes: Axes, figure: Figure, panel: Panel, titles: Titles) -> None:
    """Flat pieces; x and y hold both ends of each."""
    (series,) = panel.series
    numbers = list(_numbers(series))
    for start, end in zip(numbers[::2], numbers[1::2], strict=True):
        area = axes.fill_between([start.x, end.x], 0, [start.y, end.y], color=SERIES[0], alpha=0.16, linewidth=0)
        titles.give(area, start.text, start.entry)
    axes.plot([n.x for n in numbers], [n.y for n in numbers], color=SERIES[0], linewidth=1.6)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def _lines(axes: Axes, figure: Figure, panel: Panel, titles: Titles) -> None:
    """A line for each series, with a band where there are intervals."""
    shown = figure.legend or panel.series
    for series in panel.series:
        numbers = list(_numbers(series))
        shade, shape = colour(series, shown), marker(series, shown)
        x = [n.x for n in numbers]
        band = [(n.low, n.high) for n in numbers if n.low is not None and n.high is not None]
        if numbers and len(band) == len(numbers):
            axes.fill_between(
                x, [low for low, _ in band], [high for _, high in band], color=shade, alpha=0.18, linewidth=0
            )
        axes.plot(
            x, [n.y for n in numbers], color=shade, linewidth=1.5, linestyle="--" if series.role == "paper" else "-"
        )
        crowded = len(numbers) > MOST_MARKED
        for number in _some(numbers, MOST_FOUND) if crowded else numbers:
            (mark,) = axes.plot(
                [number.x], [number.y], color=shade, marker=shape, markersize=3.6, linestyle="none",
                alpha=0.0 if crowded else None,
            )  # fmt: skip
            titles.give(mark, number.text, number.entry)
    for vertical in panel.verticals:
        series = next(each for each in panel.series if each.label == vertical.label)
        mark = axes.axvline(vertical.x, color=colour(series, shown), linewidth=1.0, linestyle=(0, (4, 3)))
        titles.give(mark, vertical.text)


def _some(numbers: Sequence[Number], most: int) -> Sequence[Number]:
    """Evenly spaced ones with the first and the last, and the lowest and the highest."""
    last = len(numbers) - 1
    places = {round(index * last / (most - 1)) for index in range(most)}
    heights = [number.y for number in numbers]
    places |= {heights.index(min(heights)), heights.index(max(heights))}
    return [numbers[place] for place in sorted(places)]


def _plane(axes: Axes, figure: Figure, panel: Panel, titles: Titles) -> None:
    """A named point for each cell, and the convex hull of all."""
    shown = figure.legend or panel.series
    numbers = [(number, series) for series in panel.series for number in _numbers(series)]
    hull = convex_hull([(number.x, number.y) for number, _ in numbers])
    if len(hull) > 2:
        x, y = zip(*hull, strict=True)
        axes.fill(x, y, facecolor=GRID, edgecolor=MUTED, alpha=0.45, linewidth=0.8, zorder=1)
    for series in panel.series:
        _error_bars(axes, list(_numbers(series)), MUTED)
    for number, series in numbers:
        (mark,) = axes.plot(
            [number.x],
            [number.y],
            color=colour(series, shown),
            marker=marker(series, shown),
            markersize=4.5,
            linestyle="none",
            zorder=3,
        )
        titles.give(mark, number.text, number.entry)
    axes.margins(PLANE_MARGIN)
    _name_points(axes, [(number.x, number.y, number.text.partition(":")[0]) for number, _ in numbers])


def _name_points(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """The names in a column beside the axes, as high as their points as far as there is room, each with a thin line."""
    low, high = axes.get_ylim()
    ordered = sorted(points, key=lambda point: point[1])
    places = apart([(y - low) / (high - low) for _, y, _ in ordered], NAME_HEIGHT)
    for (x, y, name), place in zip(ordered, places, strict=True):
        axes.annotate(
            drawable(name, LONGEST_NAME),
            (x, y),
            xytext=(1.04, place),
            textcoords="axes fraction",
            ha="left",
            va="center",
            fontsize=7,
            color=INK,
            arrowprops=dict(LEADER),
            zorder=2,
        )


def _points(axes: Axes, figure: Figure, panel: Panel, titles: Titles) -> None:
    """A point for each cell, and the front that no cell beats in both quantities (both: lower is better)."""
    shown = figure.legend or panel.series
    everything = [number for series in panel.series for number in _numbers(series)]
    front = pareto_front([(number.x, number.y) for number in everything])
    axes.plot([x for x, _ in front], [y for _, y in front], color=MUTED, linewidth=1, drawstyle="steps-post", zorder=1)
    for series in panel.series:
        numbers = list(_numbers(series))
        shade, shape = colour(series, shown), marker(series, shown)
        _error_bars(axes, numbers, MUTED)
        if len(everything) > MOST_TITLED:
            axes.plot(
                [n.x for n in numbers],
                [n.y for n in numbers],
                color=shade,
                marker=shape,
                markersize=3,
                linestyle="none",
            )
            continue
        for number in numbers:
            (mark,) = axes.plot(
                [number.x], [number.y], color=shade, marker=shape, markersize=4.5, linestyle="none", zorder=3
            )
            titles.give(mark, number.text, number.entry)


class Number(NamedTuple):
    """One mark."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str
    entry: Entry | None = None


def _numbers(series: Series) -> Iterator[Number]:
    """Every number of a series that is there."""
    nothing: tuple[None, ...] = (None,) * len(series.x)
    texts = series.texts or ("",) * len(series.x)
    ends = (series.low or nothing, series.high or nothing)
    for x, y, low, high, text, entry in zip(series.x, series.y, *ends, texts, series.entries or nothing, strict=True):
        if y is not None:
            yield Number(x, y, low, high, text, entry)


def draw_legend(canvas: Canvas, shown: Sequence[Series], figure: Figure) -> None:
    """What each colour and mark stands for, in one row."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bars = any(panel.look == "bars" for panel in figure.panels)
    beside = [series.label for series in shown if series.role == "beside"]
    handles: list[Artist] = []
    for series in shown:
        shade = colour(series, shown)
        if bars and series.role != "beside":
            handles.append(Patch(color=shade, linewidth=0))
            continue
        handle = Line2D([], [], color=shade, marker=marker(series, shown), markersize=4)
        if bars:
            _beside_style(handle, beside.index(series.label), 11.0)
        handles.append(handle)
    names = [drawable(series.label) for series in shown]
    canvas.legend(handles, names, loc="center left", bbox_to_anchor=(0.01, 0.5), ncols=min(8, len(shown)))


def rounded(value: float) -> str:
    """A large number of an axis: `8 M`, `250 k`."""
    prefixes = (*COUNTS, (1e3, "k"))
    divisor, symbol = next((each for each in prefixes if abs(value) >= each[0]), (1.0, ""))
    return f"{value / divisor:g} {symbol}".rstrip().replace("-", "\N{MINUS SIGN}")


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
