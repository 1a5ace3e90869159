"""Step times on an exact clock: stages in turns, medians of calls, inputs of the trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.errors import ParamError
from bench.measure.steps import step_time
from bench.subject import Subject
from bench.suite.schema import Effort

MakeSubject = Callable[..., Subject]
TICK = 2.0**-6


def test_each_stage_has_its_own_time_calls_and_timestep(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    subject = make_subject(
        calls(fake_clock, lambda call, t: TICK * (1 if t >= 2 else 4)), stage=lambda t: 1 if t >= 2 else 0
    )

    full, short = step_time(subject, Effort(warmup=1, repeats=3), clock=fake_clock)

    assert (full.at, full.values) == ({"stage": 0, "calls": 2, "timestep": 1}, (4 * TICK,) * 3)
    assert (short.at, short.values) == ({"stage": 1, "calls": 2, "timestep": 3}, (TICK,) * 3)
    assert (full.metric, full.unit, full.nfe) == ("step_time", "s", 1)


def test_the_composed_time_of_a_walk_is_its_latency(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    from bench.measure.timing import latency

    def seconds(call: int, t: int) -> float:
        return TICK * (1 if t >= 2 else 4)

    subject = make_subject(calls(fake_clock, seconds), stage=lambda t: 1 if t >= 2 else 0, timesteps=(3, 3, 2, 1))

    whole = latency(subject, Effort(warmup=0, repeats=1), fake_clock)[0].values[0]
    composed = sum(
        int(str(each.at["calls"])) * each.values[0]
        for each in step_time(subject, Effort(warmup=0, repeats=1), clock=fake_clock)
    )

    assert composed == whole


def test_one_slow_call_in_five_does_not_move_a_value(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK * (50 if call % 5 == 2 else 1)))

    (found,) = step_time(subject, Effort(warmup=0, repeats=4), clock=fake_clock)

    assert found.values == (TICK,) * 4


def test_stages_take_turns_in_alternating_order(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    network = calls(fake_clock, lambda call, t: TICK)
    subject = make_subject(network, stage=lambda t: t, timesteps=(2, 1, 0))

    step_time(subject, Effort(warmup=1, repeats=2), calls_per_value=2, clock=fake_clock)

    assert [t for _, t in network.asked] == [0, 1, 2, 0, 0, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0]


def test_every_call_of_a_stage_has_its_own_input_noised_to_its_timestep(
    make_subject: MakeSubject, calls: Any, fake_clock: Any
) -> None:
    network = calls(fake_clock, lambda call, t: TICK)
    subject = make_subject(network, timesteps=(2,), batch_size=2)

    step_time(subject, Effort(warmup=1, repeats=2), calls_per_value=2, clock=fake_clock)

    images = [4, 0, 1, 2, 3]
    assert [x.shape[0] for x, _ in network.asked] == [2] * 5
    for (x, _), index in zip(network.asked, images, strict=True):
        assert torch.equal(x, subject.noised(2 * index, 2 * index + 2, 2))


def test_a_device_that_works_behind_the_program_is_waited_for(
    make_subject: MakeSubject, calls: Any, async_device: Any
) -> None:
    device = async_device(waits=True)
    subject = make_subject(calls(device, lambda call, t: TICK))

    (found,) = step_time(subject, Effort(warmup=1, repeats=2), clock=device)

    assert found.values == (TICK,) * 2


def test_without_a_sampler_the_whole_chain_is_composed(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK), timesteps=None)

    assert step_time(subject, Effort(repeats=1), clock=fake_clock)[0].at["calls"] == 4


def test_a_value_needs_a_call(make_subject: MakeSubject) -> None:
    with pytest.raises(ParamError, match="calls_per_value must be at least 1, got 0"):
        step_time(make_subject(lambda x, t: x), Effort(), calls_per_value=0)
