"""Sample files: pictures as one array, as guided-diffusion's sampling scripts write them.

`arr_0` of an .npz, or an .npy, holds uint8 [N, H, W, C] with C 1 or 3. Pictures are read one after another from where
they lie, so the file may be larger than the memory; labels (`arr_1`) are left out, and nothing pickled is ever loaded.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from weakref import finalize

import numpy as np

from bench.data.archives import MAX_PICTURES, check_expansion, check_method, damage_named, exactly, opened_zip
from bench.data.decode import MAX_PIXELS
from bench.data.names import shown_name
from bench.errors import BadData
from bench.files import PIECE, file_hash, open_regular

ARRAY: Final = "arr_0"
STATISTICS: Final = frozenset({"mu", "sigma"})
NPY_MAGIC: Final = b"\x93NUMPY"
EXPECTED: Final = "uint8 [N, H, W, C] with C 1 or 3"
MAX_SHOWN_ARRAYS: Final = 8

NPY_ERRORS: Final = (
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
"""What numpy raises for damaged or hostile headers."""


@dataclass(frozen=True)
class ArrayHeader:
    """What an .npy says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool

    def __str__(self) -> str:
        kind = "objects" if self.dtype.hasobject else "records" if self.dtype.names else str(self.dtype)
        return f"{kind} {list(self.shape)}"


class SampleSource:
    """An `ImageSource` of the pictures in a sample file; a picture's name is its number in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with damage_named(path):
            self._file = open_regular(path)
        finalize(self, self._file.close)
        self._archive = opened_zip(path, self._file) if zipfile.is_zipfile(self._file) else None
        self.notes: tuple[str, ...] = ()
        size = self._choose()
        self._stream: IO[bytes] | None = None
        self._next = 0
        with damage_named(path):
            stream = self._opened()
            header, begin = read_header(stream), stream.tell()
        self._check(header, size - begin)
        self._count, self._height, self._width, self._channels = header.shape
        self._verified = self._archive is None
        digits = len(str(max(0, self._count - 1)))
        self.names = tuple(f"{number:0{digits}}" for number in range(self._count))

    def read(self, name: str) -> bytes:
        """A picture as a PPM or PGM file."""
        size = self._height * self._width * self._channels
        with damage_named(self.path, f"picture {name}"):
            self._verify()
            row = int(name)
            if self._stream is None or row < self._next:
                read_header(self._opened())
            assert self._stream is not None  # just opened
            _skip(self._stream, (row - self._next) * size)
            content = exactly(self._stream.read(size), size)
            self._next = row + 1
        kind = "P5" if self._channels == 1 else "P6"
        return f"{kind} {self._width} {self._height} 255\n".encode() + content

    def content_hash(self) -> str:
        with damage_named(self.path):
            return file_hash(self.path)

    def _choose(self) -> int:
        """Find the member, note the others; its size in bytes."""
        if self._archive is None:
            self._member = None
            return self._file.seek(0, 2)
        members = array_members(self._archive)
        if ARRAY not in members:
            raise BadData(
                f"{shown_name(self.path)}: holds neither pictures ({ARRAY}, {EXPECTED}) nor statistics (mu and sigma), "
                f"but {_listed(members)}; save the pictures with numpy.savez(FILE, pictures)"
            )
        self._member = members[ARRAY]
        check_method(self.path, self._member)
        check_expansion(self.path, self._member.file_size)
        others = {name: member for name, member in members.items() if name != ARRAY}
        if others:
            self.notes = (f"only {ARRAY} was taken for pictures; left out: {_listed(others)}",)
        return self._member.file_size

    def _opened(self) -> IO[bytes]:
        """The array's bytes from the beginning; closes what was open."""
        if self._stream is not None and self._archive is not None:
            self._stream.close()
        if self._archive is None:
            self._file.seek(0)
            self._stream = self._file
        else:
            assert self._member is not None  # chosen with the archive
            self._stream = self._archive.open(self._member)
        self._next = 0
        return self._stream

    def _check(self, header: ArrayHeader, size: int) -> None:
        array = f"{shown_name(self.path)}: {ARRAY if self._archive else 'the array'} holds {header}"
        shape = header.shape
        if header.dtype != np.uint8:
            raise BadData(f"{array}, expected {EXPECTED}: scale the pictures to 0..255, round, and save them as uint8")
        if len(shape) != 4 or shape[3] not in (1, 3) or min(shape) < 1:
            first = len(shape) == 4 and shape[1] in (1, 3)
            advice = "transpose(0, 2, 3, 1) puts the channels last" if first else "give it these four axes"
            raise BadData(f"{array}, expected {EXPECTED}: {advice}")
        if header.fortran_order:
            raise BadData(f"{array} column by column; save numpy.ascontiguousarray of it")
        if shape[0] > MAX_PICTURES or shape[1] * shape[2] > MAX_PIXELS:
            raise BadData(
                f"{array}: more than the {MAX_PICTURES:,} pictures of {MAX_PIXELS:,} pixels that are read; divide it"
            )
        body = math.prod(shape)
        if size != body:
            raise BadData(f"{array}, so {body:,} bytes, but {size:,} follow its header; copy it again")

    def _verify(self) -> None:
        """Read the member once to its end, where the archive keeps its check sum."""
        if self._verified:
            return
        assert self._archive is not None and self._member is not None
        with self._archive.open(self._member) as stream:
            while stream.read(PIECE):
                pass
        self._verified = True


def read_header(stream: IO[bytes]) -> ArrayHeader:
    """The header of an .npy; the stream then stands at the numbers. Raises ValueError when it is damaged or odd."""
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"an .npy of version {version[0]}.{version[1]}, expected 1.0 or 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)
    except NPY_ERRORS as error:
        raise ValueError("not a readable .npy header") from error
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("not a readable .npy header: a length is negative or no number")
    return ArrayHeader(shape, dtype, fortran_order)


def array_members(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """The arrays of an .npz by their names. Raises BadData when two have one name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            continue
        if name in members:
            raise BadData(f"{shown_name(archive.filename or '')}: holds {shown_name(name)} twice; save it again")
        members[name] = member
    return members


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(exactly(stream.read(min(size, PIECE)), min(size, PIECE)))


def _listed(members: Mapping[str, zipfile.ZipInfo]) -> str:
    names = [shown_name(name, longest=60) for name in sorted(members)]
    more = f" and {len(names) - MAX_SHOWN_ARRAYS:,} more" if len(names) > MAX_SHOWN_ARRAYS else ""
    return (", ".join(names[:MAX_SHOWN_ARRAYS]) or "no array") + more
