"""Tensors out of a file that anyone may have made: nothing in it is ever executed."""

from __future__ import annotations

from hashlib import sha256 as new_sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from bench.errors import BadCheckpoint, MissingWeights

ALLOWED_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)


def read_tensors(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, half precision widened to float32.

    sha256: what the file's hash must be, when known. Raises MissingWeights when there is no such file and
    BadCheckpoint, in one line, when it must not be used.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingWeights(f"{path}: no such file") from None
    except OSError as error:
        raise BadCheckpoint(f"{path}: cannot be read: {error.strerror}") from error
    found = new_sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise BadCheckpoint(f"{path}: sha256 is {found[:12]}…, its passport says {sha256[:12]}…; fetch the file again")
    try:
        tensors = parse_safetensors(content)
    except SafetensorError as error:
        raise BadCheckpoint(f"{path}: not a safetensors file: {error}") from error
    return {name: _checked(path, name, tensor) for name, tensor in tensors.items()}


def _checked(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in ALLOWED_DTYPES:
        raise BadCheckpoint(f"{path}: tensor {name!r} has the type {tensor.dtype}, which no weight has")
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
        if not torch.isfinite(tensor).all():
            raise BadCheckpoint(f"{path}: tensor {name!r} holds NaN or infinity")
    return tensor
