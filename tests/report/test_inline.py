"""Drawings inside a page: small, without styles of their own, in the page's colours, with letters kept once."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.report.document import Entry, Figure, Panel, Series
from bench.report.draw import MOST_FOUND, MOST_MARKED
from bench.report.inline import Drawings
from bench.report.svg import drawn


def bars() -> Figure:
    ours = Series(
        "ours", "ours", (0.0, 1.0, 2.0), (1.0, None, 2.0), (0.9, None, 1.8), (1.1, None, 2.2), ("a: 1", "", "c: 2"),
        (Entry("1"), None, Entry("2")),
    )  # fmt: skip
    limit = Series("limit", "beside", (0.0,), (0.5,), texts=("a, limit: 0.5",))
    return drawn(Figure("f", "Times", "c", "seconds", (Panel("one", "bars", (ours, limit), ("a", "b", "c")),)))


@pytest.fixture
def shown() -> Figure:
    return bars()


def test_a_drawing_has_no_style_and_no_address_and_takes_the_pages_colours(shown: Figure) -> None:
    drawings = Drawings()
    svg = drawings.inline(shown.panel_svgs[0], "s1f2p0")

    assert ElementTree.fromstring(svg) is not None and ElementTree.fromstring(drawings.letters) is not None
    assert "style" not in svg and "http" not in svg
    assert 'fill="var(--fig-series-0)"' in svg and not re.search("#[0-9a-f]{6}", svg)


def test_ids_are_of_this_drawing_or_of_the_pages_letters(shown: Figure) -> None:
    drawings = Drawings()
    both = [drawings.inline(shown.panel_svgs[0], prefix) for prefix in ("p0", "p1")]
    text = "".join([*both, drawings.letters])
    ids = re.findall(r'\bid="([^"]+)"', text)

    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert all(re.match(r"p0-|p1-|letter-\d+$", name) for name in ids)


def test_a_letter_is_kept_once_for_all_drawings(shown: Figure) -> None:
    drawings = Drawings()
    drawings.inline(shown.panel_svgs[0], "p0")
    first = drawings.letters
    drawings.inline(shown.panel_svgs[0], "p1")

    assert first and drawings.letters == first
    assert Drawings().letters == ""


def test_a_drawing_is_much_smaller_inside_a_page(shown: Figure) -> None:
    assert len(Drawings().inline(shown.panel_svgs[0], "p0")) < 0.5 * len(shown.panel_svgs[0])


def test_marks_keep_their_titles_and_are_told_apart(shown: Figure) -> None:
    svg = Drawings().inline(shown.panel_svgs[0], "p0", lambda number: f' data-n="{10 + number}"')

    assert re.findall(r'<g class="mark" data-n="(\d+)"><title>([^<]+)</title>', svg) == [
        ("10", "a: 1"), ("11", "c: 2"), ("12", "a, limit: 0.5"),
    ]  # fmt: skip


def test_the_numbers_behind_the_marks_come_in_the_order_of_the_marks(shown: Figure) -> None:
    (marks,) = shown.panel_marks

    assert [entry and entry.text for entry in marks] == ["1", "2", None]


def test_texts_stay_texts() -> None:
    nasty = "</title><script>alert(1)</script>\"' onload=x"
    series = Series("s", "ours", (0.0,), (1.0,), texts=(nasty,))
    svg = Drawings().inline(
        drawn(Figure("f", nasty, "x", "y", (Panel(nasty, "points", (series,)),))).panel_svgs[0], "p"
    )

    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == f"{nasty}: {nasty}"
    assert [each.text for each in root.iter("title")] == [nasty]
    assert {each.tag for each in root.iter()} <= {"svg", "g", "path", "use", "defs", "rect", "clipPath", "title"}


def test_a_long_curve_can_still_be_pointed_at() -> None:
    count = 2 * MOST_MARKED
    heights = tuple(float(index % 7) for index in range(count))
    curve = Series("loss", "ours", tuple(map(float, range(count))), heights, texts=tuple(map(str, range(count))))
    svg = Drawings().inline(drawn(Figure("f", "C", "x", "y", (Panel("", "lines", (curve,)),))).panel_svgs[0], "p")
    titles = [int(text) for text in re.findall("<title>([^<]+)</title>", svg)]

    assert MOST_FOUND <= len(titles) <= MOST_FOUND + 2
    assert titles[0] == 0 and titles[-1] == count - 1 and titles == sorted(titles)
