"""Which of several cells is best, and which of the others cannot be told from it.

Cells are compared pair by pair: image by image, round by round, or resample by resample, whatever they share. Asking
many times finds differences by chance, so the pairs of one comparison share one level (Holm's correction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.analysis import stats
from bench.analysis.places import place
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point, Results, same
from bench.analysis.samples import Sample, sample
from bench.suite.schema import Quantity

Floats = NDArray[np.float64]
Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Ranking:
    """The best of several cells and how the others stand to it, each by its name and best first."""

    best: str
    behind: tuple[str, ...]
    """Surely worse."""
    level: tuple[str, ...]
    """Not separated from the best."""
    unpaired: tuple[str, ...]
    """With a number, but with nothing that could be paired."""

    @property
    def comparisons(self) -> int:
        """Pairs that were compared, which share one level."""
        return len(self.behind) + len(self.level)


@dataclass(frozen=True)
class _Entry:
    name: str
    value: float
    point: Point
    sample: Sample


def ranking(
    results: Results, rows: Mapping[str, Sequence[Point]], quantity: Quantity, better: Better
) -> Ranking | None:
    """How the rows of one column stand to the best of them; None for fewer than two numbers.

    rows: name -> cells of the row, of which the quantity means one. Products and relative numbers are not ranked: None.
    """
    if quantity.relative is not None or quantity.times is not None:
        return None
    found = [entry for name, points in rows.items() if (entry := _entry(results, name, points, quantity)) is not None]
    if len(found) < 2:
        return None
    found.sort(key=lambda entry: entry.value, reverse=better == "higher")
    best, *others = found
    chances = {other.name: _chance(best, other, quantity) for other in others}
    surely = holm({name: chance for name, chance in chances.items() if chance is not None})
    return Ranking(
        best.name,
        behind=tuple(name for name in chances if surely.get(name, False)),
        level=tuple(name for name, chance in chances.items() if chance is not None and not surely[name]),
        unpaired=tuple(name for name, chance in chances.items() if chance is None),
    )


def holm(chances: Mapping[str, float], level: float = 1 - stats.CONFIDENCE) -> Mapping[str, bool]:
    """Which of several two-sided p values are below Holm's bounds: the i-th smallest of m below level / (m - i).

    Holds the chance of any wrong `True` below `level`. Source: Holm 1979.
    """
    found, holds = dict.fromkeys(chances, False), True
    for index, (name, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        holds = holds and chance <= level / (len(chances) - index)
        found[name] = holds
    return found


def two_sided(differences: Floats) -> float:
    """The p value of no difference, from bootstrap resamples of the difference: at least one part in their number."""
    below, above = float((differences <= 0).mean()), float((differences >= 0).mean())
    return min(1.0, max(2.0 * min(below, above), 1.0 / differences.size))


def _entry(results: Results, name: str, points: Sequence[Point], quantity: Quantity) -> _Entry | None:
    estimate = place(results, points, quantity)
    if not isinstance(estimate, Estimate):
        return None
    point = next(each for each in points if each.id == estimate.cells[0])
    found = sample(results, point, quantity)
    return _Entry(name, estimate.value, point, found) if isinstance(found, Sample) else None


def _chance(best: _Entry, other: _Entry, quantity: Quantity) -> float | None:
    """The p value of no difference between two cells; None where nothing pairs them."""
    data = [point.value("data") for point in (best.point, other.point) if point.has("data")]
    if len(data) == 2 and not same(*data):
        return None
    one, two = best.sample, other.sample
    if one.replicates is not None and two.replicates is not None:
        count = min(one.replicates.size, two.replicates.size)
        return two_sided(one.replicates[:count] - two.replicates[:count])
    if quantity.reduce not in ("mean", "median") or len(one.blocks) != 1 or len(two.blocks) != 1:
        return None
    places = {part: index for index, part in enumerate(two.parts)}
    shared = [(index, places[part]) for index, part in enumerate(one.parts) if part in places]
    parts = tuple(one.parts[index] for index, _ in shared)
    if stats.why_no_interval(parts) is not None:
        return None
    apart = np.array([one.blocks[0, mine] - two.blocks[0, theirs] for mine, theirs in shared])
    if quantity.reduce == "mean":
        return two_sided(stats.resample(parts, lambda draws: draws.means(apart)))
    return two_sided(stats.resample(parts, lambda draws: draws.medians(apart)))
