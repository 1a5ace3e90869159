"""The samplers that ship with the project. Imports no torch until one is built."""

from __future__ import annotations

from typing import Annotated, Literal

from bench.contracts import Range, Sampler, ScheduleSpec
from bench.diffusion.spacing import Spacing, chain_timesteps, spaced_timesteps
from bench.registry import register_sampler

Timesteps = Annotated[int, Range(1, 1_000_000)]
"""The network's own chain has the last word: 1000 timesteps for everything that ships."""


def _calls(num_train_timesteps: int, timesteps: int, spacing: Spacing, **_: object) -> tuple[int, ...]:
    """Both samplers call the network once at each timestep."""
    return spaced_timesteps(spacing, timesteps, num_train_timesteps)


@register_sampler("ddpm", calls=_calls)
def ddpm(
    schedule: ScheduleSpec,
    timesteps: Timesteps = 1000,
    spacing: Spacing = "leading",
    variance: Literal["beta", "posterior"] = "beta",
    clip_x0: bool = True,
) -> Sampler:
    """Ancestral sampling of Ho et al. 2020, respaced when fewer timesteps are asked for.

    variance: "beta" adds beta_t' = 1 - abar_t / abar_prev over the chosen timesteps, "posterior" the variance of
    q(x_prev | x_t, x_0). clip_x0: clamp the predicted clean image to [-1, 1] in every step.
    """
    from bench.diffusion.samplers import build_ddpm

    return build_ddpm(schedule, timesteps, spacing, variance, clip_x0)


@register_sampler("ddim", calls=_calls)
def ddim(
    schedule: ScheduleSpec,
    timesteps: Timesteps = 50,
    spacing: Spacing = "leading",
    eta: Annotated[float, Range(0.0, 1.0)] = 0.0,
    clip_x0: bool = False,
) -> Sampler:
    """The sampler family of Song et al. 2020: eta = 0 is deterministic DDIM, eta = 1 has the posterior variance.

    clip_x0: clamp the predicted clean image to [-1, 1] in every step and derive the noise from the clamped one.
    """
    from bench.diffusion.samplers import build_ddim

    return build_ddim(schedule, timesteps, spacing, eta, clip_x0)


def _chain_calls(num_train_timesteps: int, t_start: int, stride: int, **_: object) -> tuple[int, ...]:
    return chain_timesteps(t_start, stride, num_train_timesteps)


@register_sampler("chain", calls=_chain_calls)
def chain(
    schedule: ScheduleSpec,
    t_start: Timesteps,
    walk: Literal["posterior-mean", "ancestral", "ddim"] = "posterior-mean",
    stride: Timesteps = 1,
    clip_x0: bool = True,
) -> Sampler:
    """The walk back over every timestep from an image with t_start steps of noise: denoising, not sampling.

    t_start: steps of noise, which end at timestep t_start - 1 of 0..T-1; so many network calls at stride 1. walk:
    `posterior-mean` goes to the mean of q(x_prev | x_t, pred_x0) and adds no noise, `ancestral` adds noise of its
    variance, `ddim` is DDIM with eta = 0. stride: visit every stride-th timestep only. clip_x0: clamp the predicted
    clean image to [-1, 1] in every step. A metric that begins with plain noise (latency, samples) walks from x of that
    level's noise alone.
    """
    from bench.diffusion.samplers import build_chain

    return build_chain(schedule, t_start, walk, stride, clip_x0)
