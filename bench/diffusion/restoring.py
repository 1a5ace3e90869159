"""A restorer as a denoiser: the one border between [0, 1] images with a sigma and [-1, 1] images with a timestep.

x_t / sqrt(abar_t) = x_0 + sqrt((1 - abar_t) / abar_t) eps, so in [0, 1], where images are half as large, the noise has
the standard deviation sigma_t = sqrt((1 - abar_t) / abar_t) / 2. Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, Restore, Restorer
from bench.diffusion.network_output import checked_output
from bench.diffusion.schedule import NoiseSchedule, build_schedule
from bench.errors import Unsupported


class RestorerNetwork(nn.Module):
    """A restorer's one call, as a network that predicts x_0."""

    def __init__(self, restore: Restore, schedule: NoiseSchedule, tuned_at: int | None = None) -> None:
        super().__init__()
        self.restore = restore
        self.schedule = schedule
        self.told = None if tuned_at is None else sigma_of(tuned_at - 1, schedule)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t: [B, C, H, W] with clean images in [-1, 1]; t: [B] int64. Returns x_0 [B, C, H, W] on that scale."""
        noisy, sigma = as_noisy(x_t, t, self.schedule)
        if self.told is not None:
            sigma = torch.full_like(sigma, self.told)
        noisy = noisy.to(x_t.dtype)
        clean = self.restore(noisy, sigma)
        if type(clean) is not Tensor or clean.shape != noisy.shape or clean.dtype != noisy.dtype:
            clean = checked_output(clean, noisy, maker="the restorer", any_float=True)
        return clean.to(x_t.dtype).mul(2.0).sub(1.0)


def as_noisy(x_t: Tensor, t: Tensor, schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """A point of the chain as a restorer takes it: (x_t / sqrt(abar_t) in [0, 1], not cut; its sigma [B] float32)."""
    alpha_bar = schedule.alpha_bar_of(t)
    signal = alpha_bar.sqrt().to(torch.float32)[:, None, None, None]
    sigma = ((1.0 - alpha_bar) / alpha_bar).sqrt().div(2.0).to(torch.float32)
    return (x_t.to(torch.float32) / signal).add(1.0).div(2.0), sigma


def sigma_of(t: int, schedule: NoiseSchedule) -> float:
    """sigma_t: the standard deviation of the noise of x_t / sqrt(abar_t), for images in [0, 1]."""
    alpha_bar = schedule.alpha_bar(t)
    return float(((1.0 - alpha_bar) / alpha_bar) ** 0.5 / 2.0)


def as_denoiser(model: Denoiser | Restorer, image_shape: tuple[int, int, int] | None = None) -> Denoiser:
    """What a model's factory gave, as a denoiser: a restorer predicts x_0 in one call at every timestep.

    image_shape: (C, H, W) of the images at hand, for a restorer that takes any. Raises Unsupported when that is needed
    and not known, and for a chain at whose end nothing of the image is left.
    """
    if isinstance(model, Denoiser):
        return model
    restorer, shape = model, model.image_shape or image_shape
    if restorer.schedule.zero_terminal_snr:
        raise Unsupported("a chain with zero terminal SNR ends in noise of endless strength, which no restorer is told")
    if shape is None:
        raise Unsupported("this method takes images of any shape, so it must be told which: name a data set or a shape")
    return Denoiser(
        RestorerNetwork(restorer.restore, build_schedule(restorer.schedule), restorer.tuned_at),
        shape,
        Prediction.X0,
        restorer.schedule,
        restorer.weights,
        paper=restorer.paper,
        inputs=restorer.inputs,
    )
