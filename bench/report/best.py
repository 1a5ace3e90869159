"""Which numbers of a table are printed bold: those that are significantly the best of what they compete with.

Numbers compete that stand in one column, are ours, and belong to cells with the same data, noise and conditions. One
of them is bold when its interval does not reach that of any other. That is a strict rule: where two intervals overlap
a little, a paired comparison may still tell the numbers apart, and nothing is bold. A number of which no interval is
known could lie anywhere, and so could one that failed or was not reached; beside these nothing is bold. What is not
possible here, or lacks something it needs, does not compete. Exact numbers are intervals without width; of two equal
ones none is best. Where more is neither better nor worse, nothing is bold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.analysis.results import Key, Point, Results, as_key
from bench.contracts import Scalar
from bench.quality.score_names import SCORED
from bench.registry import METRICS, metric_spec
from bench.report import words
from bench.report.document import Entry, Footnote, Table
from bench.store.record import Status
from bench.suite.schema import Quantity, TableSpec
from bench.verdict.decide import Better
from bench.verdict.directions import direction as direction_of_metric
from bench.verdict.directions import score_of

FLIPPED = frozenset({"time_saved", "speedup"})
"""More of these is less of what they are made of."""
OUT = frozenset({Status.SKIPPED, Status.UNSUPPORTED})
"""What there is instead of a number that could not be had; it does not compete."""
NOTE = Footnote(
    "Bold: the best of its column among cells with the same data and conditions, where its interval does not reach "
    "that of any other.",
    about="conditions",
)

NOISE_LEVEL = "sampler.t_start"
"""More noise is another task, not a worse result."""

Place = tuple[int, int, int]
"""Row, line and column of an entry."""


def with_best(table: Table, spec: TableSpec, results: Results) -> Table:
    """The table with its significantly best numbers marked, and a note where there are any."""
    points = {point.id: point for point in results.points}
    best = {place for group in _competitions(table, spec, points) for place in group}
    if not best:
        return table
    rows = tuple(
        replace(
            row,
            lines=tuple(
                replace(
                    line,
                    entries=tuple(
                        replace(entry, best=True) if (i, j, k) in best else entry
                        for k, entry in enumerate(line.entries)
                    ),
                )
                for j, line in enumerate(row.lines)
            ),
        )
        for i, row in enumerate(table.rows)
    )
    place = next((i for i, note in enumerate(table.footnotes) if note.about == "conditions"), -1) + 1
    return replace(table, rows=rows, footnotes=(*table.footnotes[:place], NOTE, *table.footnotes[place:]))


def _competitions(table: Table, spec: TableSpec, points: Mapping[str, Point]) -> Iterable[Sequence[Place]]:
    """For each competition, the place of its winner, or nothing."""
    for k in range(len(table.columns)):
        quantity = spec.value if spec.value is not None else spec.values[k]
        better = direction(quantity)
        groups: dict[Key, list[tuple[Place, Entry]]] = {}
        for i, row in enumerate(table.rows):
            for j, line in enumerate(row.lines):
                entry = line.entries[k]
                if line.role == "ours" and entry.cells and entry.cells[0] in points and entry.text not in OUT:
                    groups.setdefault(_setting(points[entry.cells[0]]), []).append(((i, j, k), entry))
        for members in groups.values():
            winner = significantly_best([entry for _, entry in members], better)
            yield () if winner is None else (members[winner][0],)


def _setting(point: Point) -> Key:
    """What numbers must share to compete: the data, the noise they begin with, and the conditions."""
    data = [value for name, value in point.factors.items() if name.partition(".")[0] == "data" or name == NOISE_LEVEL]
    return as_key([*data, *point.conditions.values()])


def direction(quantity: Quantity) -> Better:
    """Whether less or more of a quantity is better; None where neither is, or where it is not known."""
    words.load_builtins_quietly()
    better = _of_metric(quantity.metric, quantity.at)
    if quantity.times is not None and _of_metric(quantity.times.metric, quantity.times.at) != better:
        return None
    if better is None or quantity.relative not in FLIPPED:
        return better
    return "higher" if better == "lower" else "lower"


def _of_metric(metric: str, at: Mapping[str, Scalar]) -> Better:
    if metric not in METRICS or (score_of(at) is not None and at.get("which") not in SCORED):
        return None
    return direction_of_metric(metric_spec(metric), at)


def significantly_best(entries: Sequence[Entry], better: Better) -> int | None:
    """The place of the one whose interval does not reach that of any other; None where there is none."""
    if better is None or len(entries) < 2:
        return None
    sign = 1.0 if better == "lower" else -1.0
    ranges = [_range(entry, sign) for entry in entries]
    known = [each for each in ranges if each is not None]
    if len(known) < len(entries):
        return None
    first = min(range(len(known)), key=lambda index: known[index][1])
    others = (low for index, (low, _) in enumerate(known) if index != first)
    return first if known[first][1] < min(others) else None


def _range(entry: Entry, sign: float) -> tuple[float, float] | None:
    """The ends of what a number may be, so that less is better; None where they are not known."""
    if entry.low is not None and entry.high is not None:
        low, high = sorted((sign * entry.low, sign * entry.high))
        return low, high
    return (sign * entry.value, sign * entry.value) if entry.exact and entry.value is not None else None
