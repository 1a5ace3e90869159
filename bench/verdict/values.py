"""The numbers of one side by themselves, each with its interval where it has one: for other programs to keep."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.analysis import stats
from bench.analysis.samples import REPLICATES, STATISTIC, VALUE
from bench.contracts import MetricKind, Scalar
from bench.verdict.compare import specs_of, what
from bench.verdict.decide import Better
from bench.verdict.directions import SAMPLE_HASH, direction, is_judged
from bench.verdict.judges import blocks
from bench.verdict.matching import groups, numbers
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
        spec, found = specs[group.metric], numbers(group)
        for records in found.values():
            at = records[0].at
            listed = spec.kind == "exact" and len(records[-1].values) != 1
            if not is_judged(spec, at) or listed or SAMPLE_HASH in at:
                continue
            interval: tuple[float, float] | None = None
            if spec.kind == "timing":
                by_visit = blocks(records)
                value = statistics.median(by_visit.values())
                if stats.why_no_interval(tuple(by_visit)) is None:
                    interval = _of_median(by_visit)
            else:
                value = statistics.fmean(records[-1].values)
                spread = [
                    each
                    for others in found.values()
                    for each in others
                    if each.at.get(STATISTIC) == REPLICATES and each.at.get("of", VALUE) == VALUE
                ]
                if spread and len(records[-1].values) == 1:
                    interval = stats.interval(_array(spread[0].values))
            low, high = interval or (None, None)
            of = {name: value for name, value in what(records[0]).items() if name != STATISTIC}
            better = direction(spec, at)
            yield Number(group.cell, group.metric, spec.unit, spec.kind, better, value, low, high, of)


def _of_median(by_visit: Mapping[str, float]) -> tuple[float, float]:
    found = _array(tuple(by_visit.values()))
    return stats.bootstrap(tuple(by_visit), lambda draws: draws.medians(found))


def _array(found: tuple[float, ...]) -> stats.Vector:
    return np.array(found, dtype=np.float64)
