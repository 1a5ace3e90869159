"""Medians and honest intervals from blocks of repeated measurements.

A *block* is one visit of one cell: one worker process, one round. Blocks, not single calls, are the units that are
resampled, because calls inside a visit share its momentary machine. Processes are resampled before the rounds inside
them (a two-stage cluster bootstrap), because placement of code and memory is drawn once for a process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

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


def bootstrap(
    parts: Sequence[str],
    statistic: Callable[[NDArray[np.intp]], Vector],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a statistic under the two-stage cluster bootstrap.

    parts: name of each block, `p<process>r<round>`. statistic: block indices [resamples, blocks] -> [resamples].
    The same parts and seed give the same resamples, so numbers of one table move together and a report is
    reproducible to the last bit. Raises ValueError for fewer than MIN_BLOCKS blocks.
    """
    if reason := why_no_interval(parts):
        raise ValueError(reason)
    count = len(parts)
    resamples = min(resamples, max(1000, MANY // count))
    rows = max(1, CHUNK // count)
    processes = tuple(process_of(part) for part in parts)
    values = np.concatenate(
        [statistic(_draw(processes, min(rows, resamples - start), seed + start)) for start in range(0, resamples, rows)]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=32)
def _draw(processes: tuple[str, ...], resamples: int, seed: int) -> NDArray[np.intp]:
    """Indices [resamples, blocks]: for each process a process drawn instead, for each of its blocks one of that one's.

    Every process counts as often as it has blocks, and every resample has as many blocks as the data.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    names = list(dict.fromkeys(processes))
    members = [np.flatnonzero(np.array([each == name for each in processes])) for name in names]
    sizes = np.array([len(each) for each in members])
    table = np.zeros((len(names), sizes.max()), dtype=np.intp)
    for row, each in zip(table, members, strict=True):
        row[: len(each)] = each
    chosen = rng.integers(0, len(names), (resamples, len(names)))[:, np.repeat(np.arange(len(names)), sizes)]
    within = np.floor(rng.random(chosen.shape) * sizes[chosen]).astype(np.intp)
    indices: NDArray[np.intp] = table[chosen, within]
    indices.setflags(write=False)
    return indices
