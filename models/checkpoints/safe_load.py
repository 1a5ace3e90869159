"""Tensors out of a file that anyone may have made: nothing in it is ever executed, and nothing is believed unchecked.

A checkpoint goes through: one open (no links, pipes or folders), a look at its first bytes, its SHA-256, its table of
contents with every size checked against the file, and only then the numbers, which must be finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path

import torch
from torch import Tensor

from bench.contracts import Scalar
from models.checkpoints.contents import ITEM_BYTES, Contents, StoredTensor, check_contents
from models.checkpoints.kinds import Kind, kind_of
from models.checkpoints.safetensors_file import safetensors_contents
from models.checkpoints.source import Source, open_source
from models.checkpoints.torch_file import legacy_contents, torch_contents

READERS = {"safetensors": safetensors_contents, "torch": torch_contents, "torch-legacy": legacy_contents}
DTYPES = {name: getattr(torch, name) for name in ITEM_BYTES}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An open checkpoint whose table of contents was read and checked."""

    source: Source
    kind: Kind
    sha256: str
    contents: Contents

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        return self.contents.tensors

    @property
    def scalars(self) -> Mapping[str, Scalar]:
        return self.contents.scalars

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The named tensors, half precision widened to float32; together no larger than the file.

        Raises BadCheckpoint for NaN or infinity, and when the file was written to in the meantime.
        """
        chosen = {name: self.tensors[name] for name in names}
        if sum(tensor.num_bytes for tensor in chosen.values()) > self.source.size:
            raise self.source.refuse("claims to hold more numbers than it has")
        tensors = {name: _finite(self.source, name, _tensor(self.source, stored)) for name, stored in chosen.items()}
        self.source.check_unchanged()
        return tensors


@contextmanager
def open_checkpoint(path: Path, *, sha256: str | None = None) -> Iterator[Checkpoint]:
    """The checkpoint at `path`, open until the block ends.

    sha256: what the file's hash must be, when known. Raises MissingWeights when there is no such file and
    BadCheckpoint, in one line, when it must not be used.
    """
    with open_source(path) as source:
        kind = kind_of(source)
        found = source.digest(new_sha256())
        if sha256 is not None and found != sha256:
            raise source.refuse(
                f"sha256 is {found[:12]}…, its passport says {sha256[:12]}…; the file was changed or exchanged, "
                "fetch or train it again"
            )
        contents = check_contents(source, READERS[kind](source))
        yield Checkpoint(source, kind, found, contents)


def peek_contents(path: Path) -> Contents:
    """The table of contents alone, without hash and numbers. Raises MissingWeights and BadCheckpoint."""
    with open_source(path) as source:
        return check_contents(source, READERS[kind_of(source)](source))


def read_tensors(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its dotted name, half precision widened to float32.

    Raises MissingWeights when there is no such file and BadCheckpoint, in one line, when it must not be used.
    """
    with open_checkpoint(path, sha256=sha256) as checkpoint:
        return checkpoint.read(checkpoint.tensors)


def _tensor(source: Source, stored: StoredTensor) -> Tensor:
    dtype = DTYPES[stored.dtype]
    if stored.num_bytes == 0:
        return torch.empty(stored.shape, dtype=dtype)
    flat = torch.frombuffer(source.read(stored.offset, stored.num_bytes), dtype=dtype)
    if stored.strides is not None:
        return flat.as_strided(stored.shape, stored.strides).contiguous()
    return flat.reshape(stored.shape)


def _finite(source: Source, name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    widened = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    # Both carry NaN through, and cost a fortieth of torch.isfinite.
    if widened.numel() and not all(math.isfinite(bound) for bound in widened.aminmax()):
        raise source.refuse(f"tensor {name!r} holds NaN or infinity")
    return widened
