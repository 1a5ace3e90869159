"""Any folder, zip or tar of images as a data set: CelebA, LSUN, or your own."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bench.data.archives import whereabouts
from bench.data.decode import LOSSES, Loss, Resize, bombs_refused, decode, loss_notes
from bench.data.images import check_slice, fingerprint, scaled
from bench.data.names import SUFFIXES_IN_WORDS, shown_name
from bench.data.places import Split, folder_path
from bench.data.remembered import remembered_text
from bench.data.sources import FolderSource, ImageSource, open_source
from bench.errors import BadData, ParamError

MAX_IMAGE_SIZE: Final = 4096
CACHE_BYTES: Final = 256 * 2**20
"""Decoded pixels kept for the next reading; images beyond it are decoded each time."""
MAX_SURVEYED: Final = 10_000
"""Images that are decoded only to count what their files lose."""
LOSS_COUNTS: Final = r'\{("[a-z]+": \d+(, )?)+\}'
MAX_LISTED_FILES: Final = 64
"""A folder with more files is watched through its fingerprint only: inputs stand in every record."""


@dataclass(frozen=True, eq=False)
class FileImages:
    """A `Dataset` over image files, decoded when they are read."""

    source: ImageSource
    names: tuple[str, ...]
    """The files of this split, in order."""
    image_size: int
    channels: int
    resize: Resize
    split: str
    fingerprint: str
    inputs: tuple[Path, ...]
    labels: npt.NDArray[np.int64] | None = None
    """[N] class indices; None when the images have none."""
    _decoded: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict, init=False, repr=False)
    _losses: dict[str, frozenset[Loss]] = field(default_factory=dict, init=False, repr=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.channels, self.image_size, self.image_size

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: slice) -> Tensor:
        """Images lo:hi as [B, C, H, W] float32 in [-1, 1]. Raises BadData naming the file that cannot be used."""
        check_slice(index)
        names = self.names[index]
        pixels = np.empty((len(names), *self.image_shape), dtype=np.uint8)
        with bombs_refused():
            for row, name in enumerate(names):
                pixels[row] = self._pixels(name)
        return scaled(pixels)

    def notes(self) -> tuple[str, ...]:
        """What a reader of a number must know of the files: which were left out, and what of the others is lost.

        Of a small data set all images are looked at, and remembered; of a large one those that were read.
        """
        if len(self.names) <= MAX_SURVEYED:
            key = sha256(f"losses 1\n{self.fingerprint}".encode()).hexdigest()
            counts, images = json.loads(remembered_text(key, LOSS_COUNTS, self._survey)), len(self.names)
        else:
            counts, images = self._counts(), len(self._losses)
        label = self.fingerprint.partition(":")[0]
        return tuple(f"{label}: {note}" for note in (*self.source.notes, *loss_notes(counts, images)))

    def _survey(self) -> str:
        with bombs_refused():
            for name in self.names:
                if name not in self._losses:
                    with suppress(BadData):  # said when the image is needed
                        self._pixels(name)
        return json.dumps(self._counts())

    def _counts(self) -> dict[Loss, int]:
        counts = Counter(loss for losses in self._losses.values() for loss in losses)
        return {loss: counts[loss] for loss in LOSSES}

    def _pixels(self, name: str) -> npt.NDArray[np.uint8]:
        known = self._decoded.get(name)
        if known is not None:
            return known
        where = whereabouts(self.source.path, name)
        content = self.source.read(name)
        pixels, self._losses[name] = decode(content, where, self.image_size, self.channels, self.resize)
        if (len(self._decoded) + 1) * pixels.nbytes <= CACHE_BYTES:
            self._decoded[name] = pixels
        return pixels


def load_folder(
    path: str,
    image_size: int,
    channels: Literal[1, 3] = 3,
    resize: Resize = "center_crop",
    split: Split = "all",
) -> FileImages:
    """Every picture in a folder, zip, tar or sample file, recursively, sorted by name.

    path: absolute, or relative to the working folder, or else to the data root. split: "train" and "test" read the
    subfolder of that name only, "all" everything. Which files are pictures, and what becomes of their pixels, is as
    `bench fid` has it; sizes and colours are treated as `decode` says.
    Raises MissingData when nothing is there, BadData when it holds no usable images (a damaged image is noticed when
    it is first read, and named), and ParamError for an image_size outside 1..4096.
    """
    if not 1 <= image_size <= MAX_IMAGE_SIZE:
        raise ParamError(f"folder: image_size must be between 1 and {MAX_IMAGE_SIZE}, got {image_size}")
    source = open_source(folder_path(path))
    return file_images("folder", source, names_of(source, split), image_size, channels, resize, split, "by name")


def file_images(
    name: str,
    source: ImageSource,
    names: tuple[str, ...],
    image_size: int,
    channels: int,
    resize: Resize,
    split: Split,
    order: str,
    labels: npt.NDArray[np.int64] | None = None,
) -> FileImages:
    """The data set of the named files of a source; `name` begins its fingerprint, `order` says how they are sorted."""
    preparation = f"{image_size}x{image_size}x{channels}; {resize}; {order}"
    return FileImages(
        source=source,
        names=names,
        image_size=image_size,
        channels=channels,
        resize=resize,
        split=split,
        fingerprint=fingerprint(name, split, preparation, [source.content_hash().encode()]),
        inputs=_inputs(source),
        labels=labels,
    )


def names_of(source: ImageSource, split: Split) -> tuple[str, ...]:
    """The image names of a split: those under the top folder of its name. Raises BadData when there are none."""
    if not source.names:
        more = "".join(f"; {note}" for note in source.notes)
        raise BadData(f"{shown_name(source.path)}: no {SUFFIXES_IN_WORDS} file in it{more}; put images there")
    names = source.names if split == "all" else tuple(name for name in source.names if name.startswith(f"{split}/"))
    if not names:
        raise BadData(
            f"{shown_name(source.path)}: no images under {split}/ (the first image is {shown_name(source.names[0])}); "
            f"make a folder {split!r} in it, or use split: all"
        )
    return names


def _inputs(source: ImageSource) -> tuple[Path, ...]:
    """A few images one by one; a large folder, or one with names that JSON cannot hold, by its listing."""
    if not isinstance(source, FolderSource) or len(source.names) > MAX_LISTED_FILES:
        return (source.path,)
    if any("\udc80" <= character <= "\udcff" for name in source.names for character in name):
        return (source.path,)
    return tuple(source.path / name for name in source.names)
