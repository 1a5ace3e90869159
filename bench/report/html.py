"""A report as one self-contained HTML page: no remote address, every text escaped, and readable without its script.

Four things are put in as they are, and all are ours: the style sheet, the script, the drawings of `bench.report.draw`
and the data of `bench.report.page_numbers`. Pictures of a run are put in as data that a browser takes for a PNG and
for nothing else. The page's policy names the style sheet and the script by their hashes, so a browser applies and runs
these and no others; and the script cannot turn a text into markup, because the policy takes that from it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from bench.report.document import Entry, Figure, Picture, Report, Table

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

STYLES = ("page.css", "tables.css", "figures.css", "controls.css", "media.css")
SCRIPTS = ("base.js", "theme.js", "numbers.js", "tables.js", "marks.js", "pictures.js", "start.js")
SMALL_WIDTH = 320
"""Pictures up to this width, that of a narrow screen, are enlarged by repeating their pixels; others never are."""
LARGEST_ZOOM = 4
MOST_SAYINGS = 400
"""Numbers of one figure that are listed under it."""


def html_files(report: Report, stem: str) -> Mapping[str, str]:
    """`<stem>.html`, and nothing else."""
    return {f"{stem}.html": render_html(report)}


def render_html(report: Report) -> str:
    """The whole page as a text."""
    from markupsafe import Markup

    from bench.report.inline import Drawings, symbol
    from bench.report.page_numbers import PageNumbers

    numbers, drawings = PageNumbers(report), Drawings()

    def place(entry: Entry | None, section: int) -> Markup:
        """The attribute that names a number's place in the data; nothing for what is none."""
        found = numbers.place(entry, section)
        return Markup("" if found is None else f' data-n="{found:d}"')

    def panels(figure: Figure, prefix: str, section: int) -> list[Markup]:
        return [
            Markup(drawings.inline(svg, f"{prefix}p{index}", partial(_mark, figure, index, section)))
            for index, svg in enumerate(figure.panel_svgs)
        ]

    def _mark(figure: Figure, panel: int, section: int, number: int) -> str:
        known = figure.panel_marks[panel] if figure.panel_marks else ()
        return place(known[number], section) if number < len(known) else ""

    style, script = page_style(report), page_script()
    names: dict[str, object] = {
        "policy": policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "place": place,
        "panels": panels,
        "letters": lambda: Markup(drawings.letters),
        "data": lambda: Markup(numbers.script()),
        "symbol": lambda series, figure: Markup(symbol(series, figure)),
    }
    helpers: tuple[Callable[..., object], ...] = (
        breakable,
        widths,
        room_class,
        again,
        data_uri,
        picture_class,
        sayings,
    )
    page = _environment().get_template("report.html")
    return page.render(report=report, **names, **{each.__name__: each for each in helpers})


def policy(style: str, script: str) -> str:
    """Even if a text became markup, the browser would load nothing, run nothing and style nothing."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def page_style(report: Report) -> str:
    """The style sheet, with a rule for each width that the page needs: no element has a style of its own."""
    rooms = sorted({width for section in report.sections for table in section.tables for width in widths(table)})
    sizes = sorted({shown_width(p) for s in report.sections for f in s.figures for p in f.pictures if p.content})
    rules = [f".w{width} {{ --w: {width}ch; }}" for width in rooms if width]
    rules += [f".px{width} {{ --w: {width}px; }}" for width in sizes]
    return "\n".join([*map(_template, STYLES), *rules])


@lru_cache(maxsize=1)
def page_script() -> str:
    """The script: everything in one function, so that it leaves no names behind."""
    return "(() => {\n" + "\n".join(map(_template, SCRIPTS)) + "})();\n"


def _template(name: str) -> str:
    return (files("bench.report") / "templates" / name).read_text("utf-8")


def data_uri(picture: Picture) -> str:
    """The picture as an address that holds it."""
    return f"data:image/png;base64,{b64encode(picture.content).decode('ascii')}"


def shown_width(picture: Picture) -> int:
    """Screen pixels that a picture takes at most: a small one is enlarged."""
    return picture.width * (LARGEST_ZOOM if picture.width <= SMALL_WIDTH else 1)


def picture_class(picture: Picture) -> str:
    """The classes of a picture: its width on the screen, and whether its pixels are to be seen."""
    width = shown_width(picture)
    return f"px{width}{' small-picture' if width > picture.width else ''}"


def breakable(text: str) -> Markup:
    """A heading that a narrow column may break after `_`."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def room_class(width: int) -> str:
    """The classes of an entry in a column that keeps room for intervals and marks."""
    return f" room w{width}" if width else ""


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


def sayings(figure: Figure) -> Sequence[str]:
    """What the marks of a figure say, for who cannot point at them; nothing where they are too many to read."""
    found = [text for panel in figure.panels for series in panel.series for text in dict.fromkeys(series.texts) if text]
    found += [vertical.text for panel in figure.panels for vertical in panel.verticals]
    return found if len(found) <= MOST_SAYINGS else ()


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
