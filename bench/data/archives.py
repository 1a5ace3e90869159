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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

from bench.errors import BadData

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
        members = [member for member in self._archive.infolist() if not member.is_dir()]
        images = {member.filename: member for member in members if is_image_member(path, member.filename)}
        for name, member in images.items():
            if member.flag_bits & 1:
                raise BadData(f"{path}: {name}: encrypted; unpack the archive and name the folder instead")
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise BadData(f"{path}: {name}: a link, not an image; unpack the archive and name the folder instead")
            check_size(path, name, member.file_size)
        check_expansion(path, sum(member.file_size for member in images.values()))
        self._members = dict(zip(unique_names(path, images), images.values(), strict=True))
        self.names = tuple(sorted(self._members))

    def read(self, name: str) -> bytes:
        with _damage_named(self.path, name):
            return self._archive.read(self._members[name])

    def content_hash(self) -> str:
        return file_hash(self.path)


class TarSource:
    """A tar archive. A plain one is read when asked for; a compressed one at once, and its images kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._contents: dict[str, bytes] = {}
        with _damage_named(path), path.open("rb") as file:
            decompress = next((opener for magic, opener in DECOMPRESSORS.items() if _begins(file, magic)), None)
            if decompress is None:
                self._index(_Bounded(file, path, path.stat().st_size))
                _check_end(file, path)
            else:
                limit = min(MAX_MEMORY_BYTES, max(FREE_BYTES, MAX_EXPANSION * path.stat().st_size))
                with decompress(file) as content:
                    self._index(_Bounded(content, path, limit), keep=True)
        self.names = tuple(sorted(self._places))

    def read(self, name: str) -> bytes:
        if name in self._contents:
            return self._contents[name]
        offset, size = self._places[name]
        with _damage_named(self.path, name), self.path.open("rb") as file:
            file.seek(offset)
            return _exactly(file.read(size), size)

    def content_hash(self) -> str:
        return file_hash(self.path)

    def _index(self, content: _Bounded, keep: bool = False) -> None:
        """Note where every image is, and with `keep` what it is."""
        members: list[tarfile.TarInfo] = []
        with tarfile.open(fileobj=cast(BinaryIO, content), mode="r:") as archive:
            for member in archive:
                if member.isdir() or not is_image_member(self.path, member.name):
                    continue
                if not member.isfile() or member.issparse():
                    raise BadData(f"{self.path}: {member.name}: a link or device, not an image; fetch another archive")
                check_size(self.path, member.name, member.size)
                members.append(member)
                if keep:
                    content.seek(member.offset_data)
                    self._contents[clean(member.name)] = _exactly(content.read(member.size), member.size)
        for name, member in zip(unique_names(self.path, [each.name for each in members]), members, strict=True):
            self._places[name] = (member.offset_data, member.size)


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


def unique_names(archive: Path, names: Iterable[str]) -> tuple[str, ...]:
    """The clean names. Raises BadData when two members have the same: which of them is meant?"""
    cleaned = tuple(clean(name) for name in names)
    seen: set[str] = set()
    for name in cleaned:
        if name in seen:
            raise BadData(f"{archive}: holds {name} twice; pack it again")
        seen.add(name)
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


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with _damage_named(path), path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


class _Bounded:
    """A file for tarfile that refuses to go past a limit, whatever a header claims."""

    def __init__(self, file: BinaryIO | Decompressed, path: Path, limit: int) -> None:
        self._file, self._path, self._limit = file, path, limit

    def read(self, size: int = -1) -> bytes:
        if size < 0 or self._file.tell() + size > self._limit + tarfile.RECORDSIZE:
            raise BadData(_bomb(self._path, self._file.tell() + size))
        return self._file.read(size)

    def seek(self, position: int) -> int:
        if position > self._limit + tarfile.RECORDSIZE:
            raise BadData(_bomb(self._path, position))
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def _bomb(archive: Path, size: int) -> str:
    return (
        f"{archive}: {archive.stat().st_size} bytes claim to hold {size}: cut short, or a decompression bomb; "
        "fetch another, or unpack it yourself and name the folder"
    )


def _begins(file: BinaryIO, magic: bytes) -> bool:
    file.seek(0)
    found = file.read(len(magic)) == magic
    file.seek(0)
    return found


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
