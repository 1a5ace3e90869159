"""The records of a run, found by cell and metric, and the factors that tell its cells apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.contracts import Scalar, Value
from bench.store.attempts import current
from bench.store.record import Record
from bench.suite.schema import Cell

Key = tuple[tuple[bool, Scalar], ...]
MAYBE = "?"
"""Behind the name of a factor: cells that lack it are meant, too."""


@dataclass(frozen=True)
class Point:
    """One cell, as the reading side needs it."""

    id: str
    factors: Mapping[str, Scalar]
    """Names and checked parameters: {"model": ..., "model.skip": ...}."""
    conditions: Mapping[str, Scalar]
    seed: int
    metrics: tuple[str, ...]
    """Metrics that were planned, or found where no plan is known."""

    def value(self, name: str) -> Scalar:
        """A factor or, by its plain name, a condition. Raises KeyError when the cell has neither."""
        if name in self.factors:
            return self.factors[name]
        return self.conditions[name.removeprefix("conditions.")]

    def has(self, name: str) -> bool:
        return name in self.factors or name.removeprefix("conditions.") in self.conditions

    def matches(self, where: Mapping[str, Value]) -> bool:
        """Whether the cell has all these factors, each with the value or with one of the values given.

        A name that ends in `?` is a factor that the cell may lack.
        """
        return all(self._agrees(name.removesuffix(MAYBE), value, name.endswith(MAYBE)) for name, value in where.items())

    def _agrees(self, name: str, wanted: Value, may_lack: bool) -> bool:
        return _among(self.value(name), wanted) if self.has(name) else may_lack


def _among(value: Scalar, wanted: Value) -> bool:
    return any(same(value, each) for each in (wanted if isinstance(wanted, tuple) else (wanted,)))


@dataclass(frozen=True, eq=False)
class Results:
    """Cells in planned order, and what was measured of each."""

    points: tuple[Point, ...]
    by_metric: Mapping[tuple[str, str], tuple[Record, ...]]
    """(cell id, metric) -> records of the last whole attempt at every visit, in file order."""
    _found: dict[tuple[str, ...], dict[Key, list[Point]]] = field(default_factory=dict, init=False, repr=False)
    """Names that were looked for -> their values -> cells: filled as questions come."""

    def records(self, cell: str, metric: str) -> tuple[Record, ...]:
        return self.by_metric.get((cell, metric), ())

    def find(self, wanted: Mapping[str, Scalar]) -> tuple[Point, ...]:
        """Every cell with these factors, in order."""
        names = tuple(sorted(wanted))
        if names not in self._found:
            index: dict[Key, list[Point]] = {}
            for point in self.points:
                if all(map(point.has, names)):
                    index.setdefault(as_key(point.value(name) for name in names), []).append(point)
            self._found[names] = index
        return tuple(self._found[names].get(as_key(wanted[name] for name in names), ()))

    def values(self, name: str, among: Iterable[Point] | None = None) -> tuple[Scalar, ...]:
        """The different values of a factor, in order of first appearance; cells without it are left out."""
        found: dict[Key, Scalar] = {}
        for point in self.points if among is None else among:
            if point.has(name):
                found.setdefault(as_key([point.value(name)]), point.value(name))
        return tuple(found.values())

    def factor_names(self) -> tuple[str, ...]:
        """Every factor and condition that some cell has, in order of first appearance."""
        return tuple(dict.fromkeys(name for point in self.points for name in (*point.factors, *point.conditions)))


def varying(points: Iterable[Point]) -> tuple[str, ...]:
    """The factors and conditions that tell these cells apart, in order of first appearance.

    An argument that follows from the name it belongs to, such as a default that two samplers have differently, tells
    nothing that the name does not tell.
    """
    found: dict[str, dict[Scalar, set[Key]]] = {}
    for point in points:
        for name, value in (*point.factors.items(), *point.conditions.items()):
            owner, dot, _ = name.partition(".")
            under = point.factors.get(owner) if dot else None
            found.setdefault(name, {}).setdefault(under, set()).add(as_key([value]))
    return tuple(name for name, by_owner in found.items() if any(len(values) > 1 for values in by_owner.values()))


def same(one: Scalar, other: Scalar) -> bool:
    """Equal values of equal kind: 2 and 2.0 are one value, but 1 and true are two."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def as_key(values: Iterable[Scalar]) -> Key:
    """Something to look values up by: equal exactly when they are all the same."""
    return tuple((isinstance(value, bool), value) for value in values)


def collect(records: Iterable[Record], planned: Sequence[Cell] = ()) -> Results:
    """Index records. planned: the suite's cells, so that what was never measured is known to be missing.

    A superseded attempt, and one that was cut short, does not count. Records of cells that are not planned are kept
    behind the planned ones, in the order in which they were found.
    """
    grouped: dict[tuple[str, str], list[Record]] = {}
    first: dict[str, Record] = {}
    metrics: dict[str, dict[str, None]] = {}
    for attempt in current(records).values():
        for record in attempt.records:
            grouped.setdefault((record.cell, record.metric), []).append(record)
            first.setdefault(record.cell, record)
            metrics.setdefault(record.cell, {})[record.metric] = None
    points = [
        Point(cell.id, cell.factors, cell.conditions.model_dump(), cell.seed, tuple(each.name for each in cell.metrics))
        for cell in planned
    ]
    known = {point.id for point in points}
    points += [
        Point(cell, record.factors, record.conditions, record.seed, tuple(metrics[cell]))
        for cell, record in first.items()
        if cell not in known
    ]
    return Results(tuple(points), {key: tuple(found) for key, found in grouped.items()})


def reference(results: Results, point: Point, to: Mapping[str, Scalar]) -> Point | str:
    """The cell that differs from `point` in exactly the factors of `to`, or a sentence saying why there is none.

    Where `to` replaces a name (`model: ddpm-unet`), the parameters of the old and the new thing need not match unless
    both have them.
    """
    everything = {**point.conditions, **point.factors}
    if to.keys() <= everything.keys():  # the usual case, without looking at every cell
        twins = [each for each in results.find({**everything, **to}) if _alike(point, each, to)]
        if len(twins) == 1:
            return twins[0]
    found = [each for each in results.find(to) if _alike(point, each, to)]
    wanted = ", ".join(f"{name} = {value}" for name, value in to.items())
    if len(found) == 1:
        return found[0]
    if not found:
        return f"there is no cell with {wanted} that is otherwise like this one"
    return f"{len(found)} cells have {wanted}; name more factors in `to`"


def _alike(point: Point, other: Point, to: Mapping[str, Scalar]) -> bool:
    """Whether two cells agree in everything that `to` does not name."""
    if point.seed != other.seed:
        return False
    names = (
        (point.factors.keys() | other.factors.keys() | point.conditions.keys() | other.conditions.keys())
        - {name.removeprefix("conditions.") for name in to}
        - to.keys()
    )
    for name in names:
        if point.has(name) and other.has(name):
            if not same(point.value(name), other.value(name)):
                return False
        elif name.split(".")[0] not in to:
            return False
    return True
