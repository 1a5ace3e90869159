"""Which records of both sides make one verdict. Every record is in exactly one line, so that none is ever left out.

A number is found on the other side by its address, which is all of `at` but what its metric declares to be recipe or
fact. Spreads, floors, curves and resamples, which stand beside a number, are in the line of the number that they belong
to, or in the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.analysis.samples import REPLICATES, STATISTIC, VALUE
from bench.contracts import AddressKey, MetricKind, MetricSpec, Scalar, address_key
from bench.store.record import Record, Status

OF = "of"
"""The key of `at` that says of which statistic replicates are the resamples."""


@dataclass(frozen=True, eq=False)
class Line:
    """One number of both sides; one of them may lack it."""

    base: tuple[Record, ...]
    """Its records: one, or one for each visit."""
    new: tuple[Record, ...]
    at: Mapping[str, Scalar] = field(default_factory=dict)
    """What it is of."""
    base_replicates: tuple[Record, ...] = ()
    new_replicates: tuple[Record, ...] = ()
    beside: tuple[Record, ...] = ()
    """Of either side: what is not judged by itself, and visits that failed."""

    @property
    def records(self) -> tuple[Record, ...]:
        """All that this line speaks for."""
        return (*self.base, *self.new, *self.base_replicates, *self.new_replicates, *self.beside)

    @property
    def replicates(self) -> tuple[Record, Record] | None:
        """The resamples on both sides, where each has one set."""
        if len(self.base_replicates) != 1 or len(self.new_replicates) != 1:
            return None
        return self.base_replicates[0], self.new_replicates[0]


@dataclass
class _Sorted:
    """The records of one side."""

    numbers: dict[AddressKey, list[Record]] = field(default_factory=dict)
    replicates: dict[AddressKey, list[Record]] = field(default_factory=dict)
    """By the number whose resamples they are."""
    beside: list[Record] = field(default_factory=list)


def lines(base: Sequence[Record], new: Sequence[Record], spec: MetricSpec) -> tuple[Line, ...]:
    """The numbers of one metric of one cell, in the order of the new side, then what only the base has."""
    before, after = _sorted(base, spec), _sorted(new, spec)
    numbers: list[Line] = []
    for key in dict.fromkeys((*after.numbers, *before.numbers)):
        first, *others = _of_one_address(before.numbers.get(key, []), after.numbers.get(key, []), spec)
        replicates = tuple(before.replicates.get(key, ())), tuple(after.replicates.get(key, ()))
        numbers += [replace(first, base_replicates=replicates[0], new_replicates=replicates[1]), *others]
    beside = (*before.beside, *after.beside)
    if beside:
        first, *others = numbers or [Line((), ())]
        numbers = [replace(first, beside=beside), *others]
    assert sum(len(line.records) for line in numbers) == len(base) + len(new)  # each record is in one line
    return tuple(numbers)


def _sorted(records: Iterable[Record], spec: MetricSpec) -> _Sorted:
    side = _Sorted()
    resamples: list[Record] = []
    for record in records:
        if record.status is not Status.OK:
            side.beside.append(record)
        elif record.at.get(STATISTIC) == REPLICATES:
            resamples.append(record)
        elif spec.stands_beside(record.at):
            side.beside.append(record)
        else:
            side.numbers.setdefault(address_key(spec.address(record.at)), []).append(record)
    own: dict[AddressKey, list[Record]] = {}
    for record in resamples:
        owner = next((key for key in _owners(record, spec) if key in side.numbers), None)
        if owner is not None:
            side.replicates.setdefault(owner, []).append(record)
        elif spec.stands_beside(record.at):
            side.beside.append(record)
        else:
            own.setdefault(address_key(spec.address(record.at)), []).append(record)
    side.numbers |= own
    return side


def _owners(record: Record, spec: MetricSpec) -> tuple[AddressKey, ...]:
    """The addresses that the number may have whose resamples a record holds."""
    address = spec.address(record.at)
    rest = {name: value for name, value in address.items() if name not in (STATISTIC, OF)}
    statistic = address.get(OF, VALUE)
    named = address_key({**rest, STATISTIC: statistic})
    return (named, address_key(rest)) if statistic == VALUE else (named,)


def _of_one_address(base: list[Record], new: list[Record], spec: MetricSpec) -> list[Line]:
    """Usually one line. Where a side has several numbers of one address, those with equal recipe and facts on both
    sides belong together; what is left is one line, of which no more can be told.
    """
    at = spec.address((new or base)[0].at)
    if not (repeats(base) or repeats(new)):
        return [Line(tuple(base), tuple(new), at)]
    before, after = _by_whole_at(base), _by_whole_at(new)
    both = [key for key in after if key in before]
    pairs = [Line(tuple(before[key]), tuple(after[key]), after[key][0].at) for key in both]
    rest = [tuple(each for key, found in side.items() if key not in both for each in found) for side in (before, after)]
    return [*pairs, Line(rest[0], rest[1], at)] if any(rest) else pairs


def repeats(records: Iterable[Record]) -> bool:
    """Whether two records are of one visit: two numbers with one address."""
    visits = [visit(record) for record in records]
    return len(set(visits)) < len(visits)


def disagree(records: Iterable[Record], spec: MetricSpec, kind: MetricKind) -> bool:
    """Whether one number has several values: two of one visit, or, where nothing is timed, two of different visits."""
    findings: dict[str, object] = {}
    for record in records:
        finding = record.values, tuple(record.at.get(name) for name in sorted(spec.facts))
        if findings.setdefault(visit(record) if kind == "timing" else "", finding) != finding:
            return True
    return False


def visit(record: Record) -> str:
    """Which visit measured a record, with its run: `20261120-101500-ab12cd/p0r3`."""
    return f"{record.reused or record.run}/{record.part}"


def _by_whole_at(records: Iterable[Record]) -> dict[AddressKey, list[Record]]:
    found: dict[AddressKey, list[Record]] = {}
    for record in records:
        found.setdefault(address_key(record.at), []).append(record)
    return found
