"""Where data sets lie on this machine. Free of torch and reads no image, so that a plan can say what is missing."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final, Literal

from bench.data.names import has_image_name, shown_name
from bench.downloads import ROOT_VARIABLE, by_hand, data_root
from bench.errors import MissingData

Split = Literal["train", "test", "all"]

MOST_ENTRIES: Final = 20_000
"""Of a folder of images that a plan counts: a path may name a whole disk."""
MNIST_FOLDERS: Final = ("mnist", "MNIST/raw", ".")
MNIST_PARTS: Final = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}

CIFAR10_NAMES: Final = ("cifar10-jpeg", "cifar10")
"""Of folders and archives with images."""
CIFAR10_PARTS: Final = ("train", "test")
CIFAR10_BINARY: Final = tuple(
    f"{folder}{name}" for folder in ("cifar10/", "") for name in ("cifar-10-batches-bin", "cifar-10-binary.tar.gz")
)
CIFAR10_PICKLES: Final = tuple(
    f"{folder}{name}" for folder in ("cifar10/", "") for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz")
)
CIFAR10_ARCHIVES: Final = tuple(
    f"{folder}{name}{suffix}"
    for folder in ("cifar10-jpeg/", "cifar10/", "")
    for name in CIFAR10_NAMES
    for suffix in (".tar.xz", ".tar.gz", ".tar", ".zip")
)


def digits_path() -> Path:
    """The file inside the scikit-learn package, found without importing the package (3 s). Raises MissingData."""
    path = _package_folder("sklearn")
    if path is None:
        raise MissingData("digits: scikit-learn, which carries the images, is not installed; pip install scikit-learn")
    path = path / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise MissingData(f"digits: expected the images in {path}, which is not there; reinstall scikit-learn")
    return path


def photos_folder() -> Path:
    """The folder inside the scikit-image package, found without importing the package. Raises MissingData."""
    path = _package_folder("skimage")
    if path is None:
        raise MissingData(
            "photos: scikit-image, which carries the photographs, is not installed; pip install scikit-image"
        )
    return path / "data"


def mnist_files(split: Split, root: Path, *, divide_test: bool = False) -> tuple[tuple[Path, Path], ...]:
    """(images, labels) of each original pair of files that a split is made of. Raises MissingData."""
    parts = ("t10k",) if divide_test else MNIST_PARTS[split]
    return tuple((_mnist_file(part, "images-idx3", root), _mnist_file(part, "labels-idx1", root)) for part in parts)


def _mnist_file(part: str, kind: str, root: Path) -> Path:
    names = [f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-', '.')}-ubyte"]
    candidates = tuple(
        f"{folder}/{name}{suffix}".removeprefix("./")
        for folder in MNIST_FOLDERS
        for name in names
        for suffix in ("", ".gz")
    )
    put = f"run `bench fetch mnist`, or put the original file {names[0]}.gz into {root / 'mnist'}"
    if part == "train":
        put += " (with the test images only, use split: test, or divide_test: true)"
    return first_existing("mnist", root, candidates, put)


def cifar10_place(root: Path) -> tuple[Literal["binary", "images"], Path]:
    """The binary version, a folder or an archive, or else images in train/<class>/ and test/<class>/.

    Raises MissingData when there is neither.
    """
    binary = _first(root, CIFAR10_BINARY)
    if binary is not None:
        return "binary", binary
    folders = tuple(f"{name}/{part}" for name in CIFAR10_NAMES for part in CIFAR10_PARTS)
    images = _first(root, CIFAR10_ARCHIVES) or _first(root, folders)
    if images is not None:
        return "images", images.parent if images.name in CIFAR10_PARTS else images
    pickled = _first(root, CIFAR10_PICKLES)
    hint = f" ({pickled} is the python version, a pickle, which is never opened)" if pickled else ""
    raise MissingData(
        f"cifar10: not found in {root}{hint}; {by_hand('cifar10', root)}, or an archive or folder cifar10-jpeg with "
        f"train/<class>/ and test/<class>/, or point `root` or the environment variable {ROOT_VARIABLE} at the folder "
        "that has one"
    )


def folder_path(path: str) -> Path:
    """The path from here, or, when there is nothing here, from the data root. Raises MissingData."""
    try:
        here = Path(path).expanduser()
        found = here if here.is_absolute() or here.exists() else data_root() / here
        if found.exists():
            return found
    except (OSError, RuntimeError) as error:  # too long, not ours to look into, the home of nobody
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise MissingData(f"{shown_name(path)}: cannot be looked for: {reason}; correct the path") from error
    raise MissingData(f"{shown_name(found)}: no such folder or archive; put the images there, or correct the path")


def count_images(folder: Path, most: int = MOST_ENTRIES) -> int | None:
    """Image files below a folder; None for no folder, for links to folders, and for more entries than a plan lists.

    Raises OSError when one cannot be listed.
    """
    if not folder.is_dir():
        return None
    waiting, count, seen = [folder], 0, 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > most or (entry.is_symlink() and entry.is_dir()):
                    return None
                if entry.is_dir():
                    waiting.append(Path(entry.path))
                elif has_image_name(Path(entry.path).relative_to(folder).as_posix()):
                    count += 1
    return count


def first_existing(name: str, root: Path, candidates: tuple[str, ...], put: str) -> Path:
    """The first of the candidates, relative to the root, that exists.

    Raises MissingData naming the data set, every place looked at, and what to put where.
    """
    found = _first(root, candidates)
    if found is not None:
        return found
    looked = ", ".join(candidates)
    raise MissingData(
        f"{name}: not found in {root} (looked for {looked}); {put}, or point `root` or the environment variable "
        f"{ROOT_VARIABLE} at the folder that has it"
    )


def _first(root: Path, candidates: tuple[str, ...]) -> Path | None:
    return next((root / name for name in candidates if (root / name).exists()), None)


def _package_folder(name: str) -> Path | None:
    return _found_package(importlib.util.find_spec, name)


@lru_cache(maxsize=16)
def _found_package(find: Callable[[str], ModuleSpec | None], name: str) -> Path | None:
    """Where a package lies; looked for once, because a plan asks for every cell. find: how it is looked for."""
    spec = find(name)
    return None if spec is None or not spec.submodule_search_locations else Path(spec.submodule_search_locations[0])
