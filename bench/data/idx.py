"""The idx format of the original MNIST files: a big-endian header and then plain bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from bench.errors import BadData
from bench.files import open_regular

UNSIGNED_BYTES: Final = 0x08
MAX_BYTES: Final = 2**28
"""A file that says it is larger than this is refused before anything is allocated."""


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, gzipped when its name ends in .gz.

    Raises BadData when the file is damaged, cut short, too long, of another type or of another number of dimensions.
    """
    try:
        # gzip checks its own sum only at the end, which asking for one byte too many reaches
        with open_regular(path) as raw, cast(BinaryIO, gzip.open(raw)) if path.suffix == ".gz" else raw as file:
            shape = _shape(file.read(4 + 4 * dimensions), dimensions, path)
            size = math.prod(shape)
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path}: cannot be read as an idx file: {error}; fetch it again") from error
    if len(content) != size:
        found = f"only {len(content)}" if len(content) < size else "more"
        raise BadData(f"{path}: its header says {size} bytes follow, but there are {found}; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(header: bytes, dimensions: int, path: Path) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
        raise BadData(f"{path}: not an idx file (it begins with {header[:4].hex(' ')}); fetch it again")
    if header[2] != UNSIGNED_BYTES or header[3] != dimensions:
        raise BadData(
            f"{path}: an idx file of type {header[2]:#04x} with {header[3]} dimensions; "
            f"expected {UNSIGNED_BYTES:#04x} (bytes) with {dimensions}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if not 0 < math.prod(shape) <= MAX_BYTES:
        raise BadData(f"{path}: its header says {'x'.join(map(str, shape))}, which is not a data set; fetch it again")
    return shape
