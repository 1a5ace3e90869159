"""The distance between two folders of images, as pytorch-fid computes it: `bench fid A B`.

A side is a folder or archive of images (recursively), a sample file, or an .npz of moments, ours or pytorch-fid's.
Pictures are read as data sets read them: `bench.data.decode` has the rule. They are never resized before the recipe
does it; one that resizes each picture by itself takes a side of several sizes, for the others it must have one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.contracts import Scalar
from bench.data.archives import whereabouts
from bench.data.decode import Loss, Mode, bombs_refused, convert_picture, loss_notes
from bench.data.names import SUFFIXES_IN_WORDS, shown_name
from bench.data.sources import ImageSource, holds_statistics, open_source
from bench.errors import BadData, MeasurementError
from bench.quality import recipe as recipes
from bench.quality.extractors import Extractor, check_extractor, check_shape, features_of, load_extractor
from bench.quality.frechet import FrechetDistance, check_comparable, frechet_distance
from bench.quality.moments import Moments, RunningMoments, load_moments
from bench.quality.preprocess import prepare, prepare_levels
from bench.quality.recipe import Dtype, FeatureRecipe, FidRecipe, RecipeName, feature_recipe, images_used, value_name

CHUNK: Final = 64
"""Images whose features are added at a time."""
LARGE: Final = 2**22
"""Numbers in a picture that is prepared by itself, channel by channel: floats of a batch would fill the memory."""
EACH_BY_ITSELF: Final = frozenset({"pil-bicubic"})
"""Resizes defined for one picture, so that the pictures of a side may differ in size."""
FEW_IMAGES: Final = 2048
"""Below it the bare name FID says nothing: the bias in n is larger than the differences it is used for."""
LOSSY: Final = (".jpg", ".jpeg", ".webp")

Progress = Callable[[str, int, int], None]
"""(path of the side, images done, images in all)"""


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison."""

    moments: Moments
    content: str
    """Hash of the images' bytes, or of the statistics file."""
    lossy: bool | None
    """Whether the images were compressed with loss; None for statistics."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderDistance:
    """What `bench fid` prints."""

    name: str
    """`FID`, `FID(n=500)` where n is too small for the bare name, or `frechet[digits-cnn]`."""
    distance: FrechetDistance
    images: tuple[int | None, int | None]
    """On each side; None where a statistics file does not say."""
    features: int
    recipe: Mapping[str, Scalar]
    """Every value of the recipe, with its fingerprint."""
    warnings: tuple[str, ...]

    @property
    def value(self) -> float:
        return self.distance.value


def fid_between(
    a: Path,
    b: Path,
    *,
    recipe: RecipeName = "tf",
    features: recipes.Extractor = "inception",
    dtype: Dtype = "float32",
    extractor: Extractor | None = None,
    on_progress: Progress = lambda path, done, total: None,
) -> FolderDistance:
    """Fréchet distance of the images in `a` to the reference `b`; with the recipe `tf` pytorch-fid's number to 1e-3.

    extractor: a network that is loaded already. Raises UserError with a sentence, and the file's name where there is
    one, for missing or unreadable files, mixed sizes, pictures that the network cannot judge, fewer than two images,
    images that are all one picture, and statistics of another recipe; MissingWeights where the network is not there.
    """
    network = extractor or load_extractor(features, dtype=dtype)
    try:
        return _between(a, b, recipe, network, on_progress)
    except MeasurementError as error:  # features without spread, or not finite: the images are to blame
        raise BadData(f"{shown_name(a)} against {shown_name(b)}: {error}") from error


def _between(a: Path, b: Path, recipe: RecipeName, network: Extractor, on_progress: Progress) -> FolderDistance:
    how = feature_recipe(
        recipe, network.name, network.sha256, channels=1 if network.name == "digits-cnn" else 3, dtype=network.dtype
    )
    judged, reference = (
        read_side(path, how, network, limit=limit, on_progress=on_progress)
        for path, limit in ((a, lambda n: images_used(recipe, n)), (b, lambda n: n))
    )
    for side in (judged, reference):
        if side.moments.recipe and side.moments.recipe != how.fingerprint:
            raise BadData(
                f"{side.moments.source}: statistics of the recipe {side.moments.recipe}, but this comparison is "
                f"{how.fingerprint} ({recipe}, {network.name}, {network.dtype}); make them again from the images"
            )
    check_comparable(judged.moments, reference.moments)
    described = FidRecipe(
        name=recipe,
        features=how,
        images=judged.moments.n or 0,
        reference=reference.content,
        reference_split="all",
        reference_images=reference.moments.n or 0,
        ema=None,
    )
    return FolderDistance(
        name=_name(network.name, judged.moments.n),
        distance=frechet_distance(judged.moments, reference.moments),
        images=(judged.moments.n, reference.moments.n),
        features=judged.moments.d,
        recipe=described.facts(),
        warnings=(*judged.warnings, *reference.warnings, *_warnings(judged, reference)),
    )


def read_side(
    path: Path,
    how: FeatureRecipe,
    extractor: Extractor,
    *,
    limit: Callable[[int], int] = lambda n: n,
    on_progress: Progress = lambda path, done, total: None,
) -> Side:
    """The moments of a folder, archive, sample file or statistics file.

    limit: of n images, how many to use; the first ones.
    """
    if holds_statistics(path):
        return _read_statistics(path)
    check_extractor(extractor, how)
    source, label = open_source(path), shown_name(path)
    if len(source.names) < 2:
        held = shown_name(source.names[0]) if source.names else f"no {SUFFIXES_IN_WORDS} file"
        more = "".join(f"; {note}" for note in source.notes)
        raise BadData(f"{label}: a distance needs at least 2 images, found {held}{more}")
    names = source.names[: limit(len(source.names))]
    running, side = RunningMoments(), _SideReader(source, how)
    with bombs_refused():
        for low in range(0, len(names), CHUNK):
            running.add(features_of(extractor, side.prepared(names[low : low + CHUNK])))
            on_progress(str(path), running.n, len(names))
    if len(side.copies) == 1:
        first = shown_name(names[0])
        raise BadData(f"{label}: all {len(names)} images are the same picture, {first}; nothing can be compared")
    moments = running.result(how.extractor, how.fingerprint, label)
    lossy = any(name.lower().endswith(LOSSY) for name in names)
    notes = (*source.notes, *loss_notes(side.losses, len(names)), *_copies(side.copies))
    return Side(moments, side.content.hexdigest()[:16], lossy, tuple(f"{label}: {note}" for note in notes))


class _SideReader:
    """Decodes and prepares the pictures of one side, and counts what it meets."""

    def __init__(self, source: ImageSource, how: FeatureRecipe) -> None:
        self._source, self._how = source, how
        self._mode: Mode = "L" if how.extractor == "digits-cnn" else "RGB"
        self._first: tuple[str, tuple[int, ...]] | None = None
        self.copies = Counter[str]()
        """How often each picture was met, by a hash of its pixels."""
        self.losses = Counter[Loss]()
        self.content = hashlib.sha256()

    def prepared(self, names: tuple[str, ...]) -> Iterator[Tensor]:
        """Prepared batches [b, C, H, W]. Raises BadData naming the file that cannot be used."""
        for low in range(0, len(names), self._how.batch):
            pictures = [self._picture(name) for name in names[low : low + self._how.batch]]
            levels = [picture for picture in pictures if isinstance(picture, np.ndarray)]
            if len(levels) == len(pictures) and len({each.shape for each in levels}) == 1:
                yield prepare(_unit(np.stack(levels)), self._how)
            else:
                yield torch.cat([self._alone(p) if isinstance(p, np.ndarray) else p for p in pictures])

    def _picture(self, name: str) -> npt.NDArray[np.uint8] | Tensor:
        """Levels [H, W, C], or, of a large picture, what the network takes of it."""
        where = whereabouts(self._source.path, name)
        picture, losses = convert_picture(self._source.read(name), where, self._mode)
        pixels = np.asarray(picture, np.uint8)
        del picture  # of a large one both would not fit
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        self._check_size(name, where, pixels.shape)
        self.losses.update(losses)
        pixel_hash = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()[:32]
        self.copies[pixel_hash] += 1
        self.content.update(pixel_hash.encode())
        return self._alone(pixels) if pixels.size > LARGE else pixels

    def _check_size(self, name: str, where: str, shape: tuple[int, ...]) -> None:
        height, width, channels = shape
        first, expected = self._first = self._first or (name, shape)
        if shape != expected and self._how.resize not in EACH_BY_ITSELF:
            raise BadData(
                f"{where}: {width}x{height} pixels, but {shown_name(first)} has {expected[1]}x{expected[0]}; all "
                "images of one side must have one size, except with the recipe clean"
            )
        try:
            check_shape(self._how.extractor, (channels, height, width))
        except MeasurementError as error:
            raise BadData(f"{where}: {error}") from error

    def _alone(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """One picture, prepared channel by channel: resizes know no other channel."""
        channels = range(pixels.shape[2])
        return torch.cat([prepare_levels(self._levels(pixels[..., c]), self._how) for c in channels], dim=1)

    def _levels(self, channel: npt.NDArray[np.uint8]) -> Tensor:
        """Levels [1, 1, H, W] of one channel, as `quantise` makes them of its images in [0, 1], without a copy."""
        levels = torch.from_numpy(np.array(channel, np.float32))[None, None]
        # Rounding gives bytes back exactly; a recipe that does not round keeps the error of the way there and back.
        return levels.div_(255.0).mul_(255.0) if self._how.quantise == "none" else levels


def _unit(levels: npt.NDArray[np.uint8]) -> Tensor:
    """Levels [b, H, W, C] as images [b, C, H, W] in [0, 1]."""
    return torch.from_numpy(levels).permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


def _read_statistics(path: Path) -> Side:
    moments = load_moments(path)
    label = shown_name(path)
    unknown = f"{label}: statistics of unknown origin: nothing says how they were made, so nothing was checked"
    content = hashlib.sha256(moments.mu.tobytes() + moments.cov.tobytes()).hexdigest()[:16]
    return Side(replace(moments, source=moments.source or label), content, None, () if moments.recipe else (unknown,))


def _copies(seen: Mapping[str, int]) -> tuple[str, ...]:
    copies = sum(seen.values()) - len(seen)
    return (f"{copies} of {sum(seen.values())} images are copies of others",) if copies else ()


def _name(extractor: recipes.Extractor, images: int | None) -> str:
    name = value_name(extractor)
    return f"{name}(n={images})" if images is not None and images < FEW_IMAGES and extractor == "inception" else name


def _warnings(judged: Side, reference: Side) -> Iterator[str]:
    d = judged.moments.d
    for side in (judged, reference):
        n = side.moments.n
        if n is not None and n <= d:
            yield (
                f"{side.moments.source}: {n} images for {d} features: rank-deficient; the value is far above that of "
                "more images and may be compared at equal n only"
            )
    if judged.lossy is not None and reference.lossy is not None and judged.lossy != reference.lossy:
        which = reference if reference.lossy else judged
        yield f"{which.moments.source}: compressed with loss, the other side not; part of the distance is compression"
