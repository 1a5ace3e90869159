"""Reverse walks: DDPM (Ho et al. 2020) and the DDIM family (Song et al. 2020).

Both are one linear rule per step, so a step's scalars are computed once, in float64, when the sampler is built, and
the loop costs a handful of elementwise operations outside the network. Shape legend: [B, C, H, W] float32 throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from bench.contracts import Observe, Predict, ScheduleSpec, StepNoise
from bench.diffusion.schedule import build_schedule
from bench.diffusion.spacing import Spacing, chain_timesteps, spaced_timesteps
from bench.errors import ParamError

Variance = Literal["beta", "posterior"]
Walk = Literal["posterior-mean", "ancestral", "ddim"]
"""How the chain is walked back: by the mean of q(x_prev | x_t, pred_x0) alone, with noise of its variance, or by DDIM
with eta = 0."""

CLEAN = -1
"""The timestep after the last one: the clean image, abar = 1."""


class DdpmCoefficients(NamedTuple):
    """What each tensor is multiplied with: x_prev = (x0) pred_x0 + (x_t) x_t + (std) noise."""

    x0: float
    x_t: float
    std: float


class DdimCoefficients(NamedTuple):
    """What each tensor is multiplied with, in two forms of the same step.

    x_prev = (x0) pred_x0 + (eps) eps + (std) noise, or with eps eliminated through x_t = sqrt(a) x_0 + sqrt(1 - a) eps:
    x_prev = (x0_clipped) pred_x0 + (x_t) x_t + (std) noise.
    """

    x0: float
    eps: float
    x0_clipped: float
    x_t: float
    std: float


def ddpm_coefficients(abar_t: float, abar_prev: float, variance: Variance) -> DdpmCoefficients:
    """The scalars of one ancestral step between two levels of the chain, from abar_t to abar_prev >= abar_t.

    beta' = 1 - abar_t / abar_prev is the beta of the chosen timesteps, which is beta_t itself when none is left out.
    variance: "beta" adds noise of variance beta' (the larger choice of Ho et al. 2020, 3.2), "posterior" of
    beta' (1 - abar_prev) / (1 - abar_t), their eq. (7). The step to the clean image adds none with either.
    A step between equal levels leaves x_t as it is. Raises ValueError unless 0 <= abar_t <= abar_prev <= 1,
    abar_t < 1 and abar_prev > 0.
    """
    _check_levels(abar_t, abar_prev)
    beta = 1.0 - abar_t / abar_prev
    posterior = beta * (1.0 - abar_prev) / (1.0 - abar_t)
    return DdpmCoefficients(
        x0=math.sqrt(abar_prev) * beta / (1.0 - abar_t),
        x_t=math.sqrt(1.0 - beta) * (1.0 - abar_prev) / (1.0 - abar_t),
        std=0.0 if abar_prev == 1.0 else math.sqrt(beta if variance == "beta" else posterior),
    )


def ddim_coefficients(abar_t: float, abar_prev: float, eta: float) -> DdimCoefficients:
    """The scalars of one DDIM step between two levels of the chain, from abar_t to abar_prev >= abar_t.

    std is sigma_t of Song et al. 2020, eq. (16): 0 for eta = 0, the DDPM posterior's for eta = 1. A step between
    equal levels leaves x_t as it is. Raises ValueError unless 0 <= abar_t <= abar_prev <= 1,
    abar_t < 1 and abar_prev > 0.
    """
    _check_levels(abar_t, abar_prev)
    std = eta * math.sqrt((1.0 - abar_prev) / (1.0 - abar_t)) * math.sqrt(1.0 - abar_t / abar_prev)
    direction = math.sqrt(max(0.0, 1.0 - abar_prev - std**2))
    per_eps = direction / math.sqrt(1.0 - abar_t)
    return DdimCoefficients(
        x0=math.sqrt(abar_prev),
        eps=direction,
        x0_clipped=math.sqrt(abar_prev) - per_eps * math.sqrt(abar_t),
        x_t=per_eps,
        std=std,
    )


def ddpm_step(x_t: Tensor, pred_x0: Tensor, noise: Tensor | None, coefficients: DdpmCoefficients) -> Tensor:
    """One ancestral step: the posterior mean of x_prev given x_t and the predicted clean image, plus noise.

    x_t, pred_x0, noise: [B, C, H, W] float32, clean images in [-1, 1]; pred_x0 already clipped if it is to be.
    noise: standard normal; may be None when coefficients.std is 0. None of the three is modified.
    Source: Ho et al. 2020, eq. (6) and (7).
    """
    x_prev = x_t.mul(coefficients.x_t).add_(pred_x0, alpha=coefficients.x0)
    return _with_noise(x_prev, noise, coefficients.std)


def ddim_step(
    x_t: Tensor, pred_x0: Tensor, eps: Tensor, noise: Tensor | None, coefficients: DdimCoefficients, *, clipped: bool
) -> Tensor:
    """One DDIM step: the predicted clean image noised again, less and in the same direction, plus fresh noise.

    x_t, pred_x0, eps, noise: [B, C, H, W] float32, clean images in [-1, 1]. noise: standard normal; may be None when
    coefficients.std is 0. None of them is modified.
    clipped: pred_x0 was clamped, so eps no longer belongs to it; the step then uses the eps that x_t and the clamped
    pred_x0 imply, written directly in x_t, and the eps given is not read.
    Source: Song et al. 2020, eq. (12).
    """
    if clipped:
        x_prev = x_t.mul(coefficients.x_t).add_(pred_x0, alpha=coefficients.x0_clipped)
    else:
        x_prev = eps.mul(coefficients.eps).add_(pred_x0, alpha=coefficients.x0)
    return _with_noise(x_prev, noise, coefficients.std)


@dataclass(frozen=True)
class DdpmSampler:
    """Ancestral sampling over any subset of the timesteps; made by `build_ddpm`."""

    timesteps: tuple[int, ...]
    coefficients: tuple[DdpmCoefficients, ...]
    """One for each timestep."""
    clip_x0: bool
    """Clamp the predicted clean image to [-1, 1] in every step."""
    order: ClassVar[int] = 1

    def __call__(self, predict: Predict, x_T: Tensor, noise: StepNoise, observe: Observe | None = None) -> Tensor:
        """Walk from x_T [B, C, H, W] to x_0; noise is asked for once for every step that adds some."""
        x_t = x_T
        for step, (t, coefficients) in enumerate(zip(self.timesteps, self.coefficients, strict=True)):
            pred_x0, _ = predict(x_t, t)
            if self.clip_x0:
                pred_x0 = pred_x0.clamp(-1.0, 1.0)
            x_t = ddpm_step(x_t, pred_x0, noise(step) if coefficients.std else None, coefficients)
            if observe is not None:
                observe(step, t, x_t.clone(), pred_x0)
        return x_t


@dataclass(frozen=True)
class DdimSampler:
    """The DDIM family over any subset of the timesteps; made by `build_ddim`."""

    timesteps: tuple[int, ...]
    coefficients: tuple[DdimCoefficients, ...]
    """One for each timestep."""
    clip_x0: bool
    """Clamp the predicted clean image to [-1, 1] in every step, and take the noise that goes with the clamped one.

    Keeping the network's own noise instead would move to a point that is not on the chain: its share of signal and
    noise would no longer be that of the timestep. With the noise derived again, eta = 1 is exactly clipped DDPM.
    """
    order: ClassVar[int] = 1

    def __call__(self, predict: Predict, x_T: Tensor, noise: StepNoise, observe: Observe | None = None) -> Tensor:
        """Walk from x_T [B, C, H, W] to x_0; noise is asked for once for every step that adds some."""
        x_t = x_T
        for step, (t, coefficients) in enumerate(zip(self.timesteps, self.coefficients, strict=True)):
            pred_x0, eps = predict(x_t, t)
            if self.clip_x0:
                pred_x0 = pred_x0.clamp(-1.0, 1.0)
            fresh = noise(step) if coefficients.std else None
            x_t = ddim_step(x_t, pred_x0, eps, fresh, coefficients, clipped=self.clip_x0)
            if observe is not None:
                observe(step, t, x_t.clone(), pred_x0)
        return x_t


def build_ddpm(spec: ScheduleSpec, timesteps: int, spacing: Spacing, variance: Variance, clip_x0: bool) -> DdpmSampler:
    """The ancestral sampler. Raises ParamError when the timesteps or the schedule are out of range."""
    schedule = build_schedule(spec)
    visited = spaced_timesteps(spacing, timesteps, schedule.num_train_timesteps)
    coefficients = tuple(
        ddpm_coefficients(schedule.alpha_bar(t), schedule.alpha_bar(t_prev), variance)
        for t, t_prev in zip(visited, (*visited[1:], CLEAN), strict=True)
    )
    return DdpmSampler(visited, coefficients, clip_x0)


def build_ddim(spec: ScheduleSpec, timesteps: int, spacing: Spacing, eta: float, clip_x0: bool) -> DdimSampler:
    """The DDIM sampler. Raises ParamError when the timesteps, eta (0..1) or the schedule are out of range."""
    if not 0.0 <= eta <= 1.0:
        raise ParamError(f"eta must lie between 0 (deterministic) and 1 (the DDPM posterior), got {eta}")
    schedule = build_schedule(spec)
    visited = spaced_timesteps(spacing, timesteps, schedule.num_train_timesteps)
    coefficients = tuple(
        ddim_coefficients(schedule.alpha_bar(t), schedule.alpha_bar(t_prev), eta)
        for t, t_prev in zip(visited, (*visited[1:], CLEAN), strict=True)
    )
    return DdimSampler(visited, coefficients, clip_x0)


def build_chain(spec: ScheduleSpec, t_start: int, walk: Walk, stride: int, clip_x0: bool) -> DdpmSampler | DdimSampler:
    """The walk back from t_start steps of noise over every stride-th timestep. Raises ParamError.

    It starts from an image noised at `timesteps[0]`, t_start - 1. The last step is to the clean image, whatever the
    stride, and adds no noise.
    """
    schedule = build_schedule(spec)
    visited = chain_timesteps(t_start, stride, schedule.num_train_timesteps)
    levels = [(schedule.alpha_bar(t), schedule.alpha_bar(t_prev)) for t, t_prev in pairwise((*visited, CLEAN))]
    if walk == "ddim":
        return DdimSampler(visited, tuple(ddim_coefficients(*each, eta=0.0) for each in levels), clip_x0)
    coefficients = tuple(ddpm_coefficients(*each, "posterior") for each in levels)
    if walk == "posterior-mean":
        coefficients = tuple(each._replace(std=0.0) for each in coefficients)
    return DdpmSampler(visited, coefficients, clip_x0)


def _with_noise(x_prev: Tensor, noise: Tensor | None, std: float) -> Tensor:
    """x_prev + std * noise, in place: x_prev is the step's own tensor."""
    if std == 0.0:
        return x_prev
    if noise is None:
        raise ValueError(f"this step adds noise of standard deviation {std}, but none was given")
    return x_prev.add_(noise, alpha=std)


def _check_levels(abar_t: float, abar_prev: float) -> None:
    if not (0.0 <= abar_t <= abar_prev <= 1.0 and abar_t < 1.0 and abar_prev > 0.0):
        raise ValueError(
            "a reverse step needs 0 <= abar_t <= abar_prev <= 1, abar_t < 1 and abar_prev > 0, "
            f"got {abar_t}, {abar_prev}"
        )
