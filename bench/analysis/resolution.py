"""Which measured number a printed one is: every exact number of every cell is held against every printed digit.

A table may print a number without saying of which network, by which counter, of which file. Where the same quantity is
measured of several candidates, those that round to the printed digits are named, and the nearest one where none does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import units
from bench.analysis.derived import Finding
from bench.analysis.published import UNITS, Printed, PublishedTable
from bench.analysis.results import Point, Results
from bench.contracts import Scalar
from bench.registry import METRICS, metric_spec
from bench.store.record import Status

NOT_A_CHOICE = frozenset({"calls", "stage", "statistic"})
"""Keys of `at` that do not tell one way of counting from another."""
SHOWN = 3
"""Candidates named of those that fit one printed number."""


@dataclass(frozen=True)
class Candidate:
    """One exact number of one cell."""

    point: Point
    way: str
    """What was counted and how, `thop-like` or `file`; empty where there is one way only."""
    value: float


def resolutions(
    table: PublishedTable, results: Results, points: Sequence[Point], names: Sequence[str]
) -> tuple[Finding, ...]:
    """A sentence for each printed row: which cell and which way of counting gives each of its numbers.

    points: the cells that may be meant. names: the factors that tell them apart, by which they are called. Printed
    columns whose metric was not measured, or is no exact number of one call, are left out, and so are rows without any
    other. Nothing where there is one cell only.
    """
    if len(points) < 2:
        return ()
    found = []
    exact = [metric for metric, relative in table.quantities if relative is None and _is_exact(metric)]
    known = {metric: _ranked(table, metric, tuple(candidates(results, points, metric))) for metric in exact}
    for row in table.rows:
        entries = [each for each in table.entries() if each.row == row.label]
        entries = [each for each in entries if each.relative is None and known.get(each.metric)]
        parts = [_told(each, known[each.metric], names) for each in entries]
        mixed = _mixed([_meant(each, known[each.metric]) for each in entries])
        if parts:
            found.append(Finding((table.id,), f"{table.name}, {row.label}: {'; '.join(parts)}.{mixed}"))
    found += filter(None, (_by_way(table, metric, known[metric]) for metric in exact))
    return tuple(found)


def candidates(results: Results, points: Sequence[Point], metric: str) -> Iterator[Candidate]:
    """Every number of the full network that a metric gave of these cells, each different one of a cell once.

    Cells that have the same number by the same way of counting stand behind the first of them.
    """
    seen: set[tuple[str, float]] = set()
    for point in points:
        for record in results.records(point.id, metric):
            if record.status is Status.OK and len(record.values) == 1 and record.at.get("stage", 0) == 0:
                way = _way(record.at)
                if (way, record.values[0]) not in seen:
                    seen.add((way, record.values[0]))
                    yield Candidate(point, way, record.values[0])


def _ranked(table: PublishedTable, metric: str, known: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, those first whose way of counting gives most of the printed numbers."""
    given = {way: len(_given(table, metric, known, way)) for way in dict.fromkeys(each.way for each in known)}
    return tuple(sorted(known, key=lambda each: -given[each.way]))


def _given(table: PublishedTable, metric: str, known: Sequence[Candidate], way: str) -> list[str]:
    """The printed numbers of a metric that some cell gives by one way of counting, as printed."""
    of_way = [each for each in known if each.way == way]
    entries = [each for each in table.entries() if each.metric == metric and each.relative is None]
    return [each.text for each in entries if _fits(each, of_way)]


def _is_exact(metric: str) -> bool:
    return metric in METRICS and metric_spec(metric).kind == "exact"


def _way(at: Mapping[str, Scalar]) -> str:
    return ", ".join(str(value) for name, value in at.items() if name not in NOT_A_CHOICE)


def _fits(printed: Printed, known: Sequence[Candidate]) -> list[Candidate]:
    """Those that round to the printed digits."""
    return [each for each in known if abs(each.value - printed.value) <= printed.tolerance * (1 + 1e-9)]


def _closest(printed: Printed, known: Sequence[Candidate]) -> Candidate:
    return min(known, key=lambda each: abs(each.value - printed.value))


def _told(printed: Printed, known: Sequence[Candidate], names: Sequence[str]) -> str:
    """`2.90 is cunet-released, attention = five, by thop-like (2.902)`."""
    ways = len({each.way for each in known}) > 1
    text = units.write_printed(printed.text, printed.unit)
    fitting: dict[str, list[Candidate]] = {}
    for each in _fits(printed, known):
        fitting.setdefault(each.point.id, []).append(each)
    if fitting:
        more = f", and {len(fitting) - SHOWN} more" if len(fitting) > SHOWN else ""
        said = " or ".join(_named(each, printed, names, ways) for each in list(fitting.values())[:SHOWN])
        return f"{text} is {said}{more}"
    nearest = _closest(printed, known)
    off = 100 * (nearest.value / printed.value - 1)
    direction = "more" if off > 0 else "less"
    named = _named([nearest], printed, names, ways)
    return f"nothing measured here rounds to {text}; the nearest is {named}, {abs(off):.2g} % {direction}"


def _named(of_one_cell: Sequence[Candidate], printed: Printed, names: Sequence[str], ways: bool) -> str:
    """`cunet-released, attention = none by thop-like (2.814) and by dispatch (2.806)`."""
    digits = len(printed.text.partition(".")[2])
    told = []
    for each in of_one_cell:
        value = each.value / UNITS[printed.unit]
        way = f"by {each.way} " if ways and each.way else ""
        told.append(f"{way}({value:,.{digits + 1}f})" if digits else f"{way}({value:,.0f})")
    return f"{called(of_one_cell[0].point, names)} {' and '.join(told)}"


def called(point: Point, names: Sequence[str]) -> str:
    """A cell by what tells it from the others: `cunet-released, attention = five`."""
    parts = []
    for name in names:
        if point.has(name):
            value = point.value(name)
            word = str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(word if "." not in name else f"{name.rpartition('.')[2]} = {word}")
    return ", ".join(parts) or point.id


def _meant(printed: Printed, known: Sequence[Candidate]) -> frozenset[str]:
    """The cells that a printed number can be of: those that fit, or else the nearest."""
    return frozenset(each.point.id for each in _fits(printed, known) or [_closest(printed, known)])


def _mixed(meant: Sequence[frozenset[str]]) -> str:
    """A sentence where no cell can be behind all the numbers of a row."""
    if not meant or frozenset.intersection(*meant):
        return ""
    return " No one network gives the whole row."


def _by_way(table: PublishedTable, metric: str, known: Sequence[Candidate]) -> Finding | None:
    """How many of the printed numbers each way of counting gives; None where there is one way only."""
    ways = dict.fromkeys(each.way for each in known)
    given = {way: _given(table, metric, known, way) for way in ways}
    told = [f"{', '.join(texts)} by {way}" for way, texts in given.items() if texts]
    if len(ways) < 2 or not told:
        return None
    printed = sum(each.metric == metric and each.relative is None for each in table.entries())
    count = units.plural(printed, "printed number")
    return Finding((table.id,), f"{table.name}, {metric}: of the {count}, cells here give {'; '.join(told)}.")
