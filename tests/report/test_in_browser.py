"""The page in a real browser: pointer, keyboard, dark surroundings, a phone, paper, and no script at all."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium, Tab, found_browser
from PIL import Image

from bench.report.document import (
    CellFacts,
    Entry,
    Fact,
    Figure,
    Line,
    Look,
    Origin,
    Panel,
    Picture,
    Report,
    Row,
    Section,
    Series,
    Table,
)
from bench.report.html import render_html
from bench.report.pictures import check_png
from bench.report.svg import drawn

MakeReport = Callable[..., Report]
Open = Callable[..., Tab]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    path = found_browser()
    if path is None:
        pytest.skip("no Chromium is installed; install Debian's `chromium`, or name one in BENCH_CHROMIUM")
    found = Chromium(path, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def show(browser: Chromium, tmp_path: Path) -> Iterator[Open]:
    """show(report): a tab with its page."""
    tabs: list[Tab] = []

    def make(report: Report, *, width: int = 1400, script: bool = True, name: str = "page.html") -> Tab:
        path = tmp_path / name
        path.write_text(render_html(report), encoding="utf-8")
        tabs.append(Tab(browser, width, script=script))
        tabs[-1].open(path)
        return tabs[-1]

    yield make
    for tab in tabs:
        if tab.script:
            tab.ask("localStorage.clear()")
        tab.close()


def section(tables: tuple[Table, ...] = (), figures: tuple[Figure, ...] = ()) -> Section:
    return Section("s", "T", "", (), tables, figures, (), (), (), (), (), (), ())


def number(value: float | None, text: str) -> Entry:
    origin = Origin("latency", "the median", (Fact("Value", repr(value)),))
    return Entry(text, "s", value=value, mark="" if value is not None else "missing", origin=origin)


@pytest.fixture
def times() -> Report:
    """Five rows whose order as texts is not their order as times; one has no number."""
    rows = {
        "d": (0.0095, "9.5 ms"),
        "b": (None, "failed"),
        "a": (0.010, "10 ms"),
        "c": (1.2, "1.2 s"),
        "e": (0.00012, "120 µs"),
    }
    made = tuple(Row((name,), (Line("ours", "ours", (number(*entry),)),)) for name, entry in rows.items())
    return Report("T", (section((Table("t", "Times", ("name",), "", ("latency",), made),)),), "bench")


def png(width: int, height: int, shade: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([shade]) * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def gallery() -> Report:
    def picture(title: str, shade: int) -> Picture:
        found = check_png(png(64, 16, shade))
        return Picture(title, f"Samples: {title}", "x.png", found.content, found.width, found.height, found.sha256)

    pictures = (picture("zero", 40), picture("duplicate", 200), Picture("none", "none", status="failed", reason="why"))
    return Report("T", (section(figures=(Figure("f", "Samples", "", "", (), pictures=pictures),)),), "bench")


def heads(tab: Tab) -> list[str]:
    return tab.all("tbody:not([hidden]) th")


def test_the_page_opens_without_a_complaint(show: Open, report: MakeReport) -> None:
    tab = show(report())

    assert tab.ask("document.querySelectorAll('button.open').length") > 100
    assert tab.complaints() == []


def test_a_column_is_sorted_by_value_up_down_and_back(show: Open, times: Report) -> None:
    tab = show(times)
    orders = []
    for _ in range(3):
        tab.click("th.num .sort")
        orders.append(("".join(heads(tab)), tab.ask("document.querySelector('th.num').getAttribute('aria-sort')")))

    assert orders == [("edacb", "ascending"), ("cadeb", "descending"), ("dbace", None)]
    tab.click("th:not(.num) .sort")
    assert "".join(heads(tab)) == "abcde"
    assert tab.all("[role=status]") == ["5 rows, sorted by name, ascending"]


def test_rows_with_several_lines_are_sorted_as_wholes_by_our_numbers(show: Open, report: MakeReport) -> None:
    tab = show(report())
    tab.ask("document.querySelector('.stacked th:nth-child(3) .sort').click()")
    groups = tab.all(".stacked .group")
    ours = tab.all(".stacked tr.ours td:nth-child(3) .value")

    assert groups == ["interpolate", "duplicate", "zero"]
    assert ours == sorted(ours) and len(ours) == 3
    assert tab.all(".stacked tbody:first-of-type tr:not(.group) > th") == ["paper", "ours", "composed", "MAC limit"]


def test_sorting_and_filtering_work_from_the_keyboard(show: Open, times: Report) -> None:
    tab = show(times)
    tab.press("Tab", "Tab")  # past the button for dark surroundings
    tab.type("MS")
    assert heads(tab) == ["d", "a"]
    assert tab.all("[aria-live=polite]") == ["2 of 5 rows"]
    tab.press("Tab", "Tab", "Tab", "Enter")  # past the region that scrolls and the first column
    assert heads(tab) == ["d", "a"] and tab.ask("document.activeElement.textContent") == "latency"
    tab.press("Enter")
    assert heads(tab) == ["a", "d"]
    tab.press("Tab")
    assert tab.ask("document.activeElement.textContent") in ("10 ms", "9.5 ms")


def test_a_filter_that_nothing_passes_says_so_and_can_be_undone(show: Open, times: Report) -> None:
    tab = show(times)
    tab.click("input[type=search]")
    tab.type("failed b")
    assert heads(tab) == ["b"]
    tab.type(" nothing")
    assert heads(tab) == [] and tab.all("[role=status]") == ["0 of 5 rows"]
    tab.press("Escape")
    assert len(heads(tab)) == 5 and tab.all("[role=status]") == ["5 rows"]


def test_headings_that_only_repeat_are_pale_in_every_order(show: Open) -> None:
    names = (("x", "2"), ("x", "1"), ("y", "1"))
    rows = tuple(Row(each, (Line("ours", "ours", (number(1.0, "1 s"),)),)) for each in names)
    tab = show(Report("T", (section((Table("t", "C", ("a", "b"), "", ("n",), rows),)),), "bench"))

    assert tab.all("th.again") == ["x"]
    tab.click("th:nth-child(2) .sort")
    assert heads(tab) == ["x", "1", "y", "1", "x", "2"] and tab.all("th.again") == []


def test_a_number_opens_what_is_known_of_it_and_gives_the_focus_back(show: Open, report: MakeReport) -> None:
    made = report()
    entry = made.sections[0].tables[0].rows[0].lines[1].entries[2]
    tab = show(made)
    tab.click(".stacked tr.ours td:nth-child(4) .open")

    assert tab.all("dialog[open] h2") == [f"{entry.text} {entry.interval}"]
    assert tab.all("dialog[open] .head p") == ["Table 1, zero, ours, c = 2"]
    said = tab.all("dialog[open]", "innerText")[0]
    assert repr(entry.value) in said and repr(entry.low) in said and "20 values in 10 visits" in said
    assert all(cell in said for cell in entry.cells) and "Intel(R) Xeon(R)" in said
    details = " ".join(tab.all("dialog[open] details"))
    assert "digits-skip-zero.safetensors" in details and "model.skip_exponent" in details
    assert tab.all("dialog[open] pre") == [made.sections[0].reproduce[entry.cells]]
    tab.press("Escape")
    assert tab.all("dialog[open]") == []
    assert tab.ask("document.activeElement.textContent") == entry.text


def test_the_command_is_copied(show: Open, report: MakeReport) -> None:
    tab = show(report())
    tab.grant("clipboardReadWrite", "clipboardSanitizedWrite")
    tab.click(".stacked tr.ours td:nth-child(4) .open")
    tab.click(".command button")
    tab.wait("document.querySelector('dialog [role=status]').textContent !== ''")

    assert tab.all("dialog [role=status]") == ["Copied"]
    assert tab.ask("navigator.clipboard.readText()") == tab.all("dialog pre")[0]


def test_a_table_is_one_stop_of_the_tab_key_and_arrows_lead_through_it(show: Open, report: MakeReport) -> None:
    tab = show(report())
    here = (
        "(() => { const c = document.activeElement.closest('td'); return [c.parentElement.rowIndex, c.cellIndex]; })()"
    )

    assert tab.ask(
        "[...document.querySelectorAll('table')].every(t => t.querySelectorAll('.open[tabindex=\"0\"]').length === 1)"
    )
    tab.ask("document.querySelector('.stacked .open').focus()")
    places = []
    for key in (
        "ArrowRight",
        "ArrowDown",
        "End",
        "ArrowDown",
        "ArrowDown",
        "ArrowDown",
        "Home",
        "ArrowLeft",
        "ArrowUp",
    ):
        tab.press(key)
        places.append(tuple(tab.ask(here)))

    # Row 1 and row 6 are the names of groups.
    assert places == [(2, 2), (3, 2), (3, 5), (4, 5), (5, 5), (7, 5), (7, 1), (7, 1), (5, 1)]
    tab.press("Enter")
    assert tab.all("dialog[open] .head p") == ["Table 1, zero, MAC limit, c = 0"]


def test_a_missing_number_opens_its_reason(show: Open, times: Report) -> None:
    tab = show(times)
    tab.ask("document.querySelectorAll('tbody')[1].querySelector('.open').click()")

    assert tab.all("dialog[open] h2") == ["failed"]


def test_a_mark_says_its_number_under_the_pointer(show: Open, report: MakeReport) -> None:
    tab = show(report())
    tab.hover("figure .mark:nth-of-type(n + 1)[aria-label*='skip_exponent = 5, ours']")

    (said,) = tab.all(".tip:not([hidden])")
    assert said.endswith("skip = zero, skip_exponent = 5, ours") and said[0].isdigit()
    assert tab.ask("document.querySelectorAll('.ring').length") == 1
    x = tab.ask("document.querySelector('.tip').getBoundingClientRect().right")
    assert 0 < x <= 1400
    tab.hover("h1")
    assert tab.all(".tip:not([hidden])") == [] and tab.ask("document.querySelectorAll('.ring').length") == 0


def test_a_drawing_is_one_stop_of_the_tab_key_and_its_marks_speak_under_focus(show: Open, report: MakeReport) -> None:
    tab = show(report())
    marks = tab.all(".panel:first-child .mark", "getAttribute('aria-label')")[:15]

    assert tab.ask(
        "[...document.querySelectorAll('.panel svg')].every(s => s.querySelectorAll('[tabindex=\"0\"]').length === 1)"
    )
    assert tab.ask("document.querySelectorAll('.panel title').length") == 0
    tab.ask("document.querySelector('.panel .mark').focus()")
    tab.press("ArrowRight")
    assert tab.ask("document.activeElement.getAttribute('aria-label')") == marks[1]
    (said,) = tab.all(".tip:not([hidden])")
    assert marks[1] == f"{tab.all('.tip span')[0]}: {tab.all('.tip strong')[0]}" and said
    tab.press("Escape")
    assert tab.all(".tip:not([hidden])") == []
    tab.press("End", "Enter")
    assert tab.all("dialog[open] .head p") == ["Figure 1, skip = zero, skip_exponent = 5, MAC limit"]
    tab.press("Escape")
    assert tab.ask("document.activeElement.getAttribute('class')") == "mark"


@pytest.mark.parametrize("look", ["steps", "lines", "points", "plane"])
def test_marks_of_every_kind_of_drawing_speak(show: Open, look: Look) -> None:
    texts = (
        ("stage 0: 1", "stage 0: 1", "stage 1: 2", "stage 1: 2")
        if look == "steps"
        else ("a: 1", "b: 2", "c: 3", "d: 1")
    )
    series = Series("s", "ours", (0.0, 0.5, 0.5, 1.0), (1.0, 1.0, 2.0, 2.0), texts=texts)
    figure = drawn(Figure("f", "C", "x", "y", (Panel("", look, (series,)),), y_range=(0.0, 3.0)))
    tab = show(Report("T", (section(figures=(figure,)),), "bench"))
    said = list(dict.fromkeys(texts))

    assert tab.all(".mark", "getAttribute('aria-label')") == said
    tab.ask("document.querySelector('.mark').focus()")
    tab.press("ArrowRight")
    assert f"{tab.all('.tip span')[0]}: {tab.all('.tip strong')[0]}" == said[1]
    tab.hover(f".mark[aria-label='{said[-1]}']")
    assert f"{tab.all('.tip span')[0]}: {tab.all('.tip strong')[0]}" == said[-1]
    assert tab.complaints() == []


def test_a_picture_is_enlarged_turned_over_and_left_with_escape(show: Open, gallery: Report) -> None:
    tab = show(gallery)
    size = "document.querySelector('.viewer img').getBoundingClientRect().width"
    tab.click("button.zoom")

    assert tab.all("dialog[open] h2") == ["Samples: zero"] and tab.ask(size) > 64 * 4
    whole = tab.ask(size)
    tab.press("+")
    assert tab.ask(size) > whole
    tab.press("0", "ArrowRight")
    assert tab.all("dialog[open] h2") == ["Samples: duplicate"] and tab.ask(size) == whole
    assert tab.all("dialog[open] .head p")[0].startswith("2 of 2, 64 x 16 pixels")
    tab.press("ArrowRight")
    assert tab.all("dialog[open] h2") == ["Samples: zero"]
    tab.press("Escape")
    assert tab.all("dialog[open]") == []
    assert tab.ask("document.activeElement.getAttribute('aria-label')") == "Enlarge: Samples: zero"
    assert tab.complaints() == []


BACKGROUND = "getComputedStyle(document.body).backgroundColor"
PRESSED = "document.querySelector('[aria-pressed]').getAttribute('aria-pressed')"


def test_the_page_is_dark_in_dark_surroundings_and_when_the_reader_wants_it(show: Open, times: Report) -> None:
    tab = show(times)
    tab.prefer("dark")
    tab.wait(f"{PRESSED} === 'true'")
    dark = tab.ask(BACKGROUND)
    tab.prefer("light")
    tab.wait(f"{PRESSED} === 'false'")
    light = tab.ask(BACKGROUND)
    tab.click("[aria-pressed]")

    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 24, 29)")
    assert tab.ask(BACKGROUND) == dark and tab.ask(PRESSED) == "true"
    tab.prefer("light", media="print")
    assert tab.ask(BACKGROUND) == light
    tab.ask("localStorage.clear()")


def test_the_choice_of_a_reader_lasts(show: Open, times: Report) -> None:
    tab = show(times)
    tab.prefer("light")
    tab.click("[aria-pressed]")

    again = show(times, name="other.html")
    again.prefer("light")
    assert again.ask(BACKGROUND) == "rgb(20, 24, 29)"


def brightness(png: bytes) -> tuple[float, float]:
    """Mean and spread of all pixels, 0 to 255."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=np.float64)
    return float(pixels.mean()), float(pixels.std())


def test_it_looks_light_and_dark_and_never_empty(show: Open, report: MakeReport) -> None:
    tab = show(report())
    seen = {}
    for scheme in ("light", "dark"):
        tab.prefer(scheme)
        seen[scheme] = brightness(tab.picture())

    assert seen["light"][0] > 220 and seen["dark"][0] < 60
    assert all(spread > 10 for _, spread in seen.values())


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window(show: Open, report: MakeReport, width: int) -> None:
    tab = show(report(), width=width)

    assert tab.ask("document.documentElement.scrollWidth") <= width
    tab.ask("document.querySelector('.stacked tr.ours td:nth-child(4) .open').click()")
    left, right = tab.ask(
        "(() => { const b = document.querySelector('dialog').getBoundingClientRect(); return [b.left, b.right]; })()"
    )
    assert 0 <= left < right <= width
    assert (
        tab.ask("(() => { const d = document.querySelector('dialog'); return d.scrollWidth - d.clientWidth; })()") == 0
    )


def test_on_paper_there_are_no_controls_and_no_row_is_missing(show: Open, times: Report) -> None:
    tab = show(times)
    tab.click("input[type=search]")
    tab.type("no such row")
    tab.prefer(media="print")

    assert tab.ask("[...document.querySelectorAll('.bar, .tools')].every(e => e.getClientRects().length === 0)")
    assert tab.ask("[...document.querySelectorAll('tbody')].every(e => e.getClientRects().length > 0)")


def test_without_its_script_the_page_shows_everything_and_offers_nothing_dead(show: Open, report: MakeReport) -> None:
    tab = show(report(), script=False)

    assert tab.count("button, input, dialog, .tip") == 0
    assert tab.count(".panel svg .mark > title") > 40
    words = tab.text("body")
    for table in report().sections[0].tables:
        for row in table.rows:
            for line in row.lines:
                assert all(entry.text in words for entry in line.entries)
        assert all(note.text in words for note in table.footnotes if note.mark)


def test_the_policy_lets_in_no_script_no_style_and_no_markup(show: Open, times: Report) -> None:
    tab = show(times)
    tab.ask("window.ran = 0")
    tab.ask("const s = document.createElement('script'); s.append('window.ran = 1'); document.body.append(s)")
    tab.ask("document.body.setAttribute('style', 'background: red')")
    with pytest.raises(RuntimeError, match="TrustedScript"):
        tab.ask("document.body.setAttribute('onclick', 'window.ran = 2')")
    with pytest.raises(RuntimeError, match="TrustedHTML"):
        tab.ask("document.body.innerHTML = '<b>x</b>'")
    tab.click("h1")

    assert tab.ask("window.ran") == 0
    assert tab.ask(BACKGROUND) == "rgb(255, 255, 255)"
    assert any("Content Security Policy" in each for each in tab.complaints())


HOSTILE = "</script><img src=x onerror=alert(1)><b onclick=x>\u2028'\"&amp;{{7*7}}"


def test_hostile_texts_stay_texts_in_everything_that_opens(show: Open, gallery: Report) -> None:
    fact = Fact(HOSTILE, HOSTILE)
    origin = Origin(HOSTILE, HOSTILE, (fact,), (HOSTILE,))
    entries = tuple(Entry(HOSTILE, "s", HOSTILE, value=v, cells=("c",), origin=origin) for v in (1.0, 2.0))
    rows = tuple(Row((HOSTILE,), (Line(HOSTILE, "ours", (entry,)),)) for entry in entries)
    found = gallery.sections[0]
    pictures = tuple(replace(each, alt=HOSTILE, title=HOSTILE) for each in found.figures[0].pictures)
    spoiled = replace(
        section(
            (Table("t", HOSTILE, (HOSTILE,), "", (HOSTILE,), rows),), (replace(found.figures[0], pictures=pictures),)
        ),
        title=HOSTILE,
        cells=(CellFacts("c", HOSTILE, (fact,), (fact,)),),
        reproduce={("c",): HOSTILE},
        run=(fact,),
    )
    tab = show(Report(HOSTILE, (spoiled,), HOSTILE))

    tab.click(".open")
    assert tab.all("dialog pre") == [HOSTILE]
    shown = HOSTILE.replace("\u2028", " ")
    assert tab.all("dialog h2") == [f"{shown} {shown}"]
    tab.press("Escape")
    tab.click(".sort")
    tab.click("button.zoom")
    assert tab.all("dialog[open] h2") == [HOSTILE]
    assert tab.ask("document.querySelectorAll('script').length") == 2
    assert tab.ask("document.querySelectorAll('b, [onclick], [onerror], img:not([src^=data])').length") == 0
    assert tab.complaints() == []
