"""One image file to pixels, by one rule for data sets and for `bench fid`: what Pillow's `convert` makes of it.

That is how pytorch-fid reads. The first frame is taken, alpha is dropped and not blended, a palette is looked up, CMYK
becomes RGB without a profile, EXIF does not turn the picture. Where that loses something, a `Loss` says so.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from bench.data.names import shown_name
from bench.data.tiff import check_directory
from bench.errors import BadData

Resize = Literal["center_crop", "squash", "none"]
Mode = Literal["L", "RGB"]
Loss = Literal["alpha", "depth", "frames"]
"""What of a file is not in its pixels: transparency, levels outside of 0..255, all frames but the first."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
"""Whatever the file is called."""
KINDS: Final = "PNG, JPEG, BMP, WebP, TIFF, PGM or PPM"
MAX_PIXELS: Final = 2**26
"""Of one image before it is resized: 8192 x 8192."""
FORMAT_PIXELS: Final[Mapping[str, int]] = {"WEBP": 2**25}
"""Of kinds whose decoder holds several copies."""
SLOW_PIXELS: Final = 2**21
"""Of PGM and PPM files that Pillow decodes in Python: as text, or with an unusual maximum."""
SLOW_DECODERS: Final = frozenset({"ppm", "ppm_plain"})

DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for damaged files."""

LOSSES: Final[Mapping[Loss, str]] = {
    "alpha": "partly transparent; as in pytorch-fid, alpha was dropped and not blended with a background",
    "depth": "of more than 8 bits a channel; as in pytorch-fid, levels outside of 0..255 were cut: save 8 bits",
    "frames": "of several frames; as in pytorch-fid, the first was taken",
}
"""Ends of the sentence `3 of 90 images are ...`."""


def decode(
    content: bytes, where: str, image_size: int, channels: int, resize: Resize
) -> tuple[npt.NDArray[np.uint8], frozenset[Loss]]:
    """The pixels of one image file as [C, S, S] bytes, and what of the file is not in them.

    channels: 1 turns colour into grey (ITU-R 601 luma), 3 repeats grey. resize: "center_crop" takes the largest
    square in the middle and scales it to image_size, "squash" scales both sides to it whatever their ratio; both use
    Pillow's bicubic filter, which averages when it shrinks. "none" takes the image as it is.
    Raises BadData as `convert_picture` does, and, with "none", when it is not image_size x image_size.
    """
    picture, losses = convert_picture(content, where, "L" if channels == 1 else "RGB")
    pixels = np.asarray(_sized(picture, where, image_size, resize))
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1)), losses


def convert_picture(content: bytes, where: str, mode: Mode) -> tuple[Image.Image, frozenset[Loss]]:
    """One file of the kinds in FORMATS as Pillow's `convert(mode)` gives it, and what of it is lost thereby.

    Call inside `bombs_refused`. where: names the file in messages. Raises BadData when the file is empty, damaged, too
    large, or no picture of a kind that is read.
    """
    try:
        check_directory(content)
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            _check_pixels(image, where)
            image.load()
            losses = frozenset(_losses(image))
            return (image if image.mode == mode else image.convert(mode)), losses
    except DECODE_ERRORS as error:
        raise BadData(f"{where}: not a readable image: {_reason(content, error)}; replace or remove it") from error


@contextmanager
def bombs_refused() -> Iterator[None]:
    """Let Pillow raise where it would only warn of an image with far too many pixels, and say nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def loss_notes(losses: Mapping[Loss, int], images: int) -> tuple[str, ...]:
    """A sentence for each loss. losses: the number of images that have it, of so many images."""
    return tuple(
        f"{losses[loss]:,} of {images:,} images are {meaning}" for loss, meaning in LOSSES.items() if losses.get(loss)
    )


def _check_pixels(image: Image.Image, where: str) -> None:
    limit = min(MAX_PIXELS, FORMAT_PIXELS.get(image.format or "", MAX_PIXELS))
    if any(tile[0] in SLOW_DECODERS for tile in getattr(image, "tile", ())):
        limit = min(limit, SLOW_PIXELS)
    if image.width * image.height > limit:
        raise BadData(f"{where}: {image.width}x{image.height} pixels are more than {limit}; shrink it")


def _losses(image: Image.Image) -> Iterator[Loss]:
    if image.has_transparency_data and _lowest_alpha(image) < 255:
        yield "alpha"
    if image.mode == "F" or (image.mode.startswith("I") and _exceeds_bytes(image)):
        yield "depth"
    if getattr(image, "is_animated", False):
        yield "frames"


def _lowest_alpha(image: Image.Image) -> int:
    """0 is invisible, 255 opaque."""
    band = image.getbands()[-1]
    if band not in ("A", "a"):
        if image.mode not in ("1", "L", "P", "RGB"):
            return 0  # one level of many is transparent; Pillow cannot say where
        image, band = image.convert("RGBA"), "A"
    return int(image.getchannel(band).getextrema()[0])  # type: ignore[arg-type]


def _exceeds_bytes(image: Image.Image) -> bool:
    low, high = image.getextrema()
    return bool(low < 0 or high > 255)  # type: ignore[operator]


def _reason(content: bytes, error: BaseException) -> str:
    """Why a file could not be read, in one line without anything the file could have put there."""
    if not content:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"it is not a picture of the kinds {KINDS}"
    return shown_name(f"{error or type(error).__name__}", longest=200)


def _sized(image: Image.Image, where: str, image_size: int, resize: Resize) -> Image.Image:
    width, height = image.size
    if (width, height) == (image_size, image_size):
        return image
    if resize == "none":
        raise BadData(f"{where}: {width}x{height} pixels, expected {image_size}x{image_size}; set `resize`")
    left, top, right, bottom = 0, 0, width, height
    if resize == "center_crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        right, bottom = left + side, top + side
    return image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
