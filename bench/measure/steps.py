"""The `step_time` metric: seconds of one network call at each stage, from which the time of any walk is composed.

A walk over other timesteps needs no new timing: sum over stages of calls x median. The sampler's own arithmetic and
noise are outside; they are the difference to `latency`.
"""

from __future__ import annotations

import statistics

from bench.contracts import Measurement
from bench.errors import ParamError
from bench.measure import contamination
from bench.measure.agreement import check_network
from bench.measure.clock import Clock, clock_for
from bench.measure.stability import too_short
from bench.measure.stages import StageUse, stage_uses
from bench.measure.timing import check_finite, garbage_collection_off
from bench.subject import Subject
from bench.suite.schema import Effort

SHORTEST_VALUE_S = 1e-4
"""A value is a median of several calls, so it may be shorter than a single one before its surroundings show."""


def step_time(
    subject: Subject, effort: Effort, calls_per_value: int = 5, clock: Clock | None = None
) -> tuple[Measurement, ...]:
    """One visit: for every stage of the walk, effort.repeats values; at={"stage": k, "calls": n, "timestep": t}.

    A value is the median seconds of calls_per_value calls of `predict` (network and conversion) in a row, as a walk
    makes them in a row; the stages take turns value by value, in alternating order, so that a change of the machine
    meets all of them alike. Each call has its own input: images noised to timestep t, or plain noise without data.
    Warm-up: effort.warmup calls of each stage, in which the network is watched; where there are none, after the timed
    calls. Raises ParamError for calls_per_value < 1 and NonFiniteOutput.
    """
    if calls_per_value < 1:
        raise ParamError(f"step_time: calls_per_value must be at least 1, got {calls_per_value}")
    clock = clock or clock_for(subject.device)
    subject.claim_threads()
    uses = stage_uses(subject.denoiser, subject.call_timesteps)
    values: dict[int, list[float]] = {use.stage: [] for use in uses}
    with garbage_collection_off():
        for use in uses:
            for call in range(effort.warmup):
                _median_call(subject, use, effort.repeats * calls_per_value + call, 1, clock)
        before = contamination.read()
        with subject.unwatched():
            for repeat in range(effort.repeats):
                for use in uses if repeat % 2 == 0 else reversed(uses):
                    seconds = _median_call(subject, use, repeat * calls_per_value, calls_per_value, clock)
                    values[use.stage].append(seconds)
        after = contamination.read()
    if not effort.warmup:
        check_network(subject)
    disturbed = contamination.contamination_warnings(contamination.between(before, after))
    return tuple(
        Measurement(
            "step_time",
            "s",
            tuple(values[use.stage]),
            at={"stage": use.stage, "calls": use.calls, "timestep": use.timestep},
            nfe=1,
            warnings=(*too_short(values[use.stage], SHORTEST_VALUE_S), *disturbed),
        )
        for use in uses
    )


def _median_call(subject: Subject, use: StageUse, first: int, calls: int, clock: Clock) -> float:
    """Median seconds of `calls` network calls in a row; the inputs, batches first.. of the images, are made before."""
    batch = subject.conditions.batch_size
    inputs = [subject.noised(index * batch, (index + 1) * batch, use.timestep) for index in range(first, first + calls)]
    seconds = []
    for x_t in inputs:
        clock.synchronize()
        start = clock.now()
        pred_x0, eps = subject.predict(x_t, use.timestep)
        clock.synchronize()
        seconds.append(clock.now() - start)
    check_finite(pred_x0, f"the network call at timestep {use.timestep}")
    check_finite(eps, f"the network call at timestep {use.timestep}")
    return statistics.median(seconds)
