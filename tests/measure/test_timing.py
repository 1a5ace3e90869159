"""Latency on clocks that are exact: what is in the timed region, what is not, and what is said about it."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.errors import MeasurementError, NonFiniteOutput
from bench.measure.clock import CpuClock, CudaClock, clock_for
from bench.measure.steps import step_time
from bench.measure.timing import cold_start, garbage_collection_off, latency
from bench.subject import Subject
from bench.suite.schema import Effort

MakeSubject = Callable[..., Subject]
TICK = 2.0**-6
"""15.6 ms, and exact in binary."""


def test_a_value_is_the_time_of_all_network_calls_of_one_walk(
    make_subject: MakeSubject, calls: Any, fake_clock: Any
) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK * (t + 1)))

    (found,) = latency(subject, Effort(warmup=0, repeats=3), fake_clock)

    assert found.values == (10 * TICK,) * 3
    assert (found.metric, found.unit, found.at, found.nfe) == ("latency", "s", {}, 4)


def test_slow_first_calls_stay_in_the_warm_up(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK * (20 if call < 5 else 1)))

    (found,) = latency(subject, Effort(warmup=2, repeats=2), fake_clock)

    assert found.values == (4 * TICK,) * 2


def test_without_a_warm_up_the_first_value_is_marked(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK))

    first = latency(subject, Effort(warmup=0, repeats=1), fake_clock)[0]
    second = latency(subject, Effort(warmup=0, repeats=1), fake_clock)[0]

    assert any("raise effort.warmup" in warning for warning in first.warnings)
    assert not any("raise effort.warmup" in warning for warning in second.warnings)


def test_rare_slow_calls_are_kept_as_values_and_leave_the_median_alone(
    make_subject: MakeSubject, calls: Any, fake_clock: Any
) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK * (5 if call % 50 == 49 else 1)))

    (found,) = latency(subject, Effort(warmup=0, repeats=50), fake_clock)

    assert statistics.median(found.values) == 4 * TICK
    assert sorted(set(found.values)) == [4 * TICK, 8 * TICK]
    assert found.values.count(8 * TICK) == 4


def test_a_device_that_works_behind_the_program_is_waited_for(
    make_subject: MakeSubject, calls: Any, async_device: Any
) -> None:
    device = async_device(waits=True)
    subject = make_subject(calls(device, lambda call, t: TICK))

    (found,) = latency(subject, Effort(warmup=1, repeats=2), device)

    assert found.values == (4 * TICK,) * 2


def test_a_clock_that_does_not_wait_would_be_caught(make_subject: MakeSubject, calls: Any, async_device: Any) -> None:
    """The mistake itself: without the wait, the same walk seems to take no time."""
    device = async_device(waits=False)
    subject = make_subject(calls(device, lambda call, t: TICK))

    (found,) = latency(subject, Effort(warmup=1, repeats=2), device)

    assert max(found.values) < 0.5 * 4 * TICK


def test_work_queued_before_the_region_is_not_in_it(make_subject: MakeSubject, calls: Any, async_device: Any) -> None:
    device = async_device(waits=True)
    device.work(1000.0)
    subject = make_subject(calls(device, lambda call, t: TICK))

    assert latency(subject, Effort(warmup=0, repeats=1), device)[0].values == (4 * TICK,)


def test_every_repeat_starts_from_other_images_and_every_visit_from_the_same(
    make_subject: MakeSubject, calls: Any, fake_clock: Any
) -> None:
    network = calls(fake_clock)
    subject = make_subject(network, timesteps=(3,), batch_size=2)

    latency(subject, Effort(warmup=1, repeats=2), fake_clock)
    latency(subject, Effort(warmup=1, repeats=2), fake_clock)

    started = [x for x, _ in network.asked]
    assert torch.equal(torch.cat(started[1:3]), torch.cat([subject.start(0, 2), subject.start(2, 4)]))
    assert torch.equal(started[0], subject.start(4, 6))
    assert all(torch.equal(one, other) for one, other in zip(started[:3], started[3:], strict=True))


def test_a_timed_walk_computes_what_an_untimed_one_does(make_subject: MakeSubject, fake_clock: Any) -> None:
    ended: list[Tensor] = []
    subject = make_subject(lambda x, t: 0.3 * x)
    walk: Any = subject.sampler

    class Keeping:
        timesteps, order = (3, 2, 1, 0), 1

        def __call__(self, *args: Any) -> Tensor:
            ended.append(walk(*args))
            return ended[-1]

    object.__setattr__(subject, "sampler", Keeping())
    latency(subject, Effort(warmup=0, repeats=2), fake_clock)
    timed = list(ended)

    assert torch.equal(timed[0], subject.sample(0, 1))
    assert torch.equal(timed[1], subject.sample(1, 2))


def test_nothing_observes_a_timed_walk(make_subject: MakeSubject, fake_clock: Any) -> None:
    seen: list[object] = []

    class Watched:
        timesteps, order = (3,), 1

        def __call__(self, predict: Any, x_T: Tensor, noise: Any, observe: Any = None) -> Tensor:
            seen.append(observe)
            return x_T

    subject = make_subject(lambda x, t: x)
    object.__setattr__(subject, "sampler", Watched())

    latency(subject, Effort(warmup=1, repeats=1), fake_clock)

    assert seen == [None, None]


def test_a_walk_whose_calls_differ_says_so(make_subject: MakeSubject, fake_clock: Any) -> None:
    class Adaptive:
        timesteps, order = (3,), 1
        walks = 0

        def __call__(self, predict: Any, x_T: Tensor, noise: Any, observe: Any = None) -> Tensor:
            self.walks += 1
            for _ in range(self.walks):
                predict(x_T, 3)
            return x_T

    subject = make_subject(lambda x, t: x)
    object.__setattr__(subject, "sampler", Adaptive())

    (found,) = latency(subject, Effort(warmup=0, repeats=3), fake_clock)

    assert found.nfe is None
    assert any("between 1 and 3 network calls" in warning for warning in found.warnings)


@pytest.mark.parametrize("measure", [latency, step_time])
def test_numbers_that_are_none_are_no_time(measure: Any, make_subject: MakeSubject, fake_clock: Any) -> None:
    subject = make_subject(lambda x, t: x * float("nan"))

    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        measure(subject, Effort(warmup=0, repeats=1), clock=fake_clock)


def test_walks_shorter_than_a_millisecond_are_marked(make_subject: MakeSubject, calls: Any, fake_clock: Any) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: 2.0**-13))

    (found,) = latency(subject, Effort(warmup=1, repeats=2), fake_clock)

    assert [warning for warning in found.warnings if "the shortest value is 0.488 ms, below 1 ms" in warning]


def test_cold_start_is_the_first_walk_and_there_is_only_one(
    make_subject: MakeSubject, calls: Any, fake_clock: Any
) -> None:
    subject = make_subject(calls(fake_clock, lambda call, t: TICK * (20 if call == 0 else 1)))

    (found,) = cold_start(subject, fake_clock)

    assert (found.metric, found.values, found.nfe) == ("cold_start", (23 * TICK,), 4)
    with pytest.raises(MeasurementError, match="no first walk left"):
        cold_start(subject, fake_clock)


def test_a_cell_without_a_sampler_has_no_walk_to_time(make_subject: MakeSubject, fake_clock: Any) -> None:
    with pytest.raises(MeasurementError, match="this cell has no sampler"):
        latency(make_subject(lambda x, t: x, timesteps=None), Effort(), fake_clock)


def test_no_garbage_is_collected_while_it_is_off() -> None:
    with garbage_collection_off():
        assert not gc.isenabled()
    assert gc.isenabled()

    gc.disable()
    try:
        with garbage_collection_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_each_device_has_its_clock() -> None:
    assert clock_for(torch.device("cpu")) == CpuClock()
    assert clock_for(torch.device("cuda:1")) == CudaClock(torch.device("cuda:1"))


def test_the_processors_clock_never_runs_backwards() -> None:
    clock = CpuClock()
    readings = [clock.now() for _ in range(1000)]

    assert readings == sorted(readings)
    assert readings[-1] > readings[0]


def test_the_thread_count_of_the_cell_is_in_force_while_it_is_timed(make_subject: MakeSubject, fake_clock: Any) -> None:
    found: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        found.append(torch.get_num_threads())
        return x

    two, one = make_subject(network, threads=2), make_subject(network, threads=1)

    for subject in (two, one, two):
        latency(subject, Effort(warmup=0, repeats=1), fake_clock)

    # Two first walks that were timed have one watched call behind them.
    assert found == [2] * 5 + [1] * 5 + [2] * 4
