"""Which variant of a network runs when: the stages of a denoiser over the calls of one walk.

A network whose computation depends on the timestep is measured once per stage; a whole walk is then
sum over stages of calls x (what one call costs).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from bench.contracts import Denoiser, Measurement
from bench.errors import MeasurementError
from bench.subject import Subject


@dataclass(frozen=True)
class StageUse:
    """One variant of the network, as one walk uses it."""

    stage: int
    calls: int
    """Network calls of the walk that run it, counted."""
    timestep: int
    """The timestep to measure it at: the middle one of its calls."""


def stage_at(denoiser: Denoiser, t: int) -> int:
    """The stage that runs at a training timestep; 0 for a network without stages.

    Raises MeasurementError when the model names a stage that is not a whole number >= 0.
    """
    if denoiser.stage is None:
        return 0
    stage = denoiser.stage(t)
    if not isinstance(stage, int) or stage < 0:
        raise MeasurementError(f"the model's stage({t}) is {stage!r}; expected a whole number >= 0, 0 the full one")
    return stage


def stage_uses(denoiser: Denoiser, timesteps: Iterable[int]) -> tuple[StageUse, ...]:
    """Which stages the calls at these timesteps run, ordered by stage; stages that never run are not there.

    timesteps: one per network call, in any order, repetitions counted.
    """
    calls: defaultdict[int, list[int]] = defaultdict(list)
    for t in timesteps:
        calls[stage_at(denoiser, t)].append(t)
    return tuple(StageUse(stage, len(at), sorted(at)[len(at) // 2]) for stage, at in sorted(calls.items()))


def stages(subject: Subject) -> tuple[Measurement, ...]:
    """values[t] is the stage at training timestep t, for t = 0..num_train_timesteps-1; all 0 for a plain network."""
    chain = range(subject.denoiser.schedule.num_train_timesteps)
    return (Measurement("stages", "1", tuple(float(stage_at(subject.denoiser, t)) for t in chain)),)
