"""Features of generated and of real images, shard by shard from the cache, computed where they are not there.

Shape legend: B images, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.contracts import Dataset
from bench.errors import MeasurementError, StoreError, UserError
from bench.quality import digits_cnn, inception, recipe
from bench.quality.extractors import Extractor, extract, load_extractor
from bench.quality.generate import check_no_copies, image_hashes, samples_of, shard_name
from bench.quality.moments import Moments, RunningMoments, load_moments, save_moments
from bench.quality.preprocess import to_unit
from bench.quality.recipe import SHARD, Dtype, FeatureRecipe
from bench.quality.stages import Stage, open_stage
from bench.subject import Subject

Features = NDArray[np.float32]

SHA256: dict[recipe.Extractor, str] = {"digits-cnn": digits_cnn.SHA256, "inception": inception.SHA256}
"""Of the weights each network must have; known without reading them."""
WIDTH: dict[recipe.Extractor, int] = {"digits-cnn": digits_cnn.FEATURES, "inception": inception.FEATURES}
"""Features of each network."""


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
    make: Callable[[int], tuple[Tensor, tuple[str, ...]]]
    """From the number of a shard's first image to its images [B, C, H, W] in [-1, 1] and their hashes."""
    device: str

    def __iter__(self) -> Iterator[Features]:
        """[b, d] float32, shard by shard."""
        for low in range(0, self.images, SHARD):
            yield self._shard(low, "features")[: self.images - low]

    def all(self) -> Features:
        """[images, d] float32."""
        return np.concatenate(list(self))

    def hashes(self) -> tuple[str, ...]:
        """One for each image, in order."""
        shards = (self._shard(low, "hashes")[: self.images - low] for low in range(0, self.images, SHARD))
        return tuple(str(each) for shard in shards for each in shard)

    def moments(self) -> Moments:
        """Mean and covariance, from the cache where they are there; always summed in the order of the images."""
        path = self.stage.folder / f"moments-{self.images}.npz"
        try:
            return load_moments(path)
        except (UserError, StoreError):  # not there, or damaged
            running = RunningMoments()
            for features in self:
                running.add(features)
            moments = running.result(self.how.extractor, self.how.fingerprint, self.source)
            save_moments(path, moments)
            return moments

    def _shard(self, low: int, name: str) -> NDArray[Any]:
        kept = self.stage.read(shard_name(low), name)
        wanted = min(SHARD, self.images - low)
        if kept is not None and len(kept[name]) >= wanted:
            return kept[name]
        images, hashes = self.make(low)
        network = shared_extractor(self.how.extractor, self.how.dtype, self.device)
        features = extract(network, self.how, to_unit(images)).numpy()
        made = {"features": features, "hashes": np.array(hashes)}
        self.stage.write(shard_name(low), made)
        return made[name]


def generated(subject: Subject, how: FeatureRecipe, images: int) -> FeatureSet:
    """Features of the subject's first `images` samples. Raises MeasurementError when two samples are the same."""
    samples, device = samples_of(subject), subject.device.type
    identity = {"samples": samples.stage.key, "recipe": asdict(how), "device": device}
    stage = open_stage(subject.workspace.cache_dir, "features", identity)

    def make(low: int) -> tuple[Tensor, tuple[str, ...]]:
        shard = samples.shard(low)
        return shard.images, shard.hashes

    found = FeatureSet(stage, images, f"{images} samples", how, make, device)
    check_no_copies(found.hashes())
    return found


def real(data: Dataset, how: FeatureRecipe, cache_dir: Path, device: str, images: int | None = None) -> FeatureSet:
    """Features of the first `images` of a data set, or of all of it. Raises MeasurementError when it has fewer."""
    count = len(data) if images is None else images
    if count > len(data):
        raise MeasurementError(f"{data.fingerprint} has {len(data)} images, {count} were asked for")
    identity = {"data": data.fingerprint, "split": data.split, "recipe": asdict(how), "device": device}
    stage = open_stage(cache_dir, "features", identity)

    def make(low: int) -> tuple[Tensor, tuple[str, ...]]:
        pixels = data[low : min(low + SHARD, len(data))]
        return pixels, image_hashes(pixels.numpy())

    return FeatureSet(stage, count, f"{count} images of {data.fingerprint}", how, make, device)


def first_images(subject: Subject, count: int) -> Tensor:
    """The first samples [count, C, H, W] in [0, 1]."""
    return to_unit(torch.cat([shard.images for shard in samples_of(subject).first(count)]))
