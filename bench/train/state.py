"""The resumable state of a training: written whole or not at all, read without running code, believed only unchanged.

torch.load does not compare the check sums of numbers, so one flipped bit would go on into other weights. A state
therefore ends with the SHA-256 of all that stands before, and every field is compared with the network it is for.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor, nn

from bench.errors import BadCheckpoint
from bench.files import PIECE, open_regular, whole_file
from bench.train.recipe import ObjectiveSpec, Recipe

CANNOT_LOAD = (
    UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    OSError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    zipfile.BadZipFile,
)
"""What torch.load raises for a file that it did not write."""
TRAIN_AGAIN = "make room and train again: it goes on from the last state that was saved"
FIELDS = frozenset({"recipe", "step", "seconds", "curve", "recent", "network", "optimizer", "ema"})
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's averages of each parameter's gradient, of the parameter's shape; beside them it counts its steps."""

_SEAL = "\nbench training state 1 sha256 {}\n"
_SEAL_BYTES = len(_SEAL.format("0" * 64))
_SEALED = re.compile(_SEAL.format("([0-9a-f]{64})").encode())


@dataclass(frozen=True, eq=False)
class TrainState:
    """Where a training stands."""

    step: int
    """Steps done."""
    seconds: float
    curve: tuple[tuple[float, float], ...]
    recent: tuple[float, ...] = ()
    """Losses since the last point of the curve."""
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    ema: dict[str, Tensor] = field(default_factory=dict)


class _Unfit(Exception):
    """A state that this training cannot have written; says why."""


def recipe_fingerprint(recipe: Recipe) -> str:
    """SHA-256 of everything in a recipe that changes the weights; a state is continued only under the same one."""
    said = recipe.model_dump(mode="json", by_alias=True, exclude={"title", "notes"})
    if recipe.objective == ObjectiveSpec():
        del said["objective"]  # recipes that do not name one keep the fingerprint they had before there were several
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def save_state(path: Path, recipe: Recipe, state: TrainState) -> None:
    """Replace the state on disk. Raises SaveError when that is impossible; the state before is kept then."""
    content = {
        "recipe": recipe_fingerprint(recipe),
        "step": state.step,
        "seconds": state.seconds,
        "curve": state.curve,
        "recent": state.recent,
        "network": state.network,
        "optimizer": state.optimizer,
        "ema": state.ema,
    }
    with whole_file(path, advice=TRAIN_AGAIN) as file:
        sealed = _Hashed(file)
        torch.save(content, cast(IO[bytes], sealed))
        file.write(_SEAL.format(sealed.digest.hexdigest()).encode())


class _Hashed:
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def load_state(path: Path, recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainState | None:
    """The state of an earlier part of this training, on the CPU, or None when there is none.

    network, optimizer: what is to be continued; neither is changed. Raises BadCheckpoint when the file was changed
    after it was written, or belongs to another recipe or network.
    """
    try:
        with open_regular(path) as file:
            _check_seal(file)
            content = _content(file)
        _check_recipe(path, content, recipe)
        return _state(content, recipe, network, optimizer)
    except FileNotFoundError:
        return None
    except _Unfit as error:
        raise BadCheckpoint(f"{path}: cannot be continued: {error}; delete it to start anew") from error
    except OSError as error:
        raise BadCheckpoint(
            f"{path}: cannot be continued: {error.strerror or error}; delete it to start anew"
        ) from error


def _check_seal(file: BinaryIO) -> None:
    left = os.fstat(file.fileno()).st_size - _SEAL_BYTES
    digest = sha256()
    while left > 0 and (piece := file.read(min(PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    seal = _SEALED.fullmatch(file.read())
    if seal is None:
        raise _Unfit(
            "it does not end with its check sum, so it was cut short, or an older version wrote it; that version can "
            "finish it"
        )
    if seal[1].decode() != digest.hexdigest():
        raise _Unfit("it does not match its check sum, so it was changed after it was written")


def _content(file: BinaryIO) -> dict[str, Any]:
    """What torch.save was given. The file is read from its beginning."""
    try:
        size = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > size:
                raise _Unfit("its parts are packed, which a training state's are not")
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except CANNOT_LOAD as error:
        raise _Unfit(f"it is no training state ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.keys() != FIELDS:
        raise _Unfit("it is no training state")
    return content


def _check_recipe(path: Path, content: Mapping[str, Any], recipe: Recipe) -> None:
    if content["recipe"] != recipe_fingerprint(recipe):
        raise BadCheckpoint(f"{path}: belongs to another version of the recipe; delete it to start anew")


def _state(
    content: Mapping[str, Any], recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainState:
    """A state every field of which can be of this training. Raises _Unfit naming the first that cannot."""
    step = content["step"]
    if type(step) is not int or not 1 <= step <= recipe.train.steps:
        raise _Unfit(f"step is {_shown(step)}, expected a whole number from 1 to {recipe.train.steps}")
    seconds = content["seconds"]
    if not _is_number(seconds) or seconds < 0:
        raise _Unfit(f"seconds is {_shown(seconds)}, expected a number of at least 0")
    curve, recent = _losses(content["curve"], content["recent"], step)
    tensors = network.state_dict()
    return TrainState(
        step,
        float(seconds),
        curve,
        recent,
        _like("network", content["network"], tensors),
        _adam(content["optimizer"], optimizer, step),
        _like("ema", content["ema"], tensors),
    )


def _losses(curve: object, recent: object, step: int) -> tuple[tuple[tuple[float, float], ...], tuple[float, ...]]:
    """Points (step, mean loss) of the curve, and the losses since the last one."""
    if not isinstance(curve, list | tuple) or not all(
        isinstance(point, list | tuple) and len(point) == 2 and all(map(_is_number, point)) for point in curve
    ):
        raise _Unfit("curve is not a list of pairs of numbers")
    if not isinstance(recent, list | tuple) or not all(map(_is_number, recent)):
        raise _Unfit("recent is not a list of numbers")
    steps = [0.0, *(float(point[0]) for point in curve)]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise _Unfit("the steps of curve do not rise")
    if steps[-1] + len(recent) != step:
        raise _Unfit(f"curve and recent hold the losses of {steps[-1] + len(recent):g} steps, expected {step}")
    return tuple((float(at), float(loss)) for at, loss in curve), tuple(map(float, recent))


def _adam(saved: object, optimizer: torch.optim.Optimizer, step: int) -> dict[str, Any]:
    """Adam's averages as a state dictionary; the settings beside them are the recipe's, not the file's."""
    own = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    averages = saved.get("state") if isinstance(saved, dict) else None
    if not isinstance(averages, dict) or not averages.keys() <= set(range(len(parameters))):
        raise _Unfit(f"optimizer is not the state of Adam for {len(parameters)} parameters")
    counts = []
    for index, entry in averages.items():
        name = f"optimizer, parameter {index}"
        if not isinstance(entry, dict) or entry.keys() != {"step", *MOMENTS}:
            raise _Unfit(f"{name}: not Adam's step, {' and '.join(MOMENTS)}")
        _like(name, {key: entry[key] for key in MOMENTS}, dict.fromkeys(MOMENTS, parameters[index]))
        _like(name, {"step": entry["step"]}, {"step": torch.tensor(0.0)})
        counts.append(float(entry["step"]))
    # A parameter that no batch has used counts fewer steps; at least one is used by all.
    if not counts or max(counts) != step or not all(count.is_integer() and count > 0 for count in counts):
        raise _Unfit(f"the steps that optimizer counts do not fit step {step}")
    return {**own, "state": averages}


def _like(name: str, saved: object, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Finite tensors of the same names, shapes and types as the expected ones."""
    if not isinstance(saved, dict) or saved.keys() != expected.keys():
        raise _Unfit(f"{name} does not hold the tensors of this network")
    for key, tensor in expected.items():
        value = saved[key]
        if not isinstance(value, Tensor) or value.device.type != "cpu" or value.layout != torch.strided:
            raise _Unfit(f"{name}: {key} is no tensor of numbers")
        if (value.shape, value.dtype) != (tensor.shape, tensor.dtype):
            raise _Unfit(
                f"{name}: {key} is {tuple(value.shape)} {value.dtype}, expected {tuple(tensor.shape)} {tensor.dtype}"
            )
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise _Unfit(f"{name}: {key} holds NaN or infinity")
    return saved


def _is_number(value: object) -> bool:
    return _is_short(value) and math.isfinite(cast(float, value))


def _is_short(value: object) -> bool:
    """Whether a value is a number of the size that machines count with."""
    return type(value) is float or (type(value) is int and value.bit_length() < 64)


def _shown(value: object) -> str:
    return repr(value) if _is_short(value) else f"of the type {type(value).__name__!r}"
