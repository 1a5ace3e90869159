"""How close a restored picture is to the clean one: the scores by name. Imports no torch.

All of them take pictures in [0, 1] and compare each with its own clean one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

ScoreName: TypeAlias = Literal[
    "ssim",
    "ssim[wang2004]",
    "psnr",
    "mse",
    "gmsd",
    "perceptual[digits-cnn]",
    "lpips[alex]",
    "lpips[vgg]",
    "lpips[squeeze]",
]
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)

MEANING: Mapping[ScoreName, str] = {
    "ssim": "structural similarity as scikit-image computes it unless told otherwise: 7x7 uniform window, sample "
    "covariance, data range 1, mean over channels and over windows that lie inside the picture",
    "ssim[wang2004]": "structural similarity as Wang et al. 2004: 11x11 Gaussian window of sigma 1.5, population "
    "covariance, otherwise as ssim",
    "psnr": "peak signal-to-noise ratio in dB for a peak of 1; pictures closer than 120 dB count as 120 dB",
    "mse": "mean squared error over pixels and channels",
    "gmsd": "gradient magnitude similarity deviation, Xue et al. 2014: no learned weights, so it runs everywhere",
    "perceptual[digits-cnn]": "distance of unit-length features over four layers of the shipped digits classifier",
    "lpips[alex]": "LPIPS 0.1 with AlexNet",
    "lpips[vgg]": "LPIPS 0.1 with VGG-16",
    "lpips[squeeze]": "LPIPS 0.1 with SqueezeNet 1.1",
}
"""One line each, for help texts and footnotes."""

HIGHER: frozenset[ScoreName] = frozenset({"ssim", "ssim[wang2004]", "psnr"})
"""Scores of which more is better; of the others less."""
