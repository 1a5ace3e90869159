"""Arrays in .npz files that may be damaged or come from a stranger.

numpy reads a member only as far as its header says, so the archive's check sums are never looked at, and it evaluates
the header's text. Here every member is read to its end, sizes are compared before memory is taken, and a header is
matched against the one form that numpy writes.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.files import open_regular, whole_file

Arrays = Mapping[str, NDArray[Any]]

OVERHEAD: Final = 1 << 16
"""Bytes that headers and directory of an archive may take beside its arrays."""
SUFFIX: Final = ".npy"

_MAGIC: Final = b"\x93NUMPY"
_HEADER: Final = re.compile(
    rb"\{'descr': '(?P<dtype>[^']{1,16})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>[0-9, ]{0,200})\), \} *\n"
)
_DTYPE: Final = re.compile(r"[<>|=][biufUS]\d{1,6}")
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_ZIP_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,  # encrypted; with NotImplementedError, of unknown methods
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile raises for damaged archives."""


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz, whole or not at all. Raises SaveError when the disk does not take it."""
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path, *, max_bytes: int, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz: those of `names` that are there, or all of them.

    max_bytes: of the arrays together. Raises FileNotFoundError, and StoreError for a file that is damaged, holds more
    than that, or holds anything but numbers and texts.
    """
    try:
        with open_regular(path) as file:
            _check_directory(file, max_bytes)
            with zipfile.ZipFile(file) as archive:
                return _members(archive, max_bytes, names)
    except FileNotFoundError:
        raise
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except _ZIP_ERRORS as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{path}: not a readable .npz ({type(error).__name__}: {reason})") from error


def digest_of(address: str, arrays: Arrays) -> str:
    """SHA-256 of arrays, with their names, types and shapes, and of where they belong."""
    digest = sha256(f"{address}\n".encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _check_directory(file: BinaryIO, max_bytes: int) -> None:
    """Raise StoreError unless the file can be an archive of so many bytes, and its list of members is short.

    zipfile reads the whole list before anything else, and one entry takes it more memory than the file.
    """
    size = os.fstat(file.fileno()).st_size
    if size > max_bytes + OVERHEAD:
        raise StoreError(f"{size:,} bytes are more than the {max_bytes:,} that it may hold")
    file.seek(max(0, size - _END_BYTES - OVERHEAD))
    tail = file.read(_END_BYTES + OVERHEAD)
    at = len(tail) - _END_BYTES
    # As zipfile does: the end without a comment first, else the last mark.
    if at < 0 or tail[at : at + 4] != _END or tail[-2:] != b"\0\0":
        at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise StoreError("not a readable .npz: it does not end as a zip archive")
    (length,) = struct.unpack_from("<I", tail, at + 12)
    if length > OVERHEAD or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise StoreError(f"not a readable .npz: a list of members of {length:,} bytes is no list of arrays")
    file.seek(0)


def _members(archive: zipfile.ZipFile, max_bytes: int, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(SUFFIX)
        if names is not None and name not in names:
            continue
        if name in members or name == member.filename:
            raise StoreError(f"not a readable .npz: the member {member.filename!r} is there twice, or is no array")
        members[name] = member
    total = sum(member.file_size for member in members.values())
    if total > max_bytes + OVERHEAD:
        raise StoreError(f"{total:,} bytes are more than the {max_bytes:,} that it may hold")
    return {name: _array(name, _content(archive, member)) for name, member in members.items()}


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member read to its end, where zipfile compares the check sum."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise StoreError(f"not a readable .npz: {member.filename!r} is packed in a way that numpy does not use")
    with archive.open(member) as file:
        content = file.read(member.file_size)
        if len(content) != member.file_size or file.read(1):
            raise EOFError(f"{member.filename!r} has other than its {member.file_size} bytes")
    return content


def _array(name: str, content: bytes) -> NDArray[Any]:
    """The array of a member's content, which is writable and its own."""
    (length,) = struct.unpack_from("<H", content, 8)
    match = _HEADER.fullmatch(content, 10, 10 + length)
    if content[:8] != _MAGIC + b"\x01\x00" or match is None:
        raise StoreError(f"not a readable .npz: {name!r} does not begin as numpy writes arrays")
    dtype = _dtype(name, match["dtype"].decode("latin-1"))
    shape = tuple(int(size) for size in match["shape"].replace(b" ", b"").split(b",") if size)
    data = memoryview(content)[10 + length :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise StoreError(f"not a readable .npz: {name!r} has {len(data)} bytes for {shape} of {dtype}")
    if not len(data):
        return np.zeros(shape, dtype)
    flat = np.frombuffer(data, dtype).copy()
    return flat.reshape(shape, order="F" if match["fortran"] == b"True" else "C")


def _dtype(name: str, text: str) -> np.dtype[Any]:
    if text == "|O":
        raise StoreError(f"not a readable .npz: {name!r} holds objects, which only a pickle could bring back")
    try:
        if _DTYPE.fullmatch(text):
            return np.dtype(text)
    except TypeError:
        pass
    raise StoreError(f"not a readable .npz: {name!r} holds {text!r}, expected numbers or texts")
