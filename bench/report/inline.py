"""Drawings as parts of a page: small, in the page's own colours, and without a style of their own.

A page whose policy allows no style attributes needs their declarations as attributes of their own. Letters are drawn
as paths, so a page keeps the path of each letter once and every drawing refers to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from bench.report.document import Figure, Series
from bench.report.palette import TOKENS, colour_of, marker

KEPT = frozenset({"svg", "g", "path", "use", "defs", "rect", "clipPath", "title"})
"""Elements of a drawing; anything else is left out."""
SHAPES: Mapping[str, str] = {
    "o": "M9 1.8a4.2 4.2 0 1 0 .01 0z",
    "s": "M5.2 2.2h7.6v7.6h-7.6z",
    "^": "M9 1.5l4.8 8.4h-9.6z",
    "D": "M9 .8l5.2 5.2-5.2 5.2-5.2-5.2z",
    "v": "M9 10.5l-4.8-8.4h9.6z",
    "P": "M7.4 1.4h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
}
"""The shapes of points in a legend, in a box of 18 by 12."""
NUMBERS = frozenset({"d", "x", "y", "width", "height", "stroke-width", "stroke-dasharray"})
"""Attributes that hold lengths, which need no more than hundredths of a point."""
LETTER = "DejaVu"
"""Begins the ids of letters."""

Attributes = dict[str, str]


class Drawings:
    """The drawings of one page, which share their letters."""

    def __init__(self) -> None:
        self._letters: dict[str, tuple[str, str]] = {}

    def inline(self, svg: str, prefix: str, mark: Callable[[int], str] = lambda number: "") -> str:
        """The drawing with ids of its own. mark: more attributes of each group `mark<number>`."""
        root = ElementTree.fromstring(svg)
        used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
        return self._written(root, prefix, used, mark)

    @property
    def letters(self) -> str:
        """Every letter that was drawn, for one place of the page; empty where there is none."""
        paths = "".join(
            f'<path id="{name}" d="{d}" transform="scale(0.015625)"/>' for name, d in self._letters.values()
        )
        return (
            f'<svg class="letters" width="0" height="0" aria-hidden="true"><defs>{paths}</defs></svg>' if paths else ""
        )

    def _written(self, element: ElementTree.Element, prefix: str, used: set[str], mark: Callable[[int], str]) -> str:
        tag = _local(element.tag)
        if tag not in KEPT:
            return ""
        name = element.get("id", "")
        if name.startswith(LETTER):
            self._learn(name, element)
            return ""
        attributes = self._attributes(element, prefix, used)
        inside = "".join(self._written(child, prefix, used, mark) for child in element)
        if tag == "title":
            return f"<title>{escape(element.text or '')}</title>"
        unseen = tag == "path" and attributes.get("fill") == "none" and "stroke" not in attributes
        if unseen or (tag in ("g", "defs") and not inside):
            return ""
        more = ""
        if number := re.fullmatch(r"mark(\d+)", name):
            attributes["class"] = "mark"
            more = mark(int(number[1]))
        if tag == "g" and not attributes:
            return inside
        text = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
        return f"<{tag}{text}{more}>{inside}</{tag}>" if inside else f"<{tag}{text}{more}/>"

    def _learn(self, name: str, element: ElementTree.Element) -> None:
        d = _short(element.get("d", ""))
        if name not in self._letters:
            self._letters[name] = (f"letter-{len(self._letters)}", d)

    def _attributes(self, element: ElementTree.Element, prefix: str, used: set[str]) -> Attributes:
        found: Attributes = {}
        for key, value in element.attrib.items():
            local = _local(key)
            if local == "style":
                found.update(_declarations(value))
            elif local == "href":
                found["href"] = f"#{self._reference(value.removeprefix('#'), prefix)}"
            elif local == "id":
                if value in used:
                    found["id"] = f"{prefix}-{value}"
            elif local == "clip-path":
                found[local] = value.replace("url(#", f"url(#{prefix}-")
            elif local != "version":
                found[local] = value
        return {key: _short(value) if key in NUMBERS else value for key, value in found.items()}

    def _reference(self, name: str, prefix: str) -> str:
        return self._letters[name][0] if name in self._letters else f"{prefix}-{name}"


def symbol(series: Series, figure: Figure) -> str:
    """How a legend shows a series: as its bar, its stroke across a bar, its line, or its points."""
    shown = figure.legend
    paint = f"var(--fig-{colour_of(series, shown)})"
    looks = {panel.look for panel in figure.panels}
    beside = [each.label for each in shown if each.role == "beside"]
    shape = f'<path fill="{paint}" d="{SHAPES[marker(series, shown)]}"/>'
    if "bars" in looks:
        shape = f'<path fill="{paint}" d="M1 1h16v10h-16z"/>'
        if series.role == "beside":
            line = "M1 4.5h16v3h-16z" if series.label == beside[0] else SHAPES["D"]
            shape = f'<path fill="{paint}" d="{line}"/>'
    elif "lines" in looks:
        dashes = ' stroke-dasharray="4 2.5"' if series.role == "paper" else ""
        shape = f'<path stroke="{paint}" stroke-width="1.8"{dashes} d="M0 6h18"/>{shape}'
    return f'<svg class="swatch" viewBox="0 0 18 12" aria-hidden="true">{shape}</svg>'


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _declarations(style: str) -> Mapping[str, str]:
    """The declarations of a style attribute, in the page's colours."""
    pairs = (each.partition(":") for each in style.split(";") if each.strip())
    return {name.strip(): _colour(value.strip()) for name, _, value in pairs}


def _colour(value: str) -> str:
    return f"var(--fig-{TOKENS[value]})" if value in TOKENS else value


def _short(numbers: str) -> str:
    """Lengths in hundredths, without spaces that nothing needs."""
    text = re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), numbers)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(text.split()))
