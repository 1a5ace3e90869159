"""Distances in the features of a trained network, against clean pictures whose features are computed once.

Shape legend: B clean pictures, K sets of B restored ones, C channels, H x W pixels, all in [0, 1].
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from bench.downloads import find_download
from bench.errors import BadCheckpoint, MissingWeights, Unsupported
from bench.files import file_hash
from bench.quality.digits_cnn import IMAGE_SIZE, DigitsCnn, load_digits_cnn
from bench.quality.preprocess import check_unit
from bench.quality.score_names import BACKBONES, ScoreName, backbone_path, missing_backbone
from bench.quality.similarity import sets_of

Backbone: TypeAlias = Literal["alex", "vgg", "squeeze"]

TINY = 1e-10
"""Added to the length of a feature vector, as LPIPS does: a pixel without features has no direction."""
LEAST_SIZE = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Pixels a side below which a layer of the backbone has none left."""

Layers = Callable[[Tensor], Sequence[Tensor]]
"""Pictures [N, C, H, W] in [0, 1] -> feature maps [N, C_l, H_l, W_l] of every layer."""
Weigh = Callable[[int, Tensor], Tensor]
"""(layer, squared differences [N, C_l, H_l, W_l]) -> weighted sum over channels [N, 1, H_l, W_l]."""


class FeatureDistance:
    """Sum or mean over layers of the squared distance between feature vectors of unit length, mean over positions.

    With f_l(x) in R^(C_l) the features of layer l at one position, scaled to length 1 (its length plus 1e-10):
    d(x, y) = s * sum_l mean over positions of sum_c w_lc (f_lc(x) - f_lc(y))^2.
    Source: Zhang et al. 2018, eq. (1). The clean pictures' features are computed once; results do not depend on that.
    """

    def __init__(self, clean: Tensor, layers: Layers, weigh: Weigh, scale: float) -> None:
        self._layers, self._weigh, self._scale = layers, weigh, scale
        self._clean = [_unit_length(each) for each in layers(clean)]

    def __call__(self, images: Tensor) -> Tensor:
        total = torch.zeros(len(images), device=images.device)
        for layer, (found, clean) in enumerate(zip(self._layers(images), self._clean, strict=True)):
            apart = (sets_of(_unit_length(found), clean) - clean).square().flatten(0, 1)
            total += self._weigh(layer, apart).mean(dim=(1, 2, 3))
        return total.mul(self._scale)


def digits_cnn_distance(clean: Tensor) -> FeatureDistance:
    """perceptual[digits-cnn]: over the four convolutions of the shipped digits classifier, all channels alike.

    The activations after each convolution's SiLU, w = 1, s = 1/4 (the mean over layers). Ranks pictures of digits and
    means nothing beside LPIPS. clean: [B, 1, 16, 16] in [0, 1]. Raises Unsupported for other pictures, MissingWeights
    and BadCheckpoint as the classifier does.
    """
    check_unit(clean)
    if tuple(clean.shape[1:]) != (1, IMAGE_SIZE, IMAGE_SIZE):
        raise Unsupported(
            f"perceptual[digits-cnn] judges 1x{IMAGE_SIZE}x{IMAGE_SIZE} digits only, and the pictures are "
            f"{'x'.join(map(str, clean.shape[1:]))}; use gmsd, or lpips where its weights are"
        )
    network = _digits_cnn().to(clean.device)
    return FeatureDistance(clean, lambda images: network.layers(images.mul(2.0).sub(1.0)), _plain_sum, 0.25)


def lpips_distance(clean: Tensor, net: Backbone) -> FeatureDistance:
    """lpips[net]: LPIPS version 0.1 of the package lpips, with its learned weights of layers and channels.

    clean: [B, 1 or 3, H, W] in [0, 1]; grey pictures are repeated to three channels. What the package wants, [-1, 1],
    is made here and nowhere else. Raises Unsupported for pictures that the backbone cannot take, MissingWeights where
    the backbone's ImageNet weights are not there, BadCheckpoint where they are others.
    """
    check_unit(clean)
    least = LEAST_SIZE[net]
    if min(clean.shape[2:]) < least or clean.shape[1] not in (1, 3):
        raise Unsupported(
            f"lpips[{net}] takes grey or colour pictures of at least {least}x{least} pixels, and these are "
            f"{'x'.join(map(str, clean.shape[1:]))}; use another score"
        )
    network = cast(Any, load_lpips(net).to(clean.device))  # the package is untyped

    def layers(images: Tensor) -> Sequence[Tensor]:
        scaled = network.scaling_layer(images.mul(2.0).sub(1.0).expand(-1, 3, -1, -1))
        found: Sequence[Tensor] = network.net(scaled)
        return found

    def weigh(layer: int, apart: Tensor) -> Tensor:
        weighted: Tensor = network.lins[layer](apart)
        return weighted

    return FeatureDistance(clean, layers, weigh, 1.0)


@lru_cache(maxsize=3)
def load_lpips(net: Backbone) -> nn.Module:
    """The package's own module, its backbone filled from a file that is there; never a download. In eval mode.

    Raises MissingWeights and BadCheckpoint.
    """
    path, expected = backbone_path(_score_name(net)), _sha256(net)
    if path is None:
        raise MissingWeights(*missing_backbone(_score_name(net)))
    if file_hash(path) != expected:
        raise BadCheckpoint(
            f"{path}: not the backbone that LPIPS was made with (its SHA-256 should begin {expected[:12]}); a distance "
            f"of other weights is no LPIPS; delete the file and run `bench fetch lpips-{net}`"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return build_lpips(net, state)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{path}: holds no {net} backbone ({type(error).__name__}: {error})") from error


def build_lpips(net: Backbone, state: dict[str, Tensor]) -> nn.Module:
    """LPIPS 0.1 around a backbone's torchvision state dict. Raises KeyError for a missing tensor."""
    package = importlib.import_module("lpips")
    # The package prints, draws random weights for the backbone and warns that torchvision's arguments have changed.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        module: nn.Module = package.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    backbone = module.get_submodule("net")
    # Its slices keep the numbers of torchvision's layers: slice3.5.squeeze.weight is features.5.squeeze.weight.
    filled = {name: state[f"features.{name.split('.', 1)[1]}"] for name in backbone.state_dict()}
    backbone.load_state_dict(filled)
    return module.eval().requires_grad_(False)


def _score_name(net: Backbone) -> ScoreName:
    names: dict[Backbone, ScoreName] = {"alex": "lpips[alex]", "vgg": "lpips[vgg]", "squeeze": "lpips[squeeze]"}
    return names[net]


def _sha256(net: Backbone) -> str:
    return find_download(BACKBONES[_score_name(net)]).files[0].hash.removeprefix("sha256:")


@lru_cache(maxsize=1)
def _digits_cnn() -> DigitsCnn:
    return load_digits_cnn()


def _plain_sum(layer: int, apart: Tensor) -> Tensor:
    """All channels alike."""
    return apart.sum(dim=1, keepdim=True)


def _unit_length(features: Tensor) -> Tensor:
    """Every feature vector over the channels divided by its length plus 1e-10."""
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + TINY)
