"""Image files where they lie: in a folder, a zip or a tar."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from bench.data.archives import TarSource, ZipSource, check_size, has_image_name
from bench.data.remembered import remembered
from bench.errors import BadData, MissingData

SMALL_FOLDER_BYTES: Final = 64 * 2**20
"""The hash of a larger folder is remembered, so that not every start reads all of it."""


class ImageSource(Protocol):
    """Image files with names."""

    @property
    def path(self) -> Path:
        """The folder or archive."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the image files, relative to the folder or archive, with forward slashes, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """One file's content. Raises BadData when it cannot be read."""
        ...

    def content_hash(self) -> str:
        """SHA-256 of the archive, or of all names and contents of the folder."""
        ...


def open_source(path: Path) -> ImageSource:
    """The image files in a folder, zip, or tar (plain, gz, bz2 or xz); hidden ones and other files are left out.

    Raises MissingData when nothing is there, and BadData when it is no archive, or a damaged or hostile one.
    """
    if path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        raise MissingData(f"{path}: no such folder or archive; put the images there, or correct the path")
    return ZipSource(path) if zipfile.is_zipfile(path) else TarSource(path)


class FolderSource:
    """A folder, searched recursively; links are followed, but no folder is entered twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stats = {name: (path / name).stat() for name in _walk(path)}
        except OSError as error:
            raise BadData(f"{error.filename}: cannot be read: {error.strerror}") from error
        self.names = tuple(sorted(self._stats))

    def read(self, name: str) -> bytes:
        check_size(self.path, name, self._stats[name].st_size)
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise BadData(f"{self.path / name}: cannot be read: {error.strerror}") from error

    def content_hash(self) -> str:
        if sum(stat.st_size for stat in self._stats.values()) <= SMALL_FOLDER_BYTES:
            return self._hash()
        listing = hashlib.sha256(str(self.path.resolve()).encode())
        for name in self.names:
            stat = self._stats[name]
            listing.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}\n".encode())
        return remembered(listing.hexdigest(), self._hash)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(name.encode() + b"\0" + hashlib.sha256(self.read(name)).digest())
        return digest.hexdigest()


def _walk(root: Path) -> Iterator[str]:
    """Image names below a folder."""

    def refuse(error: OSError) -> None:
        raise error

    entered: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        stat = Path(folder).stat()
        if (stat.st_dev, stat.st_ino) in entered:
            subfolders.clear()
            continue
        entered.add((stat.st_dev, stat.st_ino))
        subfolders.sort()
        names = ((Path(folder) / file).relative_to(root).as_posix() for file in files)
        yield from (name for name in names if has_image_name(name))
