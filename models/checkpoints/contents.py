"""What is in a checkpoint, before any number is read: a flat table of tensors, and the loose scalars beside them.

Containers are flattened into dotted names: `{"ema": {"ema_model.w": T}}` and `[{"w": T}]` give `ema.ema_model.w` and
`0.w`. Every reader makes such a table, so what a layout means is decided in one place and on names alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.contracts import Scalar
from bench.errors import quoted
from bench.models.checkpoints.source import Source

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""The element types that are read. Complex, quantised and 8-bit floating types are refused."""
MAX_TENSORS = 100_000
MAX_NAME = 512
MAX_DIMENSIONS = 16
MAX_EXTENT = 1 << 40


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in the file."""

    dtype: str
    """A key of ITEM_BYTES."""
    shape: tuple[int, ...]
    offset: int
    """Of the first byte, from the beginning of the file."""
    strides: tuple[int, ...] | None = None
    """In elements, for a tensor stored in another order of its dimensions; None: the usual order."""

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Contents:
    """A checkpoint's table of contents."""

    tensors: Mapping[str, StoredTensor]
    scalars: Mapping[str, Scalar]
    """Numbers and texts beside the tensors, such as the training step."""


def check_contents(source: Source, contents: Contents) -> Contents:
    """The contents, if every tensor lies inside the file and has an element type that is read."""
    if not contents.tensors:
        optimiser = any(name.startswith("param_groups.") for name in contents.scalars)
        raise source.refuse("holds an optimiser's state, not weights" if optimiser else "holds no tensor")
    if len(contents.tensors) > MAX_TENSORS:
        raise source.refuse(f"holds more than {MAX_TENSORS:,} tensors")
    for name, tensor in contents.tensors.items():
        if len(name) > MAX_NAME:
            raise source.refuse(f"has a tensor name of {len(name)} characters: {quoted(name, 40)}")
        if tensor.dtype not in ITEM_BYTES:
            raise source.refuse(f"tensor {quoted(name)} has the element type {tensor.dtype}, which no weight has")
        if len(tensor.shape) > MAX_DIMENSIONS or any(not 0 <= extent < MAX_EXTENT for extent in tensor.shape):
            raise source.refuse(f"tensor {quoted(name)} has an impossible shape")
        if tensor.offset < 0 or tensor.offset + tensor.num_bytes > source.size:
            raise source.refuse(f"is cut short: tensor {quoted(name)} ends behind the end of the file")
    return contents
