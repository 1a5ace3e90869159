"""Noise schedules: how much of the image is left at each training timestep.

x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, with abar_t the cumulative product of 1 - beta. Everything is computed
once in float64; networks and iterates stay float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.contracts import ScheduleSpec
from bench.errors import ParamError

MAX_BETA = 0.999
"""Cosine and sigmoid betas are cut here, so that the last timesteps stay invertible (Nichol & Dhariwal 2021, 3.2)."""
COSINE_OFFSET = 0.008
"""s of Nichol & Dhariwal's eq. (17)."""
SIGMOID_START, SIGMOID_END, SIGMOID_TAU = -3.0, 3.0, 1.0
"""Jabri et al. 2022, the sigmoid schedule's default temperature and range."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The tables of one schedule."""

    spec: ScheduleSpec
    betas: Tensor
    """[T] float64 on the CPU."""
    alphas_cumprod: Tensor
    """[T] float64 on the CPU: abar_0 .. abar_{T-1}, falling; the last is 0 where the spec has zero terminal SNR."""
    _alpha_bars: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_alpha_bars", tuple(self.alphas_cumprod.tolist()))

    @property
    def num_train_timesteps(self) -> int:
        return len(self._alpha_bars)

    def alpha_bar(self, t: int) -> float:
        """abar_t for t in 0..T-1; t = -1 stands for the clean image and gives 1. Raises ValueError outside."""
        if not -1 <= t < len(self._alpha_bars):
            raise ValueError(f"timestep {t} is outside -1..{len(self._alpha_bars) - 1}")
        return 1.0 if t < 0 else self._alpha_bars[t]

    def q_sample(self, x0: Tensor, t: Tensor | int, noise: Tensor) -> Tensor:
        """The forward process: x_t drawn from q(x_t | x_0) with the given noise.

        x0, noise: [B, C, H, W], images in [-1, 1]. t: one timestep for all, or int64 [B], each in -1..T-1 (-1 gives
        x0 back). Returns [B, C, H, W] in the dtype of x0. Raises ValueError for a timestep outside.
        Source: Ho et al. 2020, eq. (4).
        """
        if isinstance(t, int):
            alpha_bar = self.alpha_bar(t)
            return x0 * math.sqrt(alpha_bar) + noise * math.sqrt(1.0 - alpha_bar)
        per_image = self.alpha_bar_of(t).reshape(-1, *[1] * (x0.ndim - 1))
        return x0 * per_image.sqrt().to(x0.dtype) + noise * (1.0 - per_image).sqrt().to(x0.dtype)

    def alpha_bar_of(self, t: Tensor) -> Tensor:
        """abar of each timestep of an int64 tensor: float64, same shape and device. ValueError outside -1..T-1."""
        low, high = int(t.min()), int(t.max())
        if low < -1 or high >= len(self._alpha_bars):
            raise ValueError(f"timesteps {low}..{high} are not all inside -1..{len(self._alpha_bars) - 1}")
        table = torch.cat([torch.ones(1, dtype=torch.float64), self.alphas_cumprod]).to(t.device)
        return table[t + 1]


def build_schedule(spec: ScheduleSpec) -> NoiseSchedule:
    """The tables a spec describes. Raises ParamError when the spec has no valid betas."""
    if spec.num_train_timesteps < 1:
        raise ParamError(f"schedule: num_train_timesteps must be at least 1, got {spec.num_train_timesteps}")
    if spec.kind == "linear":
        betas = _linear_betas(spec)
    elif spec.kind == "scaled_linear":
        betas = _scaled_linear_betas(spec)
    elif spec.kind == "cosine":
        betas = _betas_of(_cosine_alpha_bars(spec.num_train_timesteps))
    elif spec.kind == "sigmoid":
        betas = _betas_of(_sigmoid_alpha_bars(spec.num_train_timesteps))
    else:
        raise ParamError(f"schedule: kind must be 'linear', 'scaled_linear', 'cosine' or 'sigmoid', got {spec.kind!r}")
    if spec.zero_terminal_snr:
        betas = _zero_terminal_snr(betas)
    return NoiseSchedule(spec, betas, torch.cumprod(1.0 - betas, dim=0))


def _linear_betas(spec: ScheduleSpec) -> Tensor:
    """Ho et al. 2020, section 4: from beta_start to beta_end in equal steps."""
    _check_betas(spec)
    return torch.linspace(spec.beta_start, spec.beta_end, spec.num_train_timesteps, dtype=torch.float64)


def _scaled_linear_betas(spec: ScheduleSpec) -> Tensor:
    """Rombach et al. 2022: the square roots go from that of beta_start to that of beta_end in equal steps."""
    _check_betas(spec)
    first, last = math.sqrt(spec.beta_start), math.sqrt(spec.beta_end)
    return torch.linspace(first, last, spec.num_train_timesteps, dtype=torch.float64) ** 2


def _check_betas(spec: ScheduleSpec) -> None:
    if not 0.0 < spec.beta_start <= spec.beta_end < 1.0:
        raise ParamError(
            f"schedule: {spec.kind} needs 0 < beta_start <= beta_end < 1, got {spec.beta_start} and {spec.beta_end}"
        )


def _zero_terminal_snr(betas: Tensor) -> Tensor:
    """Lin et al. 2023, algorithm 1: sqrt(abar) shifted so that it ends at 0, and scaled so that it begins as before."""
    if len(betas) < 2:
        raise ParamError("schedule: zero_terminal_snr needs at least 2 timesteps")
    signals = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = signals[0].clone(), signals[-1].clone()
    alpha_bars = ((signals - last) * (first / (first - last))) ** 2
    return 1.0 - torch.cat([alpha_bars[:1], alpha_bars[1:] / alpha_bars[:-1]])


def _cosine_alpha_bars(num_train_timesteps: int) -> Tensor:
    """[T + 1] unnormalised abar at 0, 1/T, .., 1: Nichol & Dhariwal 2021, eq. (17)."""
    u = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
    return torch.cos((u + COSINE_OFFSET) / (1.0 + COSINE_OFFSET) * (math.pi / 2)) ** 2


def _sigmoid_alpha_bars(num_train_timesteps: int) -> Tensor:
    """[T + 1] abar at 0, 1/T, .., 1: Jabri et al. 2022, the sigmoid schedule."""
    u = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
    bent = torch.sigmoid((u * (SIGMOID_END - SIGMOID_START) + SIGMOID_START) / SIGMOID_TAU)
    return (bent[-1] - bent) / (bent[-1] - bent[0])


def _betas_of(alpha_bars: Tensor) -> Tensor:
    """beta_t = 1 - abar_t / abar_{t-1}, cut at MAX_BETA. alpha_bars: [T + 1], the first one for the clean image."""
    return (1.0 - alpha_bars[1:] / alpha_bars[:-1]).clamp(max=MAX_BETA)
