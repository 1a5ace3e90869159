"""The words that cross the process border: one JSON object a line, jobs one way and events the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import StoreError, WorkerDied
from bench.registry import metric_spec
from bench.run.schedule import Visit
from bench.store.attempts import key_of
from bench.store.record import Record, from_line, to_line
from bench.suite.schema import Cell, Ref


@dataclass(frozen=True)
class Ready:
    """The worker has imported everything and waits for a job."""


@dataclass(frozen=True)
class CannotStart:
    """The worker could not be set up."""

    reason: str


@dataclass(frozen=True)
class Done:
    """A visit ended, with these records."""

    records: tuple[Record, ...]
    clean: bool
    """False: the worker ends now and another one must go on."""


Event = Ready | CannotStart | Done


def encode_job(visit: Visit) -> bytes:
    """A visit as a line. The other side finds the metric's spec in its own registry."""
    job = {
        "cell": visit.cell.model_dump(),
        "metric": visit.metric.model_dump(),
        "part": visit.part,
    }
    return _line(job)


def decode_job(line: bytes) -> Visit:
    """The visit of a line. Raises ValueError when it is not one, UnknownName when the metric is not registered."""
    job: dict[str, Any] = json.loads(line)
    metric = Ref.model_validate_json(json.dumps(job["metric"]))
    cell = Cell.model_validate_json(json.dumps(job["cell"]))
    return Visit(cell, metric, metric_spec(metric.name), job["part"])


def encode_event(event: Event) -> bytes:
    match event:
        case Ready():
            return _line({"event": "ready"})
        case CannotStart(reason):
            return _line({"event": "cannot start", "reason": reason})
        case Done(records, clean):
            return _line({"event": "done", "clean": clean, "records": [to_line(record) for record in records]})


def decode_event(line: bytes) -> Event:
    """Raises WorkerDied when a line is not an event, or holds a record that is not whole."""
    try:
        data: dict[str, Any] = json.loads(line)
        match data["event"]:
            case "ready":
                return Ready()
            case "cannot start":
                return CannotStart(str(data["reason"]))
            case "done":
                return Done(_records(data["records"]), bool(data["clean"]))
        raise ValueError(f"unknown event {data['event']!r}")
    except (ValueError, KeyError, TypeError, StoreError, RecursionError) as error:
        raise WorkerDied(f"the worker's answer was garbled: {error}") from error


def check_answer(done: Done, visit: Visit, run: str) -> None:
    """Raises WorkerDied unless an answer is to this question of this run, and whole.

    A process that a metric forked, or a library that writes where it should not, may answer too.
    """
    if not done.records:
        raise WorkerDied("the worker's answer was garbled: it holds no record")
    for record in done.records:
        if record.run != run or key_of(record) != visit.key or not visit.wanted.is_of(record):
            raise WorkerDied(
                f"the worker's answer was garbled: it is of {record.metric} of {record.cell}, and "
                f"{visit.metric.name} of {visit.cell.id} was asked for"
            )
        if record.siblings != len(done.records):
            raise WorkerDied(
                f"the worker's answer was garbled: it holds {len(done.records)} of {record.siblings} records"
            )


def _records(lines: Sequence[str]) -> tuple[Record, ...]:
    return tuple(from_line(line) for line in lines)


def _line(data: dict[str, Any]) -> bytes:
    """ASCII, so that any text crosses whatever its encoding was."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
