"""The distance between two folders of images, as pytorch-fid computes it: `bench fid A B`.

A side is a folder or archive of images (recursively; PNG, JPEG, BMP, WebP), or an .npz of moments, ours or
pytorch-fid's. Images are never resized before the recipe does it, so all of one side must have one size.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.contracts import Scalar
from bench.data.decode import DECODE_ERRORS, EIGHT_BIT_MODES, FORMATS, MAX_PIXELS, bombs_refused
from bench.data.sources import ImageSource, open_source
from bench.errors import BadData, MeasurementError
from bench.quality import recipe as recipes
from bench.quality.extractors import Extractor, extract, load_extractor
from bench.quality.frechet import FrechetDistance, check_comparable, frechet_distance
from bench.quality.moments import Moments, RunningMoments, load_moments
from bench.quality.recipe import Dtype, FeatureRecipe, FidRecipe, RecipeName, feature_recipe, images_used, value_name

CHUNK: Final = 64
"""Images decoded at a time."""
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
    one, for missing or unreadable files, mixed sizes, fewer than two images, images that are all one picture, and
    statistics of another recipe; MissingWeights where the network is not there.
    """
    network = extractor or load_extractor(features, dtype=dtype)
    try:
        return _between(a, b, recipe, network, on_progress)
    except MeasurementError as error:  # features without spread, or not finite: the images are to blame
        raise BadData(f"{a} against {b}: {error}") from error


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
    """The moments of a folder, archive or statistics file. limit: of n images, how many to use; the first ones."""
    if path.suffix == ".npz":
        return _read_statistics(path)
    source = open_source(path)
    if len(source.names) < 2:
        held = source.names[0] if source.names else "no .png, .jpg, .jpeg, .bmp or .webp file"
        raise BadData(f"{path}: a distance needs at least 2 images, found {held}")
    names = source.names[: limit(len(source.names))]
    running, seen = RunningMoments(), Counter[str]()
    mode: Literal["L", "RGB"] = "L" if how.extractor == "digits-cnn" else "RGB"
    content = hashlib.sha256()
    for images, hashes in _chunks(source, names, mode):
        running.add(extract(extractor, how, images))
        seen.update(hashes)
        content.update("".join(hashes).encode())
        on_progress(str(path), running.n, len(names))
    if len(seen) == 1:
        raise BadData(f"{path}: all {len(names)} images are the same picture, {names[0]}; nothing can be compared")
    moments = running.result(how.extractor, how.fingerprint, str(path))
    lossy = any(name.lower().endswith(LOSSY) for name in names)
    return Side(moments, content.hexdigest()[:16], lossy, _copies(path, seen))


def _chunks(
    source: ImageSource, names: tuple[str, ...], mode: Literal["L", "RGB"]
) -> Iterator[tuple[Tensor, list[str]]]:
    """Images [b, C, H, W] in [0, 1], and the hash of each one's pixels."""
    shape: tuple[int, ...] | None = None
    with bombs_refused():
        for low in range(0, len(names), CHUNK):
            pixels = []
            for name in names[low : low + CHUNK]:
                found = _decode(source.read(name), f"{source.path}: {name}", mode)
                if shape is not None and found.shape != shape:
                    raise BadData(
                        f"{source.path}: {name}: {found.shape[1]}x{found.shape[0]} pixels, but {names[0]} has "
                        f"{shape[1]}x{shape[0]}; all images of one side must have one size"
                    )
                shape = found.shape
                pixels.append(found)
            hashes = [hashlib.sha256(each.tobytes()).hexdigest()[:32] for each in pixels]
            yield torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(torch.float32).div_(255.0), hashes


def _decode(content: bytes, where: str, mode: Literal["L", "RGB"]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pixels [H, W, C]. Raises BadData naming the file."""
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadData(f"{where}: {image.width}x{image.height} pixels are more than {MAX_PIXELS}; shrink it")
            if image.mode not in EIGHT_BIT_MODES:
                raise BadData(f"{where}: pixels are of type {image.mode}, expected 8 bits a channel; convert it")
            pixels = np.asarray(image.convert(mode), np.uint8)
    except DECODE_ERRORS as error:
        raise BadData(f"{where}: not a readable PNG, JPEG, BMP or WebP image: {error}; replace or remove it") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _read_statistics(path: Path) -> Side:
    moments = load_moments(path)
    unknown = f"{path}: statistics of unknown origin: nothing says how they were made, so nothing was checked"
    content = hashlib.sha256(moments.mu.tobytes() + moments.cov.tobytes()).hexdigest()[:16]
    return Side(
        replace(moments, source=moments.source or str(path)), content, None, () if moments.recipe else (unknown,)
    )


def _copies(path: Path, seen: Mapping[str, int]) -> tuple[str, ...]:
    copies = sum(seen.values()) - len(seen)
    return (f"{path}: {copies} of {sum(seen.values())} images are copies of others",) if copies else ()


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
