"""Medians and honest intervals from blocks of repeated measurements.

A *block* is one visit of one cell: one worker process, one round. Blocks, not single calls, are the units that are
resampled, because calls inside a visit share its momentary machine. Processes are resampled before the rounds inside
them (a two-stage cluster bootstrap), because placement of code and memory is drawn once for a process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Counts = NDArray[np.unsignedinteger[Any]]

RESAMPLES = 10_000
CONFIDENCE = 0.95
MIN_BLOCKS = 5
"""With four blocks the smallest and the largest still miss the true median in 12.5 % of cases, so no 95 % interval
of the median exists; five is the least at which it nearly does."""
SEED = 20_261_120
CHUNK = 4_000_000
"""Numbers gathered at once; bounds memory to about 32 MB whatever the number of blocks."""
MANY = 20_000_000
"""Above this many numbers the resamples are reduced, to 1,000 at the least."""

PART = re.compile(r"(.*p\d+)r\d+")


def process_of(part: str) -> str:
    """`p0` of `p0r3`, with the run in front where there is one; a part of another form is a process of its own."""
    match = PART.fullmatch(part)
    return match[1] if match else part


def median(values: Sequence[float] | Vector) -> float:
    """The middle value; the mean of the two middle ones when their number is even. Raises ValueError when empty."""
    if len(values) == 0:
        raise ValueError("the median of nothing")
    return float(np.median(np.asarray(values, dtype=np.float64)))


def relative_spread(values: Sequence[float] | Vector) -> float | None:
    """Interquartile range over the median: 0.02 means that half of the values lie within 2 % of each other.

    None for fewer than four values or a median of 0.
    """
    if len(values) < 4:
        return None
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return float((high - low) / abs(middle)) if middle else None


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation of pairs, -1 to 1; equal values share their mean rank. 0 where one side is constant.

    Raises ValueError for fewer than two pairs.
    """
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"a rank correlation takes two or more pairs, got {len(one)} and {len(other)} values")
    ranks = np.array([_ranks(one), _ranks(other)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    size = float(np.sqrt((centred**2).sum(axis=1).prod()))
    return float(centred[0] @ centred[1]) / size if size else 0.0


def _ranks(values: Sequence[float]) -> Vector:
    """Rank of each value from 0, mean ranks for ties."""
    found = np.asarray(values, dtype=np.float64)
    below, up_to = ((found[:, None] > found).sum(axis=1), (found[:, None] >= found).sum(axis=1))
    ranks: Vector = (below + up_to - 1) / 2
    return ranks


def why_no_interval(parts: Sequence[str]) -> str | None:
    """A sentence when these blocks are too few for an interval, else None."""
    if len(parts) >= MIN_BLOCKS:
        return None
    if len(parts) == 1:
        return "measured once, so there is no interval"
    return (
        f"{len(parts)} blocks (processes x rounds) are too few for a {CONFIDENCE:.0%} interval, "
        f"which takes {MIN_BLOCKS}; raise effort.rounds or effort.processes"
    )


@dataclass(frozen=True, eq=False)
class Draws:
    """Resamples of n blocks, as how often each block was drawn in each: counts [n, resamples]."""

    counts: Counts

    def medians(self, values: Vector) -> Vector:
        """The median of each resample of block values [n] -> [resamples]."""
        order = np.argsort(values, kind="stable")
        below = self.counts[order].cumsum(axis=0, dtype=self.counts.dtype)
        ordered: Vector = np.asarray(values, dtype=np.float64)[order]
        count = len(values)
        upper: Vector = ordered[(below <= count // 2).sum(axis=0)]
        lower: Vector = upper if count % 2 else ordered[(below <= count // 2 - 1).sum(axis=0)]
        return (lower + upper) / 2

    def means(self, values: Vector) -> Vector:
        """The mean of each resample of block values [n] -> [resamples]."""
        total: Vector = np.asarray(values, dtype=np.float64) @ self.counts.astype(np.float64)
        return total / len(values)


def everything(count: int) -> Draws:
    """The one resample that draws each of `count` blocks once: the data itself."""
    return Draws(np.ones((count, 1), dtype=_counting(count)))


def interval(resampled: Vector) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a statistic's resamples."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap(
    parts: Sequence[str], statistic: Callable[[Draws], Vector], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a statistic under the two-stage cluster bootstrap.

    Raises ValueError for fewer than MIN_BLOCKS blocks.
    """
    return interval(resample(parts, statistic, resamples=resamples, seed=seed))


def resample(
    parts: Sequence[str], statistic: Callable[[Draws], Vector], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Vector:
    """A statistic of every resample of the two-stage cluster bootstrap.

    parts: name of each block, `p<process>r<round>`. statistic: draws of these blocks -> one number for each resample.
    The same parts and seed give the same resamples, so numbers of one table move together and a report is
    reproducible to the last bit. Raises ValueError for fewer than MIN_BLOCKS blocks.
    """
    if reason := why_no_interval(parts):
        raise ValueError(reason)
    count = len(parts)
    resamples = min(resamples, max(1000, MANY // count))
    rows = max(1, CHUNK // count)
    processes = tuple(process_of(part) for part in parts)
    values = [
        statistic(_draw(processes, min(rows, resamples - start), seed + start)) for start in range(0, resamples, rows)
    ]
    return np.concatenate(values)


@lru_cache(maxsize=8)
def _draw(processes: tuple[str, ...], resamples: int, seed: int) -> Draws:
    """For each process a process drawn in its place, and for each of its blocks one of that one's.

    Every process counts as often as it has blocks, and every resample has as many blocks as the data.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    members: dict[str, list[int]] = {}
    for block, process in enumerate(processes):
        members.setdefault(process, []).append(block)
    sizes = np.array([len(each) for each in members.values()])
    table = np.zeros((len(members), sizes.max()), dtype=np.intp)
    for row, each in zip(table, members.values(), strict=True):
        row[: len(each)] = each
    owner = np.repeat(np.arange(len(members)), sizes)
    chosen = rng.integers(0, len(members), (resamples, len(members)))[:, owner]
    within = np.floor(rng.random(chosen.shape) * sizes[chosen]).astype(np.intp)
    drawn = table[chosen, within] * resamples + np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=len(processes) * resamples).astype(_counting(len(processes)))
    counts = counts.reshape(len(processes), resamples)
    counts.setflags(write=False)
    return Draws(counts)


def _counting(count: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type that can count to `count`."""
    return np.uint8 if count < 2**8 else np.uint16 if count < 2**16 else np.uint32
