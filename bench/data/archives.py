"""Image files inside a zip or a tar, read where they are: nothing is ever unpacked to disk.

An archive from the internet is not trusted. Names that lead out of it, links, encrypted or doubled members, and
contents out of proportion to the archive are refused, naming the archive and the member.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast
from weakref import finalize

from bench.data.names import has_image_name, left_out_note, shown_name, unread_kind
from bench.errors import BadData
from bench.files import file_hash, open_regular

MAX_FILE_BYTES: Final = 64 * 2**20
"""Of one image file."""
MAX_PICTURES: Final = 1_500_000
"""Of one folder, archive or sample file: their names and places are kept in memory, some 500 bytes each."""
MAX_MEMORY_BYTES: Final = 2**29
"""Of a compressed tar's content: it can only be read from front to back, so its images are kept in memory."""
MAX_EXPANSION: Final = 100
"""An archive may hold this many times its own size; images hardly compress, bombs reach a thousand and more."""
FREE_BYTES: Final = 64 * 2**20
"""Archives that hold less than this may expand as they like."""
END_BLOCK: Final = bytes(512)
"""What a tar ends with."""

END_OF_ZIP: Final = struct.Struct("<12xI6x")
"""Its last record, of which the size of the directory is read."""
END_OF_ZIP64: Final = struct.Struct("<40xQ8x")
LOCATOR_BYTES: Final = 20
"""Between the two."""
MEMBER_BYTES: Final = 46
"""Of a member in the directory of a zip, without its name."""
MAX_DIRECTORY_BYTES: Final = 2**28

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
    LookupError,
    TypeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
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
        with damage_named(path):
            file = open_regular(path)
        finalize(self, file.close)
        self._archive = opened_zip(path, file)
        self._members: dict[str, zipfile.ZipInfo] = {}
        left_out = Counter[str]()
        for member in self._archive.infolist():
            if member.is_dir() or not is_image_member(path, member.filename, left_out):
                continue
            name = new_name(path, member.filename, self._members)
            if member.flag_bits & 1:
                raise BadData(f"{whereabouts(path, name)}: encrypted; unpack the archive and name the folder instead")
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise BadData(
                    f"{whereabouts(path, name)}: a link, not an image; unpack the archive and name the folder instead"
                )
            check_method(path, member)
            check_size(path, name, member.file_size)
            self._members[name] = member
        check_expansion(path, sum(member.file_size for member in self._members.values()))
        self.names = tuple(sorted(self._members))
        self.notes = left_out_note(left_out)

    def read(self, name: str) -> bytes:
        member = self._members[name]
        with damage_named(self.path, name), self._archive.open(member) as file:
            # One more than is claimed, so that the check sum at the end is reached, and never more.
            return exactly(file.read(member.file_size + 1), member.file_size)

    def content_hash(self) -> str:
        return archive_hash(self.path)


class TarSource:
    """A tar archive. A plain one is read when asked for; a compressed one at once, and its images kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._contents: dict[str, bytes] = {}
        left_out = Counter[str]()
        compressed = _decompressor(path) is not None
        for member, read in tar_members(path):
            if member.isdir() or not is_image_member(path, member.name, left_out):
                continue
            if not member.isfile() or member.issparse():
                raise BadData(
                    f"{whereabouts(path, member.name)}: a link or device, not an image; fetch another archive"
                )
            check_size(path, member.name, member.size)
            name = new_name(path, member.name, self._places)
            check_count(path, self._places)
            self._places[name] = (member.offset_data, member.size)
            if compressed:
                self._contents[name] = read()
        self.names = tuple(sorted(self._places))
        self.notes = left_out_note(left_out)

    def read(self, name: str) -> bytes:
        if name in self._contents:
            return self._contents[name]
        offset, size = self._places[name]
        with damage_named(self.path, name), open_regular(self.path) as file:
            file.seek(offset)
            return exactly(file.read(size), size)

    def content_hash(self) -> str:
        return archive_hash(self.path)


def opened_zip(path: Path, file: BinaryIO) -> zipfile.ZipFile:
    """The archive in an open file. Raises BadData when it is damaged, or lists more members than are kept in memory."""
    with damage_named(path):
        members = _listed_members(file)
        if members > MAX_PICTURES:
            raise BadData(_too_many(path))
        return zipfile.ZipFile(file)


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """Every member of a tar (plain, gz, bz2 or xz) in the archive's order, with a function that reads its content.

    The content is to be read, if at all, before the next member is asked for. At the end the compressed stream's own
    check sum, or the end mark of a plain tar, has been seen. Raises BadData for a damaged archive or a bomb.
    """
    with damage_named(path), _unpacked(path) as content:
        with tarfile.open(fileobj=cast(BinaryIO, content), mode="r:") as archive:
            while (member := archive.next()) is not None:
                yield member, partial(_member_content, content, member, path)
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all, a kilobyte each
        content.drain()


def is_image_member(archive: Path, name: str, left_out: Counter[str]) -> bool:
    """Whether a member is an image by its name; one that only looks like it is counted in left_out.

    Raises BadData for a name that leads out of the archive.
    """
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts or "\0" in name:
        raise BadData(
            f"{shown_name(archive)}: the member {shown_name(repr(name))} leads out of the archive; do not trust it, "
            "fetch another"
        )
    name = clean(name)
    if has_image_name(name):
        return True
    if kind := unread_kind(name):
        left_out[kind] += 1
    return False


def clean(name: str) -> str:
    """`./a/b.png` is `a/b.png`."""
    return PurePosixPath(name).as_posix() if name.startswith("./") or "//" in name or "/./" in name else name


def new_name(archive: Path, name: str, taken: Container[str]) -> str:
    """The clean name. Raises BadData when another member has it: which of the two is meant?"""
    cleaned = clean(name)
    if cleaned in taken:
        raise BadData(f"{shown_name(archive)}: holds {shown_name(cleaned)} twice; pack it again")
    return cleaned


def check_size(where: Path, name: str, size: int) -> None:
    """Raise BadData for a file too large to be an image."""
    if size > MAX_FILE_BYTES:
        raise BadData(
            f"{whereabouts(where, name)}: {size} bytes are more than an image file may have ({MAX_FILE_BYTES})"
        )


def check_method(archive: Path, member: zipfile.ZipInfo) -> None:
    """Raise BadData for a member that is packed by another method than deflate: zipfile unpacks those without bound."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadData(
            f"{whereabouts(archive, member.filename)}: packed by the method {member.compress_type}, expected deflate; "
            "unpack the archive and name the folder instead"
        )


def check_expansion(archive: Path, size: int) -> None:
    """Raise BadData when an archive claims to hold far more than images could be packed into."""
    packed = archive.stat().st_size
    if size > max(FREE_BYTES, MAX_EXPANSION * packed):
        raise BadData(_bomb(archive, size))


def check_count(where: Path, pictures: Sized) -> None:
    """Raise BadData when there is no room for one picture more."""
    if len(pictures) >= MAX_PICTURES:
        raise BadData(_too_many(where))


def archive_hash(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises BadData."""
    with damage_named(path):
        return file_hash(path)


def whereabouts(container: Path, name: str = "") -> str:
    """A file in a folder or archive, for messages."""
    return f"{shown_name(container)}: {shown_name(name)}" if name else shown_name(container)


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
    with open_regular(path) as file:
        if decompress is None:
            yield _Bounded(file, path, packed)
            _check_end(file, path)
        else:
            limit = min(MAX_MEMORY_BYTES, max(FREE_BYTES, MAX_EXPANSION * packed))
            with decompress(file) as content:
                yield _Bounded(content, path, limit)


def _member_content(content: _Bounded, member: tarfile.TarInfo, path: Path) -> bytes:
    with damage_named(path, member.name):
        content.seek(member.offset_data)
        return exactly(content.read(member.size), member.size)


def _decompressor(path: Path) -> Callable[[BinaryIO], Decompressed] | None:
    with damage_named(path), open_regular(path) as file:
        begin = file.read(8)
    return next((opener for magic, opener in DECOMPRESSORS.items() if begin.startswith(magic)), None)


def _listed_members(file: BinaryIO) -> int:
    """How many members a zip's directory lists at most; zipfile makes an object of each, whatever their number."""
    end = file.seek(0, 2)
    low = file.seek(max(0, end - END_OF_ZIP.size - 2**16))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + END_OF_ZIP.size > len(tail):
        return 0  # zipfile says what is wrong
    size = END_OF_ZIP.unpack_from(tail, at)[0]
    at += low
    file.seek(max(0, at - END_OF_ZIP64.size - LOCATOR_BYTES))
    large = file.read(END_OF_ZIP64.size)
    if large.startswith(b"PK\6\6") and len(large) == END_OF_ZIP64.size:
        size = END_OF_ZIP64.unpack(large)[0]
    size = min(size, end)
    if size // MEMBER_BYTES <= MAX_PICTURES or size > MAX_DIRECTORY_BYTES:
        return int(size // MEMBER_BYTES)
    file.seek(max(0, at - size - END_OF_ZIP64.size - LOCATOR_BYTES))
    return file.read(size + END_OF_ZIP64.size + LOCATOR_BYTES).count(b"PK\1\2")


def _too_many(where: Path) -> str:
    return f"{shown_name(where)}: holds more than the {MAX_PICTURES:,} pictures that are read; divide it"


def _bomb(archive: Path, size: int) -> str:
    return (
        f"{shown_name(archive)}: {archive.stat().st_size} bytes claim to hold {size}: cut short, or a decompression "
        "bomb; fetch another, or unpack it yourself and name the folder"
    )


def _check_end(file: BinaryIO, path: Path) -> None:
    """A plain tar that was cut between two members looks whole but for its missing end."""
    file.seek(max(0, path.stat().st_size - len(END_BLOCK)))
    if file.read() != END_BLOCK:
        raise BadData(f"{shown_name(path)}: has no end mark, so it was cut short; fetch it again")


def exactly(content: bytes, size: int) -> bytes:
    """The content. Raises EOFError when it has another size."""
    if len(content) != size:
        raise EOFError(f"{size} bytes expected, {'more' if len(content) > size else len(content)} found")
    return content


@contextmanager
def damage_named(path: Path, name: str = "") -> Iterator[None]:
    """Turn what the readers raise into BadData that names the archive and the member."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise BadData(f"{whereabouts(path, name)}: cannot be read: {shown_name(reason)}; fetch it again") from error
