"""One line of a results file, and the one page that says where it was measured.

A Record is everything a stranger needs to judge one number. `schema` counts format changes:
1  first format.
2  a record names the code that it comes from, and a run's code is hashed by its syntax instead of its bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, NoReturn

from bench.contracts import Scalar, Value
from bench.errors import StoreError
from bench.store import fields
from bench.store.fields import Field

SCHEMA = 2
MAX_LINE_BYTES = 16 << 20
"""Of one record."""

_TAIL_LENGTH = len(',"checksum":"0123456789abcdef"}')


class NewerFormat(StoreError):
    """A file that a later version of this program wrote."""


class Status(StrEnum):
    """What became of a planned measurement."""

    OK = "ok"
    FAILED = "failed"
    """It was tried and did not give a number."""
    SKIPPED = "skipped"
    """It was not tried because something it needs is not there."""
    UNSUPPORTED = "unsupported"
    """This machine or this model cannot do it at all."""


@dataclass(frozen=True)
class InputFile:
    """A file whose content a number depends on. Size and time are a fast check; the hash decides."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """One measured (or missed) quantity of one cell, as one line of JSON; every key is always present."""

    schema: int
    run: str
    cell: str
    """Cell id."""
    suite: str
    factors: Mapping[str, Scalar]
    conditions: Mapping[str, Scalar]
    metric: str
    metric_params: Mapping[str, Value]
    unit: str
    at: Mapping[str, Scalar]
    part: str
    """Which visit: `p0r3` is process 0, round 3; empty for metrics that are measured once."""
    values: tuple[float, ...]
    nfe: int | None
    status: Status
    reason: str | None
    """A sentence; required unless status is ok."""
    warnings: tuple[str, ...]
    subject: Mapping[str, Scalar]
    """Facts of what was measured: weights.origin, weights.source, weights.sha256, weights.ema, weights.steps,
    data.fingerprint, data.split, paper, threads.found, first_noise.sha256."""
    inputs: tuple[InputFile, ...]
    effort: Mapping[str, int]
    seed: int
    started: str
    """UTC, ISO 8601; for people. Order is the order of lines."""
    duration_s: float
    artifact: str | None
    reused: str | None = None
    """Run id this record was carried over from, when nothing it depends on had changed."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Part (harness, metric, model, sampler, data) -> hash of the code that it can run; empty where nobody noted it."""
    siblings: int = 1
    """How many records the same visit of the same metric gave in all; fewer in a file mean that it was cut short."""
    checksum: str = field(default="", compare=False)
    """First 16 hex digits of the SHA-256 of the line without this key; written by `to_line`."""

    def __post_init__(self) -> None:
        if self.status is Status.OK:
            if not self.values:
                raise ValueError(f"{self.cell}: {self.metric}: an ok record needs values")
            if not all(math.isfinite(value) for value in self.values):
                raise ValueError(f"{self.cell}: {self.metric}: values must be finite, got {self.values}")
        elif self.values or not self.reason:
            raise ValueError(f"{self.cell}: {self.metric}: a {self.status} record needs a reason and no values")


@dataclass(frozen=True)
class RunInfo:
    """`run.json`: written before the first measurement, never changed."""

    schema: int
    id: str
    """`20261120-101500-ab12cd`."""
    suite: str
    suite_path: str
    """As given on the command line; for people."""
    suite_text: str
    suite_sha256: str
    command: str
    """The command that made the run."""
    started: str
    bench_version: str
    code_sha256: str
    """Of all the project's own code that can measure anything; see `Record.code` for that of one number."""
    git_commit: str | None
    git_dirty: bool | None
    machine: Mapping[str, Scalar]
    """cpu, logical_cores, affinity, memory_bytes, os, kernel, gpu, ..."""
    packages: Mapping[str, str]
    """Versions of everything that can change a number, python included."""
    environment: Mapping[str, str]
    """The environment variables that can change a number (OMP_*, MKL_*, CUDA_*, PYTORCH_*), and no others."""


def code_differs(one: RunInfo, other: RunInfo) -> bool:
    """Whether two runs were made by different code, as far as their hashes, made in the same way, can tell."""
    if not one.code_sha256 or not other.code_sha256 or (one.schema < 2) != (other.schema < 2):
        return False
    return one.code_sha256 != other.code_sha256


def _input_file(name: str, value: Any) -> InputFile:
    if not isinstance(value, Mapping) or value.keys() != _INPUT_FILE.keys():
        raise fields.WrongField(name, value, f"an object with {', '.join(_INPUT_FILE)}")
    return InputFile(**{key: each(fields.entry(name, key), value[key]) for key, each in _INPUT_FILE.items()})


_name, _text = fields.text(shortest=1), fields.text()
_whole, _count = fields.whole(), fields.whole(0)
_scalars = fields.mapping(fields.scalar)

_INPUT_FILE: Mapping[str, Field] = {"path": _name, "size": _count, "mtime_ns": _whole, "sha256": _text}
RECORD: Mapping[str, Field] = {
    "schema": _whole,
    "run": _text,
    "cell": _name,
    "suite": _text,
    "factors": _scalars,
    "conditions": _scalars,
    "metric": _name,
    "metric_params": fields.mapping(fields.parameter),
    "unit": fields.text(fields.MAX_NAME),
    "at": _scalars,
    "part": fields.text(fields.MAX_NAME),
    "values": fields.values,
    "nfe": fields.optional(_count),
    "status": fields.one_of(tuple(Status), Status),
    "reason": fields.optional(_text),
    "warnings": fields.sequence(_text),
    "subject": _scalars,
    "inputs": fields.sequence(_input_file),
    "effort": fields.mapping(_count),
    "seed": _whole,
    "started": _text,
    "duration_s": fields.number,
    "artifact": fields.optional(fields.artifact),
    "reused": fields.optional(_text),
    "code": fields.mapping(_text),
    "siblings": fields.whole(1),
}
"""What stands in every line, in its order, besides the checksum."""
_texts = fields.mapping(_text)
_long = fields.text(2 * fields.MAX_TEXT)
RUN_INFO: Mapping[str, Field] = {
    "schema": _whole,
    "id": _name,
    "suite": _name,
    "suite_path": _text,
    "suite_text": _long,
    "suite_sha256": _text,
    "command": _long,
    "started": _text,
    "bench_version": _text,
    "code_sha256": _text,
    "git_commit": fields.optional(_text),
    "git_dirty": fields.optional(fields.truth),
    "machine": _scalars,
    "packages": _texts,
    "environment": _texts,
}
"""What stands in `run.json`, besides the checksum."""
_ONCE = frozenset({"schema", "values", "nfe", "seed", "started", "duration_s", "siblings"})
"""Fields that are small or hardly ever the same in two lines."""


class Repeated:
    """Parts that stand in many lines: the conditions, the factors of a cell, the facts of its weights.

    Each is checked and held in memory once; there are thousands of records and only dozens of cells.
    """

    def __init__(self) -> None:
        self._parts: dict[str, dict[object, Any]] = {name: {} for name in RECORD}
        self.size = 0
        """Bytes of memory that they take, roughly."""

    def read(self, name: str, read: Field, value: Any) -> Any:
        """A field as a record holds it. Raises WrongField."""
        if name in _ONCE or value is None:
            return read(name, value)
        # By its text: 1, 1.0 and true are equal and are not the same.
        key = value if type(value) is str else (repr(value),)
        parts = self._parts[name]
        if key not in parts:
            parts[key] = read(name, value)
            self.size += 200 + 4 * len(key if type(key) is str else key[0])
        return parts[key]


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


_JSON = json.JSONDecoder(parse_constant=_no_number)


def to_line(record: Record) -> str:
    """One line of JSON without the newline, keys in field order, with its own checksum."""
    data = asdict(record)
    del data["checksum"]
    if record.schema < 2:
        del data["code"]
    text = _canonical(data)
    return f'{text[:-1]},"checksum":"{checksum(text)}"}}'


def _canonical(data: Mapping[str, Any]) -> str:
    """The JSON text that is hashed. A lone surrogate, as in a file name that is not UTF-8, stays an escape."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode()


def checksum(text: str) -> str:
    """First 16 hex digits of the SHA-256 of the line without its checksum."""
    return sha256(text.encode()).hexdigest()[:16]


def from_line(line: str, repeated: Repeated | None = None) -> Record:
    """The record a line holds. Raises StoreError when it is torn, damaged, of an unknown format, or no record at all.

    repeated: of the lines read before; parts that are equal are then checked and held once.
    """
    try:
        data: dict[str, Any] = _JSON.decode(line)
        written = data.pop("checksum")
        if not _matches(line, data, written):
            raise StoreError("the line does not match its checksum")
        _check_schema(data["schema"])
        if data["schema"] < 2:
            data["code"] = {}
        if data.keys() != RECORD.keys():
            raise StoreError(f"keys differ: {listed(data.keys() ^ RECORD.keys())}")
        read = (repeated or Repeated()).read
        return Record(**{name: read(name, field, data[name]) for name, field in RECORD.items()}, checksum=written)
    except StoreError:
        raise
    except KeyError as error:
        raise StoreError(f"not a record: it has no {error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"not a record: {fields.sentence(error)}") from error


def info_of(data: Mapping[str, Any]) -> RunInfo:
    """What the object in a `run.json` says. Raises StoreError, WrongField or KeyError."""
    _check_schema(data["schema"])
    if data.keys() != RUN_INFO.keys():
        raise StoreError(f"keys differ: {listed(data.keys() ^ RUN_INFO.keys())}")
    return RunInfo(**{name: field(name, data[name]) for name, field in RUN_INFO.items()})


def decode(content: str) -> Any:
    """The value of a JSON text. Raises ValueError, also for NaN and infinity, and RecursionError."""
    return _JSON.decode(content)


def listed(names: Iterable[object]) -> str:
    """A few names of a stranger, in ASCII."""
    known = sorted(map(fields.described, names))
    return ", ".join([*known[:5], *([f"and {len(known) - 5:,} more"] if len(known) > 5 else [])])


def _check_schema(schema: object) -> None:
    fields.whole(1)("schema", schema)
    if schema > SCHEMA:  # type: ignore[operator]
        raise NewerFormat(f"format {schema} is newer than this program's {SCHEMA}; update it")


def _matches(line: str, data: Mapping[str, Any], written: object) -> bool:
    """Whether a line is what was written: as it stands, or, where its JSON was formatted anew, in what it says."""
    body, tail = line[:-_TAIL_LENGTH], line[-_TAIL_LENGTH:]
    if tail == f',"checksum":"{written}"}}' and checksum(body + "}") == written:
        return True
    return checksum(_canonical(data)) == written
