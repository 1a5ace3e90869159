"""From raw values to one number for each cell, with its interval or the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis import stats
from bench.analysis.results import Point, Results, reference
from bench.analysis.samples import Array, Missing, Sample, sample
from bench.analysis.stats import Draws
from bench.contracts import Scalar
from bench.suite.schema import Companion, Quantity

RELATIVE_UNIT = {"time_saved": "1", "speedup": "x", "ratio": "x"}
"""Unit of a quantity relative to a reference; a difference keeps its own."""
EXACT = frozenset({"total", "value"})
EXTREMES: Mapping[str, Callable[..., Array]] = {"min": np.min, "max": np.max}
ZERO_REFERENCE = "the reference is 0, so nothing can be relative to it"


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
    """Raw values behind the number (of the cell itself), or the images it says it was made of."""
    of_images: bool = False
    """`n` counts images, and the interval is over them."""
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
    resamples: int | None = None
    """Resamples behind the interval, where they are not those of this module's bootstrap."""
    recipe: Mapping[str, Scalar] | None = None
    """How the number was made, for numbers with a fingerprint: those of different recipes may not be compared."""


def reduce(results: Results, point: Point, quantity: Quantity) -> Estimate | Missing:
    """The quantity of one cell, relative to its reference where the suite asks for it."""
    if quantity.relative is None:
        return reduce_against(results, point, None, quantity)
    if quantity.to is None:
        return Missing("unclear", f"{quantity.relative} needs `to`, the factors of the reference cell", (point.id,))
    other = reference(results, point, quantity.to)
    if isinstance(other, str):
        return Missing("unclear", other, (point.id,))
    return reduce_against(results, point, other, quantity)


def reduce_against(results: Results, point: Point, other: Point | None, quantity: Quantity) -> Estimate | Missing:
    """The quantity of one cell, relative to another cell where one is given."""
    own = sample(results, point, quantity)
    if isinstance(own, Missing):
        return own
    if quantity.times is not None:
        return _product(results, point, other, own, quantity)
    if other is None:
        return _absolute(own, point, quantity)
    if other.id == point.id:
        return _by_definition(own, point, quantity)
    base = sample(results, other, quantity)
    cells = (point.id, other.id)
    if isinstance(base, Missing):
        return Missing(base.status, f"the reference cell has no number: {base.reason}", cells)
    if quantity.relative != "difference" and not base.blocks.all():
        return Missing("unclear", ZERO_REFERENCE, cells)
    if own.replicates is not None and base.replicates is not None:
        return _resampled_against(own, base, cells, quantity)
    return _relative(own, base, cells, quantity)


def _by_definition(own: Sample, point: Point, quantity: Quantity) -> Estimate:
    """A cell against itself."""
    value = 0.0 if quantity.relative in ("time_saved", "difference") else 1.0
    return replace(_facts(own, (point.id,), quantity), value=value, exact=True, is_reference=True)


def _absolute(own: Sample, point: Point, quantity: Quantity) -> Estimate:
    """The number of one cell by itself."""
    facts = _facts(own, (point.id,), quantity)
    if quantity.reduce in EXACT:
        each = own.weights @ own.blocks
        if each.min() != each.max():
            differs = f"{quantity.metric} should be exact, but lies between {each.min():g} and {each.max():g}"
            facts = replace(facts, warnings=(*facts.warnings, differs))
    if own.replicates is not None:
        low, high = stats.interval(own.replicates)
        return replace(facts, value=float(own.blocks[0, 0]), low=low, high=high, resamples=own.replicates.size)
    return _with_interval(facts, own.parts, lambda draws: _level(own.blocks, own.weights, draws, quantity), quantity)


def _resampled_against(own: Sample, base: Sample, cells: tuple[str, str], quantity: Quantity) -> Estimate:
    """Two numbers that were resampled where they were measured, paired resample by resample."""
    assert own.replicates is not None and base.replicates is not None  # the caller looked
    facts = replace(_facts(own, cells, quantity), warnings=tuple(dict.fromkeys((*own.warnings, *base.warnings))))
    count = min(own.replicates.size, base.replicates.size)
    value = float(_against(own.blocks[0], base.blocks[0], quantity)[0])
    low, high = stats.interval(_against(own.replicates[:count], base.replicates[:count], quantity))
    return replace(facts, value=value, low=low, high=high, resamples=count)


@dataclass(frozen=True, eq=False)
class _Spread:
    """A number and its resamples; None where there are too few blocks for any."""

    value: float
    resamples: Array | None
    exact: bool

    def __mul__(self, other: _Spread) -> _Spread:
        """The product of two numbers that vary independently: the other's resamples are shuffled first."""
        value, exact = self.value * other.value, self.exact and other.exact
        if self.exact or other.exact:
            one, sure = (other, self) if self.exact else (self, other)
            return _Spread(value, None if one.resamples is None else one.resamples * sure.value, exact)
        if self.resamples is None or other.resamples is None:
            return _Spread(value, None, exact)
        count = min(self.resamples.size, other.resamples.size)
        order = np.random.Generator(np.random.PCG64(stats.SEED)).permutation(count)
        return _Spread(value, self.resamples[:count] * other.resamples[:count][order], exact)


def _spread(own: Sample, asked: Quantity | Companion) -> _Spread:
    def level(draws: Draws) -> Array:
        return _level(own.blocks, own.weights, draws, asked)

    value = float(level(stats.everything(len(own.parts)))[0])
    exact = asked.reduce in EXACT
    if own.replicates is not None:
        return _Spread(value, own.replicates, False)
    if exact or asked.reduce in EXTREMES or stats.why_no_interval(own.parts):
        return _Spread(value, None, exact)
    return _Spread(value, stats.resample(own.parts, level), False)


def _product(
    results: Results, point: Point, other: Point | None, own: Sample, quantity: Quantity
) -> Estimate | Missing:
    """The quantity times its companion, for the cell and for its reference alike."""
    assert quantity.times is not None  # the caller looked
    spreads: list[_Spread] = []
    warnings: list[str] = []
    unit = own.unit
    for each in (point,) if other is None else (point, other):
        pair = (own if each is point else sample(results, each, quantity), sample(results, each, quantity.times))
        for found in pair:
            if isinstance(found, Missing):
                return found
        mine, factor = (found for found in pair if isinstance(found, Sample))
        unit = _product_unit(own.unit, factor.unit)
        spreads.append(_spread(mine, quantity) * _spread(factor, quantity.times))
        warnings += (*mine.warnings, *factor.warnings)
    cells = tuple(dict.fromkeys(each.id for each in (point, other) if each is not None))
    facts = replace(
        _facts(replace(own, unit=unit), cells, quantity), spread=None, warnings=tuple(dict.fromkeys(warnings))
    )
    facts = replace(facts, exact=all(each.exact for each in spreads))
    value, resamples = spreads[0].value, spreads[0].resamples
    if other is not None:
        if other.id == point.id:
            return _by_definition(own, point, quantity)
        base = spreads[1]
        if quantity.relative != "difference" and base.value == 0:
            return Missing("unclear", ZERO_REFERENCE, cells)
        value = float(_against(np.array([value]), np.array([base.value]), quantity)[0])
        both = resamples is not None and base.resamples is not None and resamples.size == base.resamples.size
        resamples = _against(resamples, base.resamples, quantity) if both else None  # type: ignore[arg-type]
    if resamples is None:
        note = None if facts.exact else "one of its factors has no interval, so it has none"
        return replace(facts, value=value, note=note)
    low, high = stats.interval(resamples)
    return replace(facts, value=value, low=low, high=high, resamples=resamples.size)


def _product_unit(one: str, other: str) -> str:
    """Counts have no unit worth writing in a product: calls x s is s."""
    plain = ("1", "", "count", "calls", "steps")
    if one in plain:
        return other
    return one if other in plain else f"{one} {other}"


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
        n=own.drawn or max(own.raw.size, own.blocks.size),
        of_images=own.drawn is not None,
        visits=len(own.visits),
        processes=_processes(own.visits),
        exact=quantity.reduce in EXACT,
        spread=stats.relative_spread(own.raw),
        warnings=own.warnings,
        recipe=own.recipe,
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


def _level(blocks: Array, weights: Array, draws: Draws, quantity: Quantity | Companion) -> Array:
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
