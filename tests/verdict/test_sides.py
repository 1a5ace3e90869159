"""Where a side of a comparison may come from, and what is said of a place that holds no results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, UserError
from bench.store.files import new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import Record, RunInfo, to_line
from bench.verdict.compare import compare
from bench.verdict.outcome import Outcome
from bench.verdict.sides import load_side
from bench.verdict.tolerances import check_known, read_tolerances

MakeRecord = Callable[..., Record]
FIRST, SECOND = "20261120-101500-ab12cd", "20261121-101500-ab12cd"


def info(run: str, suite: str = "s") -> RunInfo:
    return RunInfo(
        1, run, suite, "", "", "", "", "2026-11-20T10:15:00Z", "0.1", "c", None, None, {"cpu": "EPYC"}, {}, {}
    )


def write_run(root: Path, records: Sequence[Record], run: str = FIRST, suite: str = "s") -> Path:
    with (
        writing(root, suite, "a test") as folder,
        new_run(folder, info(run, suite)) as path,
        LineWriter(path / "records.jsonl") as writer,
    ):
        writer.append(tuple(replace(record, run=run) for record in records))
    return root / suite / run


def benchmark_json(path: Path, seconds: Sequence[float], **stats: Any) -> Path:
    place = {
        "node": "secret-host",
        "machine": "x86_64",
        "system": "Linux",
        "release": "6",
        "cpu": {"brand_raw": "EPYC", "count": 2},
        "python_version": "3.11.7",
        "python_implementation": "CPython",
    }
    one = {
        "name": "test_x[10]",
        "fullname": "test_p.py::test_x[10]",
        "params": {"n": 10, "deep": [1]},
        "stats": {"median": 1.0, "data": list(seconds), **stats},
    }
    data = {
        "machine_info": place,
        "commit_info": {"id": "abc", "dirty": False},
        "benchmarks": [one],
        "datetime": "2026-11-21T05:14:16+00:00",
        "version": "5.3.1",
    }
    path.write_text(json.dumps(data))
    return path


def test_a_run_a_suites_folder_and_a_results_folder_are_sides(record: MakeRecord, tmp_path: Path) -> None:
    write_run(tmp_path, [record()], FIRST)
    latest = write_run(tmp_path, [record(), record(metric="nfe")], SECOND)
    write_run(tmp_path, [record(suite="t")], FIRST, "t")

    assert len(load_side(latest).records) == 2
    assert load_side(tmp_path / "s").folders == (latest,)
    assert load_side(latest / "run.json").folders == (latest,)
    assert {each.suite for each in load_side(tmp_path).records} == {"s", "t"}
    assert set(load_side(tmp_path).runs) == {SECOND, FIRST}


def test_a_bare_file_of_records_is_a_side_without_a_place(record: MakeRecord, tmp_path: Path) -> None:
    path = tmp_path / "smoke.jsonl"
    path.write_text(to_line(record()) + "\n")

    side = load_side(path)

    assert len(side.records) == 1 and not side.runs


def test_a_file_of_records_beside_its_run_json_knows_its_place(record: MakeRecord, tmp_path: Path) -> None:
    run = write_run(tmp_path, [record()])

    side = load_side(run / "records.jsonl")

    assert side.runs[FIRST].machine == {"cpu": "EPYC"}


def test_a_run_json_of_another_run_says_nothing(record: MakeRecord, tmp_path: Path) -> None:
    run = write_run(tmp_path, [record()])
    (run / "other.jsonl").write_text(to_line(record(run=SECOND)) + "\n")

    assert not load_side(run / "other.jsonl").runs


def test_damaged_lines_are_counted_and_told(record: MakeRecord, tmp_path: Path) -> None:
    run = write_run(tmp_path, [record()])
    with (run / "records.jsonl").open("a") as file:
        file.write("{broken\n")

    side = load_side(run)

    assert side.damaged == 1
    assert compare(side, side).notes[0] == "BASE: 1 line could not be read and count as not measured"


def test_rounds_of_pytest_benchmark_become_visits_of_one_process(tmp_path: Path) -> None:
    side = load_side(benchmark_json(tmp_path / "b.json", [0.001 * (1 + index) for index in range(100)]))

    assert len(side.records) == 20
    assert [len(record.values) for record in side.records] == [5] * 20
    assert {record.part for record in side.records} == {f"p0r{index}" for index in range(20)}
    assert side.records[0].factors == {"benchmark": "test_p.py::test_x[10]", "n": 10}
    (run,) = side.runs.values()
    assert "secret-host" not in repr(run)


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.UNCHANGED), (1.5, Outcome.REGRESSED)])
def test_two_files_of_pytest_benchmark_are_compared(tmp_path: Path, factor: float, outcome: Outcome) -> None:
    data = [0.001 + 0.000001 * (index % 7) for index in range(200)]
    base, new = (
        load_side(benchmark_json(tmp_path / name, [scale * each for each in data]))
        for name, scale in (("a.json", 1.0), ("b.json", factor))
    )

    (verdict,) = compare(base, new).verdicts

    assert (verdict.outcome, verdict.metric) == (outcome, "time")


def test_a_benchmark_without_its_rounds_decides_nothing(tmp_path: Path) -> None:
    base, new = (load_side(benchmark_json(tmp_path / f"{median}.json", [], median=median)) for median in (0.001, 0.002))

    (verdict,) = compare(base, new).verdicts

    assert verdict.outcome is Outcome.UNDECIDED
    assert "keeps a median without single times" in verdict.sentence


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.json", '{"machine_info": {}', "not pytest-benchmark's JSON"),
        ("x.json", '{"machine_info": {}, "datetime": "x", "benchmarks": []}', "no benchmark in it"),
        (
            "x.json",
            '{"machine_info": {}, "datetime": "x", "benchmarks": [{}]}',
            "not pytest-benchmark's JSON: KeyError",
        ),
        ("x.jsonl", "not a record\n", "no line of it is a record"),
        ("x.json", '{"other": 1}', "no line of it is a record"),
    ],
)
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, name: str, content: str, problem: str) -> None:
    path = tmp_path / name
    path.write_text(content)

    with pytest.raises(BenchError, match=problem):
        load_side(path)


def test_times_that_are_not_above_zero_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="times must be above 0"):
        load_side(benchmark_json(tmp_path / "b.json", [0.1, 0.0]))


def test_a_folder_without_a_run_and_a_path_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in there; expected a folder"):
        load_side(tmp_path)
    with pytest.raises(UserError, match="not there; expected a run's folder"):
        load_side(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("timing", "expected NAME=VALUE"),
        ("=5%", "expected NAME=VALUE"),
        ("timing=much", "expected a percentage or a number of at least 0, got 'much'"),
        ("timing=-5%", "expected a percentage or a number of at least 0"),
        ("timing=nan", "expected a percentage or a number of at least 0"),
        ("exact=1", "exact numbers have no tolerance"),
    ],
)
def test_a_tolerance_that_cannot_be_read_is_refused(expression: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_tolerances([expression])


def test_a_tolerance_of_a_metric_nobody_has_is_refused() -> None:
    with pytest.raises(UserError, match="no such metric; did you mean 'latency'"):
        check_known(read_tolerances(["latencey=5%"]), ["latency", "nfe"])

    check_known(read_tolerances(["latency=5%", "timing=3%"]), ["latency"])


def test_a_tolerance_is_the_larger_of_a_share_and_an_amount() -> None:
    kid = read_tolerances([]).of("kid", "quality")

    assert kid.of(0.0, 0.0001) == 5e-4
    assert kid.of(1.0, 0.9) == 0.02
    assert read_tolerances([]).of("nfe", "exact").of(1.0, 2.0) == 0.0
