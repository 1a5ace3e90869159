"""The `latency` metric, seconds of one whole walk from x_T to x_0, and `cold_start`, those of the very first one.

A timed region holds the sampler, its own step noise and the network calls; nothing is observed, copied to the host or
drawn on the screen in it. Every repeat starts from other images, so that nothing can be remembered from the last one.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.contracts import Measurement
from bench.errors import MeasurementError, NonFiniteOutput
from bench.measure import contamination
from bench.measure.agreement import check_network
from bench.measure.clock import Clock, clock_for
from bench.measure.stability import too_short
from bench.subject import Subject
from bench.suite.schema import Effort


@dataclass(frozen=True)
class TimedWalk:
    """One walk, as timed."""

    seconds: float
    calls: int
    """Network calls that were made in it."""


def latency(subject: Subject, effort: Effort, clock: Clock | None = None) -> tuple[Measurement, ...]:
    """One visit: effort.warmup untimed walks, then effort.repeats timed ones; seconds per walk of a whole batch.

    Repeat r of every visit of every cell starts from the images r*B..(r+1)*B-1 (warm-ups come after them), so two
    cells are compared on the same noise. nfe is counted in the timed walks themselves. Raises NonFiniteOutput when
    a walk ends in NaN or infinity, whose arithmetic may cost another time than that of numbers. The network is
    watched in the warm-up, or after the timed walks where there is none; in them nothing is looked at.
    """
    clock = clock or clock_for(subject.device)
    subject.claim_threads()
    cold = subject.calls.count == 0 and effort.warmup == 0
    batch = subject.conditions.batch_size
    with garbage_collection_off():
        for index in range(effort.warmup):
            time_walk(subject, (effort.repeats + index) * batch, clock)
        before = contamination.read()
        with subject.unwatched():
            walks = [time_walk(subject, index * batch, clock) for index in range(effort.repeats)]
        after = contamination.read()
    if not effort.warmup:
        check_network(subject)
    values = tuple(walk.seconds for walk in walks)
    counted = {walk.calls for walk in walks}
    warnings = [
        *too_short(values),
        *contamination.contamination_warnings(contamination.between(before, after)),
    ]
    if cold:
        warnings.append("the first value includes what torch does once; raise effort.warmup to 1 or more")
    if len(counted) > 1:
        warnings.append(
            f"the walks made between {min(counted)} and {max(counted)} network calls; times differ with them"
        )
    nfe = counted.pop() if len(counted) == 1 else None
    return (Measurement("latency", "s", values, nfe=nfe, warnings=tuple(warnings)),)


def cold_start(subject: Subject, clock: Clock | None = None) -> tuple[Measurement, ...]:
    """Seconds of the first walk in a process: lazy initialisation, memory growth and compilation included.

    Raises MeasurementError when the network has been called before, because then it is not the first one.
    """
    if subject.calls.count:
        raise MeasurementError(
            "the network has been called in this process before, so there is no first walk left to time; "
            "cold_start needs a process of its own"
        )
    subject.claim_threads()
    with subject.unwatched():
        walk = time_walk(subject, 0, clock or clock_for(subject.device))
    check_network(subject)
    return (Measurement("cold_start", "s", (walk.seconds,), nfe=walk.calls),)


def time_walk(subject: Subject, lo: int, clock: Clock) -> TimedWalk:
    """Time one walk of a batch that begins with image lo. x_T is drawn before the clock starts.

    Raises NonFiniteOutput when it ends in NaN or infinity.
    """
    noise = subject.noise(lo, lo + subject.conditions.batch_size)
    x_T = noise.start()
    calls = subject.calls.count
    clock.synchronize()
    start = clock.now()
    x0 = subject.reverse(x_T, noise.step)
    clock.synchronize()
    seconds = clock.now() - start
    check_finite(x0, "the walk")
    return TimedWalk(seconds, subject.calls.count - calls)


def check_finite(found: Tensor, what: str) -> None:
    """Raises NonFiniteOutput naming what gave NaN or infinity."""
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteOutput(f"{what} ended in NaN or infinity; check the weights, or use dtype: float32")


@contextlib.contextmanager
def garbage_collection_off() -> Iterator[None]:
    """No collection of garbage for a while: it would stop one timed region and not another.

    Only the young objects are collected first; looking at all of them takes 0.1 s with torch loaded.
    """
    enabled = gc.isenabled()
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
