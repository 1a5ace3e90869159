"""The loop of a run: everything planned gets a record, nothing is measured twice, nothing stale is shown."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ExitCode, SaveError, UserError
from bench.run import perform
from bench.run.executor import Ended, Happening, Setting
from bench.run.inline import WARNING
from bench.run.perform import Performer
from bench.run.schedule import WorkerPlan, plan
from bench.store.attempts import attempts
from bench.store.files import RECORDS_FILE, load_run, run_ids
from bench.store.lines import LineWriter, read_lines
from bench.store.record import Record, Status
from bench.suite.schema import Cell, Ref, Suite

MakeCell = Callable[..., Cell]
MakeSuite = Callable[..., Suite]
ALL = ("fake-exact", "fake-bytes", "fake-time", "fake-stages")


class NoExecutor:
    """Fails when it is asked to measure anything."""

    def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
        assert not plans
        yield from ()


class Interrupted:
    """Ctrl-C after some visits."""

    def __init__(self, executor: Any, visits: int) -> None:
        self.executor, self.left = executor, visits

    def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
        for happening in self.executor.run(plans, setting):
            if self.left == 0:
                raise KeyboardInterrupt
            yield happening
            self.left -= isinstance(happening, Ended)


def values(path: Path) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {
        (record.cell, record.metric, str(record.at), record.part): record.values for record in load_run(path).records
    }


def test_every_metric_of_every_cell_gets_its_records(inline: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"level": level}, ALL) for level in range(3)]

    outcome = inline.run(*cells)

    counts = Counter((record.cell, record.metric) for record in load_run(outcome.path).records)
    assert counts == {
        (cell.id, metric): {"fake-exact": 1, "fake-bytes": 1, "fake-time": 4, "fake-stages": 12}[metric]
        for cell in cells
        for metric in ALL
    }
    assert (outcome.ok, outcome.measured, outcome.exit_code) == (12, 3 * 10, ExitCode.OK)


def test_progress_hears_of_every_visit_before_it_begins_and_after_it_is_saved(inline: Any, make_cell: MakeCell) -> None:
    inline.run(make_cell({"level": 1}, ALL))

    names = [name for name, _ in inline.heard.events]
    assert names == ["start", *(["cell", "ended"] * 10), "finish"]
    assert inline.heard.of("start") == [10]
    assert [(step.done, step.of) for step in inline.heard.of("cell")] == [(done, 10) for done in range(10)]


def test_unchanged_finished_suite_measures_nothing(inline: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"level": level}, ALL) for level in range(3)]
    first = inline.run(*cells)
    before = (first.path / RECORDS_FILE).read_bytes()

    second = inline.run(*cells, executor=NoExecutor())

    assert (second.path, second.ok, second.measured) == (first.path, 12, 0)
    assert (first.path / RECORDS_FILE).read_bytes() == before
    assert "nothing had to be measured" in second.summary


def test_cells_that_were_left_out_before_are_measured_into_the_same_run(inline: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"level": level}) for level in range(3)]
    first = inline.run(cells[1])

    second = inline.run(*cells)

    assert second.path == first.path
    assert Counter(inline.executions) == {(cell.id, "fake-exact"): 1 for cell in cells}


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"level": 9}},
        {"model": {"level": 1, "seconds": 0.001}},
        {"seed": 5},
        {"conditions": {"threads": 2}},
        {"conditions": {"dtype": "bfloat16"}},
        {"conditions": {"batch_size": 8}},
        {"conditions": {"compile": True}},
        {"conditions": {"memory_format": "channels_last"}},
        {"sampler": Ref(name="ddim")},
        {"data": Ref(name="digits")},
        {"metrics": [Ref(name="fake-stages", params={"stages": 5})]},
        {"effort": {"repeats": 3}},
        {"effort": {"rounds": 3}},
    ],
)
def test_change_of_one_cell_measures_that_cell_and_no_other(
    inline: Any, make_cell: MakeCell, change: dict[str, Any]
) -> None:
    options = {"model": {"level": 1}, "metrics": ["fake-stages"]}
    others = [make_cell({"level": level}, ["fake-stages"]) for level in (0, 2)]
    inline.run(make_cell(**options), *others)
    before = Counter(inline.executions)
    changed = make_cell(**{**options, **change})

    inline.run(changed, *others)

    again = Counter(inline.executions) - before
    assert set(again) == {(changed.id, "fake-stages")}
    assert again.total() == changed.effort.rounds * changed.effort.processes


def test_less_effort_than_before_measures_nothing(inline: Any, make_cell: MakeCell) -> None:
    inline.run(make_cell({}, ALL, effort={"repeats": 3, "rounds": 3}))

    assert inline.run(make_cell({}, ALL, effort={"repeats": 1, "rounds": 2}), executor=NoExecutor()).measured == 0


def test_what_failed_is_tried_again_and_what_is_unsupported_is_not(inline: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"behave": behave}, ["fake-exact"]) for behave in ("ok", "fail", "unsupported")]
    first = inline.run(*cells)

    second = inline.run(*cells)

    assert (first.ok, first.failed, first.unsupported, first.exit_code) == (1, 1, 1, ExitCode.SOME_FAILED)
    assert (second.ok, second.failed, second.unsupported, second.measured) == (1, 1, 1, 1)
    assert inline.heard.of("note") == ["1 visit to be made again: failed before"]


def test_metric_that_failed_once_is_not_tried_in_further_rounds(inline: Any, make_cell: MakeCell) -> None:
    bad, good = make_cell({"behave": "fail"}, ["fake-time"]), make_cell({}, ["fake-time"])

    outcome = inline.run(bad, good)

    parts = [record.part for record in load_run(outcome.path).records if record.cell == bad.id]
    assert parts == ["p0r0"]
    assert (outcome.ok, outcome.failed, outcome.measured) == (1, 1, 5)
    assert inline.heard.of("cell")[-1].of == 5


def test_traceback_is_in_the_log_and_the_sentence_in_the_record(
    inline: Any, make_cell: MakeCell, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = inline.run(make_cell({"behave": "fail"}))

    (record,) = load_run(outcome.path).records
    assert record.reason == "ValueError: a message of two lines [31m (traceback in stderr)"
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("behave", "status", "reason"),
    [
        ("unbuildable", Status.FAILED, "ZeroDivisionError: no such architecture (traceback in stderr)"),
        ("missing weights", Status.SKIPPED, "nowhere.safetensors is not there; run `bench train`"),
        ("unsupported operator", Status.UNSUPPORTED, "aten::magic has no formula"),
        ("exit", Status.FAILED, "the metric or the model called exit('bye') (traceback in stderr)"),
        ("no memory", Status.FAILED, "OutOfMemory: the cell did not fit into memory: 64 GiB (traceback in stderr)"),
        ("recurse", Status.FAILED, "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_what_goes_wrong_with_a_cell_is_its_own_record(
    inline: Any, make_cell: MakeCell, behave: str, status: Status, reason: str
) -> None:
    bad, good = make_cell({"behave": behave}), make_cell({})

    outcome = inline.run(bad, good)

    found = {record.cell: record for record in load_run(outcome.path).records}
    assert found[bad.id].status is status
    assert (found[bad.id].reason or "").startswith(reason)
    assert found[good.id].status is Status.OK


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        ("nan", "NonFiniteOutput: fake-wrong gave nan"),
        ("inf", "NonFiniteOutput: fake-wrong gave inf at {'stage': 1}"),
        ("nothing", "MeasurementError: fake-wrong gave no measurement; a metric must give a value or raise"),
        ("the same twice", "MeasurementError: fake-wrong gave two measurements at {}; each needs its own"),
        (
            "an escape",
            "MeasurementError: fake-wrong: artifact is '../elsewhere.npz', expected the name of a file below",
        ),
        ("a promise", "MeasurementError: the metric names the artifact 'not-written.npz', but did not write it"),
        ("an object", "MeasurementError: fake-wrong: at['model'] is of the type 'object', expected text, a number"),
        ("text", "MeasurementError: fake-wrong: values[0] is '1.0', expected a finite number"),
    ],
)
def test_metric_that_breaks_its_contract_fails(inline: Any, make_cell: MakeCell, gives: str, reason: str) -> None:
    outcome = inline.run(make_cell({}, [Ref(name="fake-wrong", params={"gives": gives})]))

    (record,) = load_run(outcome.path).records
    assert record.status is Status.FAILED
    assert (record.reason or "").startswith(reason)


def test_out_of_memory_beside_other_subjects_is_tried_once_more_alone(inline: Any, make_cell: MakeCell) -> None:
    other = make_cell({"level": 1}, ["fake-time"])
    crowded = make_cell({"level": 2, "behave": "crowded"}, ["fake-time"])

    outcome = inline.run(other, crowded)

    assert (outcome.ok, outcome.failed) == (2, 0)


def test_cell_without_a_sampler_is_skipped_without_building_anything(inline: Any, make_cell: MakeCell) -> None:
    cell = make_cell({}, ["fake-score"], data=Ref(name="digits"))

    first = inline.run(cell, executor=NoExecutor())
    second = inline.run(cell, executor=NoExecutor())

    assert (first.skipped, second.skipped) == (1, 1)
    assert [record.reason for record in read_lines(first.path / RECORDS_FILE).records] == [
        "fake-score needs a sampler and the cell names none; add `sampler: {name: ddim}` to its block"
    ]


def test_random_weights_are_not_scored(inline: Any, make_cell: MakeCell) -> None:
    parts = {"sampler": Ref(name="ddim"), "data": Ref(name="digits")}
    trained, random = (make_cell({"origin": origin}, ["fake-score"], **parts) for origin in ("trained", "random"))

    outcome = inline.run(trained, random)

    statuses = {record.cell: record.status for record in load_run(outcome.path).records}
    assert statuses == {trained.id: Status.OK, random.id: Status.SKIPPED}
    (problem,) = outcome.problems
    assert "needs trained weights and 'fake' has random ones" in (problem.reason or "")


def test_inline_times_and_bytes_say_that_they_are_not_from_a_fresh_process(inline: Any, make_cell: MakeCell) -> None:
    outcome = inline.run(make_cell({}, ALL))

    warned = {record.metric for record in load_run(outcome.path).records if WARNING in record.warnings}
    assert warned == {"fake-time", "fake-stages", "fake-bytes"}


def weights_at(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    os.utime(path, ns=(len(content), len(content)))
    return str(path)


def test_changed_weights_measure_their_cells_again_and_no_other(
    inline: Any, make_cell: MakeCell, tmp_path: Path
) -> None:
    weights = weights_at(tmp_path / "w.bin", b"old")
    cells = make_cell({"weights": weights}, ["fake-time"]), make_cell({}, ["fake-time"])
    inline.run(*cells)
    weights_at(tmp_path / "w.bin", b"newer")

    outcome = inline.run(*cells)

    assert Counter(inline.executions) == {(cells[0].id, "fake-time"): 8, (cells[1].id, "fake-time"): 4}
    assert inline.heard.of("note") == [f"4 visits to be made again: {weights} changed since"]
    assert outcome.exit_code is ExitCode.OK
    assert inline.run(*cells, executor=NoExecutor()).measured == 0


def test_numbers_of_old_and_new_weights_never_stand_together_even_after_ctrl_c(
    inline: Any, make_cell: MakeCell, tmp_path: Path
) -> None:
    weights = weights_at(tmp_path / "w.bin", b"old")
    cell = make_cell({"weights": weights}, ["fake-time"])
    path = inline.run(cell).path
    old = {record.inputs for record in load_run(path).records}
    weights_at(tmp_path / "w.bin", b"newer")

    with pytest.raises(KeyboardInterrupt):
        inline.run(cell, executor=Interrupted(inline.executor, 1))

    records = load_run(path).records
    assert [record.status for record in records] == [Status.OK, Status.SKIPPED, Status.SKIPPED, Status.SKIPPED]
    assert records[0].inputs not in old
    assert "changed since; not measured again yet" in (records[1].reason or "")
    assert inline.run(cell).exit_code is ExitCode.OK


def test_stale_numbers_of_cells_that_are_not_measured_now_are_withdrawn_too(
    inline: Any, make_cell: MakeCell, tmp_path: Path
) -> None:
    weights = weights_at(tmp_path / "w.bin", b"old")
    stale, other = make_cell({"weights": weights}, ["fake-stages"]), make_cell({})
    path = inline.run(stale, other).path
    weights_at(tmp_path / "w.bin", b"newer")

    inline.run(other, executor=NoExecutor())

    found = [(record.cell, record.status, record.part) for record in load_run(path).records]
    withdrawn = [(stale.id, Status.SKIPPED, part) for part in ("p0r0", "p0r1", "p1r0", "p1r1")]
    assert sorted(found) == sorted([(other.id, Status.OK, ""), *withdrawn])
    assert inline.run(stale, other).exit_code is ExitCode.OK
    assert inline.run(other, executor=NoExecutor()).measured == 0


def test_interrupted_run_keeps_what_was_saved_and_goes_on_from_there(inline: Any, make_cell: MakeCell) -> None:
    cells = [make_cell({"level": level}, ALL) for level in range(2)]
    whole = values(inline.run(*cells, resume=False).path)
    for visits in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            inline.run(*cells, resume=visits != 3, executor=Interrupted(inline.executor, visits))
        assert "interrupted after" in inline.heard.of("finish")[0]

    outcome = inline.run(*cells)

    assert outcome.measured == 20 - 3 - 5
    assert values(outcome.path) == whole
    assert len(run_ids(inline.results, "toy")) == 2


def test_edited_suite_carries_over_the_cells_it_did_not_touch(
    inline: Any, make_cell: MakeCell, make_suite: MakeSuite
) -> None:
    kept, gone, new = (
        make_cell({"level": n}, ["fake-time", "fake-score"], sampler=Ref(name="ddim"), data=Ref(name="digits"))
        for n in range(3)
    )
    first = inline.run(kept, gone)
    before = Counter(inline.executions)

    second = inline.run(kept, new, suite=make_suite("Another title"))

    assert second.path != first.path
    assert {cell for cell, _ in Counter(inline.executions) - before} == {new.id}
    assert second.carried == 5
    carried = [record for record in load_run(second.path).records if record.reused]
    assert {record.reused for record in carried} == {first.path.name}
    assert {(record.cell, record.run) for record in carried} == {(kept.id, second.path.name)}
    assert (second.path / "artifacts" / "score-0.txt").read_text() == "pixels"
    assert not (second.path / "artifacts" / "score-1.txt").exists()


def test_failures_and_numbers_that_are_not_sure_enough_any_more_are_not_carried_over(
    inline: Any, make_cell: MakeCell, make_suite: MakeSuite
) -> None:
    metrics = ["fake-exact", "fake-time"]
    inline.run(make_cell({"level": 1}, metrics), make_cell({"behave": "fail"}, metrics))

    outcome = inline.run(
        make_cell({"level": 1}, metrics, effort={"repeats": 2}),
        make_cell({"behave": "fail"}, metrics),
        suite=make_suite("Another title"),
    )

    assert outcome.carried == 1  # the exact number, which effort does not change


def test_no_garbage_is_collected_while_something_is_timed(inline: Any, make_cell: MakeCell) -> None:
    outcome = inline.run(make_cell({"behave": "forbid collections"}, ["fake-time", "fake-exact"]))

    statuses = {record.metric: record.status for record in load_run(outcome.path).records}
    assert statuses == {"fake-time": Status.OK, "fake-exact": Status.FAILED}
    assert gc.isenabled()


def test_subject_is_built_once_and_claims_its_threads_at_every_visit(make_cell: MakeCell, tmp_path: Path) -> None:
    fake = sys.modules["bench_plugin_fake_plugin"]
    built: list[str] = []

    class Claiming(fake.FakeSubject):  # type: ignore[misc, name-defined]
        def claim_threads(self) -> None:
            built.append("claimed")

    def build(cell: Cell, run_dir: Path) -> Any:
        built.append("built")
        return Claiming(**vars(fake.build(cell, run_dir)))

    with closing(Performer("run", tmp_path, "stderr", build)) as performer:
        for worker in plan([make_cell({}, ALL)], 0)[:2]:
            for visit in worker.visits:
                performer.perform(visit)

    assert built == ["built", "claimed", "claimed"]


@pytest.mark.parametrize(
    ("metric", "free", "most"), [("fake-exact", 1.0, 1), ("fake-time", 1.0, 3), ("fake-time", 0.1, 1)]
)
def test_subjects_are_kept_only_where_a_later_visit_comes_back_and_memory_allows_it(
    make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, free: float, most: int
) -> None:
    monkeypatch.setattr(perform, "spare_fraction", lambda: free)
    fake = sys.modules["bench_plugin_fake_plugin"]
    alive: set[str] = set()
    counts: list[int] = []

    class Counted(fake.FakeSubject):  # type: ignore[misc, name-defined]
        def claim_threads(self) -> None:
            counts.append(len(alive))

    def build(cell: Cell, run_dir: Path) -> Any:
        subject = Counted(**vars(fake.build(cell, run_dir)))
        alive.add(cell.id)
        weakref.finalize(subject, alive.discard, cell.id)
        return subject

    with closing(Performer("run", tmp_path, "stderr", build)) as performer:
        (worker, *_) = plan([make_cell({"level": level}, [metric]) for level in range(3)], 0)
        for visit in worker.visits:
            performer.perform(visit)

    assert max(counts) == most


def test_suite_that_was_only_reworded_measures_nothing(inline: Any, make_cell: MakeCell, make_suite: MakeSuite) -> None:
    first = inline.run(make_cell({}, ALL))

    second = inline.run(make_cell({}, ALL), suite=make_suite("Another title"), executor=NoExecutor())

    assert (second.ok, second.measured, second.carried) == (first.ok, 0, 10)


def test_numbers_are_found_in_older_runs_too(inline: Any, make_cell: MakeCell, make_suite: MakeSuite) -> None:
    a, b = make_cell({"level": 1}), make_cell({"level": 2})
    first = inline.run(a, b)
    inline.run(b, suite=make_suite("Only b"))

    third = inline.run(a, b, executor=NoExecutor())

    assert third.carried == 2
    assert {record.reused for record in load_run(third.path).records} == {first.path.name}


def test_other_surroundings_begin_a_new_run_and_say_why(
    inline: Any, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MKL_CBWR", raising=False)
    first = inline.run(make_cell({}))
    monkeypatch.setenv("MKL_CBWR", "AVX2")

    second = inline.run(make_cell({}))

    assert second.path != first.path
    assert (second.measured, second.carried) == (1, 0)
    assert inline.heard.of("note") == [
        f"a new run begins, because since {first.path.name} something changed: "
        "environment: MKL_CBWR was not there and now is AVX2"
    ]
    monkeypatch.delenv("MKL_CBWR")
    assert inline.run(make_cell({}), executor=NoExecutor()).carried == 1


def test_resume_can_be_refused(inline: Any, make_cell: MakeCell) -> None:
    first = inline.run(make_cell({}))

    second = inline.run(make_cell({}), resume=False)

    assert second.path != first.path
    assert (second.measured, second.carried) == (1, 0)


def test_damaged_line_is_reported_and_what_it_held_is_measured_again(inline: Any, make_cell: MakeCell) -> None:
    cell = make_cell({"level": 7}, ["fake-stages"], effort={"rounds": 2, "processes": 1})
    path = inline.run(cell).path / RECORDS_FILE
    whole = values(path.parent)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"values":[1.0]', b'"values":[7.0]', 1))

    outcome = inline.run(cell)

    assert (outcome.measured, outcome.damaged) == (1, 1)
    assert inline.heard.of("note") == [
        f"{path}: skipped 1 damaged line (the first is line 2: the line does not match its checksum)"
    ]
    assert values(path.parent) == whole


def test_torn_last_line_is_measured_again_on_a_line_of_its_own(inline: Any, make_cell: MakeCell) -> None:
    cell = make_cell({"level": 7}, ["fake-time"])
    path = inline.run(cell).path / RECORDS_FILE
    whole = values(path.parent)
    path.write_bytes(path.read_bytes()[:-40])

    outcome = inline.run(cell)

    assert outcome.measured == 1
    assert values(path.parent) == whole


def test_damaged_run_page_begins_a_new_run(inline: Any, make_cell: MakeCell) -> None:
    first = inline.run(make_cell({}))
    (first.path / "run.json").write_text("{")

    second = inline.run(make_cell({}))

    assert second.path != first.path
    assert "left alone" in inline.heard.of("note")[0]


def test_second_program_on_the_same_suite_is_refused_by_name(inline: Any, make_cell: MakeCell) -> None:
    class Meddling(NoExecutor):
        def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
            inline.run(make_cell({}))
            yield from ()

    with pytest.raises(UserError, match=rf"process {os.getpid()} \(bench run toy, since 20.*\) is writing results"):
        inline.run(make_cell({}), executor=Meddling(), command="bench run toy")


def test_folder_that_cannot_be_written_is_found_out_before_anything_runs(
    inline: Any, make_cell: MakeCell, tmp_path: Path
) -> None:
    (tmp_path / "results").write_text("a file")

    with pytest.raises(SaveError, match=f"{tmp_path}/results: is a file, expected a folder of its own; remove it"):
        inline.run(make_cell({}), executor=NoExecutor())
    assert inline.executions == []


def test_disk_that_fills_up_stops_the_run_and_keeps_what_was_saved(
    inline: Any, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_cell({"level": level}) for level in range(5)]
    append = LineWriter.append

    def fill_up(self: LineWriter, records: Sequence[Record]) -> None:
        if records[0].cell == cells[3].id:
            raise SaveError("the disk is full")
        append(self, records)

    monkeypatch.setattr(LineWriter, "append", fill_up)
    with pytest.raises(SaveError):
        inline.run(*cells)
    assert inline.heard.of("finish") == ["stopped after 4 visits because results cannot be saved"]
    monkeypatch.setattr(LineWriter, "append", append)

    assert inline.run(*cells).measured == 2


class Cut(BaseException):
    """The end of the program, at any system call."""


@pytest.mark.parametrize("half", [False, True])
def test_program_cut_at_any_system_call_loses_and_repeats_nothing_saved(
    inline: Any, make_cell: MakeCell, make_suite: MakeSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    """half: a write puts half of its bytes into the file before the end. The run begins by carrying numbers over."""
    old, new = make_cell({"level": 1}, ["fake-stages"]), make_cell({"level": 2}, ["fake-stages"])
    real = {name: getattr(os, name) for name in ("write", "fsync", "link", "rename")}
    calls = 0

    def cutting(name: str, at: int) -> Callable[..., Any]:
        def call(*arguments: Any, **folders: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                if name == "write" and half:
                    real["write"](arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Cut
            return real[name](*arguments, **folders)

        return call

    whole: dict[tuple[str, ...], tuple[float, ...]] = {}
    for at in range(1000):  # 0 is never reached: an undisturbed run
        inline.results, inline.ledger = tmp_path / f"cut-{at}", tmp_path / f"ledger-{at}.tsv"
        inline.run(old)
        calls = 0
        for name in real:
            monkeypatch.setattr(os, name, cutting(name, at))
        monkeypatch.delenv("FAKE_LEDGER")
        try:
            inline.run(old, new, suite=make_suite("Edited"))
            uncut = True
        except Cut:
            uncut = False
        for name, function in real.items():
            monkeypatch.setattr(os, name, function)
        monkeypatch.setenv("FAKE_LEDGER", str(inline.ledger))
        runs = [load_run(inline.results / "toy" / run) for run in run_ids(inline.results, "toy")]
        saved = {key for run in runs for key in run.found.attempts}

        outcome = inline.run(old, new, suite=make_suite("Edited"))

        assert outcome.exit_code is ExitCode.OK
        assert len(inline.executions) == 8 - len(saved)
        whole = whole or values(outcome.path)
        assert values(outcome.path) == whole
        assert not list((inline.results / "toy").glob(".new*"))
        if at and uncut:
            break
    assert at > 15


def test_executor_that_forgets_a_cell_leaves_a_failure_and_not_a_hole(inline: Any, make_cell: MakeCell) -> None:
    class Forgetful(NoExecutor):
        def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
            yield from ()

    outcome = inline.run(make_cell({}, ALL), executor=Forgetful())

    assert (outcome.failed, outcome.exit_code) == (4, ExitCode.SOME_FAILED)
    assert {attempt.reason for attempt in outcome.problems} == {"nothing was heard of it"}


def test_every_record_names_the_code_of_each_part(inline: Any, make_cell: MakeCell) -> None:
    outcome = inline.run(make_cell({}, ["fake-exact", "fake-bytes"]), make_cell({"behave": "fail"}))

    records = load_run(outcome.path).records
    assert {tuple(sorted(record.code)) for record in records} == {("harness", "metric", "model")}
    assert len({record.code["metric"] for record in records}) == 2
    assert len({record.code["model"] for record in records}) == 1


def test_no_visit_is_recorded_twice(inline: Any, make_cell: MakeCell) -> None:
    outcome = inline.run(*(make_cell({"level": level}, ALL) for level in range(3)))

    found = attempts(read_lines(outcome.path / RECORDS_FILE).records)
    assert max(Counter(attempt.key for attempt in found).values()) == 1
