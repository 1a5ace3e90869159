"""CIFAR-10: the original binary version, or an archive or folder of images.

The python version is a pickle, which runs whatever code its author put into it; it is never opened.
Copies whose images went through JPEG are not the original pixels: their fingerprint says cifar10-jpeg, and figures
made against them do not compare with published ones.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.data.archives import MAX_FILE_BYTES, check_size, tar_members, whereabouts
from bench.data.folder import FileImages, file_images, names_of
from bench.data.images import ArrayImages, fingerprint
from bench.data.names import shown_name
from bench.data.places import Split, cifar10_place
from bench.data.sources import open_source
from bench.downloads import data_root
from bench.errors import BadData, MissingData
from bench.files import read_regular

SIDE: Final = 32
CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""In the order of the labels, which is that of the alphabet."""
PER_CLASS: Final = {"train": 5000, "test": 1000, "all": 6000}
RECORD_BYTES: Final = 1 + 3 * SIDE * SIDE
RECORDS: Final = 10_000
"""In every file of the binary version."""
BATCHES: Final = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
    "all": (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
}


def load_cifar10(split: Split = "test", root: str | None = None) -> ArrayImages | FileImages:
    """CIFAR-10 as [N, 3, 32, 32] in [-1, 1] with labels 0..9: 50,000 to train, 10,000 to test.

    Under the data root, or a folder cifar10 in it, the binary version is looked for first
    (cifar-10-batches-bin or cifar-10-binary.tar.gz), then images in train/<class>/ and test/<class>/, in a folder or
    an archive called cifar10-jpeg or cifar10. Images from files are in the order of a hash of their names, so that any
    first n of them mix the classes.
    Raises MissingData when there is neither, and BadData when what is there is damaged or not complete.
    """
    kind, place = cifar10_place(data_root(root))
    return _binary(place, split) if kind == "binary" else _images(place, split)


def _binary(path: Path, split: Split) -> ArrayImages:
    """The original: files of 10,000 records, each a label byte and 3 x 32 x 32 bytes."""
    contents, inputs = _from_folder(path, BATCHES[split]) if path.is_dir() else _from_tar(path, BATCHES[split])
    for name, content in zip(BATCHES[split], contents, strict=True):
        if len(content) != RECORDS * RECORD_BYTES:
            raise BadData(
                f"{path}: {name}: {len(content)} bytes, expected {RECORDS * RECORD_BYTES} "
                f"({RECORDS} images); fetch it again"
            )
    records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, RECORD_BYTES)
    if records[:, 0].max() >= len(CLASSES):
        raise BadData(f"{path}: a label is {records[:, 0].max()}, expected 0..9; fetch it again")
    return ArrayImages(
        pixels=records[:, 1:].reshape(-1, 3, SIDE, SIDE),
        labels=records[:, 0].astype(np.int64),
        split=split,
        fingerprint=fingerprint("cifar10", split, "as it is", contents),
        inputs=inputs,
    )


def _from_folder(folder: Path, names: tuple[str, ...]) -> tuple[list[bytes], tuple[Path, ...]]:
    paths = tuple(folder / name for name in names)
    try:
        return [read_regular(path, MAX_FILE_BYTES) for path in paths], paths
    except FileNotFoundError as error:
        raise MissingData(f"{shown_name(error.filename)}: not there; unpack cifar-10-binary.tar.gz again") from error
    except OSError as error:
        raise BadData(f"{whereabouts(folder)}: cannot be read: {error.strerror}") from error


def _from_tar(path: Path, names: tuple[str, ...]) -> tuple[list[bytes], tuple[Path, ...]]:
    """The named files, wherever in the archive they are."""
    found: dict[str, bytes] = {}
    for member, read in tar_members(path):
        name = PurePosixPath(member.name).name
        if name in names and member.isfile():
            check_size(path, member.name, member.size)
            found[name] = read()
    missing = [name for name in names if name not in found]
    if missing:
        raise BadData(f"{path}: holds no {', '.join(missing)}; fetch the binary version again")
    return [found[name] for name in names], (path,)


def _images(path: Path, split: Split) -> FileImages:
    """Images in train/<class>/ and test/<class>/; the class is the folder's name."""
    source = open_source(path)
    names = tuple(sorted(names_of(source, split), key=lambda name: hashlib.sha256(os.fsencode(name)).digest()))
    labels = _labels(path, names, split)
    kinds = sorted({PurePosixPath(name).suffix.lower() for name in names})
    if len(kinds) > 1:
        raise BadData(f"{path}: holds a mixture of {', '.join(kinds)}; expected one kind of image")
    kind = kinds[0].removeprefix(".").replace("jpg", "jpeg")
    return file_images(f"cifar10-{kind}", source, names, SIDE, 3, "none", split, "by hash of name", labels)


def _labels(path: Path, names: tuple[str, ...], split: Split) -> npt.NDArray[np.int64]:
    folders = [PurePosixPath(name).parent.name for name in names]
    unknown = next((name for name, folder in zip(names, folders, strict=True) if folder not in CLASSES), None)
    if unknown is not None:
        raise BadData(f"{whereabouts(path, unknown)} is in no class folder; expected {', '.join(CLASSES)}")
    labels = np.array([CLASSES.index(folder) for folder in folders], dtype=np.int64)
    for label, count in enumerate(np.bincount(labels, minlength=len(CLASSES)).tolist()):
        if count != PER_CLASS[split]:
            raise BadData(
                f"{path}: {count} images of class {CLASSES[label]} for split {split}, expected {PER_CLASS[split]}; "
                "fetch it again, or read it with `data: {name: folder}`"
            )
    return labels
