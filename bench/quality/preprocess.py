"""Rounding, colour and resize: what a recipe does to an image before the network sees it.

Shape legend: B images, C channels, H x W pixels. Images come in as float32 in [0, 1]; between `quantise` and `scale`
they are float32 levels in 0..255 (whole numbers unless the recipe does not round).
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.errors import MeasurementError
from bench.quality.recipe import FeatureRecipe, Quantise, Resize, Scale

INCEPTION_SIZE = 299


def to_unit(images: Tensor) -> Tensor:
    """Images of a sampler or a data set, [-1, 1], as picture metrics take them: [0, 1], cut where they overshoot."""
    return images.add(1.0).div_(2.0).clamp_(0.0, 1.0)


def prepare(images: Tensor, recipe: FeatureRecipe) -> Tensor:
    """Images [B, C, H, W] in [0, 1] as the network of the recipe takes them: [B, C', H', W'] float32.

    Raises MeasurementError for images that are not finite, out of range, or of a channel count the recipe lacks.
    """
    check_unit(images)
    return prepare_levels(quantise(images, recipe.quantise), recipe)


def prepare_levels(levels: Tensor, recipe: FeatureRecipe) -> Tensor:
    """What follows the rounding: levels [B, C, H, W] in 0..255 as the network takes them."""
    if recipe.grey_to_rgb == "repeat":
        levels = grey_to_rgb(levels)
    if recipe.resize == "torch-bilinear":
        # An affine map passes through this interpolation, and is cheaper on the small image.
        small = scale(levels, recipe.scale).contiguous(memory_format=torch.channels_last)
        return resize(small, recipe.resize)
    return scale(resize(levels, recipe.resize), recipe.scale)


def check_unit(images: Tensor) -> None:
    """Raises MeasurementError unless images are [B, C, H, W] floating-point numbers in [0, 1]."""
    if images.ndim != 4 or not images.is_floating_point():
        raise MeasurementError(f"images must be [B, C, H, W] floats, got {list(images.shape)} {images.dtype}")
    if images.numel() and not (float(images.min()) >= 0.0 and float(images.max()) <= 1.0):  # also catches NaN
        raise MeasurementError(
            f"images must lie in [0, 1], found {float(images.min()):.4g} to {float(images.max()):.4g}; "
            "pictures of a sampler are in [-1, 1] and go through to_unit first"
        )


def quantise(images: Tensor, how: Quantise) -> Tensor:
    """[0, 1] to levels 0..255, float32."""
    levels = images.to(torch.float32) * 255.0
    if how == "half-even":
        return levels.round_()
    if how == "half-up":
        return levels.add_(0.5).floor_().clamp_(0.0, 255.0)
    return levels


def to_bytes(images: Tensor, how: Quantise = "half-even") -> Tensor:
    """[0, 1] to uint8, as a PNG would hold it."""
    return quantise(images, how).to(torch.uint8)


def grey_to_rgb(images: Tensor) -> Tensor:
    """[B, 1, H, W] three times over. Raises MeasurementError for other channel counts."""
    if images.shape[1] != 1:
        raise MeasurementError(f"only 1-channel images are repeated to 3, got {images.shape[1]} channels")
    return images.expand(-1, 3, -1, -1)


def resize(levels: Tensor, how: Resize, size: int = INCEPTION_SIZE) -> Tensor:
    """Levels [B, C, H, W] at size x size, [B, C, size, size]."""
    if how == "none":
        return levels
    if how == "torch-bilinear":
        return functional.interpolate(levels, size=(size, size), mode="bilinear", align_corners=False)
    if how == "tf1-bilinear":
        return _tf1_bilinear(levels, size)
    return _pil_bicubic(levels, size)


def scale(levels: Tensor, how: Scale) -> Tensor:
    """Levels 0..255 to what the network takes."""
    return levels.div(255.0).mul_(2.0).sub_(1.0) if how == "2x-1" else levels.sub(128.0).div_(128.0)


def _tf1_bilinear(levels: Tensor, size: int) -> Tensor:
    """Bilinear with output pixel i at input i * in / out, as TensorFlow 1 did without align_corners."""
    rows, row_weights = _tf1_taps(levels.shape[2], size)
    columns, column_weights = _tf1_taps(levels.shape[3], size)
    top, bottom = levels[:, :, rows[0]], levels[:, :, rows[1]]
    upper = _mix(top[..., columns[0]], top[..., columns[1]], column_weights)
    lower = _mix(bottom[..., columns[0]], bottom[..., columns[1]], column_weights)
    return _mix(upper, lower, row_weights[:, None])


def _tf1_taps(size: int, target: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The two source lines of every output line, and the weight of the second; all in float32, as there."""
    position = torch.arange(target, dtype=torch.float32) * torch.tensor(size / target, dtype=torch.float32)
    first = position.long()
    return (first, (first + 1).clamp_max(size - 1)), position - first


def _mix(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    return a + (b - a) * weight


def _pil_bicubic(levels: Tensor, size: int) -> Tensor:
    """Every channel as a float image through Pillow's bicubic, cut to 0..255."""
    source = levels.to("cpu", torch.float32).contiguous().numpy()
    resized = np.empty((*source.shape[:2], size, size), np.float32)
    for image, channel in np.ndindex(*source.shape[:2]):
        plane = Image.fromarray(source[image, channel])  # float32 arrays become mode F
        resized[image, channel] = np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(resized.clip(0.0, 255.0)).to(levels.device)
