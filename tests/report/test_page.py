"""From run folders to files: what is read, what is written, and what happens when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from bench.errors import SaveError, StoreError, UserError
from bench.report.document import Report, Section
from bench.report.page import build_report, build_section, render_report
from bench.store.attempts import current
from bench.store.files import Records, Run, load_run
from bench.store.record import Record, RunInfo
from bench.suite.schema import Cell, Suite

MakeReport = Callable[..., Report]


class Synthetic(Protocol):
    """A run folder and what it was made from."""

    path: Path
    suite: Suite
    cells: tuple[Cell, ...]


CHEAP = """\
schema: 1
suite: speedup
title: A title
grid: [{model: {name: skip-unet, skip: {each: [zero, duplicate]}}}]
metrics: [latency]
tables:
  - {id: t, caption: C, rows: model.skip, values: [{metric: latency}]}
"""


@pytest.fixture
def cheap(plain_info: RunInfo, plain_records: tuple[Record, ...]) -> Run:
    """A run of one small suite without figures."""
    info = replace(plain_info, suite_text=CHEAP)
    return Run(Path("results/speedup/x"), info, Records(current(plain_records), (), 0))


def facts(section: Section) -> dict[str, str]:
    return {fact.label: fact.value for fact in section.highlights}


def test_a_run_folder_becomes_a_page_and_its_pictures(speedup: Synthetic, tmp_path: Path) -> None:
    written = render_report([speedup.path], tmp_path / "out", ("md", "html"))

    names = [path.relative_to(tmp_path / "out").as_posix() for path in written]
    assert names[0] == "speedup.md" and "speedup.html" in names
    assert sum(name.endswith(".svg") for name in names) == 3
    assert all(path.stat().st_size > 0 for path in written)
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == sorted(written)


def test_the_same_run_gives_the_same_bytes(speedup: Synthetic, tmp_path: Path) -> None:
    once, again = (render_report([speedup.path], tmp_path / name, ("md", "html", "csv", "tex")) for name in "ab")

    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_every_format_can_be_asked_for_alone(cheap: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.report.page.load_run", lambda path: cheap)

    found = {
        name: [path.name for path in render_report([tmp_path], tmp_path, (name,))]
        for name in ("md", "html", "csv", "tex")
    }

    assert found == {
        "md": ["speedup.md"],
        "html": ["speedup.html"],
        "csv": ["speedup-t.csv"],
        "tex": ["speedup.tex", "speedup-t.tex"],
    }


@pytest.mark.parametrize("formats", [("htm",), ("md", "pdf"), ()])
def test_an_unknown_format_is_refused_before_anything_is_read(formats: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown report format .*\(known: md, html, csv, tex\)"):
        render_report([tmp_path / "not there"], tmp_path, formats)


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"not a run folder.*bench run"):
        render_report([tmp_path], tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_that_says_what_to_do(
    cheap: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.report.page.load_run", lambda path: cheap)
    tmp_path.chmod(0o500)

    with pytest.raises(SaveError, match="choose another folder with --out"):
        render_report([tmp_path], tmp_path)


def test_a_file_where_the_folder_should_be_is_an_error(
    cheap: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.report.page.load_run", lambda path: cheap)
    (tmp_path / "out").write_text("in the way")

    with pytest.raises(SaveError, match="out: is a file, expected a folder of its own; remove it or choose another"):
        render_report([tmp_path], tmp_path / "out")


def test_a_page_that_is_there_is_replaced_and_nothing_is_left_behind(
    cheap: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.report.page.load_run", lambda path: cheap)
    (tmp_path / "speedup.md").write_text("old")

    render_report([tmp_path], tmp_path, ("md",))

    assert (tmp_path / "speedup.md").read_text().startswith("# A title")
    assert [path.name for path in tmp_path.iterdir()] == ["speedup.md"]


@pytest.mark.parametrize("name", ["speedup.md", "speedup.md.partial"])
def test_a_page_is_not_written_through_a_link(
    cheap: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr("bench.report.page.load_run", lambda path: cheap)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to("../victim")

    render_report([tmp_path], tmp_path / "run", ("md",))

    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "run" / "speedup.md").read_text().startswith("# A title")
    assert not (tmp_path / "run" / "speedup.md").is_symlink()


def test_the_page_starts_with_how_much_was_measured(report: MakeReport) -> None:
    (section,) = report().sections

    assert facts(section) == {
        "Cells measured": "15 of 15",
        "Numbers": "75 of 75",
        "Time spent measuring": "24 min 09 s",
        "Machine": "Intel(R) Xeon(R) Processor @ 2.10GHz (2 logical cores)",
    }
    assert section.failures == ()
    assert section.subtitle == (
        "Suite speedup · run 20261120-101500-ab12cd · 2026-11-20 10:15 UTC · after Giladi et al., table 2"
    )


def test_missing_numbers_are_grouped_by_their_reason(speedup: Synthetic) -> None:
    run = load_run(speedup.path)
    left = tuple(record for record in run.records if record.metric != "step_time")

    section = build_section(replace(run, found=Records(current(left), (), 0)), speedup.suite, speedup.cells, "x")

    (failure,) = section.failures
    assert (failure.status, failure.metrics, len(failure.cells)) == ("not measured", ("step_time",), 15)
    assert facts(section)["Cells measured"] == "0 of 15"
    assert facts(section)["Numbers"] == "60 of 75"


def test_damaged_lines_and_cells_that_nobody_planned_are_said(speedup: Synthetic) -> None:
    with (speedup.path / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"torn": \n')
    try:
        run = load_run(speedup.path)
    finally:
        lines = (speedup.path / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
        (speedup.path / "records.jsonl").write_text("".join(lines[:-1]), "utf-8")

    section = build_section(run, speedup.suite, speedup.cells[1:], "x")

    assert any(warning.startswith("1 line of the results file could not be read") for warning in section.warnings)
    assert any(warning.startswith("1 cell in the results are not in the suite") for warning in section.warnings)


def test_numbers_carried_over_say_from_which_run(cheap: Run) -> None:
    reused = tuple(replace(record, reused="20261119-000000-000000") for record in cheap.records)
    run = replace(cheap, found=Records(current(reused), (), 0))

    section = build_report([(run, Path("x"))]).sections[0]

    assert any("carried over unchanged from run 20261119-000000-000000" in each for each in section.warnings)


def test_a_suite_whose_plug_in_is_not_there_is_still_shown(cheap: Run) -> None:
    strange = replace(cheap.info, suite_text=CHEAP.replace("skip-unet", "model-of-a-stranger"))

    section = build_report([(replace(cheap, info=strange), Path("x"))]).sections[0]

    assert len(section.tables) == 1
    assert section.tables[0].rows[0].lines[0].entries[0].value is not None
    assert any("model-of-a-stranger" in warning for warning in section.warnings)


def test_a_suite_that_cannot_be_read_leaves_the_facts(cheap: Run) -> None:
    section = build_report([(replace(cheap, info=replace(cheap.info, suite_text=":")), Path("x"))]).sections[0]

    assert section.tables == ()
    assert any("cannot be read, so its tables are not shown" in warning for warning in section.warnings)
    assert facts(section)["Cells measured"] == "2 of 2"


def test_a_report_of_several_runs_tells_them_apart(cheap: Run) -> None:
    report = build_report([(cheap, Path("a")), (cheap, Path("b"))])

    assert report.title == "Benchmark report"
    assert [section.id for section in report.sections] == ["speedup", "speedup-2"]
    assert [section.commands[1].value for section in report.sections] == ["bench report a", "bench report b"]


def test_how_each_metric_is_taken_comes_from_the_metric_itself(report: MakeReport) -> None:
    definitions = {fact.label: fact.value for fact in report().sections[0].definitions}

    assert list(definitions)[:2] == ["latency", "step_time"]
    assert "timed in fresh processes" in definitions["latency"]
    assert "the same on every machine" in definitions["macs"]


def test_what_is_known_about_the_paper_is_on_its_page(report: MakeReport) -> None:
    known = " ".join(f"{fact.label} {fact.value}" for fact in report().sections[0].paper)

    assert "|47.52 - 45.63| = 1.89 points" in known
    assert "1 / (1 - 0.4752) = 1.91" in known
    assert "Not stated anywhere" in known


def test_facts_that_are_the_same_in_every_cell_are_said_once(report: MakeReport) -> None:
    groups = {
        facts.title: {fact.label: fact.value for fact in facts.items} for facts in report().sections[0].provenance
    }

    assert groups["The same in every cell"]["sampler.timesteps"] == "1000"
    assert "model.skip" not in groups["The same in every cell"]
    assert groups["Machine"]["Memory"] == "23.00 GiB"
    assert groups["Software"]["torch"] == "2.15.0"
    assert groups["What was measured"]["Data"] == "test split, fingerprint d6d6d6d6\N{HORIZONTAL ELLIPSIS}"


def test_a_report_is_made_without_torch(speedup: Synthetic, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.report.page import render_report; "
        f"render_report([Path({str(speedup.path)!r})], Path({str(tmp_path)!r}), ('md', 'html', 'csv', 'tex')); "
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_page_imports_neither_matplotlib_nor_pandas() -> None:
    code = (
        "import sys, bench.report.page; sys.exit(bool({'matplotlib', 'pandas', 'torch', 'jinja2'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cells_of_a_filtered_run_are_missing_and_not_forgotten(speedup: Synthetic) -> None:
    run = load_run(speedup.path)
    zero = tuple(record for record in run.records if "skip=zero" in record.cell)

    section = build_section(replace(run, found=Records(current(zero), (), 0)), speedup.suite, speedup.cells, "x")

    assert facts(section)["Cells measured"] == "5 of 15"
    assert section.tables[0].rows[1].lines[1].entries[2].text == "not measured"


def test_the_cells_planned_are_those_of_the_suite(cells: tuple[Cell, ...]) -> None:
    assert len({cell.id for cell in cells}) == 15
