"""The 1,797 handwritten digits that come inside scikit-learn, at 16x16: the data set that needs no download.

The originals are 8x8 with values 0..16 (the UCI optical digits, test part). They are enlarged to 16x16 by Catmull-Rom
cubic interpolation with half-pixel centres and replicated borders, cut to the original range and mapped to [-1, 1].
All its weights are multiples of 1/128, so every pixel is exact in float32 and the same on every machine. Against
bilinear it keeps the strokes crisp; against repeating pixels it shows no blocks.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.data.images import ArrayImages, fingerprint, held_out
from bench.data.places import Split, digits_path
from bench.errors import BadData

SIZE: Final = 16
ORIGINAL_SIZE: Final = 8
ORIGINAL_MAX: Final = 16
TEST_PER_CLASS: Final = 40
"""Of about 180: 400 test images in all, and 1,397 to train on."""
SPLIT_SEED: Final = "digits-split-0"
PREPARATION: Final = (
    f"catmull-rom {ORIGINAL_SIZE}->{SIZE}; 0..{ORIGINAL_MAX} to -1..1; {TEST_PER_CLASS} a class by {SPLIT_SEED}"
)


def load_digits(split: Split = "test") -> ArrayImages:
    """The digits as [N, 1, 16, 16] in [-1, 1] with labels 0..9: 1,397 to train, 400 to test, or all 1,797.

    The split is fixed and holds 40 test images of every class. The order is that of the original file.
    Raises MissingData when scikit-learn, or the file in it, is not there, and BadData when the file is damaged.
    """
    path = digits_path()
    raw = path.read_bytes()
    table = _table(raw, path)
    test = held_out(table[:, -1], TEST_PER_CLASS, SPLIT_SEED)
    chosen = {"train": ~test, "test": test, "all": np.ones_like(test)}[split]
    pixels = enlarge(table[chosen, :-1].reshape(-1, ORIGINAL_SIZE, ORIGINAL_SIZE))
    return ArrayImages(
        pixels=pixels[:, None],
        labels=table[chosen, -1].astype(np.int64),
        split=split,
        fingerprint=fingerprint("digits", split, PREPARATION, [table.astype("<i8").tobytes()]),
        inputs=(path,),
    )


def enlarge(images: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """[N, 8, 8] values 0..16 -> [N, 16, 16] float32 in [-1, 1]."""
    weights = _catmull_rom(ORIGINAL_SIZE, SIZE)
    large = weights @ images.astype(np.float64) @ weights.T
    return (np.clip(large, 0, ORIGINAL_MAX) / (ORIGINAL_MAX / 2) - 1.0).astype(np.float32)


def _catmull_rom(size: int, target: int) -> npt.NDArray[np.float64]:
    """[target, size] interpolation weights of one axis; Keys' cubic with a = -1/2 (Catmull & Rom 1974)."""
    weights = np.zeros((target, size))
    for row in range(target):
        centre = (row + 0.5) * size / target - 0.5
        first = int(np.floor(centre)) - 1
        for column in range(first, first + 4):
            weights[row, min(max(column, 0), size - 1)] += _keys_cubic(abs(centre - column))
    return weights


def _keys_cubic(distance: float) -> float:
    if distance <= 1.0:
        return 1.5 * distance**3 - 2.5 * distance**2 + 1.0
    return -0.5 * distance**3 + 2.5 * distance**2 - 4.0 * distance + 2.0 if distance < 2.0 else 0.0


def _table(raw: bytes, path: Path) -> npt.NDArray[np.int64]:
    """[1797, 65]: 64 pixels and the label of each image."""
    try:
        table = np.loadtxt(gzip.decompress(raw).decode("ascii").splitlines(), delimiter=",").astype(np.int64)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadData(f"digits: {path} is damaged ({error}); reinstall scikit-learn") from error
    if table.ndim != 2 or table.shape[1] != ORIGINAL_SIZE**2 + 1 or table.min() < 0 or table.max() > ORIGINAL_MAX:
        raise BadData(f"digits: {path} does not hold rows of 64 pixels 0..16 and a label; reinstall scikit-learn")
    return table
