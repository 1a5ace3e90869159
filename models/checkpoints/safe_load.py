"""Tensors out of a file that anyone may have made: nothing in it is ever executed, and nothing is believed unchecked.

A checkpoint goes through: one open (no links, pipes or folders), a look at its first bytes, its SHA-256, its table of
contents with every size checked against the file, and only then the numbers, which must be finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import quoted
from bench.models.checkpoints.contents import ITEM_BYTES, Contents, StoredTensor, check_contents
from bench.models.checkpoints.kinds import kind_of
from bench.models.checkpoints.safetensors_file import safetensors_contents
from bench.models.checkpoints.source import Source, open_source, refusal
from bench.models.checkpoints.torch_file import legacy_contents, torch_contents

READERS = {"safetensors": safetensors_contents, "torch": torch_contents, "torch-legacy": legacy_contents}
DTYPES = {name: getattr(torch, name) for name in ITEM_BYTES}
Shards = Mapping[str, str]
"""Tensor name -> name of the file that holds it, beside the path: the index of a checkpoint in several files."""


@dataclass(frozen=True, eq=False)
class Part:
    """One open file of a checkpoint, its table of contents read and checked."""

    source: Source
    contents: Contents


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An open checkpoint whose table of contents was read and checked: one file, or the shards of one."""

    path: Path
    """The file, or the name it would have if it were not in shards; what messages begin with."""
    parts: tuple[Part, ...]
    sha256: str
    """Of the file; for shards, of the lines `HASH  NAME` that sha256sum prints for them in the order of their names."""
    contents: Contents
    """Of all parts together."""

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        return self.contents.tensors

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The named tensors, half precision widened to float32; together no larger than the file.

        Raises BadCheckpoint for NaN or infinity, and when a file was written to in the meantime.
        """
        tensors: dict[str, Tensor] = {}
        names = tuple(names)
        for part in self.parts:
            tensors |= _read_part(part, [name for name in names if name in part.contents.tensors])
        return {name: tensors[name] for name in names}


@contextmanager
def open_checkpoint(path: Path, shards: Shards | None = None, *, sha256: str | None = None) -> Iterator[Checkpoint]:
    """The checkpoint at `path`, or in these shards, open until the block ends.

    sha256: what the hash must be, when known. Raises MissingWeights when there is no such file and BadCheckpoint, in
    one line, when it must not be used.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(open_source(file)) for file in _files(path, shards)]
        kinds = [kind_of(source) for source in sources]
        digest = _digest(sources)
        if sha256 is not None and digest != sha256:
            raise refusal(
                path,
                f"sha256 is {digest[:12]}…, its passport says {sha256[:12]}…; the file was changed or exchanged, "
                "fetch or train it again",
            )
        contents = [check_contents(source, READERS[kind](source)) for source, kind in zip(sources, kinds, strict=True)]
        parts = tuple(Part(source, table) for source, table in zip(sources, contents, strict=True))
        yield Checkpoint(path, parts, digest, _together(path, contents, shards))


def peek_contents(path: Path, shards: Shards | None = None) -> Contents:
    """The table of contents alone, without hash and numbers. Raises MissingWeights and BadCheckpoint."""
    contents = []
    for file in _files(path, shards):
        with open_source(file) as source:
            contents.append(check_contents(source, READERS[kind_of(source)](source)))
    return _together(path, contents, shards)


def read_tensors(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its dotted name, half precision widened to float32.

    Raises MissingWeights when there is no such file and BadCheckpoint, in one line, when it must not be used.
    """
    with open_checkpoint(path, sha256=sha256) as checkpoint:
        return checkpoint.read(checkpoint.tensors)


def shard_files(path: Path, shards: Shards) -> tuple[Path, ...]:
    """The files of a checkpoint in shards, by their names."""
    return tuple(path.with_name(name) for name in sorted(set(shards.values())))


def _files(path: Path, shards: Shards | None) -> tuple[Path, ...]:
    return (path,) if shards is None else shard_files(path, shards)


def _digest(sources: list[Source]) -> str:
    digests = [source.digest(new_sha256()) for source in sources]
    if len(sources) == 1:
        return digests[0]
    lines = [f"{digest}  {source.path.name}\n" for source, digest in zip(sources, digests, strict=True)]
    return new_sha256("".join(lines).encode()).hexdigest()


def _together(path: Path, contents: list[Contents], shards: Shards | None) -> Contents:
    """One table of contents, every tensor in the shard that the index names."""
    if shards is None:
        return contents[0]
    tensors: dict[str, StoredTensor] = {}
    for file, table in zip(_files(path, shards), contents, strict=True):
        promised = {name for name, shard in shards.items() if shard == file.name}
        if odd := sorted(promised ^ table.tensors.keys()):
            raise refusal(file, f"does not hold the tensors that its index names: {quoted(odd[0])} differs")
        tensors |= table.tensors
    return Contents(tensors, {})


def _read_part(part: Part, names: list[str]) -> dict[str, Tensor]:
    source, chosen = part.source, {name: part.contents.tensors[name] for name in names}
    if sum(tensor.num_bytes for tensor in chosen.values()) > source.size:
        raise source.refuse("claims to hold more numbers than it has")
    tensors = {name: _finite(source, name, _tensor(source, stored)) for name, stored in chosen.items()}
    source.check_unchanged()
    return tensors


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
        raise source.refuse(f"tensor {quoted(name)} holds NaN or infinity")
    return widened
