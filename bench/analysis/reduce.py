"""From raw values to one number for each cell, with its interval or the reason why it has none."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.analysis import stats
from bench.analysis.results import Point, Results, reference, same
from bench.analysis.stats import Draws
from bench.contracts import Scalar
from bench.store.record import Record, Status
from bench.suite.schema import Quantity

Array = NDArray[np.float64]

DEFAULT_AT: Mapping[str, Mapping[str, Scalar]] = {"macs": {"counter": "dispatch"}}
"""Which of a metric's numbers is meant when a suite does not say: the counter that sees every operator."""

RELATIVE_UNIT = {"time_saved": "1", "speedup": "x", "ratio": "x"}
"""Unit of a quantity relative to a reference; a difference keeps its own."""

PER_STAGE = frozenset({"total", "composed"})
EXACT = frozenset({"total", "value"})
INSIDE: Mapping[str, Callable[[Sequence[float]], float]] = {"mean": statistics.fmean, "min": min, "max": max}
"""How the values of one visit become one; their median where nothing is said. A visit has few values."""
EXTREMES: Mapping[str, Callable[..., Array]] = {"min": np.min, "max": np.max}


@dataclass(frozen=True)
class Estimate:
    """One number, in SI base units, and how sure it is."""

    value: float
    unit: str
    cells: tuple[str, ...]
    """Cell ids: the cell and, for a relative quantity, its reference."""
    low: float | None = None
    high: float | None = None
    n: int = 1
    """Raw values behind the number (of the cell itself)."""
    visits: int = 1
    """Visits they were taken in."""
    processes: int = 1
    """Worker processes that made these visits."""
    exact: bool = False
    """The same on every machine, so an interval is not missing."""
    is_reference: bool = False
    """The number is 0 or 1 by definition."""
    spread: float | None = None
    """Interquartile range of the raw values over their median."""
    note: str | None = None
    """Why there is no interval, or what the interval does not hold."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """No number, and why."""

    status: str
    """`failed`, `skipped`, `unsupported`, `not measured` or `unclear`."""
    reason: str
    cells: tuple[str, ...] = ()


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


def reduce(results: Results, point: Point, quantity: Quantity) -> Estimate | Missing:
    """The quantity of one cell, relative to its reference where the suite asks for it."""
    own = sample(results, point, quantity)
    if isinstance(own, Missing):
        return own
    if quantity.relative is None:
        return _absolute(own, point, quantity)
    if quantity.to is None:
        return Missing("unclear", f"{quantity.relative} needs `to`, the factors of the reference cell", (point.id,))
    other = reference(results, point, quantity.to)
    if isinstance(other, str):
        return Missing("unclear", other, (point.id,))
    if other.id == point.id:
        value = 0.0 if quantity.relative in ("time_saved", "difference") else 1.0
        return replace(_facts(own, (point.id,), quantity), value=value, exact=True, is_reference=True)
    base = sample(results, other, quantity)
    cells = (point.id, other.id)
    if isinstance(base, Missing):
        return Missing(base.status, f"the reference cell has no number: {base.reason}", cells)
    if quantity.relative != "difference" and not base.blocks.all():
        return Missing("unclear", "the reference is 0, so nothing can be relative to it", cells)
    return _relative(own, base, cells, quantity)


def sample(results: Results, point: Point, quantity: Quantity) -> Sample | Missing:
    """The block values behind a quantity of one cell."""
    records = results.records(point.id, quantity.metric)
    good = [record for record in records if record.status is Status.OK]
    bad = [record for record in records if record.status is not Status.OK]
    if not good:
        return _missing(point, quantity.metric, bad)
    chosen = _choose(good, quantity)
    if not chosen:
        known = "; ".join(dict.fromkeys(_at_text(record.at) for record in good))
        return Missing(
            "unclear", f"{quantity.metric} has no number with {_at_text(quantity.at)} (it has {known})", (point.id,)
        )
    warnings = list(dict.fromkeys(warning for record in chosen for warning in record.warnings))
    if bad:
        visits = len({record.part for record in records})
        warnings.append(f"{len(bad)} of {visits} visits gave no number: {bad[0].reason}")
    built = (_stages if quantity.reduce in PER_STAGE else _plain)(chosen, quantity)
    if isinstance(built, str):
        return Missing("unclear", f"{quantity.metric}: {built}", (point.id,))
    return replace(built, warnings=tuple(warnings))


def _missing(point: Point, metric: str, bad: list[Record]) -> Missing:
    """Why a metric of a cell has no number at all."""
    if bad:
        return Missing(str(bad[-1].status), bad[-1].reason or "no reason was given", (point.id,))
    if metric in point.metrics:
        return Missing("not measured", "the run ended before; the same command continues it", (point.id,))
    return Missing("not measured", f"{metric} is not among the metrics of this cell", (point.id,))


def _choose(records: list[Record], quantity: Quantity) -> list[Record]:
    """The records whose `at` or metric parameters have what the quantity asks for."""
    default = DEFAULT_AT.get(quantity.metric, {})
    usable = {name: value for name, value in default.items() if any(name in record.at for record in records)}
    wanted = {**usable, **quantity.at}
    return [record for record in records if all(_is(record, name, value) for name, value in wanted.items())]


def _is(record: Record, name: str, value: Scalar) -> bool:
    found = record.at[name] if name in record.at else record.metric_params.get(name, ())
    return not isinstance(found, tuple) and same(found, value)


def _plain(records: list[Record], quantity: Quantity) -> Sample | str:
    """One block for each visit; the values of a metric that is measured once are blocks of their own."""
    kinds = list(dict.fromkeys((_at_text(record.at), _at_text(record.metric_params)) for record in records))
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


def _stages(records: list[Record], quantity: Quantity) -> Sample | str:
    """One row of blocks for each stage, weighted with its calls; only visits that saw every stage count."""
    if not all("stage" in record.at and "calls" in record.at for record in records):
        return f"reduce: {quantity.reduce} takes a metric that says `stage` and `calls`, such as step_time or macs"
    table: dict[Scalar, dict[str, float]] = {}
    calls: dict[Scalar, float] = {}
    for record in records:
        stage = record.at["stage"]
        row = table.setdefault(stage, {})
        if _block(record) in row:
            return f"stage {stage} has two numbers; choose one with `at`: {_at_text(record.at)}"
        row[_block(record)] = statistics.median(record.values)
        calls[stage] = float(record.at["calls"] or 0)
    parts = [part for part in next(iter(table.values())) if all(part in row for row in table.values())]
    if not parts:
        return "no visit measured every stage"
    blocks = np.array([[row[part] for part in parts] for row in table.values()])
    return Sample(blocks, np.array(list(calls.values())), tuple(parts), np.array([]), records[0].unit, tuple(parts))


def _block(record: Record) -> str:
    return f"{record.reused or record.run}/{record.part}"


def _absolute(own: Sample, point: Point, quantity: Quantity) -> Estimate:
    """The number of one cell by itself."""
    facts = _facts(own, (point.id,), quantity)
    if quantity.reduce in EXACT:
        each = own.weights @ own.blocks
        if each.min() != each.max():
            differs = f"{quantity.metric} should be exact, but lies between {each.min():g} and {each.max():g}"
            facts = replace(facts, warnings=(*facts.warnings, differs))
    return _with_interval(facts, own.parts, lambda draws: _level(own.blocks, own.weights, draws, quantity), quantity)


def _relative(own: Sample, base: Sample, cells: tuple[str, str], quantity: Quantity) -> Estimate:
    """A number against its reference: block by block where both were measured in the same rounds, so drift cancels."""
    facts = replace(
        _facts(own, cells, quantity), warnings=tuple(dict.fromkeys((*own.warnings, *base.warnings))), spread=None
    )
    shared = () if quantity.reduce in EXACT else tuple(part for part in own.parts if part in base.parts)
    if not shared:
        mine, theirs = (
            _level(each.blocks, each.weights, stats.everything(len(each.parts)), quantity) for each in (own, base)
        )
        note = "the cell and its reference were not measured in the same rounds, so there is no interval"
        value = float(_against(mine, theirs, quantity)[0])
        return replace(facts, value=value, note=None if quantity.reduce in EXACT else note)
    own_blocks = own.blocks[:, [own.parts.index(part) for part in shared]]
    base_blocks = base.blocks[:, [base.parts.index(part) for part in shared]]

    def statistic(draws: Draws) -> Array:
        if quantity.reduce == "median":
            return _median_of_pairs(own_blocks[0], base_blocks[0], draws, quantity)
        mine = _level(own_blocks, own.weights, draws, quantity)
        return _against(mine, _level(base_blocks, base.weights, draws, quantity), quantity)

    return _with_interval(facts, shared, statistic, quantity)


def _facts(own: Sample, cells: tuple[str, ...], quantity: Quantity) -> Estimate:
    """Everything about an estimate but its value and its interval."""
    return Estimate(
        value=0.0,
        unit=RELATIVE_UNIT.get(quantity.relative, own.unit) if quantity.relative else own.unit,
        cells=cells,
        n=max(own.raw.size, own.blocks.size),
        visits=len(own.visits),
        processes=_processes(own.visits),
        exact=quantity.reduce in EXACT,
        spread=stats.relative_spread(own.raw),
        warnings=own.warnings,
    )


def _with_interval(
    facts: Estimate, parts: tuple[str, ...], statistic: Callable[[Draws], Array], quantity: Quantity
) -> Estimate:
    """The statistic of all blocks, and its interval where these blocks allow one."""
    value = float(statistic(stats.everything(len(parts)))[0])
    if facts.exact:
        return replace(facts, value=value)
    if quantity.reduce in EXTREMES:
        return replace(facts, value=value, note="an extreme value has no interval")
    if note := stats.why_no_interval(parts):
        return replace(facts, value=value, note=note)
    low, high = stats.bootstrap(parts, statistic)
    one = "all from one process, so effects of its placement are not in the interval"
    return replace(facts, value=value, low=low, high=high, note=one if _processes(parts) == 1 else None)


def _level(blocks: Array, weights: Array, draws: Draws, quantity: Quantity) -> Array:
    """The number of each resample: sum over stages of weight x middle of the drawn blocks [stages, n]."""
    if quantity.reduce in EXTREMES:
        extreme = EXTREMES[quantity.reduce](blocks, axis=1)
        return np.full(draws.counts.shape[1], float(weights @ extreme))
    middle = draws.means if quantity.reduce == "mean" else draws.medians
    total = np.zeros(draws.counts.shape[1])
    for row, weight in zip(blocks, weights, strict=True):
        total += weight * middle(row)
    return total


def _median_of_pairs(mine: Array, theirs: Array, draws: Draws, quantity: Quantity) -> Array:
    """The median over pairs of blocks, for each resample."""
    if quantity.relative == "difference":
        return draws.medians(mine - theirs)
    ratio = draws.medians(mine / theirs)
    return _against(ratio, np.ones_like(ratio), quantity)


def _against(mine: Array, theirs: Array, quantity: Quantity) -> Array:
    """Elementwise: time_saved 1 - x/ref, speedup ref/x, ratio x/ref, difference x - ref."""
    match quantity.relative:
        case "time_saved":
            return 1.0 - mine / theirs
        case "speedup":
            return theirs / mine
        case "ratio":
            return mine / theirs
        case _:
            return mine - theirs


def _processes(parts: tuple[str, ...]) -> int:
    return len({stats.process_of(part) for part in parts})


def _at_text(at: Mapping[str, Scalar | tuple[Scalar, ...]]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in at.items()) or "no `at`"
