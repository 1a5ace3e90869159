"""How long a plan will take, from step times that were measured before; and what is in that number and what is not."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from bench.errors import BenchError
from bench.registry import MODELS
from bench.run.schedule import QUALITY_WORKERS, together
from bench.run.step_times import METRIC, KnownTimes, Network, StepTimes, distance, network_of
from bench.suite.expand import expand
from bench.suite.expressions import Expressions
from bench.suite.read import builtin_suites, builtin_text, read_suite
from bench.suite.schema import Cell
from bench.suite.select import CELL
from bench.suite.workload import Alone, Drawing, Workload, call_timesteps, stage_calls

DRAWN_AT_ONCE = 64
"""Images of one shard. Large ones are drawn 8 at a time on a processor, which takes about as long for each."""
FAR = 3.0
"""Batches that are more doublings apart take quite another time for each image."""


@dataclass(frozen=True)
class Target:
    """A cell of a suite that ships, which measures the step times of a network."""

    suite: str
    cell: str


@dataclass(frozen=True)
class Source:
    """Where the time of one network comes from."""

    network: str
    times: StepTimes
    closer: Target | None = None
    """What measures it in the batches that pictures are drawn in, where those are far from this one."""


@dataclass(frozen=True)
class Unknown:
    """A network that was not timed on this machine."""

    network: str
    network_calls: int
    """Calls times images that are therefore not in the estimate."""
    target: Target | None
    """What measures it; None when no suite that ships does."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of network calls, one worker after another."""

    drawing_s: float
    """To draw the pictures, from nothing."""
    alone_s: float
    """For timed walks and other calls that are shared with nothing."""
    workers: int
    """How many draw side by side."""
    sources: tuple[Source, ...]
    unknown: tuple[Unknown, ...]

    @property
    def wall_s(self) -> float:
        """With the drawing workers side by side."""
        return self.drawing_s / self.workers + self.alone_s


def estimate(work: Workload, known: KnownTimes, processors: int) -> Estimate:
    """The time of a plan's network calls as far as step times of its networks are known."""
    seconds = {"drawing": 0.0, "alone": 0.0}
    sources: dict[tuple[Network, int], Source] = {}
    unknown: dict[Network, Unknown] = {}
    parts: list[Drawing | Alone] = [*work.drawings, *work.alone]
    for part in parts:
        calls = stage_calls(part.cell, part.timesteps)
        network = network_of(part.cell.factors, part.cell.conditions.model_dump())
        batch = DRAWN_AT_ONCE if isinstance(part, Drawing) else part.cell.conditions.batch_size
        times = known.find(part.cell, frozenset(calls), batch)
        if times is None or not _all_stages_known(part.cell, times):
            lost = part.network_calls if isinstance(part, Drawing) else _calls(part, calls)
            before = unknown.get(network) or Unknown(
                network_text(part.cell), 0, _target(part.cell, frozenset(calls), batch)
            )
            unknown[network] = Unknown(before.network, before.network_calls + lost, before.target)
            continue
        if (network, times.batch_size) not in sources:
            far = distance(times.batch_size, batch) > FAR
            closer = _target(part.cell, frozenset(calls), batch, nearer_than=times.batch_size) if far else None
            sources[network, times.batch_size] = Source(network_text(part.cell), times, closer)
        if isinstance(part, Drawing):
            seconds["drawing"] += part.images * _walk_s(calls, times)
        else:
            seconds["alone"] += _alone_s(part, calls, times)
    at_once = together(max((each.cell.conditions.threads for each in work.drawings), default=1), processors)
    on_cpu = all(each.cell.conditions.device == "cpu" for each in work.drawings)
    workers = min(at_once, QUALITY_WORKERS, max(1, len(work.drawings))) if on_cpu else 1
    return Estimate(seconds["drawing"], seconds["alone"], workers, tuple(sources.values()), tuple(unknown.values()))


def _walk_s(calls: Mapping[int, int], times: StepTimes) -> float:
    """Of one image in one walk."""
    return sum(count * times.seconds(stage) for stage, count in calls.items())


def _alone_s(part: Alone, calls: Mapping[int, int], times: StepTimes) -> float:
    batch, work = part.cell.conditions.batch_size, part.work
    per_stage = sum(times.seconds(stage) for stage in calls)
    mean = _walk_s(calls, times) / max(1, sum(calls.values()))
    return batch * (work.walks * _walk_s(calls, times) + work.calls_per_stage * per_stage) + work.image_calls * mean


def _calls(part: Alone, calls: Mapping[int, int]) -> int:
    work, batch = part.work, part.cell.conditions.batch_size
    return batch * (work.walks * sum(calls.values()) + work.calls_per_stage * len(calls)) + work.image_calls


def _all_stages_known(cell: Cell, times: StepTimes) -> bool:
    """Whether the stages that were timed are those that the network says it has.

    A network that has several and does not say when each runs cannot be composed from them.
    """
    return MODELS.get(cell.model.name).outlook.stages is not None or times.values.keys() == {0}


def network_text(cell: Cell) -> str:
    """`skip-unet (skip = zero, config = cifar10)`: what step times depend on, for people."""
    factors = {name: str(value) for name, value in network_of(cell.factors, {}) if name.startswith("model.")}
    told = [f"{name.removeprefix('model.')} = {value.strip(chr(34))}" for name, value in factors.items()]
    return f"{cell.model.name} ({', '.join(told)})" if told else cell.model.name


def commands(targets: Iterable[Target]) -> tuple[str, ...]:
    """What to type to measure these cells: one command for each suite."""
    wanted: dict[str, dict[str, None]] = {}
    for target in targets:
        wanted.setdefault(target.suite, {})[target.cell] = None
    return tuple(
        " ".join([f"bench run {name}", *(f"-k {shlex.quote(word)}" for word in _selecting(_cells_of(name), cells))])
        for name, cells in wanted.items()
    )


def _selecting(cells: tuple[Cell, ...], wanted: Collection[str]) -> tuple[str, ...]:
    """Expressions for these cells, or none, for all of a suite, where a few factors do not tell them apart."""
    if len(wanted) == len(cells):
        return ()
    chosen = Expressions(cells).selecting(wanted)
    return () if any(word.startswith(f"{CELL}=") for word in chosen) else chosen


def _target(cell: Cell, stages: frozenset[int], batch_size: int, nearer_than: int | None = None) -> Target | None:
    """What measures the step times of a cell's network at these stages, in the batch closest to the wanted one.

    Of several suites the one with the fewest cells. nearer_than: only where its batch is closer than this one. None
    when no suite that ships does.
    """
    network = network_of(cell.factors, cell.conditions.model_dump())
    suites = [name for name, text in _texts().items() if all(word in text for word in _words(cell))]
    found = [
        (distance(each.conditions.batch_size, batch_size), len(_cells_of(name)), Target(name, each.id))
        for name in suites
        for each in _cells_of(name)
        if network_of(each.factors, each.conditions.model_dump()) == network and stages <= _stages_of(each)
    ]
    best = min(found, key=lambda one: one[:2], default=None)
    if best is None or (nearer_than is not None and best[0] >= distance(nearer_than, batch_size)):
        return None
    return best[2]


@cache
def _cells_of(suite: str) -> tuple[Cell, ...]:
    """The cells of a suite that ships; none where it does not measure step times, or needs a plug-in."""
    try:
        cells = expand(read_suite(suite))
        return tuple(cell for cell in cells if any(metric.name == METRIC for metric in cell.metrics))
    except BenchError:
        return ()


@cache
def _texts() -> Mapping[str, str]:
    """The texts of the suites that may measure step times."""
    texts = {name: builtin_text(name) for name in builtin_suites()}
    return {name: text for name, text in texts.items() if METRIC in text}


def _words(cell: Cell) -> Iterator[str]:
    """What a suite must say somewhere to have a cell's network. Looking for words is much faster than parsing."""
    yield cell.model.name
    for name, parameter in MODELS.get(cell.model.name).parameters().items():
        value = cell.model.params.get(name, parameter.default)
        if isinstance(value, str) and value != parameter.default and name != "weights":
            yield value


def _stages_of(cell: Cell) -> frozenset[int]:
    timesteps = call_timesteps(cell)
    return frozenset() if timesteps is None else frozenset(stage_calls(cell, timesteps))
