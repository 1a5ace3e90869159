"""Which quantity of one side is which of the other.

A cell is found by its id. What remains on both sides is matched by everything that makes a cell but the suite's name,
then by its factors alone, then by the factors both know: those pairs differ in a condition or a factor, and the
verdict says so instead of calling one missing and the other new. A pair is only made where there is no second
candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.contracts import Scalar
from bench.store.attempts import params_text
from bench.store.record import Record, Status
from bench.verdict.surroundings import SUBJECT


@dataclass(frozen=True, eq=False)
class Group:
    """Everything measured of one metric of one cell."""

    cell: str
    metric: str
    params: str
    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        return self.records[0]

    @cached_property
    def representatives(self) -> tuple[Record, ...]:
        """Records that differ in where or under which conditions they were measured; nearly always the first alone."""
        found: list[Record] = []
        for record in self.records:
            if not any(_measured_alike(record, other) for other in found):
                found.append(record)
        return tuple(found)

    @property
    def reason(self) -> str | None:
        """Why some visit gave no number; None when all did."""
        return next((f"{each.status}: {each.reason}" for each in self.records if each.reason is not None), None)

    @property
    def has_numbers(self) -> bool:
        """Whether some visit gave numbers."""
        return any(each.status is Status.OK for each in self.records)


def _measured_alike(one: Record, other: Record) -> bool:
    return (
        one.run == other.run
        and one.conditions == other.conditions
        and one.factors == other.factors
        and one.seed == other.seed
        and one.metric_params == other.metric_params
        and all(one.subject.get(name) == other.subject.get(name) for name in SUBJECT)
    )


@dataclass(frozen=True, eq=False)
class Pair:
    """The same thing on both sides; one of them may lack it."""

    base: Group | None
    new: Group | None


def pairs(base: Iterable[Record], new: Iterable[Record], *, lone: bool = False) -> tuple[Pair, ...]:
    """Every quantity of both sides once: in the order of the new side, then what only the base has.

    lone: where each side has a single cell, these two belong together, whatever they differ in.
    """
    old, now = _by_cell(base), _by_cell(new)
    are_lone = lone and len(old) == len(now) == 1
    partner = {next(iter(now)): next(iter(old))} if are_lone else _match_cells(old, now)
    found = [pair for cell, groups in now.items() for pair in _match_groups(old.get(partner.get(cell, ""), ()), groups)]
    taken = set(partner.values())
    found += [Pair(group, None) for cell, groups in old.items() if cell not in taken for group in groups]
    return tuple(found)


def groups(records: Iterable[Record]) -> tuple[Group, ...]:
    """Every metric of every cell, in the order of first appearance."""
    return tuple(group for found in _by_cell(records).values() for group in found)


def _by_cell(records: Iterable[Record]) -> dict[str, tuple[Group, ...]]:
    found: dict[str, dict[tuple[str, str], list[Record]]] = {}
    for record in records:
        groups = found.setdefault(record.cell, {})
        groups.setdefault((record.metric, params_text(record.metric_params)), []).append(record)
    return {
        cell: tuple(Group(cell, metric, params, tuple(each)) for (metric, params), each in groups.items())
        for cell, groups in found.items()
    }


Cells = Mapping[str, tuple[Group, ...]]


def _match_cells(old: Cells, now: Cells) -> dict[str, str]:
    """New cell -> base cell."""
    partner = {cell: cell for cell in now if cell in old}
    for key in (_everything, _factors_and_seed, _factors):
        _match_by(key, old, now, partner)
    shared = _shared_names(old, now)
    _match_by(lambda record: _items((name, record.factors[name]) for name in shared), old, now, partner)
    return partner


def _match_by(key: Callable[[Record], Hashable], old: Cells, now: Cells, partner: dict[str, str]) -> None:
    """Pair what is left on both sides and has a key that no other cell of its side has."""
    taken = set(partner.values())
    left_old = _unique(key, {cell: groups for cell, groups in old.items() if cell not in taken})
    left_now = _unique(key, {cell: groups for cell, groups in now.items() if cell not in partner})
    partner.update({cell: left_old[each] for each, cell in left_now.items() if each in left_old})


def _unique(key: Callable[[Record], Hashable], cells: Cells) -> dict[Hashable, str]:
    found: dict[Hashable, list[str]] = {}
    for cell, groups in cells.items():
        found.setdefault(key(groups[0].first), []).append(cell)
    return {each: names[0] for each, names in found.items() if len(names) == 1}


def _items(items: Iterable[tuple[str, Scalar]]) -> Hashable:
    """Names with their values, in an order of its own: 2 and 2.0 are one value, 1 and true are two."""
    return tuple((name, isinstance(value, bool), value) for name, value in sorted(items, key=lambda item: item[0]))


def _everything(record: Record) -> Hashable:
    return _items(record.factors.items()), _items(record.conditions.items()), record.seed


def _factors_and_seed(record: Record) -> Hashable:
    return _items(record.factors.items()), record.seed


def _factors(record: Record) -> Hashable:
    return _items(record.factors.items())


def _shared_names(old: Cells, now: Cells) -> Sequence[str]:
    """Factors that every cell of both sides has: a new argument with a default is not among them."""
    sets = [set(groups[0].first.factors) for side in (old, now) for groups in side.values()]
    return sorted(set.intersection(*sets)) if sets else ()


def _match_groups(old: Sequence[Group], now: Sequence[Group]) -> Iterator[Pair]:
    """The metrics of one cell; one that is asked with other arguments is matched where there is no second."""
    left = {(group.metric, group.params): group for group in old}
    partner = {(group.metric, group.params): left.pop((group.metric, group.params), None) for group in now}
    for group in now:
        key = (group.metric, group.params)
        rest = [each for each in left.values() if each.metric == group.metric]
        open_now = [each for each in now if each.metric == group.metric and not partner[each.metric, each.params]]
        if partner[key] is None and len(rest) == 1 and len(open_now) == 1:
            partner[key] = left.pop((rest[0].metric, rest[0].params))
        yield Pair(partner[key], group)
    yield from (Pair(group, None) for group in left.values())
