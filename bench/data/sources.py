"""Image files where they lie: in a folder, a zip, a tar or a sample file."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from bench.data.archives import (
    MAX_FILE_BYTES,
    TarSource,
    ZipSource,
    check_count,
    check_size,
    damage_named,
    opened_zip,
    whereabouts,
)
from bench.data.names import has_image_name, left_out_note, shown_name, unread_kind
from bench.data.remembered import remembered
from bench.data.sample_file import ARRAY, NPY_MAGIC, STATISTICS, SampleSource, array_members
from bench.errors import BadData, MissingData
from bench.files import kind_of, open_regular, read_regular

SMALL_FOLDER_BYTES: Final = 64 * 2**20
"""The hash of a larger folder is remembered, so that not every start reads all of it."""
MAX_ENTRIES: Final = 5_000_000
"""Files and folders looked at in one folder: a link in it may lead to a whole disk."""
PICTURE_BEGINS: Final = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6", b"GIF8")


class ImageSource(Protocol):
    """Image files with names."""

    @property
    def path(self) -> Path:
        """The folder, archive or sample file."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the image files, relative to the folder or archive, with forward slashes, sorted.

        They may hold lone surrogates, for bytes that are no UTF-8; `shown_name` shows them.
        """
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was left out."""
        ...

    def read(self, name: str) -> bytes:
        """One file's content. Raises BadData when it cannot be read."""
        ...

    def content_hash(self) -> str:
        """SHA-256 of the archive, or of all names and contents of the folder."""
        ...


def open_source(path: Path) -> ImageSource:
    """The pictures in a folder, zip, tar (plain, gz, bz2 or xz) or sample file; hidden and other files are left out.

    Raises MissingData when nothing is there, and BadData when it is none of these, or a damaged or hostile one.
    """
    status = _status(path)
    if stat.S_ISDIR(status.st_mode):
        return FolderSource(path)
    if not stat.S_ISREG(status.st_mode):
        raise BadData(f"{shown_name(path)}: is {kind_of(status)}, expected a folder, an archive or a sample file")
    begin, arrays = _begin(path)
    if arrays is None:
        if begin.startswith(NPY_MAGIC):
            return SampleSource(path)
        if begin.startswith(PICTURE_BEGINS) or has_image_name(path.name):
            raise BadData(f"{shown_name(path)}: is a picture; name the folder that holds it")
        return TarSource(path)
    if ARRAY not in arrays and path.suffix.lower() != ".npz":
        return ZipSource(path)
    if statistics := arrays & STATISTICS:
        raise BadData(f"{shown_name(path)}: holds statistics ({' and '.join(sorted(statistics))}), no pictures")
    return SampleSource(path)


def holds_statistics(path: Path) -> bool:
    """Whether a path names an .npz of moments: one that has mu or sigma, or that cannot be looked into."""
    if path.suffix.lower() != ".npz":
        return False
    try:
        if not stat.S_ISREG(_status(path).st_mode):
            return False
        _, arrays = _begin(path)
    except (BadData, MissingData):
        return True
    return arrays is None or bool(arrays & STATISTICS)


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise BadData(f"{shown_name(path)}: cannot be read: {error.strerror}") from error
        raise MissingData(
            f"{shown_name(path)}: no such folder or archive; put the images there, or correct the path"
        ) from error


def _begin(path: Path) -> tuple[bytes, frozenset[str] | None]:
    """The first bytes of a file, and the names of the arrays in it where it is a zip, None otherwise."""
    with damage_named(path), open_regular(path) as file:
        begin = file.read(8)
        if not zipfile.is_zipfile(file):
            return begin, None
        with opened_zip(path, file) as archive:
            return begin, frozenset(array_members(archive))


class _File(NamedTuple):
    """What tells a file from its next version."""

    size: int
    mtime_ns: int
    inode: int


class FolderSource:
    """A folder, searched recursively; links are followed, but no folder is entered twice, and none that holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, _File] = {}
        left_out = Counter[str]()
        try:
            for name in _walk(path):
                if has_image_name(name):
                    check_count(path, self._files)
                    self._files[name] = self._file(name)
                elif kind := unread_kind(name):
                    left_out[kind] += 1
        except OSError as error:
            raise BadData(f"{shown_name(error.filename or path)}: cannot be read: {error.strerror or error}") from error
        self.names = tuple(sorted(self._files))
        self.notes = left_out_note(left_out)

    def read(self, name: str) -> bytes:
        check_size(self.path, name, self._files[name].size)
        try:
            return read_regular(self.path / name, MAX_FILE_BYTES)
        except OSError as error:
            raise BadData(f"{whereabouts(self.path / name)}: cannot be read: {error.strerror or error}") from error

    def content_hash(self) -> str:
        if sum(file.size for file in self._files.values()) <= SMALL_FOLDER_BYTES:
            return self._hash()
        listing = hashlib.sha256(os.fsencode(self.path.resolve()))
        for name in self.names:
            file = self._files[name]
            listing.update(os.fsencode(name) + f"\0{file.size}\0{file.mtime_ns}\0{file.inode}\n".encode())
        return remembered(listing.hexdigest(), self._hash)

    def _file(self, name: str) -> _File:
        status = (self.path / name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadData(f"{whereabouts(self.path / name)}: is {kind_of(status)}, expected a picture; remove it")
        return _File(status.st_size, status.st_mtime_ns, status.st_ino)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(os.fsencode(name) + b"\0" + hashlib.sha256(self.read(name)).digest())
        return digest.hexdigest()


def _walk(root: Path) -> Iterator[str]:
    """Names of the files below a folder. Raises BadData when there are far too many."""

    def refuse(error: OSError) -> None:
        raise error

    # A link to a folder above would lead back here, and on the way through a whole disk.
    entered = {_identity(folder) for folder in root.resolve().parents}
    entries = 0
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        identity = _identity(Path(folder))
        if identity in entered:
            subfolders.clear()
            continue
        entered.add(identity)
        subfolders.sort()
        entries += len(subfolders) + len(files)
        if entries > MAX_ENTRIES:
            raise BadData(f"{shown_name(root)}: more than {MAX_ENTRIES:,} files and folders; name a folder of pictures")
        base = Path(folder).relative_to(root).as_posix()
        yield from (file if base == "." else f"{base}/{file}" for file in files)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
