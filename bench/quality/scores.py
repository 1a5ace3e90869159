"""A score by its name, ready to be called. Shape legend: B pictures, C channels, H x W pixels, in [0, 1]."""

from __future__ import annotations

from torch import Tensor

from bench.errors import ParamError, did_you_mean
from bench.quality.perceptual import digits_cnn_distance, lpips_distance
from bench.quality.preprocess import check_unit
from bench.quality.score_names import SCORE_NAMES, ScoreName
from bench.quality.similarity import Gmsd, Mse, Psnr, Score, Ssim


def prepare_score(name: ScoreName, clean: Tensor) -> Score:
    """The score against these clean pictures [B, C, H, W] in [0, 1].

    Raises ParamError for an unknown name, Unsupported for pictures that cannot have it, and MissingWeights where its
    network is not there.
    """
    match name:
        case "ssim":
            return Ssim(clean, "skimage")
        case "ssim[wang2004]":
            return Ssim(clean, "wang2004")
        case "psnr":
            return Psnr(clean)
        case "mse":
            return Mse(clean)
        case "gmsd":
            return Gmsd(clean)
        case "perceptual[digits-cnn]":
            return digits_cnn_distance(clean)
        case "lpips[alex]":
            return lpips_distance(clean, "alex")
        case "lpips[vgg]":
            return lpips_distance(clean, "vgg")
        case "lpips[squeeze]":
            return lpips_distance(clean, "squeeze")
    raise ParamError(f"no score named {name!r}{did_you_mean(name, SCORE_NAMES)} (known: {', '.join(SCORE_NAMES)})")


def score_pictures(name: ScoreName, pictures: Tensor, clean: Tensor) -> Tensor:
    """[B] of pictures [B, C, H, W] against clean ones, both in [0, 1], which is checked. Raises as prepare_score."""
    check_unit(pictures)
    return prepare_score(name, clean)(pictures)
