"""A checkpoint's passport: the page of JSON beside a weights file that says what the numbers in it are.

`NAME.safetensors` lies beside `NAME.json`. Training writes passports, loading checks them; neither needs torch here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from bench.contracts import Value
from bench.errors import BadCheckpoint, MissingWeights
from bench.files import file_hash, write_whole

PASSPORT_SCHEMA = 1


@dataclass(frozen=True)
class GoldenProbe:
    """What the network answered once, on an input anyone can make again.

    Catches raw weights taken for EMA ones and inputs of the wrong range."""

    seed: int
    """The input is `bench.diffusion.noise.image_noise(seed, 0, "probe", image_shape)`, a batch of one."""
    timesteps: tuple[int, ...]
    means: tuple[float, ...]
    """Mean of the output at each timestep, float64."""
    stds: tuple[float, ...]
    """Standard deviation of the output at each timestep, float64."""
    tolerance: float = 1e-3
    """Largest difference of a mean or a standard deviation that other machines may show."""


@dataclass(frozen=True)
class Passport:
    """Who made a checkpoint, from what, and how to know it again."""

    schema: int
    name: str
    sha256: str
    """Of the weights file."""
    format: str
    """Key layout: native, ddim, diffusers, lucidrains, paper-a, cddpm."""
    keys_sha256: str
    """Of the sorted `key shape` lines: the same for every checkpoint of one architecture."""
    model: str
    """Registered model name; empty when unknown."""
    params: Mapping[str, Value]
    """Arguments that rebuild the architecture, without `weights`."""
    prediction: str
    ema: bool
    steps: int | None
    dtype: str
    """Of the stored tensors."""
    origin: Literal["pretrained", "trained"]
    recipe: str | None = None
    """File name of the recipe, for trained weights."""
    recipe_sha256: str | None = None
    data: str | None = None
    """Fingerprint of the training images."""
    data_split: str | None = None
    seed: int | None = None
    made_with: Mapping[str, str] | None = None
    """Versions of python, torch and this package."""
    seconds: float | None = None
    """Training time, summed over resumptions."""
    curve: tuple[tuple[float, ...], ...] = ()
    """(step, mean loss since the last point) pairs."""
    facts: Mapping[str, Value] | None = None
    """Whatever else the recipe's objective reports, such as test accuracy."""
    probe: GoldenProbe | None = None


def passport_path(weights: Path) -> Path:
    """Where the passport of a weights file lies."""
    return weights.with_suffix(".json")


def write_passport(passport: Passport, weights: Path) -> Path:
    """Write the passport beside the weights file; returns its path. Raises SaveError."""
    path = passport_path(weights)
    # Two workers may load a new checkpoint at the same moment: each writes a file of its own, the last one stays.
    write_whole(path, json.dumps(asdict(passport), indent=1, allow_nan=False) + "\n")
    return path


def read_passport(weights: Path) -> Passport:
    """The passport beside a weights file. Raises MissingWeights when there is none, BadCheckpoint when it is broken."""
    path = passport_path(weights)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingWeights(f"{weights}: no passport {path.name} beside it") from None
    try:
        return _from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadCheckpoint(f"{path}: not a passport: {error}; train or fetch the weights again") from error


def is_finished(weights: Path, recipe_sha256: str) -> bool:
    """Whether a training under the recipe of this fingerprint has written the weights and, after them, their passport.

    Raises BadCheckpoint when the passport is damaged: what the weights are is then for their owner to say.
    """
    if not weights.is_file():
        return False
    try:
        passport = read_passport(weights)
    except MissingWeights:
        return False  # killed between the two
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{error}, or delete {passport_path(weights).name} to train them anew") from error
    return passport.recipe_sha256 == recipe_sha256 and passport.sha256 == file_hash(weights)


def keys_fingerprint(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """Hash of an architecture's key set: sorted `key d0xd1x...` lines."""
    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes)
    return sha256("\n".join(lines).encode()).hexdigest()


def _from_json(data: dict[str, Any]) -> Passport:
    if data["schema"] > PASSPORT_SCHEMA:
        raise ValueError(f"format {data['schema']} is newer than this program's {PASSPORT_SCHEMA}")
    unknown = set(data) - {field.name for field in fields(Passport)}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    probe = data.get("probe")
    if probe is not None:
        data["probe"] = GoldenProbe(
            seed=probe["seed"],
            timesteps=tuple(probe["timesteps"]),
            means=tuple(probe["means"]),
            stds=tuple(probe["stds"]),
            tolerance=probe["tolerance"],
        )
    data["curve"] = tuple(tuple(point) for point in data.get("curve", ()))
    data["params"] = {key: tuple(value) if isinstance(value, list) else value for key, value in data["params"].items()}
    return Passport(**data)
