"""What a TIFF file claims of itself, looked at before Pillow believes it.

Pillow makes one Python object or more of every number in the first directory: eight million strip offsets, which fit
into 64 MB, would become gigabytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

MAX_NUMBERS: Final = 2**18
"""In one directory, texts and opaque bytes not counted: two for every strip or tile, and a few hundred others."""
UNIT_BYTES: Final = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Of the types that hold numbers, by their code."""
OPAQUE: Final = frozenset({1, 2, 6, 7})
"""Types of one byte."""
CLASSIC, BIG = 42, 43


def check_directory(content: bytes) -> None:
    """Raise ValueError when a TIFF file's first directory claims far more than a picture needs. Other files pass."""
    numbers = size = 0
    for kind, count in _entries(content):
        numbers += count if kind in UNIT_BYTES else 0
        size += count * UNIT_BYTES.get(kind, 1 if kind in OPAQUE else 0)
    if numbers > MAX_NUMBERS:
        raise ValueError(f"its directory holds {numbers:,} numbers, more than the {MAX_NUMBERS:,} that are read")
    if size > len(content):
        raise ValueError(f"its directory claims {size:,} bytes, more than the {len(content):,} of the file")


def _entries(content: bytes) -> Iterator[tuple[int, int]]:
    """(type, count) of each entry of the first directory, as far as the file goes."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 16:
        return
    version = struct.unpack_from(f"{order}H", content, 2)[0]
    if version not in (CLASSIC, BIG):
        return
    big = version == BIG
    offset = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)[0]
    head, entry = (f"{order}Q", f"{order}HHQ8x") if big else (f"{order}H", f"{order}HHI4x")
    if offset + struct.calcsize(head) > len(content):
        return
    length = struct.unpack_from(head, content, offset)[0]
    offset += struct.calcsize(head)
    step = struct.calcsize(entry)
    for place in range(offset, min(offset + length * step, len(content) - step + 1), step):
        _, kind, count = struct.unpack_from(entry, content, place)
        yield kind, count
