"""Which raw values a number is made of, and how they hang together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from bench.analysis.results import Point, Results, same
from bench.contracts import Scalar
from bench.store.record import Record, Status
from bench.suite.schema import Reduce

Array = NDArray[np.float64]

DEFAULT_AT: Mapping[str, Mapping[str, Scalar]] = {"macs": {"counter": "dispatch"}}
"""Which of a metric's numbers is meant when a suite does not say: the counter that sees every operator."""
STATISTIC = "statistic"
"""The key of `at` that says which number about one thing a record holds."""
VALUE, REPLICATES = "value", "replicates"
"""The statistic that is meant when a suite does not say, and the one whose quantiles are its interval."""

PER_STAGE = frozenset({"total", "composed"})
INSIDE: Mapping[str, Callable[[Sequence[float]], float]] = {"mean": statistics.fmean, "min": min, "max": max}
"""How the values of one visit become one; their median where nothing is said. A visit has few values."""


class Asked(Protocol):
    """The part of a quantity, or of its companion, that says which values."""

    @property
    def metric(self) -> str: ...
    @property
    def at(self) -> Mapping[str, Scalar]: ...
    @property
    def reduce(self) -> Reduce: ...


@dataclass(frozen=True)
class Missing:
    """No number, and why."""

    status: str
    """`failed`, `skipped`, `unsupported`, `not measured` or `unclear`."""
    reason: str
    cells: tuple[str, ...] = ()


class _Resampled(TypedDict, total=False):
    """The fields of a sample that only a single number can have."""

    replicates: Array
    drawn: int
    recipe: Mapping[str, Scalar]


@dataclass(frozen=True, eq=False)
class Sample:
    """What a number is made of: block values [stages, blocks] and the weight of each stage."""

    blocks: Array
    weights: Array
    """[stages]; one stage of weight 1 for everything that is not composed."""
    parts: tuple[str, ...]
    """Name of each block, with the run that measured it: `20261120-101500-ab12cd/p0r3`."""
    raw: Array
    """Every raw value, for the spread; empty for what is composed."""
    unit: str
    visits: tuple[str, ...]
    """Names of the visits behind the blocks: the parts themselves, or the one visit whose values are the blocks."""
    warnings: tuple[str, ...] = ()
    replicates: Array | None = None
    """Of a single number that was resampled where it was measured: the number of each resample. Resamples of two
    cells with the same seed drew the same images, so they are paired by place."""
    drawn: int | None = None
    """Images behind a single number that says so."""
    recipe: Mapping[str, Scalar] | None = None
    """What `at` says of how the number was made; only for numbers with a fingerprint."""


def sample(results: Results, point: Point, quantity: Asked) -> Sample | Missing:
    """The block values behind a quantity of one cell."""
    chosen = chosen_records(results, point, quantity)
    if isinstance(chosen, Missing):
        return chosen
    records = results.records(point.id, quantity.metric)
    good = [record for record in records if record.status is Status.OK]
    bad = [record for record in records if record.status is not Status.OK]
    warnings = list(dict.fromkeys(warning for record in chosen for warning in record.warnings))
    if bad:
        visits = len({record.part for record in records})
        warnings.append(f"{len(bad)} of {visits} visits gave no number: {bad[0].reason}")
    built = (_stages if quantity.reduce in PER_STAGE else _plain)(chosen, quantity)
    if isinstance(built, str):
        return Missing("unclear", f"{quantity.metric}: {built}", (point.id,))
    return replace(built, warnings=tuple(warnings), **_resampled(chosen, good))


def chosen_records(results: Results, point: Point, quantity: Asked) -> list[Record] | Missing:
    """The ok records of one cell that a quantity means; there is at least one, or the reason why not."""
    records = results.records(point.id, quantity.metric)
    good = [record for record in records if record.status is Status.OK]
    if not good:
        return _missing(point, quantity.metric, [record for record in records if record.status is not Status.OK])
    if chosen := _choose(good, quantity):
        return chosen
    known = "; ".join(dict.fromkeys(at_text(record.at) for record in good))
    return Missing(
        "unclear", f"{quantity.metric} has no number with {at_text(quantity.at)} (it has {known})", (point.id,)
    )


def _resampled(chosen: list[Record], all_records: list[Record]) -> _Resampled:
    """What is known of a single number besides its value."""
    if len(chosen) != 1 or len(chosen[0].values) != 1:
        return {}
    at = chosen[0].at
    of = {name: value for name, value in at.items() if name != STATISTIC}
    told: _Resampled = {}
    for record in all_records:
        about = record.at.get("of", VALUE)
        if record.at.get(STATISTIC) != REPLICATES or not same(about, at.get(STATISTIC, VALUE)):
            continue
        alike = record.part == chosen[0].part and record.metric_params == chosen[0].metric_params
        if alike and all(_is(record, name, value) for name, value in of.items()):
            told["replicates"] = np.array(record.values)
    drawn = at.get("n")
    if isinstance(drawn, int) and not isinstance(drawn, bool):
        told["drawn"] = drawn
    if "fingerprint" in at:
        told["recipe"] = of
    return told


def _missing(point: Point, metric: str, bad: list[Record]) -> Missing:
    """Why a metric of a cell has no number at all."""
    if bad:
        return Missing(str(bad[-1].status), bad[-1].reason or "no reason was given", (point.id,))
    if metric in point.metrics:
        return Missing("not measured", "the run ended before; the same command continues it", (point.id,))
    return Missing("not measured", f"{metric} is not among the metrics of this cell", (point.id,))


def _choose(records: list[Record], quantity: Asked) -> list[Record]:
    """The records whose `at` or metric parameters have what the quantity asks for."""
    default = {**DEFAULT_AT.get(quantity.metric, {}), STATISTIC: VALUE}
    usable = {
        name: value
        for name, value in default.items()
        if any(name in record.at and same(record.at[name], value) for record in records)
    }
    wanted = {**usable, **quantity.at}
    return [record for record in records if all(_is(record, name, value) for name, value in wanted.items())]


def _is(record: Record, name: str, value: Scalar) -> bool:
    found = record.at[name] if name in record.at else record.metric_params.get(name, ())
    return not isinstance(found, tuple) and same(found, value)


def _plain(records: list[Record], quantity: Asked) -> Sample | str:
    """One block for each visit; the values of a metric that is measured once are blocks of their own."""
    kinds = list(dict.fromkeys((at_text(record.at), at_text(record.metric_params)) for record in records))
    if len(kinds) > 1:
        return f"it gives {len(kinds)} numbers; choose one with `at`: {'; '.join(', '.join(kind) for kind in kinds)}"
    raw = np.array([value for record in records for value in record.values])
    visits: tuple[str, ...]
    if len(records) == 1 and not records[0].part:
        visits, blocks, parts = (_block(records[0]),), raw, tuple(f"{index}" for index in range(len(raw)))
    else:
        inside = INSIDE.get(quantity.reduce, statistics.median)
        found: dict[str, list[float]] = {}
        for record in records:
            found.setdefault(_block(record), []).extend(record.values)
        visits = parts = tuple(found)
        blocks = np.array([float(inside(values)) for values in found.values()])
    return Sample(blocks[None, :], np.ones(1), parts, raw, records[0].unit, visits)


def _stages(records: list[Record], quantity: Asked) -> Sample | str:
    """One row of blocks for each stage, weighted with its calls; only visits that saw every stage count."""
    if not all("stage" in record.at and "calls" in record.at for record in records):
        return f"reduce: {quantity.reduce} takes a metric that says `stage` and `calls`, such as step_time or macs"
    table: dict[Scalar, dict[str, float]] = {}
    calls: dict[Scalar, float] = {}
    for record in records:
        stage = record.at["stage"]
        row = table.setdefault(stage, {})
        if _block(record) in row:
            return f"stage {stage} has two numbers; choose one with `at`: {at_text(record.at)}"
        row[_block(record)] = statistics.median(record.values)
        calls[stage] = float(record.at["calls"] or 0)
    parts = [part for part in next(iter(table.values())) if all(part in row for row in table.values())]
    if not parts:
        return "no visit measured every stage"
    blocks = np.array([[row[part] for part in parts] for row in table.values()])
    return Sample(blocks, np.array(list(calls.values())), tuple(parts), np.array([]), records[0].unit, tuple(parts))


def _block(record: Record) -> str:
    return f"{record.reused or record.run}/{record.part}"


def at_text(at: Mapping[str, Scalar | tuple[Scalar, ...]]) -> str:
    """What a number is of, in words."""
    return ", ".join(f"{name} = {value}" for name, value in at.items()) or "no `at`"
