"""The rule: what is known of two numbers, and what may be said of them. Pure, and tested row by row.

    base    | new     | conditions | kind            | what is found                             | verdict
    --------+---------+------------+-----------------+-------------------------------------------+--------------
    absent  | any     |            |                 |                                           | new
    any     | absent  |            |                 |                                           | missing
    ok      | not ok  |            |                 |                                           | regressed
    not ok  | ok      |            |                 |                                           | improved
    not ok  | not ok  |            |                 |                                           | undecided
    ok      | ok      | differ     |                 |                                           | incomparable
    ok      | ok      | equal      | exact           | any change, to the better side            | improved
    ok      | ok      | equal      | exact           | any other change                          | regressed
    ok      | ok      | equal      | timing          | too few visits for an interval            | undecided
    ok      | ok      | equal      | timing          | interval of the ratio above 1 + tolerance | regressed
    ok      | ok      | equal      | timing          | interval below 1 / (1 + tolerance)        | improved
    ok      | ok      | equal      | timing          | interval between the two                  | unchanged
    ok      | ok      | equal      | timing          | interval across one of them               | undecided
    ok      | ok      | equal      | memory, quality | change within the tolerance               | unchanged
    ok      | ok      | equal      | memory, quality | change beyond it, interval reaches 0      | undecided
    ok      | ok      | equal      | memory, quality | change beyond it                          | regressed / improved

The ratio is judged on both sides of 1 alike, so that exchanging base and new exchanges regressed and improved. Memory
of a fresh process repeats within a small part of its tolerance (see `tolerances`), so one process may decide; seconds
of one process (`cold_start`) may not, and count as timing here.
"""

from __future__ import annotations

import math
from typing import Literal

from bench.verdict.outcome import Outcome

Better = Literal["lower", "higher"] | None


def decide_exact(base: tuple[float, ...], new: tuple[float, ...], better: Better) -> Outcome:
    """Exact numbers: any change counts. A change of several values at once has no better side."""
    if base == new:
        return Outcome.UNCHANGED
    if better is None or len(base) != 1 or len(new) != 1:
        return Outcome.REGRESSED
    return Outcome.IMPROVED if (new[0] < base[0]) == (better == "lower") else Outcome.REGRESSED


def decide_ratio(interval: tuple[float, float] | None, tolerance: float, better: Better) -> Outcome:
    """Timed numbers: interval is the 95 % interval of new / base, None where there are too few visits for one."""
    if interval is None:
        return Outcome.UNDECIDED
    low, high = (math.log(end) for end in interval)
    limit = math.log1p(tolerance)
    if low > limit:
        return _worse(larger=True, better=better)
    if high < -limit:
        return _worse(larger=False, better=better)
    return Outcome.UNCHANGED if -limit <= low and high <= limit else Outcome.UNDECIDED


def decide_difference(
    difference: float, tolerance: float, better: Better, interval: tuple[float, float] | None = None
) -> Outcome:
    """Numbers that repeat: difference is new - base, interval its 95 % interval where one is known."""
    if abs(difference) <= tolerance:
        return Outcome.UNCHANGED
    if interval is not None and interval[0] <= 0 <= interval[1]:
        return Outcome.UNDECIDED
    return _worse(larger=difference > 0, better=better)


def _worse(*, larger: bool, better: Better) -> Outcome:
    """What a sure change is called; where neither side is better, a change is a regression."""
    if better is None:
        return Outcome.REGRESSED
    return Outcome.REGRESSED if larger == (better == "lower") else Outcome.IMPROVED
