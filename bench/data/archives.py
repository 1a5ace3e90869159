"""Image files inside a zip or a tar, read where they are: nothing is ever unpacked to disk.

An archive from the internet is not trusted. Names that lead out of it, links, encrypted or doubled members, and
contents out of proportion to the archive are refused, naming the archive and the member.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

from bench.errors import BadData
from bench.files import file_hash

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MAX_FILE_BYTES: Final = 64 * 2**20
"""Of one image file."""
MAX_MEMORY_BYTES: Final = 2 * 2**30
"""Of a compressed tar's content: it can only be read from front to back, so its images are kept in memory."""
MAX_EXPANSION: Final = 100
"""An archive may hold this many times its own size; images hardly compress, bombs reach a thousand and more."""
FREE_BYTES: Final = 64 * 2**20
"""Archives that hold less than this may expand as they like."""
END_BLOCK: Final = bytes(512)
"""What a tar ends with."""

Decompressed = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile

DECOMPRESSORS: Final[Mapping[bytes, Callable[[BinaryIO], Decompressed]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""By the first bytes of the file."""

ARCHIVE_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What the readers raise for damaged or unsupported archives."""


class ZipSource:
    """A zip archive; members are read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _damage_named(path):
            self._archive = zipfile.ZipFile(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._archive.infolist():
            if member.is_dir() or not is_image_member(path, member.filename):
                continue
            name = new_name(path, member.filename, self._members)
            if member.flag_bits & 1:
                raise BadData(f"{path}: {name}: encrypted; unpack the archive and name the folder instead")
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise BadData(f"{path}: {name}: a link, not an image; unpack the archive and name the folder instead")
            check_size(path, name, member.file_size)
            self._members[name] = member
        check_expansion(path, sum(member.file_size for member in self._members.values()))
        self.names = tuple(sorted(self._members))

    def read(self, name: str) -> bytes:
        with _damage_named(self.path, name):
            return self._archive.read(self._members[name])

    def content_hash(self) -> str:
        return archive_hash(self.path)


class TarSource:
    """A tar archive. A plain one is read when asked for; a compressed one at once, and its images kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._contents: dict[str, bytes] = {}
        compressed = _decompressor(path) is not None
        for member, read in tar_members(path):
            if member.isdir() or not is_image_member(path, member.name):
                continue
            if not member.isfile() or member.issparse():
                raise BadData(f"{path}: {member.name}: a link or device, not an image; fetch another archive")
            check_size(path, member.name, member.size)
            name = new_name(path, member.name, self._places)
            self._places[name] = (member.offset_data, member.size)
            if compressed:
                self._contents[name] = read()
        self.names = tuple(sorted(self._places))

    def read(self, name: str) -> bytes:
        if name in self._contents:
            return self._contents[name]
        offset, size = self._places[name]
        with _damage_named(self.path, name), self.path.open("rb") as file:
            file.seek(offset)
            return _exactly(file.read(size), size)

    def content_hash(self) -> str:
        return archive_hash(self.path)


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """Every member of a tar (plain, gz, bz2 or xz) in the archive's order, with a function that reads its content.

    The content is to be read, if at all, before the next member is asked for. At the end the compressed stream's own
    check sum, or the end mark of a plain tar, has been seen. Raises BadData for a damaged archive or a bomb.
    """
    with _damage_named(path), _unpacked(path) as content:
        with tarfile.open(fileobj=cast(BinaryIO, content), mode="r:") as archive:
            for member in archive:
                yield member, partial(_member_content, content, member, path)
        content.drain()


def is_image_member(archive: Path, name: str) -> bool:
    """Whether a member is an image by its name. Raises BadData for a name that leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts or "\0" in name:
        raise BadData(f"{archive}: the member {name!r} leads out of the archive; do not trust it, fetch another")
    return has_image_name(clean(name))


def has_image_name(name: str) -> bool:
    """Whether a file of this relative name is read: a known suffix, and nothing hidden on the way."""
    if not name.lower().endswith(SUFFIXES):
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def clean(name: str) -> str:
    """`./a/b.png` is `a/b.png`."""
    return PurePosixPath(name).as_posix() if name.startswith("./") or "//" in name or "/./" in name else name


def new_name(archive: Path, name: str, taken: Container[str]) -> str:
    """The clean name. Raises BadData when another member has it: which of the two is meant?"""
    cleaned = clean(name)
    if cleaned in taken:
        raise BadData(f"{archive}: holds {cleaned} twice; pack it again")
    return cleaned


def check_size(where: Path, name: str, size: int) -> None:
    """Raise BadData for a file too large to be an image."""
    if size > MAX_FILE_BYTES:
        raise BadData(f"{where}: {name}: {size} bytes are more than an image file may have ({MAX_FILE_BYTES})")


def check_expansion(archive: Path, size: int) -> None:
    """Raise BadData when an archive claims to hold far more than images could be packed into."""
    packed = archive.stat().st_size
    if size > max(FREE_BYTES, MAX_EXPANSION * packed):
        raise BadData(_bomb(archive, size))


def archive_hash(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises BadData."""
    with _damage_named(path):
        return file_hash(path)


class _Bounded:
    """A file for tarfile that refuses to go past a limit, whatever a header claims."""

    def __init__(self, file: BinaryIO | Decompressed, path: Path, limit: int) -> None:
        self._file, self._path = file, path
        self._limit = limit + tarfile.RECORDSIZE  # padding after the last member is no claim

    def read(self, size: int = -1) -> bytes:
        self._check(size if size >= 0 else self._limit + 1)
        content = self._file.read(size)
        self._check(self._file.tell())
        return content

    def seek(self, position: int) -> int:
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def drain(self) -> None:
        """Read on to the end, where compressed files keep their check sum."""
        while self.read(tarfile.RECORDSIZE):
            pass

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise BadData(_bomb(self._path, size))


@contextmanager
def _unpacked(path: Path) -> Iterator[_Bounded]:
    """The content of a plain or compressed tar."""
    packed = path.stat().st_size
    decompress = _decompressor(path)
    with path.open("rb") as file:
        if decompress is None:
            yield _Bounded(file, path, packed)
            _check_end(file, path)
        else:
            limit = min(MAX_MEMORY_BYTES, max(FREE_BYTES, MAX_EXPANSION * packed))
            with decompress(file) as content:
                yield _Bounded(content, path, limit)


def _member_content(content: _Bounded, member: tarfile.TarInfo, path: Path) -> bytes:
    with _damage_named(path, member.name):
        content.seek(member.offset_data)
        return _exactly(content.read(member.size), member.size)


def _decompressor(path: Path) -> Callable[[BinaryIO], Decompressed] | None:
    with _damage_named(path), path.open("rb") as file:
        begin = file.read(8)
    return next((opener for magic, opener in DECOMPRESSORS.items() if begin.startswith(magic)), None)


def _bomb(archive: Path, size: int) -> str:
    return (
        f"{archive}: {archive.stat().st_size} bytes claim to hold {size}: cut short, or a decompression bomb; "
        "fetch another, or unpack it yourself and name the folder"
    )


def _check_end(file: BinaryIO, path: Path) -> None:
    """A plain tar that was cut between two members looks whole but for its missing end."""
    file.seek(max(0, path.stat().st_size - len(END_BLOCK)))
    if file.read() != END_BLOCK:
        raise BadData(f"{path}: has no end mark, so it was cut short; fetch it again")


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise EOFError(f"{size} bytes expected, {len(content)} found")
    return content


@contextmanager
def _damage_named(path: Path, name: str = "") -> Iterator[None]:
    """Turn what the readers raise into BadData that names the archive and the member."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        member = f"{name}: " if name else ""
        raise BadData(f"{path}: {member}cannot be read: {error or type(error).__name__}; fetch it again") from error
