"""Images held in memory: what the small data sets are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """A `Dataset` over one array, in a fixed order, with the labels beside it."""

    pixels: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    """[N, C, H, W]: float32 in [-1, 1], or uint8 0..255, which is scaled when it is read."""
    labels: npt.NDArray[np.int64] | None
    """[N] class indices; None when the images have none."""
    split: str
    fingerprint: str
    inputs: tuple[Path, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice) -> Tensor:
        """Images lo:hi as [B, C, H, W] float32 in [-1, 1], the caller's own copy."""
        check_slice(index)
        return scaled(self.pixels[index])


def check_slice(index: object) -> None:
    """Raise TypeError for data[3]: one image has no batch axis, and every caller expects one."""
    if not isinstance(index, slice):
        raise TypeError(f"images are read as a slice, such as data[0:8], got data[{index!r}]")


def scaled(pixels: npt.NDArray[np.float32] | npt.NDArray[np.uint8]) -> Tensor:
    """A float32 copy in [-1, 1]; bytes are mapped 0 -> -1 and 255 -> 1."""
    images = torch.tensor(pixels, dtype=torch.float32)
    return images.div_(127.5).sub_(1.0) if pixels.dtype == np.uint8 else images


def fingerprint(name: str, split: str, preparation: str, content: Iterable[bytes]) -> str:
    """`name/split:` and 16 hex digits that change with every byte of the content and every word of the preparation."""
    digest = hashlib.sha256(f"{name}\n{split}\n{preparation}\n".encode())
    for part in content:
        digest.update(part)
    return f"{name}/{split}:{digest.hexdigest()[:16]}"


def held_out(labels: npt.NDArray[np.integer], per_class: int, seed: str) -> npt.NDArray[np.bool_]:
    """[N] True for `per_class` images of every class, chosen by a hash of seed and row: the same on every machine."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label).tolist()
        chosen[sorted(rows, key=lambda row: hashlib.sha256(f"{seed}/{row}".encode()).digest())[:per_class]] = True
    return chosen
