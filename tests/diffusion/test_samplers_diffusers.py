"""Step for step against the schedulers of diffusers, with the same output and the same noise.

Their schedulers keep abar in float32, which alone costs 1e-4 near t = 0, where 1 - abar is 1e-4. So each scheduler is
given our float64 table, and must then agree to 1e-6; with its own table it must agree to what float32 allows.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.contracts import Prediction, ScheduleSpec
from bench.diffusion.parameterization import to_x0_eps
from bench.diffusion.samplers import DdimSampler, Variance, build_ddim, build_ddpm, ddim_step, ddpm_step
from bench.diffusion.schedule import build_schedule
from bench.diffusion.spacing import Spacing

SPEC = ScheduleSpec("linear")
SCHEDULE = build_schedule(SPEC)
SHAPE = (2, 1, 8, 8)
TYPES = {"posterior": "fixed_small", "beta": "fixed_large"}


def _draws(count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Unrelated x_t, network output and noise for every step: nothing is special about them."""
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.randn(3, *SHAPE, generator=generator)) for _ in range(count)]


def _worst(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Largest difference, relative to the largest value of the step when that is above 1."""
    return max(((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1.0)).item() for ours, theirs in pairs)


def _ddpm_pairs(
    monkeypatch: pytest.MonkeyPatch, scheduler: Any, n: int, variance: Variance, clip: bool, prediction: Prediction
) -> list[tuple[Tensor, Tensor]]:
    sampler = build_ddpm(SPEC, n, "leading", variance, clip)
    scheduler.set_timesteps(n)
    assert tuple(scheduler.timesteps.tolist()) == sampler.timesteps
    pairs = []
    draws = _draws(n)
    for (x_t, output, noise), t, coefficients in zip(draws, sampler.timesteps, sampler.coefficients, strict=True):
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, noise=noise, **_: noise)
        pred_x0, _ = to_x0_eps(output, x_t, SCHEDULE.alpha_bar(t), prediction)
        ours = ddpm_step(x_t, pred_x0.clamp(-1, 1) if clip else pred_x0, noise, coefficients)
        pairs.append((ours, scheduler.step(output, t, x_t).prev_sample))
    return pairs


@pytest.mark.parametrize("n", [1000, 50, 30])
@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("clip", [True, False])
def test_every_ddpm_step_is_that_of_diffusers(
    monkeypatch: pytest.MonkeyPatch, n: int, variance: Variance, clip: bool
) -> None:
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = DDPMScheduler(variance_type=TYPES[variance], clip_sample=clip, timestep_spacing="leading")
    theirs = _worst(_ddpm_pairs(monkeypatch, scheduler, n, variance, clip, Prediction.EPSILON))
    scheduler.alphas_cumprod = SCHEDULE.alphas_cumprod
    exact = _worst(_ddpm_pairs(monkeypatch, scheduler, n, variance, clip, Prediction.EPSILON))

    assert exact < 1e-6
    assert theirs < (3e-4 if n == 1000 else 1e-5)


@pytest.mark.parametrize(("prediction", "name"), [(Prediction.X0, "sample"), (Prediction.V, "v_prediction")])
def test_every_ddpm_step_agrees_for_other_predictions(
    monkeypatch: pytest.MonkeyPatch, prediction: Prediction, name: str
) -> None:
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = DDPMScheduler(prediction_type=name, clip_sample=True, timestep_spacing="leading")
    scheduler.alphas_cumprod = SCHEDULE.alphas_cumprod

    assert _worst(_ddpm_pairs(monkeypatch, scheduler, 50, "posterior", True, prediction)) < 1e-6


def _ddim_pairs(scheduler: Any, sampler: DdimSampler, eta: float) -> list[tuple[Tensor, Tensor]]:
    previous = (*sampler.timesteps[1:], -1)
    draws = _draws(len(sampler.timesteps))
    pairs = []
    for (x_t, output, noise), t, t_prev, coefficients in zip(
        draws, sampler.timesteps, previous, sampler.coefficients, strict=True
    ):
        # Theirs goes to t - T // n whatever the next timestep is; this n makes it the step our walk takes.
        gap = t - t_prev if t_prev >= 0 else t + 1
        scheduler.num_inference_steps = 1000 // gap
        assert 1000 // scheduler.num_inference_steps == gap
        pred_x0, eps = to_x0_eps(output, x_t, SCHEDULE.alpha_bar(t), Prediction.EPSILON)
        if sampler.clip_x0:
            pred_x0 = pred_x0.clamp(-1, 1)
        ours = ddim_step(x_t, pred_x0, eps, noise, coefficients, clipped=sampler.clip_x0)
        theirs = scheduler.step(
            output, t, x_t, eta=eta, use_clipped_model_output=sampler.clip_x0, variance_noise=noise
        ).prev_sample
        pairs.append((ours, theirs))
    return pairs


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_every_ddim_step_is_that_of_diffusers(spacing: Spacing, eta: float, clip: bool) -> None:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    sampler = build_ddim(SPEC, 50, spacing, eta, clip)
    scheduler = DDIMScheduler(clip_sample=clip, timestep_spacing=spacing)
    scheduler.set_timesteps(50)
    assert tuple(scheduler.timesteps.tolist()) == sampler.timesteps
    theirs = _worst(_ddim_pairs(scheduler, sampler, eta))
    scheduler.alphas_cumprod = SCHEDULE.alphas_cumprod
    exact = _worst(_ddim_pairs(scheduler, sampler, eta))

    assert exact < 2e-6
    assert theirs < 2e-5


@pytest.mark.parametrize(("spacing", "n"), [("leading", 50), ("trailing", 40)])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_whole_ddim_walk_is_that_of_diffusers(spacing: Spacing, n: int, eta: float) -> None:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    def network(x_t: Tensor, t: int) -> Tensor:
        return (x_t.roll(1, -1) * 0.6 + torch.sin(x_t + t / 1000)).mul(0.7)

    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing=spacing)
    scheduler.alphas_cumprod = SCHEDULE.alphas_cumprod
    scheduler.set_timesteps(n)
    x_T, *noises = torch.randn(n + 1, *SHAPE, generator=torch.Generator().manual_seed(1))
    theirs = x_T
    for step, t in enumerate(scheduler.timesteps.tolist()):
        theirs = scheduler.step(network(theirs, t), t, theirs, eta=eta, variance_noise=noises[step]).prev_sample

    ours = build_ddim(SPEC, n, spacing, eta, clip_x0=False)(
        lambda x_t, t: to_x0_eps(network(x_t, t), x_t, SCHEDULE.alpha_bar(t), Prediction.EPSILON),
        x_T,
        lambda step: noises[step],
    )

    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
