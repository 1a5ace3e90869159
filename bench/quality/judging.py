"""Which pictures a metric can judge, known from their shape and number before one is drawn. Imports no torch.

The metrics themselves refuse the same when they run; a plan says it before an hour is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.errors import MeasurementError
from bench.outlook import Pictures
from bench.quality.recipe import Extractor, RecipeName, images_used
from bench.quality.score_names import ScoreName

Shape = tuple[int, int, int]

DIGITS_SHAPE: Shape = (1, 16, 16)
"""What the digits classifier takes."""
LEAST_SIDE: dict[ScoreName, int] = {
    "ssim": 7, "ssim[wang2004]": 11, "gmsd": 2, "lpips[alex]": 31, "lpips[vgg]": 16, "lpips[squeeze]": 17
}  # fmt: skip
"""Pixels a side that a score needs: its window, or what its network's strides leave something of."""
COLOURED = frozenset({"gmsd", "lpips[alex]", "lpips[vgg]", "lpips[squeeze]"})
"""Scores of grey or colour pictures only."""
MAX_PIXELS = 2**22
"""Of a picture of samples; a page shows at most eight times as many."""


def compared_conflicts(
    images: int, recipe: RecipeName, replicates: int = 0, halves: bool = False, **_: object
) -> Iterator[str]:
    """Of metrics that compare samples with real images."""
    try:
        images_used(recipe, images)
    except MeasurementError as error:
        yield str(error)
    if halves and images < 4:
        yield f"halves of {images} images have fewer than 2; ask for more images"
    yield from replicates_conflicts(replicates)


def replicates_conflicts(replicates: int, **_: object) -> Iterator[str]:
    if replicates == 1:
        yield "an interval needs 2 replicates at least, got 1; write replicates: 0 for none"


def compared_objections(
    pictures: Pictures,
    images: int,
    features: Extractor,
    reference: str,
    recipe: RecipeName,
    blocks: int | None = None,
    subset_size: int | None = None,
    neighbours: int | None = None,
    **_: object,
) -> Iterator[str]:
    """Of metrics that compare samples with real images."""
    yield from _unnamed(pictures)
    shape = pictures.image_shape
    if shape is not None and features == "digits-cnn" and shape != DIGITS_SHAPE:
        yield (
            f"features 'digits-cnn' judge {_text(DIGITS_SHAPE)} digits only, and these pictures are {_text(shape)}; "
            "use features: inception"
        )
    elif shape is not None and shape[0] not in (1, 3):
        yield f"pictures of {shape[0]} channels are neither grey nor colour; no recipe takes them"
    if reference != "own" and pictures.splits is not None and reference not in pictures.splits:
        only = " and ".join(sorted(pictures.splits))
        yield f"the data set has no split {reference!r}, only {only}; use reference: own"
        return
    try:
        used = images_used(recipe, images)
    except MeasurementError:
        return  # the arguments alone are wrong, whatever the pictures are
    real = pictures.count(reference)
    least = min(used, real) if real is not None else used
    of = f"{used:,} samples and {real:,} real images" if real is not None else f"{used:,} samples"
    if blocks is not None and least < 2 * blocks:
        yield f"a line over 1/n needs 2 images a block on each side, and there are {of} for {blocks} blocks"
    if subset_size is not None and least < subset_size:
        yield f"a subset of {subset_size:,} images does not fit into {of}; lower subset_size"
    if neighbours is not None and least <= neighbours:
        yield f"the {neighbours}th nearest other image needs more than {neighbours} images on each side; there are {of}"


def samples_objections(pictures: Pictures, images: int, columns: int, scale: int) -> Iterator[str]:
    """Of a picture of samples."""
    yield from _unnamed(pictures)
    if pictures.image_shape is None:
        return
    channels, height, width = pictures.image_shape
    if channels not in (1, 3):
        yield f"pictures of {channels} channels are neither grey nor colour; no grid shows them"
    pixels = -(-images // columns) * columns * (height + 2) * (width + 2) * scale**2
    if pixels > MAX_PIXELS:
        yield (
            f"{images:,} images of {width}x{height} at scale {scale} are {pixels:,} pixels, at most {MAX_PIXELS:,} are "
            "drawn; ask for fewer images or a smaller scale"
        )


def denoising_objections(pictures: Pictures, images: int, scores: tuple[ScoreName, ...], **_: object) -> Iterator[str]:
    """Of scores along a walk. Scores that the pictures cannot have are left out where another one is left."""
    yield from _unnamed(pictures)
    yield from _too_few(pictures, images)
    if not scores:
        yield "scores is empty; name at least one"
    if pictures.image_shape is not None:
        reasons = [_unscorable(score, pictures.image_shape) for score in scores]
        if scores and all(reasons):
            yield "; ".join(filter(None, reasons))


def pictures_objections(pictures: Pictures, images: int, score: ScoreName, **_: object) -> Iterator[str]:
    """Of pictures of a walk."""
    yield from _too_few(pictures, images)
    shape = pictures.image_shape
    if shape is not None and shape[0] not in (1, 3):
        yield f"pictures of {shape[0]} channels are neither grey nor colour; no grid shows them"
    elif shape is not None and (reason := _unscorable(score, shape)):
        yield reason


def _unscorable(score: ScoreName, shape: Shape) -> str:
    """Why pictures of a shape cannot have a score, or nothing."""
    if score == "perceptual[digits-cnn]" and shape != DIGITS_SHAPE:
        return f"{score} judges {_text(DIGITS_SHAPE)} digits only, and these pictures are {_text(shape)}"
    least = LEAST_SIDE.get(score, 1)
    if min(shape[1:]) < least:
        return f"{score} needs pictures of at least {least}x{least} pixels, and these are {_text(shape)}"
    if score in COLOURED and shape[0] not in (1, 3):
        return f"{score} takes grey or colour pictures, and these have {shape[0]} channels"
    return ""


def _too_few(pictures: Pictures, images: int) -> Iterable[str]:
    count = pictures.count("own")
    if count is not None and images > count:
        yield f"{images:,} images are asked for, and the data set has {count:,} in this split"


def _unnamed(pictures: Pictures) -> Iterator[str]:
    if pictures.model is not None and pictures.model.unnamed_weights:
        yield (
            "the weights of the model have no SHA-256, so its pictures cannot be kept apart from others; "
            "its factory must give Weights(sha256=...)"
        )


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
