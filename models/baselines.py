"""What diffusion is compared with in paper B's table 4, and more: restorers, by the names a suite writes.

They clean an image in one call. Torch is imported only inside the factories.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from bench.contracts import Restorer, ScheduleSpec, Weights
from bench.models import landmarks
from bench.models.checkpoints.places import missing_weights
from bench.models.missing_u import PAPER_B
from bench.models.seeded import from_seed_0
from bench.models.shapes import (
    Channels,
    Config,
    Depth,
    ImageSize,
    Schedule,
    Shape,
    Width,
    shipped_name,
    size_problems,
    sized,
)
from bench.outlook import ModelFacts
from bench.registry import register_model

if TYPE_CHECKING:
    from torch import nn

Sigma = Literal["known", "constant-t50"]
Colours = Literal["each", "joint"]
Trained = Literal["one-level", "all-levels"]

INSTALL = "pip install 'denoiser-bench[classical]'"
"""How to get what the filters need besides the project's own requirements."""
MISTUNED_AT = 50
"""Steps of noise whose sigma `constant-t50` takes everywhere."""
DNCNN_WIDEST = 512
"""Channels of its layers, of which there are up to 64."""
UNLEARNED = Weights("none")
"""Of filters."""

AUTOENCODER_SHAPES: Mapping[Config, Shape] = {
    "digits": Shape(16, 1, 16, 4),
    "photos": Shape(32, 3, 24, 4),
    "paper": Shape(64, 3, 64, 4),
}
"""depth: halvings, always four."""
DNCNN_SHAPES: Mapping[Config, Shape] = {
    "digits": Shape(16, 1, 24, 8),
    "photos": Shape(32, 3, 24, 8),
    "paper": Shape(64, 3, 64, 20),
}
"""depth: layers."""


def _package_missing(module: str, package: str, **_: object) -> Iterator[str]:
    if importlib.util.find_spec(module) is None:
        yield f"the package {package} is not installed here; {INSTALL}"


def _autoencoder_name(trained: Trained, shape: Shape, noise_schedule: Schedule) -> str | None:
    """The checkpoint that ships; those that do know the noise of the sigmoid chain."""
    fits = noise_schedule == "sigmoid"
    return shipped_name(f"conv-autoencoder-{trained}", shape, AUTOENCODER_SHAPES) if fits else None


def _dncnn_name(trained: Trained, shape: Shape, noise_schedule: Schedule) -> str | None:
    """As for the autoencoder."""
    return shipped_name(f"dncnn-{trained}", shape, DNCNN_SHAPES) if noise_schedule == "sigmoid" else None


def _autoencoder_missing(
    config: Config,
    trained: Trained,
    width: int | None,
    channels: int | None,
    image_size: int | None,
    noise_schedule: Schedule,
    weights: str,
) -> Iterator[str]:
    shape = sized(AUTOENCODER_SHAPES[config], None, width, channels, image_size)
    return missing_weights(weights, _autoencoder_name(trained, shape, noise_schedule))


def _dncnn_missing(
    config: Config,
    trained: Trained,
    depth: int | None,
    width: int | None,
    channels: int | None,
    image_size: int | None,
    noise_schedule: Schedule,
    weights: str,
) -> Iterator[str]:
    shape = sized(DNCNN_SHAPES[config], depth, width, channels, image_size)
    return missing_weights(weights, _dncnn_name(trained, shape, noise_schedule))


def _any_facts(**_: object) -> ModelFacts:
    """Filters clean images of any size."""
    return ModelFacts(None)


def _autoencoder_facts(
    config: Config, width: int | None, channels: int | None, image_size: int | None, **_: object
) -> ModelFacts:
    shape = sized(AUTOENCODER_SHAPES[config], None, width, channels, image_size)
    return ModelFacts((shape.channels, shape.image_size, shape.image_size))


def _autoencoder_conflicts(
    config: Config, width: int | None, channels: int | None, image_size: int | None, **_: object
) -> Iterator[str]:
    shape = sized(AUTOENCODER_SHAPES[config], None, width, channels, image_size)
    return size_problems(replace(shape, depth=shape.depth + 1))


def _autoencoder_misfits(
    config: Config,
    trained: Trained,
    width: int | None,
    channels: int | None,
    image_size: int | None,
    noise_schedule: Schedule,
    weights: str,
) -> Iterator[str]:
    shape = sized(AUTOENCODER_SHAPES[config], None, width, channels, image_size)
    name = _autoencoder_name(trained, shape, noise_schedule)
    return landmarks.misfits(weights, name, landmarks.conv_autoencoder(shape))


def _dncnn_facts(
    config: Config, depth: int | None, width: int | None, channels: int | None, image_size: int | None, **_: object
) -> ModelFacts:
    shape = sized(DNCNN_SHAPES[config], depth, width, channels, image_size)
    return ModelFacts((shape.channels, shape.image_size, shape.image_size))


def _dncnn_conflicts(depth: int | None, width: int | None, **_: object) -> Iterator[str]:
    if depth is not None and depth < 2:
        yield f"depth must be at least 2, the first and the last layer; got {depth}"
    if width is not None and width > DNCNN_WIDEST:
        yield f"width must be at most {DNCNN_WIDEST}, got {width}"


def _dncnn_misfits(
    config: Config,
    trained: Trained,
    depth: int | None,
    width: int | None,
    channels: int | None,
    image_size: int | None,
    noise_schedule: Schedule,
    weights: str,
) -> Iterator[str]:
    shape = sized(DNCNN_SHAPES[config], depth, width, channels, image_size)
    return landmarks.misfits(weights, _dncnn_name(trained, shape, noise_schedule), landmarks.dncnn(shape))


@register_model("noisy", facts=_any_facts)
def noisy(noise_schedule: Schedule = "sigmoid") -> Restorer:
    """The noisy image as it is, x_t / sqrt(abar_t): the floor of every comparison of restorers."""
    from bench.models.filters import unchanged

    return Restorer(unchanged, ScheduleSpec(noise_schedule), UNLEARNED)


@register_model("bm3d", missing=partial(_package_missing, "bm3d", "bm3d"), facts=_any_facts)
def bm3d(sigma: Sigma = "known", colours: Colours = "each", noise_schedule: Schedule = "sigmoid") -> Restorer:
    """BM3D (Dabov et al. 2007) by the package bm3d, an optional extra; for images of any size.

    sigma: `known` tells it the noise that is really there; `constant-t50` always that of 50 steps of noise, which would
    explain the numbers paper B prints. colours: `each` channel by itself, as in the paper's notebook, or `joint`.
    """
    from bench.models.filters import bm3d_filter, image_by_image

    tuned_at = None if sigma == "known" else MISTUNED_AT
    paper = "Dabov et al. 2007, Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering"
    restore = image_by_image(bm3d_filter(colours))
    return Restorer(restore, ScheduleSpec(noise_schedule), UNLEARNED, tuned_at=tuned_at, paper=paper)


@register_model("wavelet", missing=partial(_package_missing, "pywt", "PyWavelets"), facts=_any_facts)
def wavelet(noise_schedule: Schedule = "sigmoid") -> Restorer:
    """Wavelet shrinkage of scikit-image with BayesShrink thresholds and the true sigma; for images of any size."""
    from bench.models.filters import image_by_image, wavelet_filter

    paper = "Chang, Yu & Vetterli 2000, Adaptive Wavelet Thresholding for Image Denoising and Compression"
    return Restorer(image_by_image(wavelet_filter()), ScheduleSpec(noise_schedule), UNLEARNED, paper=paper)


@register_model("non-local-means", facts=_any_facts)
def non_local_means(noise_schedule: Schedule = "sigmoid") -> Restorer:
    """Non-local means of scikit-image, its fast version, with the true sigma; for images of any size."""
    from bench.models.filters import image_by_image, non_local_means_filter

    paper = "Buades, Coll & Morel 2005, A Non-Local Algorithm for Image Denoising"
    return Restorer(image_by_image(non_local_means_filter()), ScheduleSpec(noise_schedule), UNLEARNED, paper=paper)


@register_model(
    "conv-autoencoder",
    missing=_autoencoder_missing,
    conflicts=_autoencoder_conflicts,
    facts=_autoencoder_facts,
    wrong_weights=_autoencoder_misfits,
)
def conv_autoencoder(
    config: Config = "digits",
    trained: Trained = "all-levels",
    width: Width | None = None,
    channels: Channels | None = None,
    image_size: ImageSize | None = None,
    noise_schedule: Schedule = "sigmoid",
    weights: str = "shipped",
) -> Restorer:
    """Paper B's convolutional autoencoder: four strided convolutions down, four transposed ones up; blind to sigma.

    config: `digits` is 1x16x16 of width 16, `photos` 3x32x32 of width 24, `paper` 3x64x64 of width 64 (4,307,011
    parameters). trained: at `one-level` of noise, sigma 0.1, its input cut to [0, 1] as in the paper's notebook, or at
    `all-levels` of the study, nothing cut. weights: `shipped` (digits and photos as they are only), the name of a
    shipped checkpoint, `random` (may be timed, never scored), or the path of a checkpoint.
    """
    from bench.models.restorers import ConvAutoencoder

    shape = sized(AUTOENCODER_SHAPES[config], None, width, channels, image_size)
    name = _autoencoder_name(trained, shape, noise_schedule)
    cut: Literal["always", "never"] = "always" if trained == "one-level" else "never"
    return _load(lambda: ConvAutoencoder(shape.channels, shape.width, cut), shape, weights, name, noise_schedule)


@register_model(
    "dncnn",
    missing=_dncnn_missing,
    conflicts=_dncnn_conflicts,
    facts=_dncnn_facts,
    wrong_weights=_dncnn_misfits,
)
def dncnn(
    config: Config = "digits",
    trained: Trained = "all-levels",
    depth: Depth | None = None,
    width: Width | None = None,
    channels: Channels | None = None,
    image_size: ImageSize | None = None,
    noise_schedule: Schedule = "sigmoid",
    weights: str = "shipped",
) -> Restorer:
    """DnCNN (Zhang et al. 2017) as paper B's notebook builds it: the predicted noise is subtracted; blind to sigma.

    config: `digits` is 1x16x16 and `photos` 3x32x32, both of 8 layers of width 24; `paper` 3x64x64, 20 layers of width
    64 (669,312 parameters). trained: as for conv-autoencoder, except that at `one-level` the input is cut when tested
    and not when trained, as in the notebook. depth: layers. weights: as for conv-autoencoder.
    """
    from bench.models.restorers import DnCNN

    shape = sized(DNCNN_SHAPES[config], depth, width, channels, image_size)
    name = _dncnn_name(trained, shape, noise_schedule)
    cut: Literal["at-test", "never"] = "at-test" if trained == "one-level" else "never"
    return _load(lambda: DnCNN(shape.channels, shape.depth, shape.width, cut), shape, weights, name, noise_schedule)


def _load(
    build: Callable[[], nn.Module], shape: Shape, weights: str, shipped: str | None, noise_schedule: Schedule
) -> Restorer:
    """Build the network from seed 0 and give it its weights."""
    from bench.models.checkpoints.shipped import load_weights

    network = from_seed_0(build)
    image_shape = (shape.channels, shape.image_size, shape.image_size)
    loaded, inputs = load_weights(network, weights, shipped=shipped, image_shape=image_shape)
    return Restorer(network, ScheduleSpec(noise_schedule), loaded, image_shape, paper=PAPER_B, inputs=inputs)
