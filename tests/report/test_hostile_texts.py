"""Texts of strangers in every place where a report shows one: they stay texts, and tables keep their shape."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from bench.report.csv import TRIGGERS, render_claims, render_csv
from bench.report.document import Report
from bench.report.html import render_html
from bench.report.latex import escape, render_document, render_latex
from bench.report.markdown import render_markdown
from bench.report.page import build_section
from bench.report.plain import clean, label
from bench.store.attempts import current
from bench.store.files import Records, Run
from bench.store.lines import DamagedLine
from bench.store.record import InputFile, Record, RunInfo, Status
from bench.suite.schema import ClaimSpec, FigureSpec, Quantity, Suite, TableSpec

MARKUP = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><b>x</b>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    '"><b>x</b>',
    "'><b>x</b>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe src=//evil.example></iframe>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<base href=//evil.example>",
    "<style>*{display:none}</style>",
    "<math><mi//xlink:href=data:x>",
    "<details open ontoggle=alert(1)>",
    "<plaintext>",
    "<table><tr><td>",
    "</td></tr></table><p>",
    "&lt;b&gt; &amp;amp; &#60;b&#62;",
    "<%= 7*7 %>",
    "{{ 7*7 }}",
    "{% for x in y %}",
    "${7*7}",
    "#{7*7}",
    "\\u003cscript\\u003e",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<\u017fcript>",
    "\ufeff<b>",
    "expression(alert(1))",
    "url(//evil.example)",
    "@import '//evil.example'",
    "x" * 5000,
    "a\u2028b\u2029c",
    "﷽" * 40,
)
MARKDOWN = (
    "a | b | c",
    "| --- | --- |",
    "\\|",
    "\\\\| x",
    "a\nb",
    "a\r\n\r\n# b",
    "# title",
    "## title",
    "- item",
    "1. item",
    "> quote",
    "---",
    "===",
    "```sh",
    "~~~",
    "`code`",
    "``",
    "**bold**",
    "__bold__",
    "_em_ x_y_z",
    "~~gone~~",
    "[x](javascript:alert(1))",
    "![x](//evil.example/x.png)",
    "[x]: //evil.example",
    "<http://evil.example>",
    "http://evil.example",
    "www.evil.example",
    "a@evil.example",
    "    indented",
    "$$x$$ $`x`$",
    "[^1]",
    "&copy; &#x3c;",
    ":smile: @someone #1",
    "![",
    "](x)",
)
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|" /C calc"!A0', '"', '",=1', "'=1", ";=1", "\n=1")
MATHS = ("$x$", "$\\frac{", "$", "\\input{x}", "\\end{table}", "%", "{", "}", "a_b^c", "~#&", "\\", "$\\textbf$")
CONTROLS = (
    "\u202eabc\u202c",
    "\x1b[31mred\x1b[0m",
    "\x07",
    "\u200b\u200d",
    "\U000e0001",
    "\ud800",
    "\u0085",
    "\x9b31m",
    "\t\t",
    "",
)
PAYLOADS = (*MARKUP, *MARKDOWN, *FORMULAS, *MATHS, *CONTROLS)

FIELDS = (
    *("title", "note", "caption", "table note", "label", "figure caption", "factor name", "factor value", "cell"),
    *("metric", "warning", "reason", "origin", "source", "sha256", "fingerprint", "split", "paper", "cpu", "machine"),
    *("package", "version", "variable", "environment", "command", "path", "commit", "suite", "damage", "started"),
    *("claim", "claim id", "unit", "ema", "steps", "noise", "input", "run", "suite path", "suite hash", "bench"),
    *("artifact", "condition", "effort", "recipe", "picture caption", "report title"),
)
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q"
    b"\0\0\0\0IEND\xaeB`\x82"
)
"""One black pixel."""
COMMAND = re.compile(r"(?<!\\)\\[a-zA-Z]+")
LETTERS = "".join(map(chr, range(32, 0x2500)))
PICTURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
Texts = Callable[[str], str]


@pytest.fixture
def build(plain_info: RunInfo, plain_records: tuple[Record, ...], tmp_path: Path) -> Callable[[Texts], Report]:
    """build(text): a small report in which the text of every field is text(field)."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "0.png").write_bytes(PNG)

    def make(text: Texts) -> Report:
        factor, metric = f"model.{text('factor name')}", f"m{text('metric')}"
        found = [_spoiled(record, text, factor, metric) for record in plain_records]
        found += [
            replace(
                _spoiled(record, text, factor, "samples"),
                part="",
                artifact="artifacts/0.png" if index == 0 else f"artifacts/a{text('artifact')}.png",
            )
            for index, record in enumerate(plain_records[::6])
        ]
        dead = replace(found[0], cell="dead", part="p9r9", status=Status.FAILED, values=(), reason=f"r{text('reason')}")
        info = replace(
            plain_info,
            suite=f"s{text('suite')}",
            command=f"bench {text('command')}",
            started=f"2026{text('started')}",
            git_commit=f"c{text('commit')}",
            machine={"cpu": f"cpu {text('cpu')}", f"fact {text('machine')}": f"v{text('machine')}", "logical_cores": 2},
            packages={f"p{text('package')}": f"v{text('version')}"},
            environment={f"OMP_{text('variable')}": f"e{text('environment')}"},
            id=f"i{text('run')}",
            suite_path=f"u{text('suite path')}",
            suite_sha256=f"0{text('suite hash')}",
            bench_version=f"0{text('bench')}",
        )
        records = Records(current([*found, dead]), (DamagedLine(3, f"torn {text('damage')}"),), 0)
        suite = _suite(text, factor, metric)
        section = build_section(
            Run(tmp_path, info, records), suite, (), f"results/{text('path')}", (clean(text("damage")),)
        )
        return Report(clean(f"t{text('report title')}", 300), (section,), "bench 0.1.0")

    return make


def _spoiled(record: Record, text: Texts, factor: str, metric: str) -> Record:
    subject: Mapping[str, str] = {
        "weights.origin": f"o{text('origin')}",
        "weights.source": f"w{text('source')}",
        "weights.sha256": f"h{text('sha256')}",
        "data.fingerprint": f"f{text('fingerprint')}",
        "data.split": f"t{text('split')}",
        "paper": f"p{text('paper')}",
        # A passport is JSON: nothing keeps a stranger from putting texts where numbers belong.
        "weights.ema": f"e{text('ema')}",
        "weights.steps": f"s{text('steps')}",
        "first_noise.sha256": f"n{text('noise')}",
    }
    return replace(
        record,
        cell=f"{record.cell}{text('cell')}",
        metric=metric,
        factors={"model": "skip-unet", factor: f"{record.factors['model.skip']}{text('factor value')}"},
        subject=subject,
        warnings=(f"w{text('warning')}",),
        unit=f"u{text('unit')}",
        conditions={**record.conditions, f"c{text('condition')}": f"c{text('condition')}"},
        inputs=(InputFile(f"/x/{text('input')}", 1, 1, f"h{text('input')}"),),
        effort={f"e{text('effort')}": 1},
        at={"fingerprint": f"f{text('recipe')}", "n": 10},
    )


def _suite(text: Texts, factor: str, metric: str) -> Suite:
    quantity = Quantity(metric=metric, label=f"l{text('label')}")
    tables = (
        TableSpec(
            id="t", caption=f"c{text('caption')}", rows=factor, values=(quantity,), notes=(f"n{text('table note')}",)
        ),
        TableSpec(id="u", caption="pivot", rows="model", columns=factor, value=quantity, beside=(quantity,)),
    )
    figure = FigureSpec(
        id="f", caption=f"f{text('figure caption')}", kind="bars", value=quantity, x=factor, beside=(quantity,)
    )
    shown = FigureSpec(id="g", caption=f"g{text('picture caption')}", kind="images", value=Quantity(metric="samples"))
    claim = ClaimSpec(
        id=f"i{text('claim id')}", sentence=f"s{text('claim')}", value=quantity, holds="<", than=1.0, where={}
    )
    return Suite(
        schema=1,
        suite="s",
        title=f"t{text('title')}",
        grid=(),
        metrics=(),
        tables=tables,
        figures=(figure, shown),
        claims=(claim,),
        notes=(f"n{text('note')}",),
    )


class Shape(HTMLParser):
    """Elements and the names of their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.feed(PICTURE.sub("<svg></svg>", text))  # what is inside of pictures is checked as XML

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "wbr":  # where a heading may be broken
            self.elements.append((tag, tuple(name for name, _ in attrs)))


def rotated(start: int) -> Texts:
    """A different payload in every field; over all starts every payload comes to every field."""
    return lambda name: PAYLOADS[(start + 7 * FIELDS.index(name)) % len(PAYLOADS)]


def check(build: Callable[[Texts], Report], texts: Texts) -> None:
    """Every format of one report keeps the shape it has with harmless texts."""
    plain, report = build(lambda name: "x"), build(texts)
    page = render_html(report)
    assert Shape(page).elements == Shape(render_html(plain)).elements
    for svg in PICTURE.findall(page):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {"svg", "g", "path", "use", "defs", "rect", "clipPath", "title"}
    (data,) = re.findall('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert not set(data) & set("<>&") and json.loads(data)["numbers"]["value"]
    assert page.count("<script") == page.count("</script") == 2
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u2028\ud800-\udfff]", page)
    _check_markdown(render_markdown(report, "s"), render_markdown(plain, "s"))
    document, expected = render_document(report, "s"), render_document(plain, "s")
    assert document.count("\n") == expected.count("\n") and document.count("\\end{document}") == 1
    assert set(COMMAND.findall(document)) <= {*COMMAND.findall(expected), *COMMAND.findall(escape(LETTERS))}
    rows = list(csv.reader(io.StringIO(render_claims(report.sections[0].claims)), strict=True))
    assert {len(row) for row in rows} == {12}
    assert not any(field.startswith(TRIGGERS) and not _number(field) for row in rows for field in row)
    for table, same in zip(report.sections[0].tables, plain.sections[0].tables, strict=True):
        rows = list(csv.reader(io.StringIO(render_csv(table)), strict=True))
        assert [len(row) for row in rows] == [len(row) for row in csv.reader(io.StringIO(render_csv(same)))]
        for row in rows:
            assert not any(field.startswith(TRIGGERS) and not _number(field) for field in row)
        tex = render_latex(table)
        assert tex.count("\n") == render_latex(same).count("\n")
        assert tex.count("\\end{table}") == 1 and "\\input" not in tex.replace("\\textbackslash{}input", "")


def _number(field: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", field) is not None


def _check_markdown(text: str, plain: str) -> None:
    parser = MarkdownIt("gfm-like", {"linkify": False})
    found, expected = parser.parse(text), parser.parse(plain)
    assert [token.type for token in found] == [token.type for token in expected]
    inline = [child for token in found for child in token.children or ()]
    kinds = {child.type for child in inline}
    assert kinds <= {
        "text",
        "strong_open",
        "strong_close",
        "em_open",
        "em_close",
        "code_inline",
        "image",
        "text_special",
    }
    assert sum(child.type == "image" for child in inline) == 2
    for kind in ("strong_open", "em_open"):
        assert sum(child.type == kind for child in inline) == sum(
            child.type == kind for token in expected for child in token.children or ()
        )


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 9))
def test_no_text_becomes_markup(build: Callable[[Texts], Report], start: int) -> None:
    check(build, rotated(start))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(len(PAYLOADS)))
def test_no_payload_in_any_field_becomes_markup(build: Callable[[Texts], Report], start: int) -> None:
    check(build, rotated(start))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\u202eabc", "\\u202eabc"),
        ("\U000e0001", "\\U000e0001"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a b"),
        ("Fréchet 10 µs 漢字", "Fréchet 10 µs 漢字"),
        ("", ""),
    ],
)
def test_texts_are_one_line_of_visible_characters(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_long_texts_are_cut_and_say_so() -> None:
    assert clean("x" * 2100) == "x" * 2000 + "\N{HORIZONTAL ELLIPSIS} (100 more characters)"


def test_values_in_headings_are_short_and_never_empty() -> None:
    assert [label(value) for value in (None, True, 2.0, 0.1, 3, "", "zero")] == [
        *("none", "true", "2", "0.1", "3", "(empty)", "zero")
    ]
