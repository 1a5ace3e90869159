"""Features of generated and of real images, shard by shard from the cache, computed where they are not there.

Shape legend: B images, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.code_identity import code_identity, definition_of
from bench.contracts import Dataset
from bench.errors import MeasurementError, StoreError
from bench.quality import digits_cnn, inception, recipe
from bench.quality.arrays import Arrays
from bench.quality.extractors import Extractor, extract, load_extractor
from bench.quality.generate import FLOAT32, HASH_CHARS, check_no_copies, image_hashes, samples_of, shard_name
from bench.quality.kernels import kernels, machine_name
from bench.quality.moments import Moments, RunningMoments, moments_from_arrays, moments_to_arrays
from bench.quality.preprocess import to_unit
from bench.quality.recipe import SHARD, Dtype, FeatureRecipe
from bench.quality.stages import MADE_BY, Stage, makers_of, open_stage
from bench.subject import Subject

Features = NDArray[np.float32]

SHA256: dict[recipe.Extractor, str] = {"digits-cnn": digits_cnn.SHA256, "inception": inception.SHA256}
"""Of the weights each network must have; known without reading them."""
WIDTH: dict[recipe.Extractor, int] = {"digits-cnn": digits_cnn.FEATURES, "inception": inception.FEATURES}
"""Features of each network."""


SHARDS = "shards"
"""The member of kept moments that holds the seals of the features they were made of."""


@lru_cache(maxsize=2)
def shared_extractor(name: recipe.Extractor, dtype: Dtype, device: str) -> Extractor:
    """The network, loaded once in a process and only when some feature is not in the cache."""
    return load_extractor(name, dtype=dtype, device=device)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of a row of images, computed where they are not kept already; never all in memory unless asked for."""

    stage: Stage
    images: int
    source: str
    """Which images, in words."""
    how: FeatureRecipe
    make: Callable[[int], tuple[Tensor, tuple[str, ...], str]]
    """From the number of a shard's first image to its images [B, C, H, W] in [-1, 1], their hashes, and the machine
    that drew them; empty for real ones."""
    device: str
    cached_hashes: Callable[[int], tuple[str, ...] | None] = lambda low: None
    """The hashes of a shard's images where they can be had without making them; features of others are not used."""
    _compared: set[int] = field(default_factory=set, init=False, repr=False)
    """Numbers of the first images of shards whose hashes were compared already."""
    makers: set[str] = field(default_factory=set, init=False, repr=False)
    """The machines that made what was asked for so far."""

    def __iter__(self) -> Iterator[Features]:
        """[b, d] float32, shard by shard."""
        for low in range(0, self.images, SHARD):
            yield self._shard(low)["features"][: self.images - low]

    def all(self) -> Features:
        """[images, d] float32."""
        return np.concatenate(list(self))

    def hashes(self) -> tuple[str, ...]:
        """One for each image, in order."""
        shards = (self._shard(low)["hashes"][: self.images - low] for low in range(0, self.images, SHARD))
        return tuple(str(each) for shard in shards for each in shard)

    def moments(self) -> Moments:
        """Mean and covariance, always summed in the order of the images; from the cache where they are of these
        features."""
        moments = self._cached_moments()
        if moments is None:
            running = RunningMoments()
            for features in self:
                running.add(features)
            moments = running.result(self.how.extractor, self.how.fingerprint, self.source)
            parts = {SHARDS: self._seals(), MADE_BY: np.array(sorted(self.makers))}
            self.stage.write(self._moments_part, {**moments_to_arrays(moments), **parts})
        return moments

    @property
    def _moments_part(self) -> str:
        return f"moments-{self.images}"

    def _seals(self) -> NDArray[Any]:
        """The seal of each shard of features; empty where it is not there."""
        return np.array([self.stage.seal_of(shard_name(low)) or "" for low in range(0, self.images, SHARD)])

    def _cached_moments(self) -> Moments | None:
        """The moments that are kept, unless a shard of features that is there is not one that they were made of."""
        width = WIDTH[self.how.extractor]
        largest = (width + 1) * width * 8 + len(range(0, self.images, SHARD)) * 4 * 64
        names = ("mu", "sigma", "n", "features", "recipe", SHARDS, MADE_BY)
        arrays = self.stage.read(self._moments_part, *names, max_bytes=largest)
        if arrays is None:
            return None
        theirs, here = arrays[SHARDS], self._seals()
        if theirs.shape != here.shape or any(seal and seal != other for seal, other in zip(here, theirs, strict=True)):
            return None
        try:
            moments = moments_from_arrays(arrays)
        except StoreError:
            return None
        mine = (moments.n, moments.d, moments.features, moments.recipe)
        if mine != (self.images, width, self.how.extractor, self.how.fingerprint):
            return None
        self.makers.update(makers_of(arrays))
        return replace(moments, source=self.source)

    def _shard(self, low: int) -> Arrays:
        """`features` [b, d] float32 and `hashes` [b] of a shard, where b is at least what is wanted of it."""
        part = self._cached_shard(low)
        if part is not None:
            return part
        images, hashes, drawn_by = self.make(low)
        network = shared_extractor(self.how.extractor, self.how.dtype, self.device)
        features = extract(network, self.how, to_unit(images)).numpy()
        makers = sorted({drawn_by, machine_name(self.device)} - {""})
        made = {"features": features, "hashes": np.array(hashes), MADE_BY: np.array(makers)}
        self.stage.write(shard_name(low), made)
        self.makers.update(makers)
        return made

    def _cached_shard(self, low: int) -> Arrays | None:
        """The same where it is kept, as long as the images that it was made of, where they are there, are these."""
        width = WIDTH[self.how.extractor]
        text = np.dtype(f"<U{HASH_CHARS}")
        largest = SHARD * (width * FLOAT32.itemsize + text.itemsize)
        part = self.stage.read(shard_name(low), "features", "hashes", MADE_BY, max_bytes=largest)
        if part is None:
            return None
        features, hashes = part["features"], part["hashes"]
        wanted = min(SHARD, self.images - low)
        if (features.dtype, hashes.dtype) != (FLOAT32, text) or features.shape != (len(hashes), width):
            return None
        if not wanted <= len(hashes) <= SHARD or not np.isfinite(features).all():
            return None
        if low not in self._compared:
            images = self.cached_hashes(low)
            if images is not None and images[: len(hashes)] != tuple(hashes.tolist()):
                return None
            self._compared.add(low)
        self.makers.update(makers_of(part))
        return part


def generated(subject: Subject, how: FeatureRecipe, images: int) -> FeatureSet:
    """Features of the subject's first `images` samples. Raises MeasurementError when two samples are the same."""
    samples, device = samples_of(subject), subject.device.type
    identity = {"samples": samples.stage.key, **_extraction(how, device)}
    stage = open_stage(subject.workspace.cache_dir, "features", identity)

    def make(low: int) -> tuple[Tensor, tuple[str, ...], str]:
        shard = samples.shard(low)
        return shard.images, shard.hashes, shard.made_by

    def cached_hashes(low: int) -> tuple[str, ...] | None:
        shard = samples.cached(low)
        return None if shard is None else shard.hashes

    features = FeatureSet(stage, images, f"{images} samples", how, make, device, cached_hashes)
    check_no_copies(features.hashes())
    return features


def real(data: Dataset, how: FeatureRecipe, cache_dir: Path, device: str, images: int | None = None) -> FeatureSet:
    """Features of the first `images` of a data set, or of all of it. Raises MeasurementError when it has fewer."""
    count = len(data) if images is None else images
    if count > len(data):
        raise MeasurementError(f"{data.fingerprint} has {len(data)} images, {count} were asked for")
    identity = {"data": data.fingerprint, "split": data.split, **_extraction(how, device)}
    stage = open_stage(cache_dir, "features", identity)

    def make(low: int) -> tuple[Tensor, tuple[str, ...], str]:
        pixels = data[low : min(low + SHARD, len(data))]
        return pixels, image_hashes(pixels.numpy()), ""

    return FeatureSet(stage, count, f"{count} images of {data.fingerprint}", how, make, device)


def _extraction(how: FeatureRecipe, device: str) -> dict[str, object]:
    """Everything besides the images that changes a feature."""
    code = code_identity(map(definition_of, (extract, load_extractor, to_unit)))
    return {"recipe": asdict(how), "device": device, "kernels": kernels(device), "code": code}


def first_images(subject: Subject, count: int) -> Tensor:
    """The first samples [count, C, H, W] in [0, 1]."""
    return to_unit(torch.cat([shard.images for shard in samples_of(subject).first(count)]))
