"""Which stage runs when, and how often."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from bench.errors import MeasurementError
from bench.measure.stages import StageUse, stage_uses, stages
from bench.models.skip_schedule import skip_table
from bench.subject import Subject


def network(x: Tensor, t: Tensor) -> Tensor:
    return x


def test_a_plain_network_has_one_stage_at_the_middle_of_the_walk(make_subject: Callable[..., Subject]) -> None:
    subject = make_subject(network, timesteps=(3, 2, 0))

    assert stage_uses(subject.denoiser, subject.call_timesteps) == (StageUse(stage=0, calls=3, timestep=2),)


def test_repeated_timesteps_and_orders_are_calls_of_their_own(make_subject: Callable[..., Subject]) -> None:
    subject = make_subject(network, timesteps=(3, 3, 1), order=2, stage=lambda t: t // 2)

    assert stage_uses(subject.denoiser, subject.call_timesteps) == (StageUse(0, 2, 1), StageUse(1, 4, 3))


def test_stages_that_never_run_are_not_there(make_subject: Callable[..., Subject]) -> None:
    subject = make_subject(network, timesteps=(1, 0), stage=lambda t: 5 if t > 1 else 2)

    assert [use.stage for use in stage_uses(subject.denoiser, subject.call_timesteps)] == [2]


@pytest.mark.parametrize(
    ("c", "calls"),
    [
        (0.0, (1000,)),
        (1.0, (250, 250, 250, 250)),
        (2.0, (134, 159, 207, 500)),
        (3.0, (92, 115, 164, 629)),
        (5.0, (56, 74, 113, 757)),
    ],
)
def test_level_skipping_calls_each_depth_as_often_as_the_paper_says(
    c: float, calls: tuple[int, ...], make_subject: Callable[..., Subject]
) -> None:
    table = skip_table(4, c, 1000)
    subject = make_subject(network, stage=lambda t: table[t], timesteps=tuple(range(1000)), num_train_timesteps=1000)

    uses = stage_uses(subject.denoiser, subject.call_timesteps)

    assert tuple(use.calls for use in uses) == calls
    assert all(table[use.timestep] == use.stage for use in uses)


def test_stages_gives_one_value_for_each_training_timestep(make_subject: Callable[..., Subject]) -> None:
    (found,) = stages(make_subject(network, stage=lambda t: 1 if t >= 2 else 0))

    assert found.values == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("wrong", [-1, 0.5, None])
def test_a_stage_that_is_no_whole_number_is_an_error(wrong: object, make_subject: Callable[..., Subject]) -> None:
    with pytest.raises(MeasurementError, match=r"stage\(0\) is .*expected a whole number >= 0"):
        stages(make_subject(network, stage=lambda t: wrong))
