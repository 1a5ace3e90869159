"""The numbers of one side by themselves, each with its interval where it has one: for other programs to keep."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from bench.analysis import stats
from bench.analysis.samples import STATISTIC
from bench.contracts import MetricKind, MetricSpec, Scalar
from bench.store.record import Record
from bench.verdict.compare import specs_of
from bench.verdict.decide import Better
from bench.verdict.directions import direction, is_drawn
from bench.verdict.judges import blocks
from bench.verdict.lines import Line, disagree, lines
from bench.verdict.matching import groups
from bench.verdict.sides import Side


@dataclass(frozen=True)
class Number:
    """One number of one cell."""

    cell: str
    metric: str
    unit: str
    kind: MetricKind
    better: Better
    value: float
    """Exact value, median over visits, or mean over images; in SI base units."""
    low: float | None = None
    high: float | None = None
    at: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`macs (stage = 0, counter = dispatch)`."""
        of = ", ".join(f"{name} = {value}" for name, value in self.at.items())
        return f"{self.metric} ({of})" if of else self.metric


def values(side: Side) -> tuple[Number, ...]:
    """Every number of a side that is a number: no failures, no lists, no statistics beside a score."""
    return tuple(_values(side))


def _values(side: Side) -> Iterator[Number]:
    specs = specs_of(side.specs, side.records)
    for group in groups(side.records):
        if group.reason is not None:
            continue
        spec = specs[group.metric]
        for line in lines((), group.records, spec):
            if not line.new:
                continue
            if not disagree(line.new, spec, spec.kind):
                yield from _number(line, line.new, spec)
                continue
            for place, record in enumerate(line.new, 1):  # several numbers of one name
                yield from _number(line, (record,), spec, {"number": place})


def _number(
    line: Line, records: Sequence[Record], spec: MetricSpec, more: Mapping[str, Scalar] = MappingProxyType({})
) -> Iterator[Number]:
    last = records[-1]
    if (spec.kind == "exact" and len(last.values) != 1) or is_drawn(spec, last.at):
        return
    interval: tuple[float, float] | None = None
    if spec.kind == "timing":
        by_visit = blocks(records)
        value = statistics.median(by_visit.values())
        if stats.why_no_interval(tuple(by_visit)) is None:
            interval = _of_median(by_visit)
    else:
        value = statistics.fmean(last.values)
        if len(line.new_replicates) == 1 and len(last.values) == 1:
            interval = stats.interval(_array(line.new_replicates[0].values))
    low, high = interval or (None, None)
    of = {name: each for name, each in {**line.at, **more}.items() if name != STATISTIC}
    better = direction(spec, last.at)
    yield Number(last.cell, last.metric, spec.unit, spec.kind, better, value, low, high, of)


def _of_median(by_visit: Mapping[str, float]) -> tuple[float, float]:
    found = _array(tuple(by_visit.values()))
    return stats.bootstrap(tuple(by_visit), lambda draws: draws.medians(found))


def _array(found: tuple[float, ...]) -> stats.Vector:
    return np.array(found, dtype=np.float64)
