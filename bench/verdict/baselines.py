"""What of a run another machine can be held against: counts and scores, as a file of records."""

from __future__ import annotations

from bench.contracts import MetricKind
from bench.store.record import Record, to_line
from bench.verdict.compare import specs_of
from bench.verdict.sides import Side

PORTABLE: frozenset[MetricKind] = frozenset({"exact", "quality"})
"""Kinds of numbers that do not belong to a machine. Times and bytes are compared with a run's folder instead."""


def portable(side: Side) -> tuple[Record, ...]:
    """The records of a side that make a baseline, in their order."""
    specs = specs_of(side.specs, side.records)
    return tuple(record for record in side.records if specs[record.metric].kind in PORTABLE)


def baseline(side: Side) -> str:
    """A baseline as a text: one record a line, each with its checksum."""
    return "".join(f"{to_line(record)}\n" for record in portable(side))
