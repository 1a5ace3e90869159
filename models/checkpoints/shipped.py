"""A network's numbers: the shipped ones, random ones, or those of a file."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from torch import Tensor, nn

from bench.contracts import Weights
from bench.errors import BadCheckpoint, MissingWeights
from bench.passport import (
    PASSPORT_SCHEMA,
    Passport,
    file_sha256,
    keys_fingerprint,
    passport_path,
    read_passport,
    write_passport,
)
from models.checkpoints.safe_load import read_tensors

DIFFERENCES_NAMED = 5


def shipped_path(name: str) -> Path:
    """Where the weights called `name` lie inside the installed package."""
    return Path(str(files("models") / "weights" / f"{name}.safetensors"))


def load_weights(network: nn.Module, weights: str, *, shipped: str | None) -> tuple[Weights, tuple[Path, ...]]:
    """Fill the network and say where its numbers come from and which files that depends on.

    weights: `shipped` (the checkpoint called `shipped`), `random` (keep what the network was built with) or a path.
    Raises MissingWeights and BadCheckpoint.
    """
    if weights == "random":
        return Weights("random"), ()
    if weights != "shipped":
        return load_file(network, Path(weights).expanduser())
    if shipped is None:
        raise MissingWeights(
            "no weights are shipped for this configuration; give weights: random, or a checkpoint's path"
        )
    path = shipped_path(shipped)
    if not path.is_file():
        raise MissingWeights(f"{path}: the shipped weights are not there; make them with `bench train`")
    return load_file(network, path)


def load_file(network: nn.Module, path: Path) -> tuple[Weights, tuple[Path, ...]]:
    """Fill the network from a checkpoint; the first load of a file without a passport writes one where it can."""
    passport = read_passport(path) if passport_path(path).is_file() else None
    tensors = read_tensors(path, sha256=passport.sha256 if passport else None)
    check_fit(path, tensors, network.state_dict())
    network.load_state_dict(tensors)
    if passport is None:
        passport = _first_passport(path, tensors)
    weights = Weights(passport.origin, path.name, passport.sha256, passport.ema, passport.steps)
    return weights, (path,)


def check_fit(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Same keys and same shapes, or BadCheckpoint naming the first differences."""
    differences = [f"missing {key}" for key in expected if key not in found]
    differences += [f"unexpected {key}" for key in sorted(found) if key not in expected]
    differences += [
        f"{key} is {tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    if differences:
        more = len(differences) - DIFFERENCES_NAMED
        named = "; ".join(differences[:DIFFERENCES_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise BadCheckpoint(f"{path}: made for another network: {named}")


def _first_passport(path: Path, tensors: dict[str, Tensor]) -> Passport:
    passport = Passport(
        schema=PASSPORT_SCHEMA,
        name=path.stem,
        sha256=file_sha256(path),
        format="native",
        keys_sha256=keys_fingerprint((key, tuple(tensor.shape)) for key, tensor in tensors.items()),
        model="",
        params={},
        prediction="epsilon",
        ema=False,
        steps=None,
        dtype="float32",
        origin="pretrained",
    )
    with suppress(OSError):  # in a read-only folder the passport lives in memory only
        write_passport(passport, path)
    return passport
