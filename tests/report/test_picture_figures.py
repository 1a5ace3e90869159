"""Figures of files: which picture stands in which panel, and what stands where there is none."""

from __future__ import annotations

import csv
import io
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench.analysis.results import collect
from bench.errors import SuiteError
from bench.registry import load_builtins
from bench.report import picture_figures
from bench.report.csv import csv_files
from bench.report.document import Figure, Report, Section
from bench.report.figures import build_figure
from bench.report.grids import Measured
from bench.report.html import render_html
from bench.report.markdown import markdown_files
from bench.report.page import render_report
from bench.store.record import Record, RunInfo, Status
from bench.suite.expand import expand
from bench.suite.read import parse_suite
from bench.suite.schema import Cell, Chosen, Companion, FigureSpec, Quantity

Write = Callable[..., Path]
SAMPLES = Quantity(metric="samples")


def png(path: Path, grey: int, size: tuple[int, int] = (4, 2)) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)
    return path.read_bytes()


def spec(kind: str = "images", value: Quantity = SAMPLES, **fields: object) -> FigureSpec:
    figure = FigureSpec(id="grids", caption="First samples", kind="images", value=value)
    return figure.model_copy(update={"kind": kind, **fields})


@pytest.fixture
def drawn(
    tmp_path: Path, cells: tuple[Cell, ...], plain_records: tuple[Record, ...]
) -> Iterator[Callable[..., Measured]]:
    """drawn(change): c = 0 and 2 of two skip types; each names a picture of its own grey."""
    chosen = [cell for cell in cells if cell.factors["model.skip"] != "interpolate"]
    chosen = [cell for cell in chosen if cell.factors["model.skip_exponent"] in (0.0, 2.0)]

    def make(change: Callable[[Iterable[Record]], Iterable[Record]] = tuple) -> Measured:
        records = []
        for number, cell in enumerate(chosen):
            name = f"artifacts/{number}.png"
            png(tmp_path / name, 10 * number)
            base = replace(plain_records[0], cell=cell.id, factors=cell.factors, part="", siblings=1)
            records.append(replace(base, metric="samples", unit="images", values=(60.0,), artifact=name))
        planned = [
            cell.model_copy(update={"metrics": (cell.metrics[0].model_copy(update={"name": "samples"}),)})
            for cell in chosen
        ]
        changed = tuple(change(records))
        return Measured(collect(changed, planned), None, changed, {}, tmp_path)  # type: ignore[arg-type]

    yield make


def titles(figure: Figure) -> list[str]:
    return [picture.title for picture in figure.pictures]


def test_each_cell_has_a_panel_named_by_what_tells_it_apart(drawn: Callable[..., Measured], tmp_path: Path) -> None:
    figure = build_figure(spec(), drawn())

    assert titles(figure) == [
        "skip = zero, skip_exponent = 0",
        "skip = zero, skip_exponent = 2",
        "skip = duplicate, skip_exponent = 0",
        "skip = duplicate, skip_exponent = 2",
    ]
    assert [each.content for each in figure.pictures] == [
        (tmp_path / f"artifacts/{i}.png").read_bytes() for i in range(4)
    ]
    assert figure.pictures[1].alt == "First samples: skip = zero, skip_exponent = 2"
    assert (figure.pictures[1].width, figure.pictures[1].height) == (4, 2)
    assert figure.panels == () and figure.notes == () and not figure.wide


def test_where_chooses_the_cells_and_series_names_them(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec("strip", where={"model.skip_exponent": 2.0}, series="model.skip"), drawn())

    assert titles(figure) == ["skip = zero", "skip = duplicate"]
    assert figure.wide


def test_a_series_that_is_not_enough_is_helped_by_other_factors(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec(series="model.skip_exponent"), drawn())

    assert titles(figure)[:2] == ["skip_exponent = 0, skip = zero", "skip_exponent = 2, skip = zero"]


def test_the_only_cell_needs_no_title(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec(where={"model.skip": "zero", "model.skip_exponent": 0.0}), drawn())

    assert titles(figure) == [""]
    assert figure.pictures[0].alt == "First samples"


def test_no_cell_is_a_note(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec(where={"model.skip": "none such"}), drawn())

    assert figure.notes == ("No cell of the suite is meant by this figure.",)


def test_a_rule_chooses_the_cell_whose_picture_is_shown(drawn: Callable[..., Measured]) -> None:
    def with_more(records: Iterable[Record]) -> Iterable[Record]:
        for number, record in enumerate(records):
            yield replace(record, values=(60.0 + number,))

    best = Chosen(over="model.skip_exponent", by=Companion(metric="samples"), prefer="higher")
    figure = build_figure(spec(value=SAMPLES.model_copy(update={"chosen": best})), drawn(with_more))

    assert titles(figure) == ["skip = zero", "skip = duplicate"]
    assert [each.name for each in figure.pictures] == ["artifacts/1.png", "artifacts/3.png"]


def only(number: int, **changes: object) -> Callable[[Iterable[Record]], Iterable[Record]]:
    def change(records: Iterable[Record]) -> Iterable[Record]:
        for index, record in enumerate(records):
            yield replace(record, **changes) if index == number else record  # type: ignore[arg-type]

    return change


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        (
            {"status": Status.SKIPPED, "values": (), "reason": "no weights", "artifact": None},
            "skipped",
            "no weights",
        ),
        ({"artifact": None}, "unclear", "samples names no picture"),
        ({"artifact": "artifacts/gone.png"}, "unreadable", "artifacts/gone.png is not there any more"),
        ({"artifact": "../run.json"}, "unreadable", "../run.json is not below artifacts/ of the run"),
    ],
)
def test_a_cell_without_a_picture_says_why_and_the_others_stand(
    drawn: Callable[..., Measured], changes: dict[str, object], status: str, reason: str
) -> None:
    figure = build_figure(spec(), drawn(only(2, **changes)))

    assert [(each.status, each.reason) for each in figure.pictures] == [("", ""), ("", ""), (status, reason), ("", "")]
    assert [bool(each.content) for each in figure.pictures] == [True, True, False, True]


def test_several_pictures_of_one_cell_must_be_told_apart(drawn: Callable[..., Measured], tmp_path: Path) -> None:
    png(tmp_path / "artifacts/late.png", 99)

    def twice(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            yield replace(record, at={"t": 50}, siblings=2)
            yield replace(record, at={"t": 100}, siblings=2, artifact="artifacts/late.png")

    unclear = build_figure(spec(), drawn(twice)).pictures[0]
    chosen = build_figure(spec(value=Quantity(metric="samples", at={"t": 100})), drawn(twice)).pictures[0]

    assert unclear.reason == "samples names 2 pictures; choose one with `at`: t = 50 and t = 100"
    assert chosen.name == "artifacts/late.png"


def test_a_figure_does_not_outgrow_a_page(
    drawn: Callable[..., Measured], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = drawn()
    sizes = [(tmp_path / f"artifacts/{number}.png").stat().st_size for number in range(4)]
    monkeypatch.setattr(picture_figures, "MOST_BYTES", sum(sizes[:2]) + 1)
    figure = build_figure(spec(), measured)

    assert [each.status for each in figure.pictures] == ["", "", "not shown", "not shown"]
    assert figure.pictures[3].name == "artifacts/3.png"


@pytest.mark.parametrize("kind", ["images", "strip"])
def test_a_suite_must_say_whose_pictures_and_can_make_no_number_of_them(kind: str) -> None:
    text = f"""\
schema: 1
suite: s
title: T
grid: [{{model: skip-unet}}]
metrics: [latency]
figures:
  - {{id: f, caption: C, kind: {kind}}}
  - {{id: g, caption: C, kind: {kind}, value: {{metric: latency, relative: ratio, to: {{model.skip_exponent: 0}}}}}}
"""
    with pytest.raises(SuiteError) as caught:
        parse_suite(text, "s.yaml")

    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        f"figures[0]: a figure of kind '{kind}' needs 'value'",
        f"figures[1].value.relative: a figure of kind '{kind}' shows pictures, of which no number is made; "
        "remove 'relative'",
    ]


def page(figure: Figure) -> Report:
    section = Section("s", "T", "", (), (), (figure,), (), (), (), (), (), (), ())
    return Report("T", (section,), "bench 0")


def test_html_holds_the_pictures_themselves(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec(), drawn(only(0, artifact=None)))
    html = render_html(page(figure))

    found = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)" width="4" height="2"', html)
    assert [b64decode(text) for text, _ in found] == [each.content for each in figure.pictures[1:]]
    assert found[0][1] == "First samples: skip = zero, skip_exponent = 2"
    assert "samples names no picture" in html
    assert html.count(' small-picture"') == 3


def test_large_pictures_are_not_enlarged(drawn: Callable[..., Measured], tmp_path: Path) -> None:
    measured = drawn()
    png(tmp_path / "artifacts/0.png", 0, size=(700, 10))

    assert render_html(page(build_figure(spec(), measured))).count(' small-picture"') == 3


def test_markdown_puts_the_pictures_beside_the_page(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec(), drawn(only(0, artifact=None)))
    files = markdown_files(page(figure), "s")

    assert files["s-figures/s-grids-02.png"] == figure.pictures[1].content
    assert "s-figures/s-grids-01.png" not in files
    text = str(files["s.md"])
    assert "![First samples: skip = zero, skip_exponent = 2](s-figures/s-grids-02.png)" in text
    assert "unclear: samples names no picture" in text


def test_csv_lists_files_and_their_hashes(drawn: Callable[..., Measured]) -> None:
    figure = build_figure(spec(), drawn(only(0, artifact=None)))
    rows = list(csv.reader(io.StringIO(csv_files(page(figure), "s")["s-grids-pictures.csv"])))

    assert rows[0] == ["panel", "file", "width", "height", "sha256", "status", "reason"]
    assert rows[1][1:] == ["", "", "", "", "unclear", "samples names no picture"]
    assert rows[2][1:] == ["artifacts/1.png", "4", "2", figure.pictures[1].sha256, "", ""]


def test_names_from_a_run_never_become_markup(drawn: Callable[..., Measured], tmp_path: Path) -> None:
    name = 'artifacts/"><script>1<.png'
    png(tmp_path / "artifacts/0.png", 0)
    (tmp_path / "artifacts/0.png").rename(tmp_path / 'artifacts/"><script>1<.png')
    measured = replace(drawn(only(0, artifact=name)), folder=tmp_path)
    hostile = spec(caption='"><script>alert(1)</script>')
    html = render_html(page(build_figure(hostile, measured)))

    assert "<script>alert" not in html and html.count("<script") == 2  # the page's own data and script


def test_a_report_of_a_run_finds_its_pictures_and_writes_them(
    tmp_path: Path, plain_info: RunInfo, plain_records: tuple[Record, ...], write: Write
) -> None:
    suite = """\
schema: 1
suite: speedup
title: T
grid: [{model: skip-unet}]
metrics: [latency]
figures: [{id: grids, caption: First samples, kind: images, value: {metric: latency}}]
"""
    load_builtins()
    (cell,) = expand(parse_suite(suite, "s.yaml"))
    of_cell = {"cell": cell.id, "factors": cell.factors, "part": "", "siblings": 1}
    record = replace(plain_records[0], **of_cell, artifact="artifacts/a.png")  # type: ignore[arg-type]
    run = write(tmp_path, replace(plain_info, suite_text=suite), (record,))
    content = png(run / "artifacts" / "a.png", 7)

    render_report([run], tmp_path / "out")

    assert (tmp_path / "out/speedup-figures/speedup-grids-01.png").read_bytes() == content
