"""An interval where a file keeps the median of its times and what it says of their spread, and not the times.

The standard error of the median of n values that scatter by s is about sqrt(pi / 2) s / sqrt(n), and s of a normal
distribution is its interquartile range over 1.349, which outliers do not move. Rounds next to each other share their
momentary machine, so they count as VISITS at most, as they do where the times are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis import stats
from bench.contracts import Scalar
from bench.store.record import Record

VISITS = 20
"""As how many independent ones the rounds of one process count at most."""
IQR_OF_NORMAL = 1.349
STORED, MEDIAN = "stored", "median"
"""A key of a record's subject, and its value where nothing but a median was kept."""
ROUNDS, IQR, STDDEV = "rounds", "iqr", "stddev"
"""Keys beside it; the last two in seconds."""


@dataclass(frozen=True)
class Summary:
    """A median of times, and what is known of it."""

    median: float
    rounds: int
    error: float
    """Standard error of the logarithm of the median."""

    def resampled(self, seed: int) -> stats.Vector:
        """Logarithms that the median could have had, by Student's distribution of so many rounds."""
        draws = np.random.default_rng(seed).standard_t(min(VISITS, self.rounds) - 1, stats.RESAMPLES)
        logarithms: stats.Vector = math.log(self.median) + self.error * draws
        return logarithms


def is_summary(records: Sequence[Record]) -> bool:
    """Whether a median is all that was kept."""
    return len(records) == 1 and records[0].subject.get(STORED) == MEDIAN


def summary(record: Record) -> Summary | None:
    """None where too little is said for an interval: fewer than five rounds, or nothing of their spread."""
    rounds, spread = _number(record.subject, ROUNDS), _spread(record.subject)
    median = record.values[0]
    if rounds is None or rounds < stats.MIN_BLOCKS or spread is None or median <= 0:
        return None
    error = math.sqrt(math.pi / 2) * spread / median / math.sqrt(min(VISITS, rounds))
    return Summary(median, int(rounds), error)


def _spread(subject: Mapping[str, Scalar]) -> float | None:
    """Standard deviation of the times; a range of 0 is that of a coarse clock, and says nothing."""
    iqr = _number(subject, IQR)
    return iqr / IQR_OF_NORMAL if iqr else _number(subject, STDDEV)


def _number(subject: Mapping[str, Scalar], name: str) -> float | None:
    value = subject.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e18 else None
