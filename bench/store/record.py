"""One line of a results file, and the one page that says where it was measured.

A Record is everything a stranger needs to judge one number. `schema` counts format changes:
1  first format.
2  a record names the code that it comes from, and a run's code is hashed by its syntax instead of its bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from hashlib import sha256
from typing import Any

from bench.contracts import Scalar, Value
from bench.errors import StoreError

SCHEMA = 2


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


def to_line(record: Record) -> str:
    """One line of JSON without the newline, keys in field order, with its own checksum."""
    data = asdict(record)
    del data["checksum"]
    text = _canonical(data)
    return f'{text[:-1]},"checksum":"{checksum(text)}"}}'


def _canonical(data: Mapping[str, Any]) -> str:
    """The JSON text that is hashed. A lone surrogate, as in a file name that is not UTF-8, stays an escape."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode()


def checksum(text: str) -> str:
    """First 16 hex digits of the SHA-256 of the line without its checksum."""
    return sha256(text.encode()).hexdigest()[:16]


def from_line(line: str) -> Record:
    """The record a line holds. Raises StoreError when it is torn, damaged or of an unknown format."""
    try:
        data: dict[str, Any] = json.loads(line)
        found = data.pop("checksum")
        known = {each.name for each in fields(Record)} - {"checksum"}
        if found != checksum(_canonical(data)):
            raise StoreError("the line does not match its checksum")
        if data["schema"] > SCHEMA:
            raise StoreError(f"format {data['schema']} is newer than this program's {SCHEMA}; update it")
        if data["schema"] < 2:
            data["code"] = {}
        if set(data) != known:
            raise StoreError(f"keys differ: {sorted(set(data) ^ known)}")
        data["values"] = tuple(data["values"])
        data["warnings"] = tuple(data["warnings"])
        data["inputs"] = tuple(InputFile(**each) for each in data["inputs"])
        data["status"] = Status(data["status"])
        data["metric_params"] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data["metric_params"].items()
        }
        return Record(**data, checksum=found)
    except StoreError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"not a record: {type(error).__name__}: {error}") from error
