"""Everything that changes a Fréchet distance or a KID, written down and hashed. Imports no torch.

Two values may stand in one column of a table only when their `fingerprint` is the same. FIDs of one model differ by
more than the gap between papers when only the resize, the rounding, n or the reference split differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Literal, TypeAlias, get_args

from bench.contracts import Scalar
from bench.errors import MeasurementError, ParamError, did_you_mean

ENGINE = 1
"""Raised by whoever changes how a feature is computed by more than rounding: features of other engines are not used."""

SHARD = 64
"""Images that are drawn and kept together. Part of every address: shards of another size are other files."""

Extractor: TypeAlias = Literal["digits-cnn", "inception"]
Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
Quantise: TypeAlias = Literal["half-even", "half-up", "none"]
"""From [0, 1] to 256 levels. half-even: rint(255 x). half-up: floor(255 x + 1/2), as torchvision's save_image writes
a PNG. none: the float goes on as it is."""
Resize: TypeAlias = Literal["none", "torch-bilinear", "tf1-bilinear", "pil-bicubic"]
"""To 299x299. torch-bilinear: half-pixel centres, no antialias (pytorch-fid). tf1-bilinear: corner origin, as
TensorFlow 1 (torch-fidelity). pil-bicubic: antialiased, each channel in float (clean-fid)."""
Scale: TypeAlias = Literal["2x-1", "(x-128)/128"]
"""From levels to what the network takes: 2 x - 1 of [0, 1], or (x - 128) / 128 of 0..255."""
RecipeName: TypeAlias = Literal["tf", "tf1", "clean", "paper-a", "paper-a-as-coded", "paper-b"]

RECIPE_NAMES: tuple[RecipeName, ...] = get_args(RecipeName)


@dataclass(frozen=True)
class FeatureRecipe:
    """The way from an image in [0, 1] to its features."""

    extractor: Extractor
    extractor_sha256: str
    """Of the weights file."""
    quantise: Quantise
    resize: Resize
    scale: Scale
    grey_to_rgb: Literal["repeat", "not needed"]
    """What a 3-channel network is given of a grey image."""
    dtype: Dtype = "float32"
    """Of the network. Anything but float32 is another recipe, with a measured error."""
    batch: int = 4
    """Images in one call. Fixed, because convolutions round differently for other batches."""
    engine: int = ENGINE

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with every value."""
        return digest(asdict(self))


@dataclass(frozen=True)
class FidRecipe:
    """One comparison of generated images with a reference, as a table needs to know it."""

    name: str
    features: FeatureRecipe
    images: int
    """Generated images that were used."""
    reference: str
    """Fingerprint of the reference images and of how they were prepared."""
    reference_split: str
    reference_images: int
    ema: bool | None
    """Whether the weights behind the images are an exponential moving average; None for images from a folder."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits: equal for values that may be compared. The sampler, the weights and the seed are what a table
        compares, so they are in its rows and not in here."""
        return digest(asdict(self))

    def facts(self) -> Mapping[str, Scalar]:
        """Every value, flat, for records and footnotes."""
        inner = {f"features.{name}": value for name, value in asdict(self.features).items()}
        outer = {name: value for name, value in asdict(self).items() if name != "features"}
        return {**outer, **inner, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class _Named:
    quantise: Quantise
    resize: Resize
    scale: Scale
    drop_to: int = 1
    """Only whole batches of so many images are used."""


_NAMED: Mapping[RecipeName, _Named] = {
    "tf": _Named("half-even", "torch-bilinear", "2x-1"),
    "tf1": _Named("half-even", "tf1-bilinear", "(x-128)/128"),
    "clean": _Named("half-even", "pil-bicubic", "(x-128)/128"),
    "paper-a": _Named("half-up", "torch-bilinear", "2x-1"),
    "paper-a-as-coded": _Named("half-up", "torch-bilinear", "2x-1", drop_to=512),
    "paper-b": _Named("none", "torch-bilinear", "2x-1"),
}

MEANING: Mapping[RecipeName, str] = {
    "tf": "as pytorch-fid computes it: 256 levels, bilinear without antialias",
    "tf1": "as torch-fidelity computes it: 256 levels, the bilinear of TensorFlow 1",
    "clean": "as clean-fid computes it: 256 levels, antialiased bicubic in float",
    "paper-a": "paper A: PNG-rounded images, all that were asked for",
    "paper-a-as-coded": "paper A as its code runs: whole batches of 512, so 49,664 of 50,000",
    "paper-b": "paper B: floats that were never rounded",
}
"""One line each, for help texts and footnotes."""


def feature_recipe(
    name: RecipeName, extractor: Extractor, extractor_sha256: str, *, channels: int, dtype: Dtype = "float32"
) -> FeatureRecipe:
    """The feature part of a named recipe, for images of so many channels. Raises ParamError for an unknown name.

    The digits classifier takes images as they are, so of the recipe only the rounding applies to it.
    """
    if name not in _NAMED:
        raise ParamError(f"no recipe named {name!r}{did_you_mean(name, _NAMED)} (known: {', '.join(_NAMED)})")
    named = _NAMED[name]
    if extractor == "digits-cnn":
        return FeatureRecipe(extractor, extractor_sha256, named.quantise, "none", "2x-1", "not needed", dtype, 64)
    grey: Literal["repeat", "not needed"] = "repeat" if channels == 1 else "not needed"
    return FeatureRecipe(extractor, extractor_sha256, named.quantise, named.resize, named.scale, grey, dtype)


def images_used(name: RecipeName, asked: int) -> int:
    """How many of the images asked for a recipe really uses. Raises MeasurementError when none are left."""
    whole = _NAMED[name].drop_to
    used = asked // whole * whole
    if used < 2:
        raise MeasurementError(
            f"recipe {name!r} uses whole batches of {whole} images, and {asked} hold none; ask for more"
        )
    return used


def whole_shards(images: int) -> int:
    """How many images are drawn for so many: shards are drawn whole."""
    return -(-images // SHARD) * SHARD


def value_name(extractor: Extractor) -> str:
    """What a Fréchet distance may be called: FID for Inception features only."""
    return "FID" if extractor == "inception" else f"frechet[{extractor}]"


def digest(identity: object) -> str:
    """16 hex digits of anything made of plain values, independent of the order of keys."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()[:16]
