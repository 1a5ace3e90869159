"""How long the rest will take, from how long the visits so far took. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from bench.run.schedule import Visit


class Forecast:
    """The mean duration of what is like a visit: the same number of the same cell, or the same metric, or the kind."""

    def __init__(self, visits: Iterable[Visit], side_by_side: Callable[[Visit], int] = lambda visit: 1) -> None:
        """visits: everything still to be done. side_by_side: how many like this one are made at the same time."""
        self._left: Counter[tuple[str, str, str]] = Counter()
        self._together: dict[tuple[str, str, str], int] = {}
        for visit in visits:
            self._left[_names(visit)] += 1
            self._together[_names(visit)] = side_by_side(visit)
        self._seconds: dict[str, float] = {}
        self._count: Counter[str] = Counter()

    def took(self, visit: Visit, duration_s: float) -> None:
        """A visit is over."""
        for name in _names(visit):
            self._seconds[name] = self._seconds.get(name, 0.0) + duration_s
            self._count[name] += 1
        self._left[_names(visit)] -= 1

    def drop(self, visit: Visit) -> None:
        """A visit will not be made."""
        self._left[_names(visit)] -= 1

    def left_s(self) -> float | None:
        """Seconds until the end; None while there is something to come that nothing was like yet."""
        total = 0.0
        for names, count in self._left.items():
            if count > 0:
                known = next((name for name in names if name in self._count), None)
                if known is None:
                    return None
                total += count * self._seconds[known] / self._count[known] / self._together[names]
        return total


def _names(visit: Visit) -> tuple[str, str, str]:
    """What a visit is an example of, the closest first."""
    kind = visit.spec.kind
    return (" ".join((*visit.quantity, kind)), f"{visit.metric.name} {kind}", kind)
