"""The samplers that ship with the project. Imports no torch until one is built."""

from __future__ import annotations

from typing import Literal

from bench.contracts import Sampler, ScheduleSpec
from bench.diffusion.spacing import Spacing, spaced_timesteps
from bench.registry import register_sampler


def _calls(num_train_timesteps: int, timesteps: int, spacing: Spacing, **_: object) -> tuple[int, ...]:
    """Both samplers call the network once at each timestep."""
    return spaced_timesteps(spacing, timesteps, num_train_timesteps)


@register_sampler("ddpm", calls=_calls)
def ddpm(
    schedule: ScheduleSpec,
    timesteps: int = 1000,
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
    timesteps: int = 50,
    spacing: Spacing = "leading",
    eta: float = 0.0,
    clip_x0: bool = False,
) -> Sampler:
    """The sampler family of Song et al. 2020: eta = 0 is deterministic DDIM, eta = 1 has the posterior variance.

    clip_x0: clamp the predicted clean image to [-1, 1] in every step and derive the noise from the clamped one.
    """
    from bench.diffusion.samplers import build_ddim

    return build_ddim(schedule, timesteps, spacing, eta, clip_x0)
