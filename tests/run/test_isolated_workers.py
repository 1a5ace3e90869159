"""Fresh worker processes: what dies, hangs or shouts is the failure of its own cell and leaves nothing behind."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ExitCode
from bench.run import process
from bench.run.environment import available_processors
from bench.run.isolated import IsolatedExecutor
from bench.store.files import load_run
from bench.store.record import Status
from bench.suite.schema import Cell, Ref

MakeCell = Callable[..., Cell]
Survivors = Callable[[Path], list[int]]
BUILDER = "bench_plugin_fake_plugin:build"


def test_numbers_are_the_same_as_inside_of_one_process(bench: Any, inline: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"level": level}, ["fake-exact", "fake-stages"]) for level in range(2)]

    here = load_run(inline.run(*cells).path).records
    there = load_run(inline.run(*cells, resume=False, executor=IsolatedExecutor(builder=BUILDER)).path).records

    assert [(record.cell, record.metric, record.at, record.part, record.values) for record in here] == [
        (record.cell, record.metric, record.at, record.part, record.values) for record in there
    ]
    assert all("fresh process" not in str(record.warnings) for record in there)


def test_processes_are_fresh_where_that_matters(bench: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"level": level}, ["fake-exact", "fake-bytes", "fake-time"]) for level in range(2)]

    bench.run(*cells)

    by_metric: dict[str, list[str]] = {}
    for (_, metric), pid in zip(bench.executions, bench.pids, strict=True):
        by_metric.setdefault(metric, []).append(pid)
    assert len(set(by_metric["fake-exact"])) == 1
    assert len(set(by_metric["fake-bytes"])) == 2
    assert sorted(Counter(by_metric["fake-time"]).values()) == [4, 4]
    assert len(set(bench.pids)) == 5
    assert str(os.getpid()) not in bench.pids


def test_thread_variables_are_those_of_the_cell(bench: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({}, conditions={"threads": threads}) for threads in (1, 3)]

    outcome = bench.run(*cells)

    found = {record.cell: record.subject["threads.found"] for record in load_run(outcome.path).records}
    assert found == {cells[0].id: 1, cells[1].id: 3}


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (
            "kill",
            r"WorkerDied: killed \(9\), likely out of memory; it last said: about to fall \(log: logs/worker-.*\)",
        ),
        ("crash", r"WorkerDied: crashed \(11, Segmentation fault\); it last said: Fatal Python error: Segmentation"),
        ("vanish", r"WorkerDied: ended with exit code 0 and no answer \(log"),
        ("orphan", r"WorkerDied: ended with exit code 3 and no answer"),
        ("exit", r"the metric or the model called exit\('bye'\) \(traceback in logs/worker-000-exact.log\)"),
        ("recurse", r"RecursionError: maximum recursion depth exceeded"),
        ("no memory", r"OutOfMemory: the cell did not fit into memory: 64 GiB"),
    ],
)
def test_death_of_a_worker_is_the_failure_of_one_cell(
    bench: Any, make_cell: MakeCell, survivors: Survivors, behave: str, reason: str
) -> None:
    before, bad, after = make_cell({"level": 1}), make_cell({"behave": behave}), make_cell({"level": 2})

    outcome = bench.run(before, bad, after)

    found = {record.cell: record for record in load_run(outcome.path).records}
    assert (found[before.id].status, found[after.id].status) == (Status.OK, Status.OK)
    assert re.match(reason, found[bad.id].reason or "")
    assert (outcome.ok, outcome.failed, outcome.exit_code) == (2, 1, ExitCode.SOME_FAILED)
    assert survivors(outcome.path) == []


@pytest.mark.parametrize("behave", ["hang", "hang in C", "stop"])
def test_cell_that_hangs_is_stopped_at_its_deadline(
    bench: Any, make_cell: MakeCell, survivors: Survivors, behave: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_GRACE_S", 0.5)
    bad, good = make_cell({"behave": behave}), make_cell({})

    outcome = bench.run(bad, good, executor=IsolatedExecutor(builder=BUILDER, cell_timeout_s=0.3))

    found = {record.cell: record for record in load_run(outcome.path).records}
    assert found[good.id].status is Status.OK
    assert found[bad.id].reason == (
        "WorkerDied: stopped after 0.3 s without an answer; raise --cell-timeout if it needs longer "
        "(log: logs/worker-000-exact.log)"
    )
    assert survivors(outcome.path) == []


def test_grandchild_that_keeps_the_pipe_open_does_not_hold_up_the_run(
    bench: Any, make_cell: MakeCell, survivors: Survivors
) -> None:
    outcome = bench.run(make_cell({"behave": "orphan"}), executor=IsolatedExecutor(builder=BUILDER, cell_timeout_s=50))

    (record,) = load_run(outcome.path).records
    assert "ended with exit code 3" in (record.reason or "")
    assert survivors(outcome.path) == []


@pytest.mark.parametrize("behave", ["kill", "leave a program"])
def test_death_is_noticed_where_the_system_has_no_process_descriptors(
    bench: Any, make_cell: MakeCell, survivors: Survivors, monkeypatch: pytest.MonkeyPatch, behave: str
) -> None:
    monkeypatch.delattr(os, "pidfd_open")

    outcome = bench.run(
        make_cell({"behave": behave}), make_cell({}), executor=IsolatedExecutor(builder=BUILDER, cell_timeout_s=20)
    )

    assert not any("without an answer" in (record.reason or "") for record in load_run(outcome.path).records)

    assert (outcome.ok, outcome.failed) == (1, 1)
    assert survivors(outcome.path) == []


def test_what_libraries_print_is_in_the_log_and_disturbs_nothing(bench: Any, make_cell: MakeCell) -> None:
    outcome = bench.run(make_cell({"behave": "shout"}))

    assert outcome.exit_code is ExitCode.OK
    log = (outcome.path / "logs" / "worker-000-exact.log").read_bytes()
    assert log.rstrip().endswith(b"and a word on stdout")
    assert len(log) < process.MAX_LOG_BYTES + 100
    assert b"bytes left out ...]" in log


def test_library_that_reads_stdin_finds_it_empty(bench: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"behave": "read stdin", "level": level}) for level in range(2)]

    outcome = bench.run(*cells, executor=IsolatedExecutor(builder=BUILDER, cell_timeout_s=5))

    assert outcome.exit_code is ExitCode.OK


def test_worker_that_cannot_start_fails_every_cell_with_the_reason(
    bench: Any, make_cell: MakeCell, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('no licence')")

    outcome = bench.run(make_cell({"level": 1}), make_cell({"level": 2}), plugins=[str(broken)])

    reasons = {record.reason for record in load_run(outcome.path).records}
    assert reasons == {
        f"WorkerDied: it cannot start: UserError: --plugin {broken}: cannot be imported: RuntimeError: no licence"
    }
    assert len(list((outcome.path / "logs").iterdir())) == 1


def test_timing_has_the_machine_to_itself(bench: Any, make_cell: MakeCell) -> None:
    metrics = ["fake-time", "fake-exact", "fake-bytes"]
    bench.run(*(make_cell({"level": level}, metrics, effort={"processes": 1}) for level in range(2)))

    measuring: set[str] = set()
    for name, content in bench.heard.events:
        if name == "cell":
            measuring.add(str(content.visit.key))
            assert content.visit.spec.kind != "timing" or len(measuring) == 1
        elif name == "ended":
            measuring.remove(str(content[0].key))


@pytest.mark.skipif(available_processors() < 2, reason="needs two processors")
def test_memory_is_measured_in_two_processes_at_once(bench: Any, make_cell: MakeCell) -> None:
    bench.run(*(make_cell({"level": level}, ["fake-bytes"]) for level in range(2)))

    assert [name for name, _ in bench.heard.events] == ["start", "cell", "cell", "ended", "ended", "finish"]


def test_parent_sleeps_while_a_cell_is_measured(bench: Any, make_cell: MakeCell) -> None:
    spent: list[float] = []

    class Watching:
        """Reads the parent's processor time right before a visit is given away and right after its answer."""

        def run(self, plans: Any, setting: Any) -> Any:
            happenings = IsolatedExecutor(builder=BUILDER).run(plans, setting)
            for happening in happenings:
                spent.append(time.process_time())
                yield happening

    bench.run(make_cell({"level": 1}), make_cell({"behave": "spin"}), executor=Watching())

    # Beginning, Ended of the first, which pays for the start of the worker; Beginning, Ended of the spinning one.
    assert len(spent) == 4
    assert spent[3] - spent[2] < 0.05 * 2.0


def test_logs_of_a_continued_run_are_kept(bench: Any, make_cell: MakeCell) -> None:
    bench.run(make_cell({"level": 1}))

    outcome = bench.run(make_cell({"level": 2}))

    assert sorted(path.name for path in (outcome.path / "logs").iterdir()) == [
        "worker-000-exact.log",
        "worker-001-exact.log",
    ]


def test_metric_arguments_reach_the_worker(bench: Any, make_cell: MakeCell) -> None:
    outcome = bench.run(make_cell({}, [Ref(name="fake-stages", params={"stages": 5})]))

    parts = Counter(record.part for record in load_run(outcome.path).records)
    assert parts == {"p0r0": 5, "p0r1": 5, "p1r0": 5, "p1r1": 5}
