"""How close a restored picture is to the clean one: the scores by name. Imports no torch.

All of them take pictures in [0, 1] and compare each with its own clean one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from bench.downloads import by_hand, data_root, fetched_path

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

SCORED: frozenset[str] = frozenset({"final", "first", "best", "chosen", "judged", "noisy", "mean_best", "mean_chosen"})
"""What `at.which` calls a score of the metric `denoising`; the others are steps, timesteps and curves."""

BACKBONES: Mapping[ScoreName, str] = {
    "lpips[alex]": "lpips-alex",
    "lpips[vgg]": "lpips-vgg",
    "lpips[squeeze]": "lpips-squeeze",
}
"""What `bench fetch` calls the networks behind LPIPS."""
HUB_FOLDER = "hub/checkpoints"
"""Under $TORCH_HOME, where torchvision keeps the same files."""


def backbone_path(score: ScoreName) -> Path | None:
    """Where a backbone's file lies: under the data root as `bench fetch` puts it, or in torch's own cache."""
    fetched = fetched_path(BACKBONES[score], data_root())
    home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    places = (fetched, home / HUB_FOLDER / fetched.name)
    return next((path for path in places if path.is_file()), None)


def missing_backbone(score: ScoreName) -> Iterator[str]:
    """The sentence for a plan, when a backbone is not there."""
    if backbone_path(score) is None:
        yield (
            f"{score} needs its backbone's weights, which are not there; {by_hand(BACKBONES[score], data_root())}; "
            "nothing is downloaded in a run"
        )
