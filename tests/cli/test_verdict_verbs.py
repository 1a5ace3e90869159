"""compare and check as a shell or a CI job meets them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.cli import main
from bench.registry import load_builtins
from bench.store.files import new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import Record, RunInfo, Status, to_line
from bench.suite.expand import expand
from bench.suite.read import parse_suite

SUITE = """\
schema: 1
suite: tiny
title: Tiny
grid: [{model: {name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}}]
metrics: [parameters]
claims:
  - {id: small, sentence: "It is small.", value: {metric: parameters, reduce: value}, holds: "<", than: LIMIT}
"""
Answer = tuple[int, str, str]
WriteRun = Callable[..., Path]


def record(cell: str = "tiny/a", value: float = 100.0, **more: object) -> Record:
    found = Record(
        schema=1, run="20261120-101500-ab12cd", cell=cell, suite="tiny", factors={"model": cell},
        conditions={"device": "cpu"},
        metric="parameters", metric_params={}, unit="count", at={}, part="", values=(value,), nfe=None,
        status=Status.OK, reason=None, warnings=(), subject={}, inputs=(), effort={}, seed=0,
        started="2026-11-20T10:15:00Z", duration_s=1.0, artifact=None,
    )  # fmt: skip
    return replace(found, **more)  # type: ignore[arg-type]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    def write(name: str, records: Sequence[Record], limit: float = 1000, suite: str = SUITE) -> Path:
        run = "20261120-101500-ab12cd"
        info = RunInfo(
            1, run, "tiny", "tiny.yaml", suite.replace("LIMIT", str(limit)), "", "", "2026-11-20T10:15:00Z", "0.1",
            "c", None, None, {"cpu": "EPYC"}, {}, {},
        )  # fmt: skip
        with (
            writing(tmp_path / name, "tiny", "a test") as folder,
            new_run(folder, info) as path,
            LineWriter(path / "records.jsonl") as writer,
        ):
            writer.append(tuple(replace(each, run=run) for each in records))
        return tmp_path / name / "tiny" / run

    return write


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def answer(*arguments: str | Path) -> Answer:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return answer


def test_a_run_compared_with_itself_is_unchanged(bench: Callable[..., Answer], write_run: WriteRun) -> None:
    run = write_run("a", [record()])

    assert bench("compare", run, run) == (0, "note: BASE and NEW are the same results\n1 unchanged\n", "")


def test_a_regression_exits_with_1_and_says_what_happened(bench: Callable[..., Answer], write_run: WriteRun) -> None:
    base, new = write_run("a", [record()]), write_run("b", [record(value=120.0)])

    code, out, _ = bench("compare", base, new)

    assert code == 1
    assert out.splitlines() == [
        "regressed     tiny/a: parameters: 100 became 120 (+20 %); it is an exact number",
        "1 regressed",
    ]


def test_what_is_left_open_exits_with_3(bench: Callable[..., Answer], write_run: WriteRun) -> None:
    base, new = write_run("a", [record()]), write_run("b", [record(conditions={"device": "cuda"})])

    code, out, _ = bench("compare", base, new)

    assert code == 3
    assert "incomparable  tiny/a: parameters: conditions.device was cpu and is cuda" in out


def test_json_is_one_document_also_in_a_github_job(
    bench: Callable[..., Answer], write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, new = write_run("a", [record()]), write_run("b", [record(value=120.0)])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    code, out, err = bench("compare", base, new, "--json")

    assert (code, json.loads(out)["exit_code"]) == (1, 1)
    assert err.startswith("::error title=regressed%3A parameters::tiny/a: 100 became 120")
    assert (tmp_path / "summary.md").read_text().startswith("## bench compare\n\n**1 regressed**")


def test_annotations_stand_among_the_lines_of_a_github_job(
    bench: Callable[..., Answer], write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, new = write_run("a", [record()]), write_run("b", [record(value=120.0)])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    _, out, _ = bench("compare", base, new)

    assert "\n::error title=" in out and out.endswith("::notice title=bench::1 regressed\n")


def test_junit_and_exports_are_written(bench: Callable[..., Answer], write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run("a", [record()])
    targets = [tmp_path / name for name in ("j.xml", "b.json", "g.json")]

    code, out, _ = bench(
        *("compare", run, run, "--junit", targets[0]),
        *("--export", "bencher", targets[1], "--export", "github-action-benchmark", targets[2]),
    )

    assert code == 0
    assert ElementTree.parse(targets[0]).find("testsuite/testcase") is not None
    assert json.loads(targets[1].read_text()) == {"tiny/a": {"parameters": {"value": 100.0}}}
    assert json.loads(targets[2].read_text()) == [{"name": "tiny/a: parameters", "unit": "count", "value": 100.0}]
    assert f"export: {targets[1]}" in out


def test_an_unknown_export_or_tolerance_is_bad_input(bench: Callable[..., Answer], write_run: WriteRun) -> None:
    run = write_run("a", [record()])

    assert bench("compare", run, run, "--export", "csv", "x")[0] == 2
    code, _, err = bench("compare", run, run, "--tolerance", "timing")
    assert (code, "expected NAME=VALUE" in err) == (2, True)


def test_results_that_are_not_there_are_bad_input(bench: Callable[..., Answer], tmp_path: Path) -> None:
    code, out, err = bench("compare", tmp_path / "x", tmp_path / "y")

    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "not there; expected a run's folder" in err


@pytest.mark.parametrize(("limit", "code", "held"), [(1000, 0, "holds"), (50, 1, "fails in 2 of 2 cells")])
def test_check_holds_a_run_against_the_claims_of_its_suite(
    bench: Callable[..., Answer], write_run: WriteRun, limit: int, code: int, held: str
) -> None:
    load_builtins()
    cells = expand(parse_suite(SUITE.replace("LIMIT", str(limit)), "tiny.yaml"))
    run = write_run("a", [record(cell.id, factors=cell.factors) for cell in cells], limit)

    found, out, _ = bench("check", run)

    assert found == code
    assert f"claim small {held}" in out and '"It is small."' in out


def test_check_says_that_cells_of_a_claim_were_not_measured(bench: Callable[..., Answer], write_run: WriteRun) -> None:
    code, out, _ = bench("check", write_run("a", []))

    assert code == 3
    assert "not measured: the run ended before" in out


def test_check_needs_a_baseline_where_a_suite_claims_nothing(bench: Callable[..., Answer], write_run: WriteRun) -> None:
    run = write_run("a", [record()], suite=SUITE.partition("claims:")[0])

    code, _, err = bench("check", run)

    assert (code, "nothing to check" in err) == (2, True)


def test_check_compares_with_a_file_of_records(
    bench: Callable[..., Answer], write_run: WriteRun, tmp_path: Path
) -> None:
    run = write_run("a", [record()], suite=SUITE.partition("claims:")[0])
    baseline = tmp_path / "baseline.jsonl"
    baseline.write_text("".join(to_line(each) + "\n" for each in (record(), record("tiny/gone"))))

    code, out, _ = bench("check", run, "--baseline", baseline, "--all")

    assert code == 1
    assert "missing       tiny/gone: parameters: in BASE and not in NEW" in out
    assert "unchanged     tiny/a: parameters: 100, exactly as before" in out


def test_a_baseline_of_counts_is_saved_and_holds(
    bench: Callable[..., Answer], write_run: WriteRun, tmp_path: Path
) -> None:
    seconds = record("tiny/a", 0.1, metric="latency", unit="s", part="p0r0")
    run = write_run("a", [record(), seconds], suite=SUITE.partition("claims:")[0])
    baseline = tmp_path / "folder" / "tiny.jsonl"

    code, out, _ = bench("check", run, "--save-baseline", baseline)

    assert (code, out) == (0, f"baseline: {baseline} (1 records)\n")
    assert bench("check", run, "--baseline", baseline)[:2] == (
        0,
        "new           tiny/a: latency: not in BASE\n1 new, 1 unchanged\n",
    )


def test_a_run_of_times_alone_makes_no_baseline(
    bench: Callable[..., Answer], write_run: WriteRun, tmp_path: Path
) -> None:
    run = write_run("a", [record("tiny/a", 0.1, metric="latency", unit="s", part="p0r0")])

    code, _, err = bench("check", run, "--save-baseline", tmp_path / "b.jsonl")

    assert (code, "no counts and no scores" in err) == (2, True)


def test_a_suite_that_cannot_be_read_is_left_open_and_the_rest_compared(
    bench: Callable[..., Answer], write_run: WriteRun
) -> None:
    run = write_run("a", [record()], suite="schema: 1\n")

    code, out, _ = bench("check", run, "--baseline", run)

    assert code == 3
    assert "its claims are not checked" in out
