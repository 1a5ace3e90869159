"""Where the file lies that a model's argument `weights` names. Free of torch and opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path

from bench.downloads import DOWNLOADS, WEIGHTS_FOLDER, by_hand, data_root, fetched_path
from bench.errors import MissingWeights, did_you_mean, printable


@dataclass(frozen=True)
class Found:
    """A checkpoint that is there."""

    path: Path
    shipped: str | None = None
    """Its name, when it ships with the project."""


def find_weights(weights: str, shipped: str | None) -> Found | None:
    """The checkpoint that a model means; None for `random`.

    weights: `shipped` (the checkpoint called `shipped`), `random`, a path, relative to the working folder or to the
    data root, or a name: of a shipped checkpoint, of a download, or of a safetensors file in the folder `weights` of
    the data root. Raises MissingWeights, saying what to put where, when it is not there.
    """
    if weights == "random":
        return None
    if weights == "shipped":
        if shipped is None:
            raise MissingWeights(
                "no weights are shipped for this configuration; give weights: random, or a file's path"
            )
        return _shipped(shipped)
    try:
        return _look_for(weights, data_root())
    except (OSError, ValueError) as error:
        reason = printable(getattr(error, "strerror", None) or error)
        raise MissingWeights(f"{printable(weights)}: cannot be looked for: {reason}; correct the path") from error


def _look_for(weights: str, root: Path) -> Found:
    """What is not a word of ours: a path, or the name of a checkpoint."""
    here = Path(weights).expanduser()
    if here.exists() or here.is_symlink():
        return Found(here)
    if weights in shipped_names():
        return _shipped(weights)
    if weights in DOWNLOADS:
        path = fetched_path(weights, root)
        if not path.exists():
            raise MissingWeights(f"{weights} ({DOWNLOADS[weights].what}): not at {path}; {by_hand(weights, root)}")
        return Found(path)
    named = not here.suffix and len(here.parts) == 1
    place = root / WEIGHTS_FOLDER / f"{here}.safetensors" if named else root / here
    if place.exists():
        return Found(place)
    if weights in recipe_names():
        advice = f"train them with `bench train {weights} --out {place.parent}`, or put such a checkpoint there"
        raise MissingWeights(f"{printable(weights)}: no such file as {printable(place)}; {advice}")
    if here.is_absolute():
        raise MissingWeights(f"{printable(weights)}: no such file; put the checkpoint there, or correct the path")
    hint = did_you_mean(weights, (*shipped_names(), *DOWNLOADS))
    raise MissingWeights(
        f"{printable(weights)}: no such file here, nor as {printable(place)}; put the checkpoint there, or name "
        f"another{hint}"
    )


def missing_weights(weights: str, shipped: str | None) -> Iterator[str]:
    """The sentence for a plan, when the checkpoint is not there."""
    try:
        find_weights(weights, shipped)
    except MissingWeights as error:
        yield str(error)


def shipped_path(name: str) -> Path:
    """Where the weights called `name` lie inside the installed package."""
    return _package() / "weights" / f"{name}.safetensors"


def shipped_names() -> tuple[str, ...]:
    """The names of all checkpoints that ship with the project, sorted."""
    return tuple(sorted(path.stem for path in (_package() / "weights").glob("*.safetensors")))


@cache
def recipe_names() -> tuple[str, ...]:
    """The names of all recipes that ship with the project, sorted."""
    return tuple(sorted(path.stem for path in (_package() / "recipes").glob("*.yaml")))


def _package() -> Path:
    return Path(str(package_files("bench.models")))


def _shipped(name: str) -> Found:
    if not shipped_path(name).is_file():
        raise MissingWeights(
            f"{shipped_path(name)}: the shipped weights are not there; make them with `bench train {name}`"
        )
    # Some installers lay packages out as links; whoever installed the package vouches for them.
    return Found(shipped_path(name).resolve(), name)
