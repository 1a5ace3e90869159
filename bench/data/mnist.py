"""MNIST from its original idx files, gzipped or not."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from bench.data.idx import read_idx
from bench.data.images import ArrayImages, fingerprint, held_out
from bench.data.places import Split, mnist_files
from bench.downloads import data_root
from bench.errors import BadData

SIDE: Final = 28
TEST_PER_CLASS: Final = 100
"""Of about 1,000 in the original test images, when those are divided."""
SPLIT_SEED: Final = "mnist-t10k-split-0"


def load_mnist(
    split: Split = "test", root: str | None = None, size: Literal[28, 32] = 28, divide_test: bool = False
) -> ArrayImages:
    """MNIST as [N, 1, size, size] in [-1, 1] with labels 0..9: 60,000 to train, 10,000 to test, in file order.

    size: 32 puts two black pixels on every side. divide_test: take both splits from the 10,000 test images, a fixed
    100 of every class to test and the other 9,000 to train; the fingerprint then says mnist-t10k.
    Raises MissingData when the files are not under the data root, and BadData when they are damaged.
    """
    loaded = [_part(*pair) for pair in mnist_files(split, data_root(root), divide_test=divide_test)]
    images = np.concatenate([images for images, _, _ in loaded])
    labels = np.concatenate([labels for _, labels, _ in loaded])
    preparation = f"{size}x{size}"
    if divide_test and split != "all":
        test = held_out(labels, TEST_PER_CLASS, SPLIT_SEED)
        chosen = test if split == "test" else ~test
        images, labels = images[chosen], labels[chosen]
        preparation += f"; {TEST_PER_CLASS} a class by {SPLIT_SEED}"
    border = (size - SIDE) // 2
    return ArrayImages(
        pixels=np.pad(images, ((0, 0), (border, border), (border, border)))[:, None],
        labels=labels.astype(np.int64),
        split=split,
        fingerprint=fingerprint(
            "mnist-t10k" if divide_test else "mnist", split, preparation, [images.tobytes(), labels.tobytes()]
        ),
        inputs=tuple(path for _, _, paths in loaded for path in paths),
    )


def _part(
    images_path: Path, labels_path: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], tuple[Path, Path]]:
    """Images [N, 28, 28] and labels [N] of one pair of files."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise BadData(f"{images_path}: images are {images.shape[1]}x{images.shape[2]}, expected {SIDE}x{SIDE}")
    if len(images) != len(labels):
        raise BadData(f"{images_path}: {len(images)} images, but {labels_path} has {len(labels)} labels")
    if labels.max() > 9:
        raise BadData(f"{labels_path}: a label is {labels.max()}, expected 0..9")
    return images, labels, (images_path, labels_path)
