"""The resumable state of a training: written whole or not at all, read without running code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from bench.errors import BadCheckpoint, SaveError
from bench.train.recipe import ObjectiveSpec, Recipe


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


def recipe_fingerprint(recipe: Recipe) -> str:
    """SHA-256 of everything in a recipe that changes the weights; a state is continued only under the same one."""
    said = recipe.model_dump(mode="json", by_alias=True, exclude={"title", "notes"})
    if recipe.objective == ObjectiveSpec():
        del said["objective"]  # recipes that do not name one keep the fingerprint they had before there were several
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def save_state(path: Path, recipe: Recipe, state: TrainState) -> None:
    """Replace the state on disk. Raises SaveError naming the folder when that is impossible."""
    temporary = path.with_name(f"{path.name}.new")
    said = {
        "recipe": recipe_fingerprint(recipe),
        "step": state.step,
        "seconds": state.seconds,
        "curve": state.curve,
        "recent": state.recent,
        "network": state.network,
        "optimizer": state.optimizer,
        "ema": state.ema,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(said, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise SaveError(f"{path.parent}: cannot save the training state: {error.strerror}") from error


def load_state(path: Path, recipe: Recipe) -> TrainState | None:
    """The state of an earlier part of this training, or None when there is none.

    Raises BadCheckpoint when the file is damaged or belongs to another recipe.
    """
    if not path.is_file():
        return None
    try:
        said = torch.load(path, map_location="cpu", weights_only=True)
        if said["recipe"] != recipe_fingerprint(recipe):
            raise BadCheckpoint(f"{path}: belongs to another version of the recipe; delete it to start anew")
        return TrainState(
            said["step"],
            said["seconds"],
            tuple(said["curve"]),
            tuple(said["recent"]),
            said["network"],
            said["optimizer"],
            said["ema"],
        )
    except BadCheckpoint:
        raise
    except (UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError) as error:
        raise BadCheckpoint(f"{path}: cannot be continued ({type(error).__name__}); delete it to start anew") from error
