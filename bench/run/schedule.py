"""Which worker visits what, in which order. Pure: the same cells and seed always give the same plan.

Four stages, one after another: exact numbers, memory, timing, quality. Nothing else of ours runs while timing runs.
Within a stage, cells that need another process environment (threads, device) go to another worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bench.contracts import MetricKind, MetricSpec, Need
from bench.registry import metric_spec
from bench.run.code import code_of_cell
from bench.store.attempts import Key, params_text
from bench.store.resume import Wanted
from bench.suite.schema import Cell, Effort, Ref

STAGES: tuple[MetricKind, ...] = ("exact", "memory", "timing", "quality")

PRECISION: Mapping[MetricKind, tuple[str, ...]] = {
    "exact": (),
    "memory": ("warmup", "repeats"),
    "timing": ("warmup", "repeats", "rounds", "processes"),
    "quality": (),
}
"""What of the effort changes how sure a number of each kind is; less of it than asked means to measure again."""

QUALITY_WORKERS = 8
"""Into how many workers the picture metrics are divided at most: each costs some seconds of imports."""

Quantity = tuple[str, str, str]
"""Cell, metric and its arguments: what all parts of one number share."""


@dataclass(frozen=True, eq=False)
class Visit:
    """One metric of one cell, measured once by one worker. In timing, one of many visits."""

    cell: Cell
    metric: Ref
    spec: MetricSpec
    part: str = ""
    """`p0r3` for process 0, round 3 of timing; empty for everything that is measured once."""

    @cached_property
    def key(self) -> Key:
        return Key(self.cell.id, self.metric.name, params_text(self.metric.params), self.part)

    @property
    def quantity(self) -> Quantity:
        return self.key[:3]

    @property
    def effort(self) -> Effort:
        """What the metric is given: the rounds and processes of timing are visits already."""
        if self.spec.kind != "timing":
            return self.cell.effort
        return self.cell.effort.model_copy(update={"rounds": 1, "processes": 1})

    @property
    def wanted(self) -> Wanted:
        """This visit in the words of the store."""
        effort = self.cell.effort.model_dump()
        return Wanted(
            self.key,
            self.cell.factors,
            self.cell.conditions.model_dump(),
            self.cell.seed,
            {name: effort[name] for name in PRECISION[self.spec.kind]},
            code_of_cell(self.cell, self.metric.name),
        )


@dataclass(frozen=True, eq=False)
class WorkerPlan:
    """What one fresh process does, in order."""

    kind: MetricKind
    threads: int
    device: str
    visits: tuple[Visit, ...]

    @property
    def shares(self) -> bool:
        """Whether another such worker may run at the same time: on the processor, where no second is measured."""
        timed = self.kind == "timing" or any(visit.spec.unit == "s" for visit in self.visits)
        return self.device == "cpu" and not timed


def together(threads: int, processors: int) -> int:
    """How many workers of so many threads each have processors of their own."""
    return max(1, processors // threads)


def plan(cells: Sequence[Cell], seed: int, spec: Callable[[str], MetricSpec] = metric_spec) -> tuple[WorkerPlan, ...]:
    """Everything that is to be measured, in the order in which it will be.

    seed: shuffles the order of the cells in each round of timing. Raises UnknownName for an unregistered metric.
    """
    each = (Visit(cell, metric, spec(metric.name)) for cell in cells for metric in cell.metrics)
    visits = {visit.key: visit for visit in each}.values()  # what is asked for twice is measured once
    of_kind = {kind: [visit for visit in visits if visit.spec.kind == kind] for kind in STAGES}
    return (
        *_one_worker("exact", of_kind["exact"]),
        *(_worker("memory", [visit]) for visit in of_kind["memory"]),
        *_timing(of_kind["timing"], seed),
        *_quality(of_kind["quality"]),
    )


def only(plans: Iterable[WorkerPlan], wanted: Callable[[Visit], bool]) -> tuple[WorkerPlan, ...]:
    """The same plans without the visits that are not wanted, and without workers that would have nothing to do."""
    reduced = (replace(worker, visits=tuple(visit for visit in worker.visits if wanted(visit))) for worker in plans)
    return tuple(worker for worker in reduced if worker.visits)


def unmet_need(cell: Cell, spec: MetricSpec) -> str | None:
    """Why a cell cannot have a metric, as far as the cell alone says; None when it can."""
    if Need.DATA in spec.needs and cell.data is None:
        return f"{spec.name} needs {Need.DATA} and the cell names none; add `data: {{name: digits}}` to its block"
    if Need.SAMPLER in spec.needs and cell.sampler is None:
        return f"{spec.name} needs {Need.SAMPLER} and the cell names none; add `sampler: {{name: ddim}}` to its block"
    return None


def _timing(visits: list[Visit], seed: int) -> Iterator[WorkerPlan]:
    """Fresh processes, one after another; in each, rounds over all cells, in another order each round."""
    for process in range(max((visit.cell.effort.processes for visit in visits), default=0)):
        in_process = [visit for visit in visits if process < visit.cell.effort.processes]
        for group in _groups(in_process):
            rounds = max(visit.cell.effort.rounds for visit in group)
            yield _worker(
                "timing",
                [
                    replace(visit, part=f"p{process}r{number}")
                    for number in range(rounds)
                    for visit in _shuffled_cells(group, f"{seed}/{process}/{number}")
                    if number < visit.cell.effort.rounds
                ],
            )


def _shuffled_cells(visits: list[Visit], seed: str) -> list[Visit]:
    """The visits with the cells in another order; the metrics of one cell stay together, in their order."""
    by_cell: dict[str, list[Visit]] = {}
    for visit in visits:
        by_cell.setdefault(visit.cell.id, []).append(visit)
    cells = list(by_cell.values())
    random.Random(seed).shuffle(cells)
    return [visit for cell in cells for visit in cell]


def _quality(visits: list[Visit]) -> Iterator[WorkerPlan]:
    """Several workers that may run side by side; the metrics of a cell stay together, for they share its pictures.

    Cells are dealt out in turn, because neighbours in a grid tend to cost alike.
    """
    for group in _groups(visits):
        cells = list(dict.fromkeys(visit.cell.id for visit in group))
        hands = {cell: index % QUALITY_WORKERS for index, cell in enumerate(cells)}
        for hand in range(min(QUALITY_WORKERS, len(cells))):
            yield _worker("quality", [visit for visit in group if hands[visit.cell.id] == hand])


def _one_worker(kind: MetricKind, visits: list[Visit]) -> Iterator[WorkerPlan]:
    for group in _groups(visits):
        yield _worker(kind, group)


def _worker(kind: MetricKind, visits: list[Visit]) -> WorkerPlan:
    conditions = visits[0].cell.conditions
    return WorkerPlan(kind, conditions.threads, conditions.device, tuple(visits))


def _groups(visits: list[Visit]) -> list[list[Visit]]:
    """Visits that can share a process, in the order of their first one."""
    groups: dict[tuple[int, str], list[Visit]] = {}
    for visit in visits:
        groups.setdefault((visit.cell.conditions.threads, visit.cell.conditions.device), []).append(visit)
    return list(groups.values())
