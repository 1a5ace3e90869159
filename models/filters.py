"""Classical denoisers, image by image: they are told the noise and have learned nothing.

Each takes an image [H, W, C] float64 about [0, 1] and the standard deviation of its noise, and gives the clean image
[H, W, C]. Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import Unsupported
from bench.models.baselines import INSTALL

Image = NDArray[np.float64]
Filter = Callable[[Image, float], Image]
Colours = Literal["each", "joint"]


def image_by_image(clean: Filter) -> Callable[[Tensor, Tensor], Tensor]:
    """A filter of one image as a restorer's call: (noisy [B, C, H, W], sigma [B]) -> [B, C, H, W] on noisy's device."""

    def restore(noisy: Tensor, sigma: Tensor) -> Tensor:
        images = noisy.detach().to("cpu", torch.float64).permute(0, 2, 3, 1).numpy()
        found = [
            clean(image, float(each)).reshape(image.shape) for image, each in zip(images, sigma.tolist(), strict=True)
        ]
        cleaned = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
        return cleaned.to(noisy.device, torch.float32).contiguous()

    return restore


def bm3d_filter(colours: Colours) -> Filter:
    """BM3D (Dabov et al. 2007) of the package bm3d, both stages.

    colours: each channel by itself, or jointly by its colour version. Raises Unsupported when the package is not there.
    """
    bm3d = _optional("bm3d", "bm3d")

    def clean(image: Image, sigma: float) -> Image:
        if colours == "joint" and image.shape[2] == 3:
            return np.asarray(bm3d.bm3d_rgb(image, sigma))
        return np.stack([bm3d.bm3d(channel, sigma) for channel in np.moveaxis(image, 2, 0)], axis=2)

    return clean


def wavelet_filter() -> Filter:
    """scikit-image's wavelet shrinkage: soft BayesShrink thresholds, sigma rescaled to each level."""
    _optional("pywt", "PyWavelets")
    restoration = importlib.import_module("skimage.restoration")

    def clean(image: Image, sigma: float) -> Image:
        found = restoration.denoise_wavelet(
            image, sigma=sigma, method="BayesShrink", mode="soft", rescale_sigma=True, channel_axis=-1
        )
        return np.asarray(found)

    return clean


def non_local_means_filter() -> Filter:
    """scikit-image's non-local means, its fast version: 5x5 patches within 6 pixels, h = 0.6 sigma as it advises."""
    restoration = importlib.import_module("skimage.restoration")

    def clean(image: Image, sigma: float) -> Image:
        found = restoration.denoise_nl_means(
            image, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
        )
        return np.asarray(found)

    return clean


def unchanged(noisy: Tensor, sigma: Tensor) -> Tensor:
    """The noisy image itself: the floor of every comparison."""
    return noisy


def _optional(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unsupported(f"the package {package} is not installed here; {INSTALL}") from error
