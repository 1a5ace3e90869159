"""The walk back from t_start steps of noise: which timesteps, which rule, and that it comes home."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.contracts import ScheduleSpec
from bench.diffusion.samplers import build_chain, build_ddim, build_ddpm
from bench.diffusion.schedule import build_schedule
from bench.errors import ParamError
from bench.registry import SAMPLERS, check_params, load_builtins

SPEC = ScheduleSpec("sigmoid")
WALKS = ("posterior-mean", "ancestral", "ddim")


def no_noise(step: int) -> Tensor:
    raise AssertionError("this walk adds no noise")


@pytest.mark.parametrize(
    ("t_start", "stride", "first", "last", "count"),
    [(50, 1, 49, 0, 50), (1000, 1, 999, 0, 1000), (1, 1, 0, 0, 1), (50, 4, 49, 1, 13), (10, 100, 9, 9, 1)],
)
def test_t_start_steps_of_noise_are_walked_back_in_as_many_calls(
    t_start: int, stride: int, first: int, last: int, count: int
) -> None:
    timesteps = build_chain(SPEC, t_start, "ddim", stride, True).timesteps

    assert (timesteps[0], timesteps[-1], len(timesteps)) == (first, last, count)


def test_the_registered_sampler_says_its_calls_before_it_is_built() -> None:
    load_builtins()
    entry = SAMPLERS.get("chain")
    params = check_params(entry, {"t_start": 12, "stride": 5})
    assert entry.outlook.calls is not None

    assert entry.outlook.calls(num_train_timesteps=1000, **params) == entry.factory(SPEC, **params).timesteps
    assert entry.factory(SPEC, **params).timesteps == (11, 6, 1)


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("stride", [1, 7])
def test_with_the_true_image_for_a_prediction_every_walk_ends_at_it(walk: Any, stride: int) -> None:
    schedule = build_schedule(SPEC)
    x0 = torch.rand(2, 1, 4, 4) * 2 - 1
    noise = torch.randn(x0.shape)

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        a = schedule.alpha_bar(t)
        return x0, (x_t - a**0.5 * x0) / (1 - a) ** 0.5

    sampler = build_chain(SPEC, 150, walk, stride, True)
    found = sampler(predict, schedule.q_sample(x0, 149, noise), lambda step: torch.randn(x0.shape))

    torch.testing.assert_close(found, x0, atol=1e-5, rtol=0)


def test_ancestral_is_ddpm_with_the_posterior_variance_and_ddim_is_ddim() -> None:
    """Over the whole chain they are the samplers that are there already."""
    whole = build_chain(SPEC, 1000, "ancestral", 1, True)
    ddpm = build_ddpm(SPEC, 1000, "leading", "posterior", True)
    ddim = build_ddim(SPEC, 1000, "leading", 0.0, True)

    assert whole == ddpm
    assert build_chain(SPEC, 1000, "ddim", 1, True) == ddim


def test_the_posterior_mean_adds_no_noise_and_is_otherwise_ancestral() -> None:
    mean, ancestral = (build_chain(SPEC, 100, walk, 1, True) for walk in ("posterior-mean", "ancestral"))  # type: ignore[arg-type]

    assert [each.std for each in mean.coefficients] == [0.0] * 100
    assert [each[:2] for each in mean.coefficients] == [each[:2] for each in ancestral.coefficients]
    assert all(each.std > 0 for each in ancestral.coefficients[:-1])
    mean(lambda x_t, t: (x_t, x_t), torch.zeros(1, 1, 2, 2), no_noise)


def test_the_iterate_of_ddim_keeps_the_noise_of_its_timestep() -> None:
    """With the true noise predicted, x_t after each step is q_sample of the next timestep with the same noise."""
    schedule = build_schedule(SPEC)
    x0, noise = torch.rand(1, 1, 4, 4) - 0.5, torch.randn(1, 1, 4, 4)
    seen: list[tuple[int, Tensor]] = []

    sampler = build_chain(SPEC, 30, "ddim", 3, False)
    sampler(
        lambda x_t, t: (x0, noise),
        schedule.q_sample(x0, 29, noise),
        no_noise,
        lambda step, t, x_t, pred_x0: seen.append((t, x_t)),
    )

    for (_, x_t), following in zip(seen, (*sampler.timesteps[1:], -1), strict=True):
        torch.testing.assert_close(x_t, schedule.q_sample(x0, following, noise), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("t_start", "stride"), [(0, 1), (1001, 1), (50, 0)])
def test_levels_and_strides_out_of_range_are_refused(t_start: int, stride: int) -> None:
    with pytest.raises(ParamError, match=r"t_start must be between 1|stride must be at least 1"):
        build_chain(SPEC, t_start, "ddim", stride, True)
