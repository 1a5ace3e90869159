"""Markdown, HTML, CSV and LaTeX of one report, against golden texts and their own rules."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.report import latex
from bench.report.csv import render_csv
from bench.report.document import Entry, Footnote, Line, Report, Row, Table
from bench.report.html import page_script, render_html
from bench.report.latex import render_latex
from bench.report.markdown import code, code_block, escape, file_stem, markdown_files, render_markdown, render_table
from bench.store.record import Record, Status

GOLDEN = Path(__file__).parent / "golden"
MakeReport = Callable[..., Report]


def broken(records: Iterable[Record]) -> Iterable[Record]:
    """A run in which one cell died, one is not possible here, and one was never reached."""
    for record in records:
        if "zero,skip_exponent=5-" in record.cell and record.metric == "latency":
            reason = "killed (9), likely out of memory"
            record = replace(record, status=Status.FAILED, values=(), nfe=None, reason=reason)
        if "duplicate,skip_exponent=3-" in record.cell and record.metric in ("latency", "step_time"):
            reason = "no CUDA device is there"
            record = replace(record, status=Status.UNSUPPORTED, values=(), nfe=None, reason=reason, at={}, siblings=1)
        if "interpolate,skip_exponent=2-" not in record.cell:
            yield record


def assert_golden(name: str, text: str) -> None:
    """The text is that of the file; BENCH_UPDATE_GOLDEN=1 writes the file instead."""
    path = GOLDEN / name
    if os.environ.get("BENCH_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    difference = difflib.unified_diff(expected.splitlines(), text.splitlines(), name, "now", lineterm="", n=1)
    assert text == expected, "\n".join(difference)


def without_definitions(found: Report) -> Report:
    """The metrics' own descriptions belong to the metrics."""
    return replace(found, sections=tuple(replace(section, definitions=()) for section in found.sections))


def test_the_whole_report_as_markdown(report: MakeReport) -> None:
    assert_golden("speedup.md", render_markdown(without_definitions(report()), "speedup"))


def test_a_report_with_gaps_as_markdown(report: MakeReport) -> None:
    assert_golden("gaps.md", render_markdown(without_definitions(report(broken)), "speedup"))


def test_the_tables_as_latex(report: MakeReport) -> None:
    assert_golden("table2.tex", render_latex(report().sections[0].tables[0]))


def test_markdown_comes_with_its_pictures(report: MakeReport) -> None:
    files = markdown_files(report(), "speedup")
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", files["speedup.md"])

    assert sorted(shown) == sorted(name for name in files if name.endswith(".svg"))
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("skip_exponent = 2", "skip_exponent = 2"),
        ("_x_ and snake_case_name", r"\_x\_ and snake_case_name"),
        ("a|b", r"a\|b"),
        ("<b>", r"\<b\>"),
        ("**no**", r"\*\*no\*\*"),
        ("[x](http://e.com)", r"\[x\](http\://e.com)"),
        ("www.e.com", r"www\.e.com"),
        ("# not a title", r"\# not a title"),
        ("- not an item", r"\- not an item"),
        ("$x$", r"\$x\$"),
        ("`code`", r"\`code\`"),
        ("a & b", r"a \& b"),
    ],
)
def test_markdown_shows_texts_as_they_are(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_names_of_files_are_short_and_stay_different() -> None:
    long = ["x" * 300, "x" * 301, "x" * 299 + "/"]
    stems = [file_stem(name) for name in long]

    assert file_stem("a/b c") == "a-b-c" and file_stem("") == "figure" and file_stem("", "run") == "run"
    assert len(set(stems)) == 3 and {len(stem) for stem in stems} == {80}


def test_code_is_fenced_by_more_backticks_than_it_holds() -> None:
    assert code("a`b") == "``a`b``"
    assert code("`a`") == "`` `a` ``"
    assert code_block("```") == "````sh\n```\n````"


def small(
    text: str = "1.5 s", head: str = "zero", label: str = "ours", column: str = "c = 1", best: bool = False
) -> Table:
    numbers = {"value": 1.5, "low": 1.4, "high": 1.6}
    entry = Entry(text, "s", "[1.4, 1.6]", notes=("a",), cells=("s/x-1",), best=best, **numbers)
    rows = (Row((head,), (Line("paper", "paper", (Entry("2 s", "s", value=2.0),)), Line(label, "ours", (entry,)))),)
    return Table("t", "A caption", ("skip",), "c", (column,), rows, footnotes=(Footnote("why", "a"), Footnote("how")))


def test_a_small_table_in_every_format() -> None:
    assert render_table(small()).splitlines() == [
        "| skip |  | c = 1 |",
        "| --- | --- | ---: |",
        "| zero | paper | 2 s |",
        "|  | ours | 1.5 s [1.4, 1.6] (a) |",
    ]
    assert "| **1.5 s** [1.4, 1.6] (a) |" in render_table(small(best=True))
    assert r"\textbf{1.5 s} {\scriptsize" in render_latex(small(best=True))
    assert list(csv.reader(io.StringIO(render_csv(small()))))[2] == [
        *("zero", "ours", "c = 1", "1.5 s [1.4, 1.6]", "1.5", "1.4", "1.6", "s", "", "", "", "s/x-1")
    ]
    assert r" & ours & 1.5 s {\scriptsize {[}1.4, 1.6{]}}\textsuperscript{a} \\" in render_latex(small())


def test_csv_has_every_digit_and_a_line_for_each_number(report: MakeReport) -> None:
    table = report().sections[0].tables[0]
    rows = list(csv.DictReader(io.StringIO(render_csv(table))))

    assert len(rows) == 3 * 4 * 5
    ours = [row for row in rows if row["line"] == "ours" and row["skip"] == "zero"]
    assert [float(row["value"]) for row in ours] == [entry.value for entry in table.rows[0].lines[1].entries]
    assert ours[2]["paper"] == repr(table.rows[0].lines[1].entries[2].paper)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r="])
def test_no_text_of_a_csv_is_a_formula_but_negative_numbers_stay_numbers(start: str) -> None:
    table = small(head=f"{start}1+1", label=f"{start}2", column=f"{start}3", text=f"{start}4")
    negative = replace(table.rows[0].lines[1].entries[0], value=-1.5)
    row = replace(table.rows[0], lines=(replace(table.rows[0].lines[1], entries=(negative,)),))
    (found,) = list(csv.reader(io.StringIO(render_csv(replace(table, rows=(row,))))))[1:]

    assert [text[0] for text in found[:4]] == ["'"] * 4
    assert found[4] == "-1.5"


def test_latex_prints_special_characters() -> None:
    assert latex.escape("a_b & 50 % {x} $y$ ~ ^ # \\") == (
        r"a\_b \& 50 \% \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \# \textbackslash{}"
    )


def test_latex_names_the_letters_that_its_fonts_lack() -> None:
    assert latex.escape("Fréchet \u03c3 ≥ 漢 \u017f 😀") == (
        r"Fréchet $\sigma$ $\ge$ \texttt{U+6F22} \texttt{U+017F} \texttt{U+1F600}"
    )


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.names = {name for _, attributes in self.elements for name in attributes}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]


@pytest.fixture
def page(report: MakeReport) -> Page:
    return Page(render_html(report()))


def test_the_page_loads_nothing_and_runs_only_its_own_script(report: MakeReport, page: Page) -> None:
    text = render_html(report())
    tags = {tag for tag, _ in page.elements}

    assert not tags & {"iframe", "object", "embed", "link", "img", "base", "form", "input", "button", "audio", "video"}
    assert page.all("src") == [] and page.all("style") == [] and not any(n.startswith("on") for n in page.names)
    assert all(address.startswith("#") for name in ("href", "xlink:href") for address in page.all(name))
    assert set(re.findall(r"https?://[^\"'\s<)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "url(http" not in text


def test_the_policy_names_the_style_sheet_and_the_script_by_their_hashes(report: MakeReport, page: Page) -> None:
    text = render_html(report())
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = {name: rest.split() for name, *rest in (each.split(" ", 1) for each in policy.split("; ")) for rest in rest}
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)

    for name, content in (("style-src", style), ("script-src", script)):
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert rules[name] == [f"'sha256-{digest}'"]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:"] and rules["require-trusted-types-for"] == ["'script'"]


def test_the_script_makes_no_markup_of_texts_and_loads_nothing() -> None:
    script = page_script()

    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "import(",
    ):
        assert word not in script
    assert "XMLHttpRequest" not in script and "setTimeout(" not in script


def test_the_data_of_the_page_holds_every_number_with_its_cells_and_its_command(report: MakeReport) -> None:
    (raw,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', render_html(report()), re.DOTALL)
    data = json.loads(raw)
    numbers, texts = data["numbers"], data["texts"]
    entries = [e for t in report().sections[0].tables for r in t.rows for line in r.lines for e in line.entries]

    assert not set(raw) & set("<>&")
    assert {len(column) for column in numbers.values()} == {len(numbers["value"])}
    shown = [place for place, entry in enumerate(entries) if entry.origin is not None]
    assert [numbers["value"][n] for n in range(len(shown))] == [entries[place].value for place in shown]
    for n, place in enumerate(shown):
        cells = tuple(texts[data["cells"][cell][0]] for cell in numbers["cells"][n])
        assert cells == entries[place].cells
        assert texts[numbers["command"][n]] == report().sections[0].reproduce.get(cells, "")


def test_every_id_is_unique_and_every_link_arrives(page: Page) -> None:
    ids = page.all("id")

    assert len(ids) == len(set(ids))
    links = {address[1:] for name in ("href", "xlink:href") for address in page.all(name)}
    assert links <= set(ids)


def test_the_page_is_readable_on_a_phone_in_the_dark_on_paper_and_by_a_screen_reader(
    report: MakeReport, page: Page
) -> None:
    text = render_html(report())

    assert any(attributes.get("name") == "viewport" for _, attributes in page.elements)
    assert "light-dark(" in text and "@media print" in text and "max-width: 48rem" in text
    assert sum(attributes.get("role") == "region" for _, attributes in page.elements) == 2
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in page.elements if tag == "svg")
    assert [tag for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")][:3] == ["h1", "h2", "h2"]


def test_tables_of_the_page_keep_their_shape(page: Page) -> None:
    rows: list[list[str]] = []
    for tag, attributes in page.elements:
        if tag == "tr":
            rows.append([])
        elif tag in ("td", "th") and rows:
            rows[-1].extend([tag] * int(attributes.get("colspan") or 1))

    assert {len(row) for row in rows} == {6}


def test_the_page_shows_every_number_and_note_of_the_report(report: MakeReport, page: Page) -> None:
    words = " ".join(" ".join(page.words).split())  # no-break spaces are spaces here
    for section in report().sections:
        for table in section.tables:
            for row in table.rows:
                for line in row.lines:
                    for entry in line.entries:
                        assert entry.text in words and entry.interval in words
            for note in table.footnotes:
                assert note.text in words
        for fact in (*section.highlights, *section.definitions, *section.commands, *section.paper):
            assert fact.value in words


def test_missing_numbers_are_seen_first_and_in_their_place(report: MakeReport) -> None:
    found = report(broken)
    page = Page(render_html(found))
    words = " ".join(" ".join(page.words).split())

    assert words.index("Numbers that are missing") < words.index("Table 1")
    assert "killed (9), likely out of memory" in words
    badges = [a["class"] for tag, a in page.elements if tag == "span" and (a.get("class") or "").startswith("badge")]
    assert {"badge failed", "badge unsupported", "badge not-measured"} <= set(badges)


def test_a_page_of_several_runs_lists_them(report: MakeReport) -> None:
    one = report().sections[0]
    page = Page(render_html(Report("Several", (one, replace(one, id="second", title="Another")), "bench")))

    addresses = [a["href"] for tag, a in page.elements if tag == "a"]
    assert addresses[:7] == ["#speedup", "#s1t1", "#s1t2", "#s1f1", "#s1f2", "#s1f3", "#second"]
    assert [" ".join(page.words).count(f"Table {number} ") for number in (1, 4, 5)] == [2, 2, 0]
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in addresses} <= set(ids)
