"""The table of contents of a safetensors file: eight bytes of length, a JSON header, then the numbers.

The header is parsed here and not by the library for two reasons: its limit is 16 MB instead of 100 MB, and a tensor
that nobody asks for is never read.
"""

from __future__ import annotations

import json
import math
from typing import Any

from bench.errors import quoted
from bench.models.checkpoints.contents import (
    ITEM_BYTES,
    MAX_DIMENSIONS,
    MAX_EXTENT,
    MAX_TENSORS,
    Contents,
    StoredTensor,
)
from bench.models.checkpoints.source import Source

MAX_HEADER_BYTES = 16 << 20
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def safetensors_contents(source: Source) -> Contents:
    """Every tensor of the file. Raises BadCheckpoint unless the tensors tile the file without gap or overlap."""
    length = int.from_bytes(source.read(0, 8), "little")
    if length > MAX_HEADER_BYTES:
        raise source.refuse(f"has a header of {length:,} bytes; {MAX_HEADER_BYTES:,} are read at most")
    header = _parse(source, source.read(8, length))
    if len(header) > MAX_TENSORS + 1:
        raise source.refuse(f"holds more than {MAX_TENSORS:,} tensors")
    header.pop("__metadata__", None)  # free text by whoever wrote the file; never shown, never used
    tensors = {name: _tensor(source, name, entry, 8 + length) for name, entry in header.items()}
    _check_tiling(source, tensors, 8 + length)
    return Contents(tensors, {})


def _parse(source: Source, text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise source.refuse(f"is damaged: its safetensors header is no JSON: {_one_line(error)}") from error
    if not isinstance(header, dict):
        raise source.refuse("is damaged: its safetensors header is no table")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands in it twice")
    return table


def _tensor(source: Source, name: str, entry: object, base: int) -> StoredTensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if not rest:
            if len(shape) > MAX_DIMENSIONS or not all(_is_extent(number) for number in [*shape, begin, end]):
                raise source.refuse(f"is damaged: tensor {quoted(name)} has an impossible shape or place")
        case _:
            raise source.refuse(
                f"is damaged: the header's entry for {quoted(name)} is not dtype, shape and data_offsets"
            )
    if dtype not in DTYPES:
        raise source.refuse(f"tensor {quoted(name)} has the element type {quoted(dtype)}, which no weight has")
    tensor = StoredTensor(DTYPES[dtype], tuple(shape), base + begin)
    if end - begin != math.prod(shape) * ITEM_BYTES[tensor.dtype]:
        raise source.refuse(f"is damaged: tensor {quoted(name)} of shape {shape} does not have {end - begin} bytes")
    return tensor


def _is_extent(number: object) -> bool:
    return type(number) is int and 0 <= number < MAX_EXTENT


def _check_tiling(source: Source, tensors: dict[str, StoredTensor], base: int) -> None:
    expected = base
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].num_bytes)):
        if tensor.offset != expected:
            raise source.refuse(f"is damaged: tensor {quoted(name)} begins at byte {tensor.offset}, not {expected}")
        expected += tensor.num_bytes
    if expected > source.size:
        raise source.refuse(f"is cut short: its header promises {expected:,} bytes, it has {source.size:,}")
    if expected < source.size:
        raise source.refuse(f"has {source.size - expected:,} bytes behind its last tensor")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
