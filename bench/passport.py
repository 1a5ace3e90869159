"""A checkpoint's passport: the page of JSON beside a weights file that says what the numbers in it are.

`NAME.safetensors` lies beside `NAME.json`. Training writes passports, loading checks them; neither needs torch here.
"""

from __future__ import annotations

import errno
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

from bench.contracts import Scalar, Value
from bench.errors import BadCheckpoint, MissingWeights, printable, quoted
from bench.files import file_hash, read_regular, write_whole

PASSPORT_SCHEMA = 1
MAX_PASSPORT_BYTES = 4 << 20
"""A thousand times the passports that ship."""
MAX_TEXT = 1000
"""Characters of any text in a passport."""

T = TypeVar("T")


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
    """Whether the numbers are the moving average; `ema_source` has who says so."""
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
    ema_source: Literal["file", "published", "caller"] | None = None
    """Who says what `ema` is: the names in the file, a table of published files, or only whoever loaded it first. None:
    nobody, and `ema` is False; or training itself."""


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
        content = read_regular(path, MAX_PASSPORT_BYTES)
    except OSError as error:
        # A name may be too long for `.json` and not for `.pt`.
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            raise MissingWeights(f"{printable(weights)}: no passport {printable(path.name)} beside it") from None
        reason = printable(error.strerror or error)
        raise BadCheckpoint(f"{printable(path)}: cannot be read: {reason}; remove it or fetch it again") from error
    try:
        return _from_json(json.loads(content.decode("utf-8"), parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        reason = printable(error, 300)
        raise BadCheckpoint(f"{printable(path)}: not a passport: {reason}; train or fetch the weights again") from error


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


def _from_json(data: object) -> Passport:
    """The passport in a JSON value, every field of its type. Raises ValueError naming the first that is not."""
    if not isinstance(data, dict):
        raise ValueError(f"a JSON table was expected, got {quoted(data)}")
    schema = data.get("schema")
    if type(schema) is int and schema > PASSPORT_SCHEMA:
        raise ValueError(f"format {quoted(schema)} is newer than this program's {PASSPORT_SCHEMA}")
    return Passport(**_checked(data, PASSPORT_FIELDS, Passport))


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


class _Field(NamedTuple):
    """How one field is read: `read` gives its value, or raises ValueError or TypeError."""

    read: Callable[[Any], Any]
    expected: str


def _checked(data: Mapping[str, Any], table: Mapping[str, _Field], kind: type) -> dict[str, Any]:
    """The fields of a JSON table as the dataclass `kind` wants them. Raises ValueError."""
    if unknown := [key for key in data if key not in table]:
        raise ValueError(f"unknown keys {quoted(sorted(unknown)[:5])}")
    required = [field.name for field in fields(kind) if field.default is MISSING]
    if lacking := [name for name in required if name not in data]:
        raise ValueError(f"{lacking[0]!r} is missing")
    return {name: _read_field(name, value, table[name]) for name, value in data.items()}


def _read_field(name: str, value: object, field: _Field) -> Any:
    try:
        return field.read(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} is {quoted(value)}, expected {field.expected}") from error


def _wanted(good: bool, value: T) -> T:
    if not good:
        raise ValueError
    return value


def _text(value: Any) -> str:
    good: str = _wanted(type(value) is str and len(value) <= MAX_TEXT, value)
    good.encode()  # half a character that JSON can spell and no file can hold: a ValueError
    return good


def _one_of(*words: str | None) -> Callable[[Any], Any]:
    return lambda value: _wanted((value is None or type(value) is str) and value in words, value)


def _hash(value: Any) -> str:
    return _wanted(type(value) is str and re.fullmatch("[0-9a-f]{64}", value) is not None, str(value))


def _bool(value: Any) -> bool:
    return _wanted(type(value) is bool, bool(value))


def _whole(value: Any) -> int:
    return _wanted(type(value) is int and abs(value) < 1 << 63, int(value))


def _count(value: Any) -> int:
    return _wanted(_whole(value) >= 0, int(value))


def _number(value: Any) -> float:
    return _wanted(type(value) in (int, float) and math.isfinite(value), float(value))


def _scalar(value: Any) -> Scalar:
    if type(value) is str:
        return _text(value)
    if type(value) is float:
        return _number(value)
    return None if value is None else _bool(value) if type(value) is bool else _whole(value)


def _value(value: Any) -> Value:
    return tuple(map(_scalar, value)) if type(value) is list else _scalar(value)


def _list_of(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda value: tuple(map(read, _wanted(type(value) is list, value)))


def _table_of(read: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    return lambda value: {_text(key): read(entry) for key, entry in _wanted(type(value) is dict, value).items()}


def _maybe(field: _Field) -> _Field:
    return _Field(lambda value: None if value is None else field.read(value), f"{field.expected} or null")


def _probe(value: Any) -> GoldenProbe:
    probe = GoldenProbe(**_checked(_wanted(type(value) is dict, value), PROBE_FIELDS, GoldenProbe))
    return _wanted(len(probe.timesteps) == len(probe.means) == len(probe.stds) <= MAX_PROBED, probe)


MAX_PROBED = 64
"""Timesteps of a golden probe: each is a call of the network."""
_TEXT = _Field(_text, f"a text of at most {MAX_TEXT:,} characters")
_HASH = _Field(_hash, "64 hexadecimal digits")
_COUNT = _Field(_count, "a whole number of 0 or more")
_NUMBERS = _Field(_list_of(_number), "a list of finite numbers")
PROBE_FIELDS: Mapping[str, _Field] = {
    "seed": _COUNT,
    "timesteps": _Field(_list_of(_count), "a list of timesteps"),
    "means": _NUMBERS,
    "stds": _NUMBERS,
    "tolerance": _Field(lambda value: _wanted(_number(value) >= 0, _number(value)), "a number of 0 or more"),
}
PASSPORT_FIELDS: Mapping[str, _Field] = {
    "schema": _Field(_whole, "a whole number"),
    "name": _TEXT,
    "sha256": _HASH,
    "format": _TEXT,
    "keys_sha256": _HASH,
    "model": _TEXT,
    "params": _Field(_table_of(_value), "a table of texts, numbers and flat lists of them"),
    "prediction": _TEXT,
    "ema": _Field(_bool, "true or false"),
    "steps": _maybe(_COUNT),
    "dtype": _TEXT,
    "origin": _Field(_one_of("pretrained", "trained"), "pretrained or trained"),
    "recipe": _maybe(_TEXT),
    "recipe_sha256": _maybe(_TEXT),
    "data": _maybe(_TEXT),
    "data_split": _maybe(_TEXT),
    "seed": _maybe(_Field(_whole, "a whole number")),
    "made_with": _maybe(_Field(_table_of(_text), "a table of texts")),
    "seconds": _maybe(_Field(_number, "a finite number")),
    "curve": _Field(_list_of(_list_of(_number)), "a list of lists of finite numbers"),
    "facts": _maybe(_Field(_table_of(_value), "a table of texts, numbers and flat lists of them")),
    "probe": _maybe(_Field(_probe, "seed, timesteps, means, stds and tolerance that belong together")),
    "ema_source": _Field(_one_of("file", "published", "caller", None), "file, published, caller or null"),
}
"""Every field of a passport; a test holds them to those of the dataclass."""
