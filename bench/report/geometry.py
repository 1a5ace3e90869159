"""Where things lie in a plane: fronts, hulls, and names that must not cover each other."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both numbers, from left to right."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


def convex_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the smallest convex polygon around all points, counter-clockwise from the leftmost one."""

    def half(ordered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for point in ordered:
            while len(found) > 1 and _turn(found[-2], found[-1], point) <= 0:
                found.pop()
            found.append(point)
        return found[:-1]

    unique = sorted(set(points))
    return unique if len(unique) < 3 else half(unique) + half(unique[::-1])


def _turn(one: tuple[float, float], two: tuple[float, float], three: tuple[float, float]) -> float:
    """Above 0 where the way over the three points turns left."""
    return (two[0] - one[0]) * (three[1] - one[1]) - (two[1] - one[1]) * (three[0] - one[0])


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] in the same order, at least `gap` apart where that many fit, close to the wanted ones.

    wanted: ascending.
    """
    gap = min(gap, 1 / max(1, len(wanted) - 1))
    upwards = _pushed(wanted, gap)
    downwards = [1 - place for place in reversed(_pushed([1 - place for place in reversed(wanted)], gap))]
    return [(up + down) / 2 for up, down in zip(upwards, downwards, strict=True)]


def _pushed(wanted: Sequence[float], gap: float) -> list[float]:
    """Each moved up from the one below it as far as must be, and then down from 1 as far as must be."""
    found: list[float] = []
    for place in wanted:
        found.append(max(place, found[-1] + gap if found else 0.0))
    limit = 1.0
    for index in reversed(range(len(found))):
        found[index] = min(found[index], limit)
        limit = found[index] - gap
    return found
