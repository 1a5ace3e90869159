"""SSIM, PSNR, MSE and GMSD of whole batches, against clean pictures that are prepared once.

Each class below is made of the clean pictures and then called with as many restored ones, or with several sets of them
one after another; what depends on the clean pictures alone is computed once, because a walk is scored at every step.
Shape legend: B clean pictures, K sets of B restored ones, C channels, H x W pixels, all in [0, 1].
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import MeasurementError, Unsupported
from bench.quality.preprocess import check_unit

SsimVariant = Literal["skimage", "wang2004"]

UNIFORM_WINDOW = 7
GAUSSIAN_SIGMA = 1.5
GAUSSIAN_RADIUS = 5
"""int(3.5 sigma + 1/2): an 11x11 window."""
C1, C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 of Wang et al. 2004, for a data range L of 1."""
LEAST_MSE = 1e-12
"""Taken for smaller ones, so that the PSNR of equal pictures is 120 dB and not infinite."""
GMSD_C = 170.0 / 255.0**2
"""c of Xue et al. 2014, eq. (4), for pictures in [0, 1]."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey picture that GMSD looks at (Rec. 601)."""


class Score(Protocol):
    """A measure of closeness to the clean pictures it was made of."""

    def __call__(self, images: Tensor) -> Tensor:
        """[K * B, C, H, W] in [0, 1] -> [K * B]: picture k * B + i is compared with clean picture i.

        Does not look whether the values are in range: that would wait for the device at every step.
        """
        ...


class Ssim:
    """Mean structural similarity, equal to scikit-image's to 1e-6 in either variant.

    skimage: its defaults, a uniform 7x7 window and the sample covariance. wang2004: gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False. Both: data_range=1, channel_axis stated, windows inside the picture only. Variances are
    differences of nearly equal numbers where a picture is smooth, so all of it is float64. Raises Unsupported for
    pictures smaller than the window.
    """

    def __init__(self, clean: Tensor, variant: SsimVariant = "skimage") -> None:
        check_unit(clean)
        weights = _uniform() if variant == "skimage" else _gaussian()
        size = len(weights)
        if min(clean.shape[2:]) < size:
            raise Unsupported(
                f"SSIM ({variant}) looks through a {size}x{size} window and the pictures are "
                f"{clean.shape[2]}x{clean.shape[3]}; use larger pictures or another score"
            )
        self._rows = _band(weights, clean.shape[2]).to(clean.device)
        self._columns = _band(weights, clean.shape[3]).to(clean.device).T.contiguous()
        self._sample = size**2 / (size**2 - 1) if variant == "skimage" else 1.0
        self._clean = clean.double()
        self._mean = self._filter(self._clean)
        self._variance = self._sample * (self._filter(self._clean.square()) - self._mean.square())

    def __call__(self, images: Tensor) -> Tensor:
        sets = sets_of(images.double(), self._clean)
        mean, square, cross = self._filter(torch.stack([sets, sets.square(), sets * self._clean]))
        variance = self._sample * (square - mean.square())
        covariance = self._sample * (cross - mean * self._mean)
        above = (2.0 * mean * self._mean + C1) * (2.0 * covariance + C2)
        below = (mean.square() + self._mean.square() + C1) * (variance + self._variance + C2)
        similarity: Tensor = above / below
        return similarity.mean(dim=(2, 3, 4)).flatten()

    def _filter(self, maps: Tensor) -> Tensor:
        """Weighted means over every window that lies inside: [..., H, W] -> [..., H - size + 1, W - size + 1]."""
        filtered: Tensor = self._rows @ maps @ self._columns
        return filtered


class Mse:
    """Mean squared error over channels and pixels."""

    def __init__(self, clean: Tensor) -> None:
        check_unit(clean)
        self._clean = clean

    def __call__(self, images: Tensor) -> Tensor:
        return (sets_of(images, self._clean) - self._clean).double().square().mean(dim=(2, 3, 4)).flatten()


class Psnr:
    """10 log10(1 / MSE) in dB, at most 120."""

    def __init__(self, clean: Tensor) -> None:
        self._mse = Mse(clean)

    def __call__(self, images: Tensor) -> Tensor:
        return self._mse(images).clamp_min(LEAST_MSE).log10().mul(-10.0)


class Gmsd:
    """Gradient magnitude similarity deviation (Xue et al. 2014): the spread of how well local gradients agree.

    Grey, halved by means of 2x2 pixels, Prewitt gradients with zeros beyond the border, as their code does. 0 for equal
    pictures. Raises Unsupported for pictures of one pixel, or of channels that are neither grey nor colour.
    """

    def __init__(self, clean: Tensor) -> None:
        check_unit(clean)
        if clean.shape[1] not in (1, 3) or min(clean.shape[2:]) < 2:
            raise Unsupported(f"GMSD takes grey or colour pictures of 2x2 pixels at least, got {clean.shape[1:]}")
        self._clean = clean
        prewitt = torch.tensor([[1.0, 0.0, -1.0]] * 3, device=clean.device) / 3.0
        self._kernels = torch.stack([prewitt, prewitt.T])[:, None]
        self._gradient = self._magnitude(clean)

    def __call__(self, images: Tensor) -> Tensor:
        gradient = sets_of(self._magnitude(images), self._gradient)
        above = 2.0 * gradient * self._gradient + GMSD_C
        agreement = above / (gradient.square() + self._gradient.square() + GMSD_C)
        return agreement.flatten(2).std(dim=2, correction=0).flatten()

    def _magnitude(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> gradient magnitudes [N, H / 2, W / 2]."""
        grey = images
        if images.shape[1] == 3:
            grey = (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        gradients = functional.conv2d(functional.avg_pool2d(grey, 2), self._kernels, padding=1)
        return gradients.square().sum(dim=1).sqrt()


def sets_of(images: Tensor, clean: Tensor) -> Tensor:
    """[K * B, ...] -> [K, B, ...]. Raises MeasurementError when the pictures are no whole sets."""
    if not len(images) or len(images) % len(clean) or images.shape[1:] != clean.shape[1:]:
        raise MeasurementError(
            f"{list(images.shape)} are no whole sets of pictures to compare with {list(clean.shape)} clean ones"
        )
    return images.reshape(-1, *clean.shape)


def _uniform() -> list[float]:
    return [1.0 / UNIFORM_WINDOW] * UNIFORM_WINDOW


def _gaussian() -> list[float]:
    distances = range(-GAUSSIAN_RADIUS, GAUSSIAN_RADIUS + 1)
    weights = [math.exp(-0.5 * (each / GAUSSIAN_SIGMA) ** 2) for each in distances]
    return [each / sum(weights) for each in weights]


def _band(weights: list[float], size: int) -> Tensor:
    """[size - window + 1, size] float64: row i weighs the pixels i .. i + window - 1. One product is one axis."""
    window = len(weights)
    band = torch.zeros(size - window + 1, size, dtype=torch.float64)
    for row in range(len(band)):
        band[row, row : row + window] = torch.tensor(weights, dtype=torch.float64)
    return band
