"""When to stop, and with which verdict: the sequential rule of the gate. Pure numpy, tested on simulated noise.

A *unit* is one pair of fresh processes, base and head: u is the median over its slot pairs of log(head / base). Slot
pairs inside a process pair share its placement of code and memory, so they are not counted one by one.

At 12, 20, 32, 48 and 64 units:
    slower      one-sided signed-rank test of u > 0 below alpha, and median(u) > log(1 + tolerance / 2)
    not slower  the same test of u < log(1 + tolerance) below 1 %, and median(u) <= log(1 + tolerance / 2)
    else        go on; at 64 units the machine is too noisy to tell

alpha = 1 % / (5 looks x number of cells), so that all looks at all cells together raise a false alarm in at most 1 % of
runs, before the median rule and the confirmation make it rarer still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bench.analysis import stats

Vector = NDArray[np.float64]

LOOKS = (12, 20, 32, 48, 64)
FAMILY_ERROR = 0.01
"""Probability of any false alarm in a run in which nothing changed, over all cells and looks."""
PASS_ERROR = 0.01
"""Probability, at each look, of passing a cell that is slower by the tolerance."""
TOLERANCE = 0.05
"""The slowdown that must be found."""
DETECTED = 0.95
"""Part of all runs in which a change is found that is called visible."""


class Decision(StrEnum):
    """What is known after some units."""

    SLOWER = "slower"
    NOT_SLOWER = "not slower"
    GO_ON = "go on"


@dataclass(frozen=True)
class Plan:
    """The rule for one run."""

    cells: int = 1
    """How many cells are judged together."""
    tolerance: float = TOLERANCE
    looks: tuple[int, ...] = LOOKS

    @property
    def alpha(self) -> float:
        """Largest p at which one look at one cell may call it slower."""
        return FAMILY_ERROR / (len(self.looks) * self.cells)

    @property
    def most(self) -> int:
        """Units after which a cell is left undecided."""
        return self.looks[-1]

    @property
    def border(self) -> float:
        """The median of u above which a cell may be called slower, and up to which it may pass."""
        return math.log1p(self.tolerance / 2)


def decide(units: Vector, plan: Plan) -> Decision:
    """The decision at one look. units: [n], in the order they were measured."""
    slower, passed = decide_many(np.asarray(units, dtype=np.float64)[None, :], plan)
    return Decision.SLOWER if slower[0] else Decision.NOT_SLOWER if passed[0] else Decision.GO_ON


def decide_many(units: Vector, plan: Plan) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The decisions of many streams at one look: (slower, not slower), each [streams]. units: [streams, n]."""
    middle = np.median(units, axis=1)
    slower = (signed_rank_p(units) < plan.alpha) & (middle > plan.border)
    passed = (signed_rank_p(math.log1p(plan.tolerance) - units) < PASS_ERROR) & (middle <= plan.border)
    return slower, passed & ~slower


def is_faster(units: Vector, plan: Plan) -> bool:
    """Whether a cell that passed is faster by the same rule that would call it slower."""
    turned = -np.asarray(units, dtype=np.float64)[None, :]
    return bool(signed_rank_p(turned)[0] < plan.alpha and np.median(turned) > plan.border)


def signed_rank_p(values: Vector) -> Vector:
    """One-sided p of Wilcoxon's signed-rank test against a median of at most 0: values [streams, n] -> [streams].

    Exact: from the distribution of the sum of ranks over all 2^n signs. Zeros count for neither side, and ties share
    their rank, both of which make p larger, never smaller.
    """
    ranks = rankdata(np.abs(values), axis=1)
    positive = np.floor((ranks * (values > 0)).sum(axis=1)).astype(np.intp)
    found: Vector = _survival(values.shape[1])[positive]
    return found


@cache
def _survival(n: int) -> Vector:
    """P(sum of positive ranks >= w) for w = 0 .. n(n+1)/2, when every sign is a fair coin."""
    chance = np.zeros(n * (n + 1) // 2 + 1)
    chance[0] = 1.0
    for rank in range(1, n + 1):
        moved = np.zeros_like(chance)
        moved[rank:] = chance[:-rank]
        chance = (chance + moved) / 2
    found: Vector = np.minimum(1.0, chance[::-1].cumsum()[::-1])
    found.setflags(write=False)
    return found


def interval(units: Vector) -> tuple[float, float]:
    """Ends of the 95 % bootstrap interval of the ratio head / base, over process pairs; at least 5 units."""
    found = np.asarray(units, dtype=np.float64)
    low, high = stats.bootstrap(tuple(str(index) for index in range(found.size)), lambda draws: draws.medians(found))
    return math.exp(low), math.exp(high)


@dataclass(frozen=True)
class Forecast:
    """What a run on a machine of known noise will see, and how long it will take."""

    smallest: float | None
    """The slowdown that 95 % of runs find; None when not even twice the tolerance is found that often."""
    units: float
    """Mean number of units when nothing changed."""
    undecided: float
    """Part of runs that are left undecided when nothing changed."""


STREAMS = 1000
"""Simulated runs behind a forecast: a share of 95 % is then known within 1.4 %."""


def forecast(noise: float, plan: Plan, seed: int = stats.SEED) -> Forecast:
    """Run the rule on simulated units. noise: standard deviation of u when nothing changed."""
    still = np.random.Generator(np.random.PCG64(seed)).normal(0.0, noise, (STREAMS, plan.most))
    _, at_rest, units = run_many(still, plan)
    low, high = 0.0, math.log1p(2 * plan.tolerance)
    smallest: float | None = None
    if run_many(still + high, plan)[0].mean() >= DETECTED:
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if run_many(still + middle, plan)[0].mean() >= DETECTED else (middle, high)
        smallest = math.expm1(high)
    return Forecast(smallest, float(units.mean()), float(1 - at_rest.mean()))


def run_many(units: Vector, plan: Plan) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.intp]]:
    """The whole rule on many streams: (slower, decided, units used), each [streams]. units: [streams, plan.most]."""
    streams = len(units)
    slower, decided = np.zeros(streams, dtype=bool), np.zeros(streams, dtype=bool)
    used = np.full(streams, plan.most, dtype=np.intp)
    for count in plan.looks:
        left = np.flatnonzero(~decided)
        if not left.size:
            break
        bad, good = decide_many(units[left, :count], plan)
        slower[left[bad]] = True
        done = left[bad | good]
        decided[done], used[done] = True, count
    return slower, decided, used
