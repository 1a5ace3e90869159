"""Which records belong together, and which of them count.

A visit of a metric may give several numbers, so several records: an *attempt*. A results file only grows, so it may
hold several attempts at the same thing: a failed one and the one that worked, a short one and a longer one. The last
whole attempt counts; a cut one (a line is missing or damaged) never does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.contracts import Value
from bench.store.record import Record, Status


class Key(NamedTuple):
    """What was to be measured: two attempts with one key are attempts at the same thing."""

    cell: str
    metric: str
    params: str
    """The metric's arguments as JSON with sorted keys."""
    part: str


@dataclass(frozen=True)
class Attempt:
    """All records of one visit of one metric."""

    key: Key
    records: tuple[Record, ...]

    @property
    def whole(self) -> bool:
        """Whether every record that the visit gave is here."""
        return len(self.records) == self.records[0].siblings

    @property
    def status(self) -> Status:
        """The status of the first record that is not ok, or ok."""
        return next((record.status for record in self.records if record.status is not Status.OK), Status.OK)

    @property
    def reason(self) -> str | None:
        """Why there is no number; None when there is one."""
        return next((record.reason for record in self.records if record.status is not Status.OK), None)


def params_text(params: Mapping[str, Value]) -> str:
    """A metric's arguments as they stand in a key."""
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"))


def key_of(record: Record) -> Key:
    return Key(record.cell, record.metric, params_text(record.metric_params), record.part)


def attempts(records: Iterable[Record]) -> list[Attempt]:
    """The attempts in the order in which they were begun; records must be in file order."""
    groups: list[list[Record]] = []
    latest: dict[Key, list[Record]] = {}
    for record in records:
        key = key_of(record)
        group = latest.get(key)
        if group is None or not _continues(group, record):
            group = latest[key] = []
            groups.append(group)
        group.append(record)
    return [Attempt(key_of(group[0]), tuple(group)) for group in groups]


def _continues(group: list[Record], record: Record) -> bool:
    """Whether a record is a further number of the visit that a group holds."""
    first = group[0]
    return (
        len(group) < first.siblings
        and record.siblings == first.siblings
        and record.started == first.started
        and all(dict(record.at) != dict(other.at) for other in group)
    )


def current(records: Iterable[Record]) -> dict[Key, Attempt]:
    """The last whole attempt at every key, in the order in which the keys were first seen."""
    found: dict[Key, Attempt] = {}
    for attempt in attempts(records):
        if attempt.whole:
            found[attempt.key] = attempt
    return found


def cut(records: Iterable[Record]) -> tuple[Attempt, ...]:
    """The last attempt at every key of which no attempt is whole: nothing of it counts."""
    found: dict[Key, Attempt | None] = {}
    for attempt in attempts(records):
        if attempt.whole:
            found[attempt.key] = None
        elif found.get(attempt.key, attempt) is not None:
            found[attempt.key] = attempt
    return tuple(attempt for attempt in found.values() if attempt is not None)
