"""From an open checkpoint to a filled network: exact keys, exact shapes, the right element types, and a passport."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import md5
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from bench.contracts import Prediction, Value, Weights
from bench.errors import MissingWeights, SaveError, printable, quoted
from bench.models.checkpoints.contents import Contents
from bench.models.checkpoints.diffusers_folder import CONFIG, WEIGHTS, find_folder, read_index
from bench.models.checkpoints.diffusers_names import is_attention_weight
from bench.models.checkpoints.diffusers_process import Process, read_process
from bench.models.checkpoints.formats import Format, Selection, WrongLayout, drift_note, select, variant_note
from bench.models.checkpoints.probe import measure_probe
from bench.models.checkpoints.safe_load import Checkpoint, Shards, open_checkpoint, peek_contents, shard_files
from bench.models.checkpoints.source import refusal
from bench.passport import (
    PASSPORT_SCHEMA,
    GoldenProbe,
    Passport,
    keys_fingerprint,
    passport_path,
    read_passport,
    write_passport,
)

DIFFERENCES_NAMED = 5
WEIGHT_DTYPES = ("float32", "float16", "bfloat16", "float64")
"""What is read into float32: the second and third exactly, the last rounded."""
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
    """The file; for shards, the name it would have in one piece."""
    inputs: tuple[Path, ...]
    """Everything the numbers depend on."""
    shards: Shards | None = None
    ema: bool | None = None
    """Moving average or raw weights, where the names of the files say so."""
    note: str = ""
    """What a reader of the numbers should know of the files."""
    config: Path | None = None
    """A diffusers folder's description of its network."""
    process: Process | None = None
    """A diffusers folder's noise schedule and prediction."""


def find_files(path: Path, ema: bool | None = None) -> Files:
    """One file, or a diffusers folder's. ema: insist, where a folder has variants of both kinds.

    Raises MissingWeights and BadCheckpoint.
    """
    try:
        in_folder = path.is_dir() or (path.name.startswith(WEIGHTS) and path.with_name(CONFIG).is_file())
        folder = find_folder(path, ema) if in_folder else None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MissingWeights(f"{printable(path)}: cannot be looked at: {reason}; correct the path") from error
    if folder is None:
        return Files(path, (path,))
    stored, process = folder.stored, read_process(folder.scheduler, folder.pipeline)
    shards = None if stored.index is None else read_index(stored.index, stored.weights)
    files = (stored.weights,) if shards is None else shard_files(stored.weights, shards)
    beside = (stored.index, folder.config, folder.scheduler, folder.pipeline)
    notes = (f"the variant {stored.variant}" if stored.variant else "", process.note)
    return Files(
        stored.weights,
        (*files, *(file for file in beside if file is not None)),
        shards,
        folder.ema,
        "; ".join(filter(None, notes)),
        folder.config,
        process,
    )


def fill(network: nn.Module, files: Files, wanted: Wanted, probed: nn.Module | None = None) -> Weights:
    """Read the checkpoint into the network, and write its passport if it has none and the folder allows.

    probed: the network whose answers the passport keeps, when that is not `network` itself.
    Raises MissingWeights and BadCheckpoint, in one line; the network is changed only when everything was in order.
    """
    path = files.weights
    passport = known_passport(path, wanted)
    with open_checkpoint(path, files.shards, sha256=passport.sha256 if passport else None) as checkpoint:
        expected = shapes_of(network)
        selection = select_for(path, checkpoint.contents, expected, wanted)
        state = _read(checkpoint, selection)
        fresh = passport is None
        average = _average(checkpoint, selection, files, wanted, passport)
        if passport is None:
            passport = _first_passport(checkpoint, selection, average, expected, wanted)
    if passport.keys_sha256 != keys_fingerprint(expected.items()):
        raise refusal(path, f"its passport {passport_path(path).name} is of another network; fetch both again")
    network.load_state_dict(state)
    if fresh:
        _remember(replace(passport, probe=_probe(probed or network, wanted.image_shape)), path)
    steps = passport.steps if selection.steps is None else selection.steps
    dtypes = {checkpoint.tensors[name].dtype for name in selection.names.values()}
    rounded = "float64 rounded to float32" if "float64" in dtypes else ""
    note = "; ".join(filter(None, (files.note, selection.note, average.note, rounded)))
    source = f"{path.name} ({note})" if note else path.name
    return Weights(passport.origin, source, passport.sha256, average.ema, steps)


def _probe(network: nn.Module, image_shape: tuple[int, int, int] | None) -> GoldenProbe | None:
    """The network's golden probe, where it is wanted and the answers are numbers."""
    if image_shape is None:
        return None
    probe = measure_probe(network, image_shape)
    return probe if all(map(math.isfinite, (*probe.means, *probe.stds))) else None


@dataclass(frozen=True)
class Average:
    """Whether weights are the moving average, and who says so."""

    ema: bool
    source: Literal["file", "published", "caller"] | None
    steps: int | None = None
    """Training steps, where a published file is known by them."""

    @property
    def note(self) -> str:
        """What a reader of the numbers should know: that nothing but somebody's word stands behind a claim."""
        kind = "moving average" if self.ema else "raw weights"
        return f"{kind} by the caller's word; the file does not say" if self.source == "caller" else ""


def _average(
    checkpoint: Checkpoint, selection: Selection, files: Files, wanted: Wanted, passport: Passport | None
) -> Average:
    """Who says that these weights are the moving average: the file, a table of published ones, or only the caller."""
    answer = _said(checkpoint, selection, files, passport)
    if answer is None:
        if wanted.ema is not None:
            return Average(wanted.ema, "caller")
        return Average(False, None) if passport is None else Average(passport.ema, passport.ema_source)
    if wanted.ema is not None and answer.ema != wanted.ema:
        kinds = ("raw weights", "moving average")
        raise refusal(files.weights, f"holds the {kinds[answer.ema]}, and the {kinds[wanted.ema]} was asked for")
    return answer


def _said(checkpoint: Checkpoint, selection: Selection, files: Files, passport: Passport | None) -> Average | None:
    """What is known of the weights without the caller; None when nothing is."""
    said = files.ema if selection.ema is None else selection.ema
    if said is not None:
        return Average(said, "file")
    if passport is None:
        published = PUBLISHED.get(_md5(checkpoint))
        return None if published is None else Average(published[0], "published", published[1])
    known = passport.ema_source in ("file", "published") or passport.origin == "trained"
    return Average(passport.ema, passport.ema_source) if known else None


def known_passport(path: Path, wanted: Wanted) -> Passport | None:
    """The passport beside the file, None when there is none. Raises BadCheckpoint when it is another checkpoint's."""
    try:
        passport = read_passport(path)
    except MissingWeights:
        return None
    if wanted.name is not None and passport.name != wanted.name:
        raise refusal(path, f"its passport is that of {quoted(passport.name)}; fetch or train {wanted.name!r} again")
    if wanted.prediction is not None and passport.prediction not in ("", wanted.prediction):
        raise refusal(
            path,
            f"its passport says the network predicts {quoted(passport.prediction)}, and this one predicts "
            f"{str(wanted.prediction)!r}",
        )
    return passport


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The network's keys and shapes, in its own order."""
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def check_promise(files: Files, expected: Mapping[str, tuple[int, ...]], wanted: Wanted) -> None:
    """Whether the file holds a network of these shapes, seen from its table of contents alone.

    Asked before a network is built that somebody else describes: what it may cost is what the file holds. Raises
    MissingWeights and BadCheckpoint.
    """
    contents = peek_contents(files.weights, files.shards)
    select_for(files.weights, contents, expected, wanted)
    check_room(files, expected)


def check_room(files: Files, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Whether the files are large enough for the numbers of such a network. Raises BadCheckpoint."""
    if sum(map(math.prod, expected.values())) > sum(file.stat().st_size for file in files.inputs):
        raise refusal(files.weights, "claims to hold more numbers than it has")


def select_for(path: Path, contents: Contents, expected: Mapping[str, tuple[int, ...]], wanted: Wanted) -> Selection:
    """The network's tensors in the checkpoint, every key, shape and element type right. Reads no number.

    Raises BadCheckpoint naming the first differences.
    """
    try:
        selection = select(contents, expected, format=wanted.format, ema=wanted.ema)
    except WrongLayout as error:
        raise refusal(path, str(error)) from error
    stored = {key: contents.tensors[name].shape for key, name in selection.names.items()}
    if selection.format == "diffusers":
        stored = {key: _as_convolution(key, shape) for key, shape in stored.items()}
    problems = differences(stored, expected)
    if problems:
        note = _why(selection, expected, contents)
        raise refusal(path, f"made for another network: {note or _behind(selection.prefix) + _first(problems)}")
    for key, name in selection.names.items():
        dtype = contents.tensors[name].dtype
        if dtype not in WEIGHT_DTYPES and not (dtype == "int64" and key.endswith(BATCH_COUNT)):
            raise refusal(path, f"tensor {quoted(name)} for {key} is {dtype}, expected {', '.join(WEIGHT_DTYPES)}")
    return selection


def _behind(prefix: str) -> str:
    return f"behind the prefix {quoted(prefix)}: " if prefix else ""


def _why(selection: Selection, expected: Mapping[str, tuple[int, ...]], contents: Contents) -> str:
    """The cause of the differences, for the layouts whose variants are known; or nothing."""
    if selection.format == "lucidrains":
        return drift_note(selection.names, expected, contents.scalars.get("version"))
    return variant_note(selection.names, expected) if selection.format == "cddpm" else ""


def differences(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Every key that is missing, of another shape, or not expected; the network's own order first."""
    missing = [f"missing {quoted(key)}" for key in expected if key not in found]
    reshaped = [
        f"{quoted(key)} is {found[key]}, expected {shape}"
        for key, shape in expected.items()
        if found.get(key, shape) != shape
    ]
    return missing + reshaped + [f"unexpected {quoted(key)}" for key in sorted(found) if key not in expected]


def _first(problems: list[str]) -> str:
    more = len(problems) - DIFFERENCES_NAMED
    return "; ".join(problems[:DIFFERENCES_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _as_convolution(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1) if is_attention_weight(key) and len(shape) == 2 else shape


def _read(checkpoint: Checkpoint, selection: Selection) -> dict[str, Tensor]:
    tensors = checkpoint.read(selection.names.values())
    state = {key: _single(checkpoint, name, tensors[name]) for key, name in selection.names.items()}
    if selection.format == "diffusers":
        return {key: tensor.reshape(_as_convolution(key, tuple(tensor.shape))) for key, tensor in state.items()}
    return state


def _single(checkpoint: Checkpoint, name: str, tensor: Tensor) -> Tensor:
    """Double precision rounded to float32; anything else as it is."""
    if tensor.dtype != torch.float64:
        return tensor
    rounded = tensor.float()
    if not bool(torch.isfinite(rounded).all()):
        raise refusal(checkpoint.path, f"tensor {quoted(name)} holds numbers that are too large for float32")
    return rounded


def _first_passport(
    checkpoint: Checkpoint,
    selection: Selection,
    average: Average,
    expected: Mapping[str, tuple[int, ...]],
    wanted: Wanted,
) -> Passport:
    return Passport(
        schema=PASSPORT_SCHEMA,
        name=printable(checkpoint.path.stem),
        sha256=checkpoint.sha256,
        format=selection.format,
        keys_sha256=keys_fingerprint(expected.items()),
        model=wanted.model,
        params=dict(wanted.params),
        prediction=str(wanted.prediction or ""),
        ema=average.ema,
        steps=average.steps if selection.steps is None else selection.steps,
        dtype=checkpoint.tensors[next(iter(selection.names.values()))].dtype,
        origin="pretrained",
        ema_source=average.source,
    )


def _md5(checkpoint: Checkpoint) -> str:
    return checkpoint.parts[0].source.digest(md5(usedforsecurity=False))


def _remember(passport: Passport, path: Path) -> None:
    with suppress(OSError, SaveError):  # in a read-only folder the passport lives in memory only
        write_passport(passport, path)
