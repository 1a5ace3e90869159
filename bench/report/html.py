"""A report as one self-contained HTML page: no remote address, no script, every text escaped.

Two things are put in as they are, and both are ours: the style sheet and the drawings of `bench.report.draw`. Pictures
of a run are put in as data that a browser takes for a PNG and for nothing else.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from bench.report.document import Figure, Picture, Report, Series, Table

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Even if a text became markup, the browser would load and run nothing."""
SMALL_WIDTH = 320
"""Pictures up to this width, that of a narrow screen, are enlarged by repeating their pixels; others never are."""
LARGEST_ZOOM = 4


def html_files(report: Report, stem: str) -> Mapping[str, str]:
    """`<stem>.html`, and nothing else."""
    return {f"{stem}.html": render_html(report)}


def render_html(report: Report) -> str:
    """The whole page as a text."""
    from markupsafe import Markup

    from bench.report.palette import colour_of
    from bench.report.svg import inline

    def pictures(figure: Figure, prefix: str) -> list[Markup]:
        return [Markup(inline(svg, f"{prefix}p{index}")) for index, svg in enumerate(figure.panel_svgs)]

    def swatch(series: Series, figure: Figure) -> str:
        return colour_of(series, figure.legend)

    names = {
        "pictures": pictures,
        "swatch": swatch,
        "widths": widths,
        "again": again,
        "data_uri": data_uri,
        "shown_width": shown_width,
    }
    style = Markup((files("bench.report") / "templates" / "report.css").read_text("utf-8"))
    page = _environment().get_template("report.html")
    return page.render(report=report, style=style, policy=POLICY, **names)


def data_uri(picture: Picture) -> str:
    """The picture as an address that holds it."""
    return f"data:image/png;base64,{b64encode(picture.content).decode('ascii')}"


def shown_width(picture: Picture) -> int:
    """Screen pixels that a picture takes at most: a small one is enlarged."""
    return picture.width * (LARGEST_ZOOM if picture.width <= SMALL_WIDTH else 1)


def widths(table: Table) -> tuple[int, ...]:
    """Letters of the widest interval with its marks in each column; 0 where a column has neither."""
    return tuple(
        max(
            (
                len(e.interval) + sum(map(len, e.notes))
                for row in table.rows
                for line in row.lines
                for e in [line.entries[i]]
            ),
            default=0,
        )
        for i in range(len(table.columns))
    )


def again(table: Table, row: int, head: int) -> bool:
    """Whether a heading only repeats the one above it."""
    return row > 0 and table.rows[row].heads[: head + 1] == table.rows[row - 1].heads[: head + 1]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Everything is escaped; a name that is not there is an error, not an empty text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
