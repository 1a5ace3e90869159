"""How much the cells of a plan ask of their networks: pictures to draw and network calls, counted before anything runs.

What several cells or metrics share is counted once. Everything here comes from what the registered names say of
themselves; what they do not say is named, so that a count is never silently too small.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.contracts import MetricSpec, Need
from bench.errors import BenchError
from bench.outlook import Work
from bench.registry import METRICS, MODELS, SAMPLERS, filled, metric_spec
from bench.suite.schema import Cell

CHAIN = 1000
"""Training timesteps of every network that ships. The chain of a plug-in's network is not known before it is built."""


@dataclass(frozen=True)
class Drawing:
    """Pictures that are drawn once, for every metric of every cell with the same walk."""

    cell: Cell
    """The first of these cells."""
    cells: int
    images: int
    timesteps: tuple[int, ...]
    """Of every network call of one walk."""

    @property
    def network_calls(self) -> int:
        """Calls times images."""
        return self.images * len(self.timesteps)


@dataclass(frozen=True)
class Alone:
    """What metrics of one cell ask for themselves, such as timed walks."""

    cell: Cell
    work: Work
    timesteps: tuple[int, ...]


@dataclass(frozen=True)
class Workload:
    """Everything that can be said of a plan's network calls."""

    drawings: tuple[Drawing, ...]
    alone: tuple[Alone, ...]
    uncounted: tuple[str, ...]
    """What is not in the counts, and why."""

    @property
    def images(self) -> int:
        """Pictures to draw."""
        return sum(drawing.images for drawing in self.drawings)

    @property
    def network_calls(self) -> int:
        """Network calls times images, to draw them and for metrics that call the network themselves on images."""
        return sum(drawing.network_calls for drawing in self.drawings) + sum(
            each.work.image_calls for each in self.alone
        )


def workload(cells: Sequence[Cell]) -> Workload:
    """What these cells ask for. Raises UnknownName when something is not registered."""
    drawings: dict[str, Drawing] = {}
    alone: list[Alone] = []
    uncounted: dict[str, None] = {}
    for cell in cells:
        asked, silent = _asked(cell)
        for name in silent:
            uncounted[f"{name}: it does not say how much it asks of the network"] = None
        if asked == Work():
            continue
        try:
            timesteps = call_timesteps(cell)
        except BenchError as error:
            uncounted[f"{cell.id}: {error}"] = None
            continue
        if timesteps is None:
            assert cell.sampler is not None  # a cell without one has its whole chain
            uncounted[f"{cell.sampler.name}: it does not say when it calls the network"] = None
            continue
        if asked.samples:
            key = _walk(cell)
            known = drawings.get(key, Drawing(cell, 0, 0, timesteps))
            drawings[key] = replace(known, cells=known.cells + 1, images=max(known.images, asked.samples))
        if (own := replace(asked, samples=0)) != Work():
            alone.append(Alone(cell, own, timesteps))
    return Workload(tuple(drawings.values()), tuple(alone), tuple(uncounted))


def call_timesteps(cell: Cell) -> tuple[int, ...] | None:
    """The timestep of every network call of one walk; None when the sampler does not say. Raises ParamError.

    A cell without a sampler is asked for its whole chain.
    """
    if cell.sampler is None:
        return tuple(reversed(range(CHAIN)))
    entry = SAMPLERS.get(cell.sampler.name)
    if entry.outlook.calls is None:
        return None
    return entry.outlook.calls(CHAIN, **filled(entry, cell.sampler.params))


def stage_calls(cell: Cell, timesteps: Sequence[int]) -> Mapping[int, int]:
    """How many of these calls run each stage of the cell's network; all of them stage 0 where it names no stages."""
    entry = MODELS.get(cell.model.name)
    if entry.outlook.stages is None:
        return {0: len(timesteps)}
    at = entry.outlook.stages.at(**filled(entry, cell.model.params))
    return Counter(map(at, timesteps))


def _asked(cell: Cell) -> tuple[Work, list[str]]:
    """What all metrics of a cell ask together, and the metrics that do not say."""
    total, silent = Work(), []
    for metric in cell.metrics:
        entry, spec = METRICS.get(metric.name), metric_spec(metric.name)
        if not _can_have(cell, spec):
            continue
        if entry.outlook.work is None:
            if spec.kind in ("timing", "quality"):
                silent.append(metric.name)
            continue
        work = entry.outlook.work(cell.effort, **filled(entry, metric.params))
        total = Work(
            samples=max(total.samples, work.samples),
            walks=total.walks + work.walks,
            calls_per_stage=total.calls_per_stage + work.calls_per_stage,
            image_calls=total.image_calls + work.image_calls,
        )
    return total, silent


def _can_have(cell: Cell, spec: MetricSpec) -> bool:
    """Whether a cell was given what a metric needs; it is skipped otherwise."""
    given = {
        Need.DATA: cell.data is not None,
        Need.SAMPLER: cell.sampler is not None,
        Need.TRAINED_WEIGHTS: cell.model.params.get("weights") != "random",
    }
    return all(given[need] for need in spec.needs)


def _walk(cell: Cell) -> str:
    """Everything that tells the pictures of one cell from those of another, as far as a plan knows it."""
    conditions = cell.conditions.model_dump()
    identity = {
        "model": cell.model.model_dump(),
        "sampler": None if cell.sampler is None else cell.sampler.model_dump(),
        "seed": cell.seed,
        "conditions": {name: conditions[name] for name in ("device", "dtype", "compile", "memory_format")},
    }
    return json.dumps(identity, sort_keys=True)
