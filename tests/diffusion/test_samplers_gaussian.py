"""Exact toy: for data N(m, s^2) the best denoiser is known, so is what every sampler must give.

With a = abar_t and V = a s^2 + 1 - a the variance of x_t, the denoiser is E[x_0 | x_t] = m + s^2 sqrt(a) / V (x_t -
sqrt(a) m). The recursions below are derived from the joint Gaussian of the chain, not from the samplers' formulas.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bench.contracts import Predict, Prediction, Sampler, ScheduleSpec
from bench.diffusion.noise import NoiseStream
from bench.diffusion.parameterization import from_x0_eps, to_x0_eps
from bench.diffusion.samplers import Variance, build_ddim, build_ddpm
from bench.diffusion.schedule import NoiseSchedule, build_schedule
from bench.diffusion.spacing import Spacing

M, S = 0.3, 0.4
SHAPE = (1, 8, 8)


def _variance(abar: float) -> float:
    return abar * S**2 + 1.0 - abar


def _denoiser(schedule: NoiseSchedule, prediction: Prediction = Prediction.EPSILON) -> Predict:
    """The optimal network of the given kind, through the same conversion a real one goes through."""

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        a = schedule.alpha_bar(t)
        x0 = M + S**2 * math.sqrt(a) / _variance(a) * (x_t - math.sqrt(a) * M)
        eps = (x_t - math.sqrt(a) * x0) / math.sqrt(1.0 - a)
        return to_x0_eps(from_x0_eps(x0, eps, a, prediction), x_t, a, prediction)

    return predict


def _levels(schedule: NoiseSchedule, sampler: Sampler) -> list[tuple[float, float]]:
    return list(pairwise([schedule.alpha_bar(t) for t in (*sampler.timesteps, -1)]))


@pytest.mark.parametrize("kind", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace", "ddim_uniform", "ddim_quad"])
@pytest.mark.parametrize("prediction", list(Prediction))
def test_deterministic_ddim_maps_noise_affinely_as_the_closed_form_says(
    kind: str, spacing: Spacing, prediction: Prediction
) -> None:
    """x_prev - sqrt(a') m = (sqrt(a a') s^2 + sqrt((1-a)(1-a'))) / V (x_t - sqrt(a) m), pixel by pixel."""
    spec = ScheduleSpec(kind)  # type: ignore[arg-type]
    schedule = build_schedule(spec)
    sampler = build_ddim(spec, 30, spacing, 0.0, clip_x0=False)
    stream = NoiseStream(0, 0, 3, SHAPE)
    x_T = stream.start().double()
    centred = x_T - math.sqrt(schedule.alpha_bar(sampler.timesteps[0])) * M
    for a, a_prev in _levels(schedule, sampler):
        centred = centred * (math.sqrt(a * a_prev) * S**2 + math.sqrt((1 - a) * (1 - a_prev))) / _variance(a)

    x0 = sampler(_denoiser(schedule, prediction), x_T, stream.step)

    torch.testing.assert_close(x0, M + centred, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize(("spacing", "n"), [("leading", 1000), ("leading", 50), ("linspace", 37), ("ddim_quad", 200)])
def test_ddpm_follows_the_closed_form_with_its_own_noise(variance: Variance, spacing: Spacing, n: int) -> None:
    """The mean of a step is E[x_prev | x_t] = sqrt(a') m + sqrt(a / a') V' / V (x_t - sqrt(a) m)."""
    spec = ScheduleSpec()
    schedule = build_schedule(spec)
    sampler = build_ddpm(spec, n, spacing, variance, clip_x0=False)
    stream = NoiseStream(0, 0, 3, SHAPE)
    x_T = stream.start().double()
    centred = x_T - math.sqrt(schedule.alpha_bar(sampler.timesteps[0])) * M
    for step, (a, a_prev) in enumerate(_levels(schedule, sampler)):
        beta = 1 - a / a_prev
        added = 0.0 if a_prev == 1.0 else beta if variance == "beta" else beta * (1 - a_prev) / (1 - a)
        mean = math.sqrt(a / a_prev) * _variance(a_prev) / _variance(a) * centred
        centred = mean + math.sqrt(added) * stream.step(step).double()

    x0 = sampler(_denoiser(schedule), x_T, stream.step)

    torch.testing.assert_close(x0, M + centred, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_ddpm_samples_have_the_mean_and_variance_of_the_recursion(variance: Variance) -> None:
    """64 images of 1,024 independent pixels, in float32 as in a real run; limits are four standard errors."""
    spec = ScheduleSpec()
    schedule = build_schedule(spec)
    sampler = build_ddpm(spec, 250, "leading", variance, clip_x0=False)
    expected = _ddpm_variance(schedule, sampler, variance)

    stream = NoiseStream(0, 0, 64, (1, 32, 32))
    sample = sampler(_denoiser(schedule), stream.start(), stream.step).double()

    n = sample.numel()
    assert sample.mean().item() == pytest.approx(M, abs=4 * S / n**0.5)
    assert sample.var().item() == pytest.approx(expected, rel=4 * (2 / n) ** 0.5)


def test_the_two_ddpm_variances_close_in_on_the_data_from_both_sides() -> None:
    spec = ScheduleSpec()
    schedule = build_schedule(spec)
    for n, share in ((250, 0.10), (1000, 0.03)):
        below, above = (
            _ddpm_variance(schedule, build_ddpm(spec, n, "leading", variance, clip_x0=False), variance) / S**2
            for variance in ("posterior", "beta")
        )
        assert 1 - share < below < 1 < above < 1 + share


def _ddpm_variance(schedule: NoiseSchedule, sampler: Sampler, variance: str) -> float:
    """Variance of a pixel after the walk, from unit variance at the start."""
    pixel = 1.0
    for a, a_prev in _levels(schedule, sampler):
        beta = 1 - a / a_prev
        added = 0.0 if a_prev == 1.0 else beta if variance == "beta" else beta * (1 - a_prev) / (1 - a)
        pixel = pixel * (a / a_prev) * (_variance(a_prev) / _variance(a)) ** 2 + added
    return pixel


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_more_ddim_steps_come_closer_to_the_data(eta: float) -> None:
    """The variance recursion of the built sampler itself: unit noise in, s^2 out as the steps get small."""
    spec = ScheduleSpec()
    schedule = build_schedule(spec)
    gaps = []
    for n in (10, 50, 250, 1000):
        sampler = build_ddim(spec, n, "trailing", eta, clip_x0=False)
        variance = 1.0
        for (a, _), c in zip(_levels(schedule, sampler), sampler.coefficients, strict=True):
            to_x0 = S**2 * math.sqrt(a) / _variance(a)
            to_eps = (1.0 - math.sqrt(a) * to_x0) / math.sqrt(1.0 - a)
            variance = variance * (c.x0 * to_x0 + c.eps * to_eps) ** 2 + c.std**2
        gaps.append(abs(variance - S**2))

    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.02 * S**2
