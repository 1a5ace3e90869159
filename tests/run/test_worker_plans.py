"""Which worker visits what, in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.contracts import MetricSpec, Need
from bench.errors import UnknownName
from bench.run.schedule import QUALITY_WORKERS, STAGES, Visit, WorkerPlan, only, plan, unmet_need
from bench.suite.schema import Cell, Ref

MakeCell = Callable[..., Cell]
ALL = ("fake-score", "fake-time", "fake-bytes", "fake-exact")


def cells(make_cell: MakeCell, count: int = 3, metrics: tuple[str, ...] = ALL) -> list[Cell]:
    return [make_cell({"level": level}, metrics) for level in range(count)]


def visits(plans: tuple[WorkerPlan, ...], kind: str) -> list[list[Visit]]:
    return [list(worker.visits) for worker in plans if worker.kind == kind]


def test_stages_come_in_their_order(make_cell: MakeCell) -> None:
    kinds = [worker.kind for worker in plan(cells(make_cell), 0)]

    assert kinds == sorted(kinds, key=STAGES.index)
    assert set(kinds) == set(STAGES)


def test_one_worker_counts_everything(make_cell: MakeCell) -> None:
    (worker,) = visits(plan(cells(make_cell), 0), "exact")

    assert [visit.cell.factors["model.level"] for visit in worker] == [0, 1, 2]


def test_cells_are_dealt_out_to_the_workers_of_picture_metrics(make_cell: MakeCell) -> None:
    """All metrics of one cell stay in one worker, where its pictures are drawn once."""
    grid = cells(make_cell, QUALITY_WORKERS + 2)
    both = [
        cell.model_copy(update={"metrics": (*cell.metrics, Ref(name="fake-score", params={"images": 5}))})
        for cell in grid
    ]

    workers = visits(plan(both, 0), "quality")

    levels = [[visit.cell.factors["model.level"] for visit in worker] for worker in workers]
    assert levels[:3] == [[0, 0, 8, 8], [1, 1, 9, 9], [2, 2]]
    assert len(levels) == QUALITY_WORKERS


def test_memory_gets_a_process_for_every_number(make_cell: MakeCell) -> None:
    assert [len(worker) for worker in visits(plan(cells(make_cell), 0), "memory")] == [1, 1, 1]


def test_only_workers_that_measure_no_seconds_may_run_beside_another(make_cell: MakeCell) -> None:
    plans = {worker.kind: worker for worker in plan(cells(make_cell), 0)}
    on_cuda = plan([make_cell({}, ["fake-bytes"], conditions={"device": "cuda"})], 0)

    assert {kind for kind, worker in plans.items() if worker.shares} == {"exact", "memory", "quality"}
    assert not on_cuda[0].shares
    (visit,) = plans["memory"].visits
    seconds = replace(visit, spec=replace(visit.spec, unit="s"))
    assert not replace(plans["memory"], visits=(seconds,)).shares


def test_timing_visits_every_cell_in_every_round_of_every_process(make_cell: MakeCell) -> None:
    workers = visits(plan(cells(make_cell), 0), "timing")

    assert [sorted({visit.part for visit in worker}) for worker in workers] == [["p0r0", "p0r1"], ["p1r0", "p1r1"]]
    counts = Counter((visit.cell.id, visit.part) for worker in workers for visit in worker)
    assert set(counts.values()) == {1}
    assert len(counts) == 3 * 2 * 2


def test_rounds_follow_one_another_and_cells_alternate_within_them(make_cell: MakeCell) -> None:
    for worker in visits(plan(cells(make_cell, metrics=("fake-time", "fake-stages")), 0), "timing"):
        rounds = [visit.part for visit in worker]
        assert rounds == sorted(rounds)
        order = [visit.cell.id for visit in worker if visit.part.endswith("r0")]
        assert [order[0], order[2], order[4]] == [order[1], order[3], order[5]]
        assert len(set(order)) == 3


def test_order_of_cells_changes_from_round_to_round_and_is_fixed_by_the_seed(make_cell: MakeCell) -> None:
    grid = [make_cell({"level": level}, ("fake-time",), effort={"rounds": 6}) for level in range(5)]

    def orders(seed: int) -> list[tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for worker in plan(grid, seed):
            for visit in worker.visits:
                found.setdefault(visit.part, []).append(visit.cell.id)
        return [tuple(order) for order in found.values()]

    assert len(set(orders(0))) > 6
    assert orders(0) == orders(0)
    assert orders(0) != orders(1)


def test_every_cell_comes_first_about_equally_often(make_cell: MakeCell) -> None:
    grid = [make_cell({"level": level}, ("fake-time",), effort={"rounds": 200}) for level in range(4)]

    firsts = Counter(worker.visits[4 * number].cell.id for worker in plan(grid, 0) for number in range(200))

    assert len(firsts) == 4
    assert min(firsts.values()) > 60


def test_cells_of_other_threads_get_workers_of_their_own(make_cell: MakeCell) -> None:
    grid = [make_cell({"level": n}, ("fake-exact", "fake-time"), conditions={"threads": 1 + n % 2}) for n in range(4)]

    plans = plan(grid, 0)

    assert [(worker.kind, worker.threads) for worker in plans] == [
        *(("exact", 1), ("exact", 2)),
        *(("timing", 1), ("timing", 2), ("timing", 1), ("timing", 2)),
    ]
    assert all(visit.cell.conditions.threads == worker.threads for worker in plans for visit in worker.visits)


def test_cells_that_ask_for_different_effort_get_what_they_ask_for(make_cell: MakeCell) -> None:
    few = make_cell({"level": 0}, ("fake-time",), effort={"rounds": 1, "processes": 1})
    many = make_cell({"level": 1}, ("fake-time",), effort={"rounds": 2, "processes": 2})

    parts = Counter(visit.cell.id for worker in plan([few, many], 0) for visit in worker.visits)

    assert parts == {few.id: 1, many.id: 4}


def test_timing_metric_is_given_one_round_because_the_others_are_visits(make_cell: MakeCell) -> None:
    (worker, *_) = visits(plan([make_cell(metrics=("fake-time",), effort={"repeats": 7, "rounds": 5})], 0), "timing")

    assert worker[0].effort.model_dump() == {"warmup": 0, "repeats": 7, "rounds": 1, "processes": 1}
    assert worker[0].wanted.effort == {"warmup": 0, "repeats": 7, "rounds": 5, "processes": 2}


def test_effort_does_not_matter_to_an_exact_number(make_cell: MakeCell) -> None:
    (worker,) = visits(plan([make_cell()], 0), "exact")

    assert worker[0].wanted.effort == {}


def test_metric_asked_for_twice_is_measured_once(make_cell: MakeCell) -> None:
    (worker,) = plan([make_cell(metrics=("fake-exact", "fake-exact"))], 0)

    assert len(worker.visits) == 1


def test_unknown_metric_is_refused_before_anything_runs(make_cell: MakeCell) -> None:
    with pytest.raises(UnknownName, match="no metric named 'fake-exakt'; did you mean 'fake-exact'"):
        plan([make_cell(metrics=("fake-exakt",))], 0)


def test_workers_without_wanted_visits_disappear(make_cell: MakeCell) -> None:
    grid = cells(make_cell)

    plans = only(plan(grid, 0), lambda visit: visit.cell is grid[1] and visit.spec.kind != "memory")

    assert [worker.kind for worker in plans] == ["exact", "timing", "timing", "quality"]
    assert all(visit.cell is grid[1] for worker in plans for visit in worker.visits)


@pytest.mark.parametrize(
    ("needs", "data", "sampler", "sentence"),
    [
        ([], None, None, None),
        ([Need.TRAINED_WEIGHTS], None, None, None),
        ([Need.DATA], Ref(name="digits"), None, None),
        (
            [Need.DATA],
            None,
            None,
            "m needs a data set and the cell names none; add `data: {name: digits}` to its block",
        ),
        ([Need.SAMPLER], None, Ref(name="ddim"), None),
        (
            [Need.SAMPLER],
            None,
            None,
            "m needs a sampler and the cell names none; add `sampler: {name: ddim}` to its block",
        ),
    ],
)
def test_needs_that_the_cell_itself_cannot_meet_are_said(
    make_cell: MakeCell, needs: list[Need], data: Ref | None, sampler: Ref | None, sentence: str | None
) -> None:
    spec = MetricSpec("m", "1", None, "quality", frozenset(needs))

    assert unmet_need(make_cell(data=data, sampler=sampler), spec) == sentence
