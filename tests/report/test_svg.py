"""Pictures: the same bytes every time, valid, and free of anything a stranger wrote."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.report.document import Figure, Look, Panel, Series
from bench.report.draw import drawable, rounded
from bench.report.geometry import convex_hull, pareto_front
from bench.report.inline import Drawings
from bench.report.palette import TOKENS, colour_of
from bench.report.svg import drawn

NASTY = "<script>alert(1)</script> $\\frac{ \u202e \U0001f600 漢字 -- & \" ' ]]> {{7*7}}"


def figure(look: Look = "bars", **fields: object) -> Figure:
    steps = look == "steps"
    shown = (
        (Series("stage", "ours", (0.0, 0.5, 0.5, 1.0), (0.0, 0.0, 2.0, 2.0), texts=("a", "a", "b", "b")),)
        if steps
        else (
            Series("paper", "paper", (0.0, 1.0), (1.0, 2.0), texts=("paper 1", "paper 2")),
            Series("ours", "ours", (0.0, 1.0), (1.5, None), (1.4, None), (1.6, None), ("ours 1.5 & <more>", "")),
            Series("limit", "beside", (0.0, 1.0), (0.5, 0.7), texts=("limit", "limit")),
            Series("second", "beside", (0.0, 1.0), (0.6, 0.8), texts=("second", "second")),
        )
    )
    panel = Panel("one", look, shown, () if look in ("steps", "points", "lines") else ("a", "b"), "subtitle")
    values = {"y_range": (0.0, 3.0), "x_range": (0.0, 1.0) if steps else None, **fields}
    return Figure("f", "A caption", "x", "y", (panel, panel), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("look", ["bars", "steps", "lines", "points"])
def test_every_look_is_valid_and_the_same_every_time(look: Look) -> None:
    first, second = drawn(figure(look)), drawn(figure(look))

    assert first.svg == second.svg
    assert first.panel_svgs == second.panel_svgs
    assert len(first.panel_svgs) == 2
    for text in (first.svg, *first.panel_svgs):
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_a_picture_has_no_letters_dates_comments_or_addresses() -> None:
    svg = drawn(figure()).svg

    assert "<text" not in svg
    assert "<!--" not in svg
    assert "<metadata" not in svg
    assert not re.search(r"20\d\d-\d\d-\d\d", svg)
    assert set(re.findall(r"https?://[^\"'\s]+", svg)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_a_picture_scales_to_its_place_and_says_what_it_is() -> None:
    shown = drawn(figure())
    root = ElementTree.fromstring(shown.panel_svgs[0])

    assert "width" not in root.attrib and "viewBox" in root.attrib
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "A caption: one"


def test_every_mark_says_its_number_and_gaps_have_no_mark() -> None:
    root = ElementTree.fromstring(drawn(figure()).panel_svgs[0])
    titles = [each.text for each in root.iter() if each.tag.endswith("title")]

    assert titles == ["paper 1", "paper 2", "ours 1.5 & <more>", "limit", "limit", "second", "second"]


def test_ids_of_a_composed_picture_are_unique_and_found() -> None:
    svg = drawn(figure()).svg
    ids = re.findall(r'\bid="([^"]+)"', svg)

    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', svg)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)


def test_the_composed_picture_stands_on_white_and_a_panel_on_nothing() -> None:
    shown = drawn(figure())

    assert 'fill="#ffffff"' in shown.svg
    assert "#ffffff" not in shown.panel_svgs[0]


@pytest.mark.parametrize("look", ["bars", "steps", "lines", "points"])
def test_strange_texts_draw_and_stay_texts(look: Look) -> None:
    plain = figure(look)
    panel = plain.panels[0]
    strange = tuple(
        Series(f"{NASTY}{i}", s.role, s.x, s.y, s.low, s.high, tuple(NASTY for _ in s.x))
        for i, s in enumerate(panel.series)
    )
    ticks = tuple(NASTY for _ in panel.ticks)
    made = Figure(NASTY, NASTY, NASTY, NASTY, (Panel(NASTY, look, strange, ticks, NASTY),), y_range=(0.0, 3.0))

    shown = drawn(made)

    allowed = {"svg", "g", "path", "use", "defs", "style", "rect", "clipPath", "title", "image"}
    for text in (shown.svg, *(Drawings().inline(svg, "x") for svg in shown.panel_svgs)):
        tags = {each.tag.rpartition("}")[2] for each in ElementTree.fromstring(text).iter()}
        assert tags <= allowed


def test_the_users_own_settings_of_matplotlib_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    before = drawn(figure()).svg
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)

    assert drawn(figure()).svg == before
    assert matplotlib.rcParams["axes.facecolor"] == "red"


def test_letters_that_the_font_lacks_become_squares() -> None:
    assert drawable("c = 2 漢") == "c = 2 \N{WHITE SQUARE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (8e6, "8 M"), (250_000.0, "250 k"), (-1.5e9, "\N{MINUS SIGN}1.5 G"), (12.5, "12.5"), (3e12, "3 T")],
)
def test_large_numbers_of_an_axis_have_a_prefix(value: float, text: str) -> None:
    assert rounded(value) == text


def test_long_labels_are_cut() -> None:
    assert drawable("x" * 100, 10) == "x" * 9 + "\N{HORIZONTAL ELLIPSIS}"


def test_many_names_on_an_axis_are_turned() -> None:
    names = tuple(f"a long name {index}" for index in range(8))
    wide = Series("ours", "ours", tuple(map(float, range(8))), (1.0,) * 8)
    svg = drawn(Figure("f", "C", "x", "y", (Panel("", "bars", (wide,), names),))).panel_svgs[0]

    assert "rotate(-35)" in svg


def test_a_series_has_one_colour_in_every_panel() -> None:
    shown = figure().legend

    assert [colour_of(each, shown) for each in shown] == ["paper", "series-0", "series-1", "series-2"]
    assert len(set(TOKENS.values())) == len(TOKENS)


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert pareto_front([(1, 5), (2, 3), (3, 4), (4, 1), (2, 6), (1, 7)]) == [(1, 5), (2, 3), (4, 1)]


def test_the_hull_holds_every_point_and_has_the_outer_ones_for_corners() -> None:
    inner = [(1.0, 1.0), (1.5, 0.5)]
    corners = [(0.0, 0.0), (2.0, 0.0), (2.5, 2.0), (0.0, 3.0)]

    assert convex_hull([*inner, *reversed(corners)]) == corners
    assert convex_hull([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]) == [(0.0, 0.0), (2.0, 2.0)]
    assert convex_hull([(1.0, 1.0), (1.0, 1.0)]) == [(1.0, 1.0)]
    assert convex_hull([]) == []


def test_a_figure_without_panels_has_no_picture() -> None:
    empty = Figure("f", "C", "", "", (), notes=("nothing to show",))

    assert drawn(empty) == empty
