"""Figures as SVG documents: one of each panel, and one of everything with its legend.

Letters are drawn as paths, so that a picture looks the same in every viewer, and no text of a stranger becomes markup:
the only texts in a picture are the escaped titles that a browser shows under the pointer. The same numbers give the
same bytes. matplotlib is imported when the first figure is drawn, and the user's own settings for it do not matter.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from bench.report.document import Entry, Figure, Panel
from bench.report.draw import LEGEND_INCHES, Titles, draw_legend, draw_panel, panel_inches
from bench.report.palette import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

COLUMNS = 3
"""Panels beside each other; four make a square."""

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
    made = [_panel_svg(figure, panel) for panel in figure.panels]
    parts = tuple(svg for svg, _ in made)
    marks = tuple(entries for _, entries in made)
    return replace(figure, svg=_composed(figure, parts), panel_svgs=parts, panel_marks=marks)


def _own_ids(svg: str, prefix: str) -> str:
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def _panel_svg(figure: Figure, panel: Panel) -> tuple[str, tuple[Entry | None, ...]]:
    """One panel as an SVG element without background, and the numbers behind its marks."""
    titles = Titles()
    with _canvas(figure.id, panel_inches(figure)) as canvas:
        axes = canvas.add_subplot(facecolor="none")
        draw_panel(axes, figure, panel, titles)
        label = f"{figure.caption}: {panel.title}" if panel.title else figure.caption
        return _finished(_saved(canvas), label, titles), tuple(titles.entries)


def _composed(figure: Figure, parts: Sequence[str]) -> str:
    """All panels and the legend in one document, on white."""
    width, height = (72 * inches for inches in panel_inches(figure))
    most = 2 if len(parts) == 4 or figure.panels[0].look == "plane" else COLUMNS
    columns = min(most, len(parts))
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
        draw_legend(canvas, figure.legend, figure)
        return _finished(_saved(canvas), "legend", Titles())


@contextmanager
def settings(more: Mapping[str, Any]) -> Iterator[None]:
    """Our settings of matplotlib and no others; the user's own come back afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        ours: dict[Any, Any] = {**RC, **more}
        matplotlib.rcParams.update(ours)
        yield


@contextmanager
def _canvas(salt: str, inches: tuple[float, float]) -> Iterator[Canvas]:
    """A figure under our settings, that saves the same bytes every time."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with settings({"svg.hashsalt": salt}):
        canvas = Canvas(figsize=inches, facecolor="none")
        FigureCanvasSVG(canvas)
        yield canvas


def _saved(canvas: Canvas) -> str:
    target = io.StringIO()
    canvas.savefig(target, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return target.getvalue()


def _finished(svg: str, label: str, titles: Titles) -> str:
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
