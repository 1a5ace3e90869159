"""Figures as PDF, for documents made with LaTeX: a file for each panel, and one for the legend of all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.report.document import Figure, Panel
from bench.report.draw import LEGEND_INCHES, PANEL_INCHES, Titles, draw_legend, draw_panel, panel_inches
from bench.report.svg import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def panel_pdfs(figure: Figure) -> tuple[bytes, ...]:
    """One page for each panel."""
    return tuple(_panel(figure, panel) for panel in figure.panels)


def legend_pdf(figure: Figure) -> bytes:
    """One row that says what each colour and mark stands for."""
    return _page((2 * PANEL_INCHES[0], LEGEND_INCHES), lambda canvas: draw_legend(canvas, figure.legend, figure))


def _panel(figure: Figure, panel: Panel) -> bytes:
    return _page(
        panel_inches(figure), lambda canvas: draw_panel(canvas.add_subplot(facecolor="none"), figure, panel, Titles())
    )


def _page(inches: tuple[float, float], draw: Callable[[Canvas], None]) -> bytes:
    """What was drawn, as the same bytes every time."""
    target = io.BytesIO()
    with _canvas(inches) as canvas:
        draw(canvas)
        canvas.savefig(target, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return target.getvalue()


@contextmanager
def _canvas(inches: tuple[float, float]) -> Iterator[Canvas]:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure as Canvas

    with settings({"pdf.fonttype": 42}):
        canvas = Canvas(figsize=inches, facecolor="none")
        FigureCanvasPdf(canvas)
        yield canvas
