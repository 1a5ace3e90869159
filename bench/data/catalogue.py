"""The data sets that ship with the project, or are read where the user put them. Imports no torch until one is built.

`root` is where downloaded data lies: the argument, else the environment variable BENCH_DATA, else
~/.cache/denoiser-bench/data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from bench.contracts import Dataset, Range
from bench.data import places
from bench.data.places import Split
from bench.downloads import data_root
from bench.errors import MissingData
from bench.outlook import DataFacts
from bench.registry import register_dataset


def _not_there(find: Callable[[], object]) -> Iterator[str]:
    """The sentence a loader would end with."""
    try:
        find()
    except MissingData as error:
        yield str(error)


def _digits_missing(**_: object) -> Iterator[str]:
    return _not_there(places.digits_path)


def _photos_missing(**_: object) -> Iterator[str]:
    return _not_there(places.photos_folder)


def _mnist_missing(split: Split, root: str | None, divide_test: bool, **_: object) -> Iterator[str]:
    return _not_there(lambda: places.mnist_files(split, data_root(root), divide_test=divide_test))


def _cifar10_missing(root: str | None, **_: object) -> Iterator[str]:
    return _not_there(lambda: places.cifar10_place(data_root(root)))


def _folder_missing(path: str, **_: object) -> Iterator[str]:
    return _not_there(lambda: places.folder_path(path))


def _digits_facts(split: Split) -> DataFacts:
    return DataFacts((1, 16, 16), {"train": 1397, "test": 400, "all": 1797}[split])


def _photos_facts(split: Split) -> DataFacts:
    return DataFacts((3, 32, 32), {"train": 3200, "test": 105, "all": 3305}[split])


def _mnist_facts(split: Split, size: int, divide_test: bool, **_: object) -> DataFacts:
    whole = {"train": 60_000, "test": 10_000, "all": 70_000}
    divided = {"train": 9_000, "test": 1_000, "all": 10_000}
    return DataFacts((1, size, size), (divided if divide_test else whole)[split])


def _cifar10_facts(split: Split, **_: object) -> DataFacts:
    return DataFacts((3, 32, 32), {"train": 50_000, "test": 10_000, "all": 60_000}[split])


def _folder_facts(path: str, image_size: int, channels: int, split: Split, **_: object) -> DataFacts:
    """A folder of a reasonable size is listed; archives are not opened."""
    shape = (channels, image_size, image_size)
    try:
        place = places.folder_path(path)
        return DataFacts(shape, places.count_images(place if split == "all" else place / split))
    except (MissingData, OSError):
        return DataFacts(shape)


@register_dataset("digits", missing=_digits_missing, facts=_digits_facts)
def digits(split: Split = "test") -> Dataset:
    """The 1,797 handwritten digits inside scikit-learn at 16x16 grey; 1,397 train, 400 test; needs no download."""
    from bench.data.digits import load_digits

    return load_digits(split)


@register_dataset("photos", missing=_photos_missing, facts=_photos_facts)
def photos(split: Split = "test") -> Dataset:
    """32x32 colour patches of photographs inside scikit-image; 3,200 train, 105 test, of different photographs."""
    from bench.data.photos import load_photos

    return load_photos(split)


@register_dataset("mnist", missing=_mnist_missing, facts=_mnist_facts)
def mnist(
    split: Split = "test", root: str | None = None, size: Literal[28, 32] = 28, divide_test: bool = False
) -> Dataset:
    """MNIST from its idx files, 28x28 grey, or 32x32 with a black border.

    divide_test: where only the 10,000 test images are at hand, take 9,000 of them as `train` and 1,000 as `test`.
    """
    from bench.data.mnist import load_mnist

    return load_mnist(split, root, size, divide_test)


@register_dataset("cifar10", missing=_cifar10_missing, facts=_cifar10_facts)
def cifar10(split: Split = "test", root: str | None = None) -> Dataset:
    """CIFAR-10, 32x32 colour, from the binary version or from an archive of images (then named cifar10-jpeg)."""
    from bench.data.cifar10 import load_cifar10

    return load_cifar10(split, root)


@register_dataset("folder", missing=_folder_missing, facts=_folder_facts)
def folder(
    path: str,
    image_size: Annotated[int, Range(1, 4096)],
    channels: Literal[1, 3] = 3,
    resize: Literal["center_crop", "squash", "none"] = "center_crop",
    split: Split = "all",
) -> Dataset:
    """Every image in a folder, zip, tar or sample file, in sorted order; CelebA and LSUN are read this way.

    path: absolute, or relative to the working folder or to the data root; docs/metrics.md says which files are
    pictures and how their pixels are read. split: "train" and "test" read the subfolder of that name only. resize: to
    a square of image_size by cutting out the middle or by squashing; "none" refuses images of another size.
    """
    from bench.data.folder import load_folder

    return load_folder(path, image_size, channels, resize, split)
