"""What `bench plan` prints of a suite: which cells, what tells them apart, what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.contracts import Scalar
from bench.registry import metric_spec
from bench.suite.schema import Cell
from bench.suite.uses import all_factors, varying_factors


@dataclass(frozen=True)
class PlanRow:
    """One cell, as a plan shows it."""

    cell: str
    factors: Mapping[str, Scalar]
    """Those in which the cells of the plan differ, conditions as `conditions.threads`."""
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class PlanCounts:
    """How much a plan asks for."""

    cells: int
    measurements: int
    """Cells times metrics."""
    timed_calls: int
    """Calls of timing metrics, warm-up included, over all rounds and processes."""


def plan_rows(cells: Sequence[Cell]) -> tuple[PlanRow, ...]:
    """One row per cell, in order."""
    varying = varying_factors(cells)
    return tuple(
        PlanRow(
            cell.id,
            {name: factors[name] for name in varying if name in (factors := all_factors(cell))},
            tuple(metric.name for metric in cell.metrics),
        )
        for cell in cells
    )


def plan_counts(cells: Sequence[Cell]) -> PlanCounts:
    """The size of a plan. Raises UnknownName when a metric is not registered."""
    timed = 0
    for cell in cells:
        effort = cell.effort
        calls = (effort.warmup + effort.repeats) * effort.rounds * effort.processes
        timed += calls * sum(metric_spec(metric.name).kind == "timing" for metric in cell.metrics)
    return PlanCounts(len(cells), sum(len(cell.metrics) for cell in cells), timed)
