"""From an open checkpoint to a filled network: exact keys, exact shapes, the right element types, and a passport."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import md5
from pathlib import Path

from torch import Tensor, nn

from bench.contracts import Prediction, Value, Weights
from bench.errors import BadCheckpoint, SaveError
from bench.passport import (
    PASSPORT_SCHEMA,
    Passport,
    keys_fingerprint,
    passport_path,
    read_passport,
    write_passport,
)
from models.checkpoints.diffusers_folder import find_folder
from models.checkpoints.diffusers_names import is_attention_weight
from models.checkpoints.formats import Format, Selection, WrongLayout, drift_note, select, variant_note
from models.checkpoints.probe import measure_probe
from models.checkpoints.safe_load import Checkpoint, open_checkpoint

DIFFERENCES_NAMED = 5
WEIGHT_DTYPES = ("float32", "float16", "bfloat16")
BATCH_COUNT = "num_batches_tracked"
"""The whole number that every batch norm keeps."""
PUBLISHED = {
    "1fa350b952534ae442b1d5235cce5cd3": (True, 790_000),
    "82ed3067fd1002f5cf4c339fb80c4669": (False, 790_000),
}
"""MD5 of the public CIFAR-10 files -> (moving average?, training steps); nothing in those files says so."""


@dataclass(frozen=True)
class Wanted:
    """What the caller knows or insists on."""

    format: Format | None = None
    ema: bool | None = None
    model: str = ""
    """Registered name of the network, for the passport."""
    params: Mapping[str, Value] = field(default_factory=dict)
    """Arguments that build it again, without `weights`."""
    prediction: Prediction | None = None
    """What the network's output means, when known."""
    image_shape: tuple[int, int, int] | None = None
    """(C, H, W), when the passport is to carry a golden probe."""
    name: str | None = None
    """What the passport must call the checkpoint; None: anything."""


@dataclass(frozen=True)
class Files:
    """What lies behind a path given by the user."""

    weights: Path
    inputs: tuple[Path, ...]
    """Everything the numbers depend on."""
    config: Path | None = None
    """A diffusers folder's description of its network."""
    scheduler: Path | None = None
    """A diffusers pipeline's description of its noise schedule."""


def find_files(path: Path) -> Files:
    """One file, or a diffusers folder's. Raises MissingWeights and BadCheckpoint."""
    if not path.is_dir():
        return Files(path, (path,))
    folder = find_folder(path)
    around = () if folder.scheduler is None else (folder.scheduler,)
    return Files(folder.weights, (folder.weights, folder.config, *around), folder.config, folder.scheduler)


def fill(network: nn.Module, files: Files, wanted: Wanted, probed: nn.Module | None = None) -> Weights:
    """Read the checkpoint into the network, and write its passport if it has none and the folder allows.

    probed: the network whose answers the passport keeps, when that is not `network` itself.
    Raises MissingWeights and BadCheckpoint, in one line; the network is changed only when everything was in order.
    """
    path = files.weights
    passport = known_passport(path, wanted)
    with open_checkpoint(path, sha256=passport.sha256 if passport else None) as checkpoint:
        expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        selection = select_for(checkpoint, expected, wanted)
        state = _read(checkpoint, selection)
        fresh = passport is None
        if passport is None:
            passport = _first_passport(checkpoint, selection, expected, wanted)
    if passport.keys_sha256 != keys_fingerprint(expected.items()):
        raise BadCheckpoint(f"{path}: its passport {passport_path(path).name} is of another network; fetch both again")
    network.load_state_dict(state)
    if fresh:
        probe = None if wanted.image_shape is None else measure_probe(probed or network, wanted.image_shape)
        _remember(replace(passport, probe=probe), path)
    ema = passport.ema if selection.ema is None else selection.ema
    steps = passport.steps if selection.steps is None else selection.steps
    source = f"{path.name} ({selection.note})" if selection.note else path.name
    return Weights(passport.origin, source, passport.sha256, ema, steps)


def known_passport(path: Path, wanted: Wanted) -> Passport | None:
    """The passport beside the file, None when there is none. Raises BadCheckpoint when it is another checkpoint's."""
    if not passport_path(path).is_file():
        return None
    passport = read_passport(path)
    if wanted.name is not None and passport.name != wanted.name:
        raise BadCheckpoint(f"{path}: its passport is that of {passport.name!r}; fetch or train {wanted.name!r} again")
    if wanted.prediction is not None and passport.prediction not in ("", wanted.prediction):
        raise BadCheckpoint(
            f"{path}: its passport says the network predicts {passport.prediction!r}, and this one predicts "
            f"{str(wanted.prediction)!r}"
        )
    return passport


def select_for(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]], wanted: Wanted) -> Selection:
    """The network's tensors in the checkpoint, every key, shape and element type right. Reads no number.

    Raises BadCheckpoint naming the first differences.
    """
    try:
        selection = select(checkpoint.tensors, checkpoint.scalars, expected, format=wanted.format, ema=wanted.ema)
    except WrongLayout as error:
        raise checkpoint.source.refuse(str(error)) from error
    found = {key: checkpoint.tensors[name].shape for key, name in selection.names.items()}
    if selection.format == "diffusers":
        found = {key: _as_convolution(key, shape) for key, shape in found.items()}
    problems = differences(found, expected)
    if problems:
        note = _why(selection, expected, checkpoint)
        raise checkpoint.source.refuse(f"made for another network: {note or _first(problems)}")
    for key, name in selection.names.items():
        dtype = checkpoint.tensors[name].dtype
        if dtype not in WEIGHT_DTYPES and not (dtype == "int64" and key.endswith(BATCH_COUNT)):
            raise checkpoint.source.refuse(f"tensor {name!r} for {key} is {dtype}, expected {', '.join(WEIGHT_DTYPES)}")
    return selection


def _why(selection: Selection, expected: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> str:
    """The cause of the differences, for the layouts whose variants are known; or nothing."""
    if selection.format == "lucidrains":
        return drift_note(selection.names, expected, checkpoint.scalars.get("version"))
    return variant_note(selection.names, expected) if selection.format == "cddpm" else ""


def differences(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Every key that is missing, of another shape, or not expected; the network's own order first."""
    missing = [f"missing {key!r}" for key in expected if key not in found]
    reshaped = [
        f"{key!r} is {found[key]}, expected {shape}"
        for key, shape in expected.items()
        if found.get(key, shape) != shape
    ]
    return missing + reshaped + [f"unexpected {key[:80]!r}" for key in sorted(found) if key not in expected]


def _first(problems: list[str]) -> str:
    more = len(problems) - DIFFERENCES_NAMED
    return "; ".join(problems[:DIFFERENCES_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _as_convolution(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1) if is_attention_weight(key) and len(shape) == 2 else shape


def _read(checkpoint: Checkpoint, selection: Selection) -> dict[str, Tensor]:
    tensors = checkpoint.read(selection.names.values())
    state = {key: tensors[name] for key, name in selection.names.items()}
    if selection.format == "diffusers":
        return {key: tensor.reshape(_as_convolution(key, tuple(tensor.shape))) for key, tensor in state.items()}
    return state


def _first_passport(
    checkpoint: Checkpoint, selection: Selection, expected: Mapping[str, tuple[int, ...]], wanted: Wanted
) -> Passport:
    published = PUBLISHED.get(_md5(checkpoint), (False, None)) if selection.ema is None else (False, None)
    return Passport(
        schema=PASSPORT_SCHEMA,
        name=checkpoint.path.stem,
        sha256=checkpoint.sha256,
        format=selection.format,
        keys_sha256=keys_fingerprint(expected.items()),
        model=wanted.model,
        params=dict(wanted.params),
        prediction=str(wanted.prediction or ""),
        ema=published[0] if selection.ema is None else selection.ema,
        steps=published[1] if selection.steps is None else selection.steps,
        dtype=checkpoint.tensors[next(iter(selection.names.values()))].dtype,
        origin="pretrained",
    )


def _md5(checkpoint: Checkpoint) -> str:
    return checkpoint.source.digest(md5(usedforsecurity=False))


def _remember(passport: Passport, path: Path) -> None:
    with suppress(OSError, SaveError):  # in a read-only folder the passport lives in memory only
        write_passport(passport, path)
