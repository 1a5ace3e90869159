"""Is a timed number to be trusted? Plain sentences from raw values, each ending in what to do about it.

Pure functions over numbers: no torch, no files. A visit is one worker's stay at one cell, named as in the record's
`part`: `p1r3` is process 1, round 3.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

MAX_IQR = 0.10
"""Largest interquartile range, as a fraction of the median."""
MAX_RANGE = 0.50
"""Largest distance of the extreme values from the median, as a fraction of it."""
MAX_DRIFT = 0.05
"""Largest change between the first and the second half of the rounds, and largest gap between two processes."""
MIN_VALUES = 5
"""With fewer values a side, no rank test can ever speak: two-sided Mann-Whitney gives p = 0.03 at best for 4 and 4."""
SHORTEST_S = 1e-3
"""Below this, what surrounds a single call (a page fault, an interrupt) is no longer small beside it."""


def stability_warnings(visits: Mapping[str, Sequence[float]], shortest_s: float = SHORTEST_S) -> tuple[str, ...]:
    """Everything worth saying about one timed quantity of one cell, from all its raw values.

    visits: seconds by part (`p0r0`, `p0r1`, ..., `p1r0`); a single visit may be given under "". Values are > 0.
    shortest_s: values below this are reported as too short; lower it where a value is itself a median of calls.
    """
    values = [value for part in visits.values() for value in part]
    if not values:
        return ()
    return (
        *few_values(values),
        *too_short(values, shortest_s),
        *wide_spread(values),
        *extreme_values(values),
        *drift(visits),
        *processes_disagree(visits),
    )


def few_values(values: Sequence[float]) -> tuple[str, ...]:
    """Too few to say how sure the median is."""
    if len(values) >= MIN_VALUES:
        return ()
    count = "only 1 value" if len(values) == 1 else f"only {len(values)} values"
    return (f"{count}: no interval can be given; raise effort.repeats or effort.rounds to have {MIN_VALUES} or more",)


def too_short(values: Sequence[float], shortest_s: float = SHORTEST_S) -> tuple[str, ...]:
    """The work is small beside what surrounds it."""
    shortest = min(values)
    if shortest >= shortest_s:
        return ()
    return (
        f"the shortest value is {shortest * 1e3:.3g} ms, below {shortest_s * 1e3:.3g} ms; "
        "raise conditions.batch_size or sampler.timesteps for a longer region",
    )


def wide_spread(values: Sequence[float]) -> tuple[str, ...]:
    """The middle half of the values is wide."""
    if len(values) < MIN_VALUES:
        return ()
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    if high - low <= MAX_IQR * middle:
        return ()
    return (
        f"the interquartile range is {(high - low) / middle:.0%} of the median; "
        "close other programs or raise effort.rounds",
    )


def extreme_values(values: Sequence[float]) -> tuple[str, ...]:
    """Single values lie far out. The median does not mind, a mean would."""
    if len(values) < 2:
        return ()
    middle = statistics.median(values)
    least, most = min(values) / middle, max(values) / middle
    if most - 1.0 <= MAX_RANGE and 1.0 - least <= MAX_RANGE:
        return ()
    return (
        f"the values reach from {least:.2f} to {most:.2f} times the median; use the median, "
        "and close other programs before measuring again",
    )


def drift(visits: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """The machine changed its speed while the rounds went by. Needs four rounds or more."""
    rounds: defaultdict[int, list[float]] = defaultdict(list)
    for part, values in visits.items():
        place = _place(part)
        if place is not None:
            rounds[place[1]].extend(values)
    if len(rounds) < 4:
        return ()
    order = sorted(rounds)
    half = len(order) // 2
    first = statistics.median(value for number in order[:half] for value in rounds[number])
    second = statistics.median(value for number in order[-half:] for value in rounds[number])
    change = second / first - 1.0
    if abs(change) <= MAX_DRIFT:
        return ()
    word = "slower" if change > 0 else "faster"
    return (
        f"the later rounds were {abs(change):.0%} {word} than the earlier ones; compare cells of the same rounds only, "
        "and let the machine cool down or settle before measuring again",
    )


def processes_disagree(visits: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Fresh processes gave different medians: placement in memory, not chance within one process."""
    processes: defaultdict[int, list[float]] = defaultdict(list)
    for part, values in visits.items():
        place = _place(part)
        if place is not None:
            processes[place[0]].extend(values)
    medians = [statistics.median(values) for values in processes.values() if values]
    if len(medians) < 2:
        return ()
    gap = max(medians) / min(medians) - 1.0
    if gap <= MAX_DRIFT:
        return ()
    return (f"the medians of {len(medians)} processes differ by {gap:.0%}; raise effort.processes",)


def _place(part: str) -> tuple[int, int] | None:
    """(process, round) of a part's name, or None when it is not one."""
    match = re.fullmatch(r"p(\d+)r(\d+)", part)
    return (int(match[1]), int(match[2])) if match else None
