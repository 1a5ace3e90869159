"""One image file to the pixels a network sees."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.errors import BadData

Resize = Literal["center_crop", "squash", "none"]

FORMATS: Final = ("PNG", "JPEG", "BMP", "WEBP")
MAX_PIXELS: Final = 2**26
"""Of one image before it is resized: 8192 x 8192."""
EIGHT_BIT_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})

DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for damaged files."""


def decode(content: bytes, where: str, image_size: int, channels: int, resize: Resize) -> npt.NDArray[np.uint8]:
    """The pixels of one PNG, JPEG, BMP or WebP file as [C, S, S] bytes.

    channels: 1 turns colour into grey (ITU-R 601 luma), 3 repeats grey. resize: "center_crop" takes the largest
    square in the middle and scales it to image_size, "squash" scales both sides to it whatever their ratio; both use
    Pillow's bicubic filter, which averages when it shrinks. "none" takes the image as it is.
    Turning by EXIF is not done. Call inside `bombs_refused`. where: names the file in messages.
    Raises BadData when the file is damaged, too large, of more than 8 bits a channel, partly transparent, or, with
    "none", not image_size x image_size.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadData(f"{where}: {image.width}x{image.height} pixels are more than {MAX_PIXELS}; shrink it")
            image.load()
            flat = _flat(image, where).convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(_sized(flat, where, image_size, resize))
    except DECODE_ERRORS as error:
        raise BadData(f"{where}: not a readable PNG, JPEG, BMP or WebP image: {error}; replace or remove it") from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def bombs_refused() -> Iterator[None]:
    """Let Pillow raise where it would only warn of an image with far too many pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _flat(image: Image.Image, where: str) -> Image.Image:
    """The image, if it has eight bits a channel and nothing shows through it."""
    if image.mode not in EIGHT_BIT_MODES:
        raise BadData(f"{where}: pixels are of type {image.mode}, expected 8 bits a channel; convert it")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if np.asarray(rgba)[..., 3].min() < 255:
            raise BadData(f"{where}: partly transparent, so its colours depend on the background; flatten it")
        return rgba
    return image


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
