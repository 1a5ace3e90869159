"""One report of several runs: which ones, in which order, and counted through."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import UserError
from bench.report.gather import gather
from bench.report.page import render_report
from bench.store.record import Record, RunInfo

TEXT = """\
schema: 1
suite: {name}
title: Suite {name}
{source}
grid: [{{model: skip-unet}}]
metrics: [latency]
tables: [{{id: t, caption: Times of {name}, rows: model.skip, values: [{{metric: latency}}]}}]
figures: [{{id: f, caption: Picture of {name}, kind: bars, x: model.skip, value: {{metric: latency}}}}]
"""
SUITES = {
    "zz": "reproduces: {paper: adaptive-skip, table: 1}",
    "yy": "reproduces: {paper: adaptive-skip, table: 10}",
    "xx": "reproduces: {paper: adaptive-skip, table: 2}",
    "ww": "reproduces: {paper: adaptive-skip, figure: 1}",
    "vv": "reproduces: {paper: missing-u, table: 5}",
    "aa": "",
    "torn": "this: is: not: yaml",
}
READ = ("zz", "xx", "yy", "ww", "vv", "aa", "torn")
OLD, NEW = "20261120-101500-ab12cd", "20261121-101500-ab12cd"


@pytest.fixture
def results(write: Callable[..., Path], plain_info: RunInfo, plain_records: tuple[Record, ...], tmp_path: Path) -> Path:
    """Seven suites, one of them with two runs, and folders that are no suites."""
    for name, source in SUITES.items():
        info = replace(plain_info, suite=name, suite_text=TEXT.format(name=name, source=source))
        write(tmp_path / "results", info, tuple(replace(record, suite=name) for record in plain_records))
        if name == "aa":
            write(tmp_path / "results", replace(info, id=NEW), plain_records)
    (tmp_path / "results" / "published" / "x").mkdir(parents=True)
    (tmp_path / "results" / "README.md").write_text("x")
    return tmp_path / "results"


def test_a_results_folder_stands_for_the_newest_run_of_every_suite_in_the_order_of_the_papers(results: Path) -> None:
    found = gather([results])

    assert [run.parent.name for run in found] == list(READ)
    assert {run.name for run in found if run.parent.name == "aa"} == {NEW}


def test_all_runs_come_when_they_are_asked_for(results: Path) -> None:
    assert [run.name for run in gather([results], everything=True) if run.parent.name == "aa"] == [OLD, NEW]
    assert [run.name for run in gather([results / "aa"], everything=True)] == [OLD, NEW]


def test_paths_keep_their_order_and_a_run_comes_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gather([results / "yy", results / "aa" / OLD, results / "yy" / OLD]) == (
        results / "yy" / OLD,
        results / "aa" / OLD,
    )
    monkeypatch.chdir(results / "yy")
    assert [run.resolve() for run in gather([Path()])] == [results / "yy" / OLD]


def test_a_path_without_runs_is_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no run in there; expected a folder with run\.json"):
        gather([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"gone: no run in there: No such file or directory"):
        gather([results, tmp_path / "gone"])


def test_one_report_of_all_suites_in_every_format(results: Path, tmp_path: Path) -> None:
    written = render_report(gather([results]), tmp_path / "out", ("md", "html", "csv", "tex"), title="Both papers")
    texts = {path.relative_to(tmp_path / "out").as_posix(): path for path in written}

    page, tex = texts["report.html"].read_text("utf-8"), texts["report.tex"].read_text("utf-8")
    text = texts["report.md"].read_text("utf-8")
    known = [name for name in READ if name != "torn"]
    assert [text.index(f"\n## Suite {name}\n") for name in known] == sorted(
        text.index(f"\n## Suite {name}\n") for name in known
    )
    for number, name in enumerate(known, start=1):
        assert f"### Table {number}: Times of {name}" in text and f"### Figure {number}: Picture of {name}" in text
        assert f'<a href="#{name}">Suite {name}</a>' in page and f'<section id="{name}"' in page
        assert f"report-{name}-t.csv" in texts and f"\\input{{report-{name}-t}}" in tex
        assert f"report-figures/{name}-f-01.pdf" in texts and f"report-figures/{name}-f.svg" in texts
    assert text.startswith("# Both papers\n") and "<h1>Both papers</h1>" in page and r"\title{Both papers}" in tex
    assert "cannot be read, so its tables are not shown" in page


def test_the_command_line_reports_a_results_folder_and_names_its_files(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert (
        main(["report", str(results), "--out", str(out), "--format", "md", "--title", "Mine", "--all", "--json"]) == 0
    )

    written = json.loads(capsys.readouterr().out)["written"]
    assert str(out / "report.md") in written and all(Path(path).is_file() for path in written)
    text = (out / "report.md").read_text("utf-8")
    assert text.startswith("# Mine\n") and text.count("\n## Suite aa\n") == 2
    assert "aa-2-f.svg" in text


def test_one_run_is_reported_into_its_own_folder(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(results / "xx"), "--format", "csv"]) == 0

    assert capsys.readouterr().out.split() == [str(results / "xx" / OLD / "xx-t.csv")]
