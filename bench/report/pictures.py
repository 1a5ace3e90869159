"""Pictures that a run left as files, checked before a page shows them. Nothing here decodes or draws a pixel.

A file in a run folder is a stranger's: its name may lead elsewhere, and its content may be anything. What a page shows
is a PNG whose every chunk is whole, of a size that a browser can take.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from bench.files import open_regular
from bench.store.fields import ARTIFACTS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_BYTES = 8 * 2**20
"""Of one picture. It becomes a third larger inside a page."""
MAX_PIXELS = 2**25
"""Width times height: what a browser decodes in a moment."""
LARGEST_SIDE = 2**15 - 1


class BadPicture(Exception):
    """Why a file cannot be shown; a sentence without the file's name."""


@dataclass(frozen=True)
class Png:
    """A whole PNG file."""

    content: bytes
    width: int
    height: int
    sha256: str


def read_picture(run_dir: Path, name: str) -> Png:
    """The PNG that a record calls `name`. Raises BadPicture for anything else, and for names outside the artifacts."""
    where = PurePosixPath(name)
    if where.is_absolute() or where.parts[:1] != (ARTIFACTS,) or ".." in where.parts:
        raise BadPicture(f"is not below {ARTIFACTS}/ of the run")
    if where.suffix.lower() != ".png":
        raise BadPicture("is not a .png file")
    path = run_dir / where
    try:
        if not path.resolve().is_relative_to(run_dir.resolve() / ARTIFACTS):
            raise BadPicture(f"is a link that leads out of {ARTIFACTS}/ of the run")
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise BadPicture(f"has {size:,} bytes; at most {MAX_BYTES:,} are shown")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BadPicture("is not there any more") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise BadPicture(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return check_png(content)


def check_png(content: bytes) -> Png:
    """The picture with its size. Raises BadPicture unless it is one whole PNG and nothing else."""
    if len(content) > MAX_BYTES:
        raise BadPicture(f"has more than {MAX_BYTES:,} bytes")
    if not content.startswith(SIGNATURE):
        raise BadPicture("is not a PNG: its first bytes are others")
    chunks = list(_chunks(content))
    kind, head = chunks[0]
    if kind != b"IHDR" or len(head) != 13:
        raise BadPicture("is damaged: it does not begin with an IHDR chunk")
    if chunks[-1][0] != b"IEND" or not any(kind == b"IDAT" for kind, _ in chunks):
        raise BadPicture("is cut short")
    width, height = struct.unpack(">II", head[:8])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE and width * height <= MAX_PIXELS):
        raise BadPicture(f"says it has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are shown")
    return Png(content, width, height, sha256(content).hexdigest())


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, data) of every chunk up to IEND, the last of the file. Raises BadPicture where one is torn."""
    at = len(SIGNATURE)
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        written = content[at + 8 + length : at + 12 + length]
        if len(written) < 4:
            raise BadPicture("is cut short")
        if zlib.crc32(kind + data) != int.from_bytes(written, "big"):
            raise BadPicture(f"is damaged: the chunk at byte {at:,} does not match its checksum")
        at += 12 + length
        yield kind, data
        if kind == b"IEND" and at != len(content):
            raise BadPicture(f"has {len(content) - at:,} bytes behind its end")
    if at == len(SIGNATURE):
        raise BadPicture("is cut short")
