"""Fresh worker processes: what dies, hangs or shouts is the failure of its own cell and leaves nothing behind."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ExitCode, ParamError, SaveError
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
        ("garbage", r"WorkerDied: the worker's answer was garbled: Expecting value"),
        ("deep garbage", r"WorkerDied: the worker's answer was garbled: maximum recursion depth"),
        ("endless answer", r"WorkerDied: the worker's answer was garbled: longer than 67,108,864 bytes"),
        ("answer of another cell", r"WorkerDied: the worker's answer was garbled: it is of fake-exact of toy/level=77"),
        ("answer of nothing", r"WorkerDied: the worker's answer was garbled: it holds no record"),
        ("close the channel", r"WorkerDied: closed the channel of its answers and went on, so it was stopped \(log"),
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


@pytest.mark.parametrize("behave", ["answer twice", "fork and go on"])
def test_second_answer_is_not_taken_for_that_of_the_next_cell(
    bench: Any, make_cell: MakeCell, survivors: Survivors, behave: str
) -> None:
    cells = [make_cell({"behave": behave, "level": level} if level == 1 else {"level": level}) for level in range(4)]

    outcome = bench.run(*cells)

    values = {record.cell: record.values for record in load_run(outcome.path).records}
    assert values == {cell.id: (float(level),) for level, cell in enumerate(cells)}
    assert survivors(outcome.path) == []


@pytest.mark.parametrize("behave", ["daemon", "daemon and fall"])
def test_daemon_of_a_worker_does_not_outlive_the_run(bench: Any, make_cell: MakeCell, behave: str) -> None:
    outcome = bench.run(make_cell({"behave": behave}))

    (pid,) = map(int, (outcome.path / "daemons").read_text().split())
    assert not Path(f"/proc/{pid}").exists()


BARE_DAEMON = """
import sys
from pathlib import Path
from bench.registry import load_plugins
from bench.run.isolated import IsolatedExecutor
from bench.run.runner import run_suite
load_plugins([{plugin!r}])
fake = sys.modules["bench_plugin_fake_plugin"]
outcome = run_suite(
    fake.suite_of(), [fake.cell_of({{"behave": "bare daemon"}})], results=Path({results!r}), plugins=[{plugin!r}],
    executor=IsolatedExecutor(builder={builder!r}),
)
print(outcome.path)
"""
"""A program that does nothing else, as the command line is one."""


def test_daemon_that_hides_where_it_comes_from_does_not_outlive_the_run(bench: Any, tmp_path: Path) -> None:
    plugin = Path(__file__).with_name("fake_plugin.py")
    program = BARE_DAEMON.format(plugin=str(plugin), results=str(tmp_path), builder=BUILDER)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    (pid,) = map(int, (Path(done.stdout.strip()) / "daemons").read_text().split())
    assert not Path(f"/proc/{pid}").exists()


def test_processes_of_the_calling_program_are_left_alone(bench: Any, make_cell: MakeCell) -> None:
    with subprocess.Popen(["sleep", "60"]) as child, subprocess.Popen(["sleep", "60"], start_new_session=True) as far:
        bench.run(make_cell({"behave": "daemon"}))
        alive = (child.poll(), far.poll())
        child.kill()
        far.kill()

    assert alive == (None, None)


def test_run_goes_on_without_the_log_that_somebody_removed(bench: Any, make_cell: MakeCell) -> None:
    outcome = bench.run(make_cell({"behave": "remove the log"}), make_cell({}))

    assert outcome.exit_code is ExitCode.OK


def test_reason_is_told_without_the_log_that_somebody_removed(bench: Any, make_cell: MakeCell) -> None:
    outcome = bench.run(make_cell({"behave": "remove the log and fall"}))

    (record,) = load_run(outcome.path).records
    assert (record.reason or "").startswith("WorkerDied: killed (9), likely out of memory; it last said: nobody reads")


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


def test_logs_that_were_removed_do_not_keep_a_run_from_going_on(bench: Any, make_cell: MakeCell) -> None:
    for level in range(2):
        outcome = bench.run(make_cell({"level": level}))
    (outcome.path / "logs" / "worker-000-exact.log").unlink()

    bench.run(make_cell({"level": 2}))

    assert sorted(path.name for path in (outcome.path / "logs").iterdir()) == [
        "worker-001-exact.log",
        "worker-002-exact.log",
    ]


def test_folder_of_logs_that_was_removed_is_made_again(bench: Any, make_cell: MakeCell) -> None:
    shutil.rmtree(bench.run(make_cell({"level": 1})).path / "logs")

    outcome = bench.run(make_cell({"level": 2}))

    assert [path.name for path in (outcome.path / "logs").iterdir()] == ["worker-000-exact.log"]


def test_logs_are_not_written_through_a_link(bench: Any, make_cell: MakeCell, tmp_path: Path) -> None:
    path = bench.run(make_cell({"level": 1})).path
    shutil.rmtree(path / "logs")
    (tmp_path / "elsewhere").mkdir()
    (path / "logs").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SaveError, match="logs: is a symbolic link"):
        bench.run(make_cell({"level": 2}))
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_time_limit_may_be_longer_than_any_run(bench: Any, make_cell: MakeCell, seconds: float) -> None:
    outcome = bench.run(make_cell({}), executor=IsolatedExecutor(builder=BUILDER, cell_timeout_s=seconds))

    assert outcome.exit_code is ExitCode.OK


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_time_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ParamError, match="expected a number of seconds above 0"):
        IsolatedExecutor(cell_timeout_s=seconds)


def test_metric_arguments_reach_the_worker(bench: Any, make_cell: MakeCell) -> None:
    outcome = bench.run(make_cell({}, [Ref(name="fake-stages", params={"stages": 5})]))

    parts = Counter(record.part for record in load_run(outcome.path).records)
    assert parts == {"p0r0": 5, "p0r1": 5, "p1r0": 5, "p1r1": 5}
