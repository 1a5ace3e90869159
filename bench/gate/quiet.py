"""Which processors to measure on, and whether something else ran on them meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from bench.measure.contamination import (
    MAX_OTHERS,
    MAX_STEAL,
    MAX_SWITCHES_PER_SECOND,
    SHORTEST_WINDOW_S,
    processor_times,
)

LOOK_S = 0.1
"""How long the processors are looked at to find the quietest."""


@dataclass(frozen=True)
class Moment:
    """What the kernel has counted so far on some processors."""

    wall_s: float
    busy_s: float | None
    steal_s: float | None


def moment(cores: frozenset[int]) -> Moment:
    """Read the counters; takes well under a millisecond."""
    busy_s, steal_s = processor_times(cores)
    return Moment(time.perf_counter(), busy_s, steal_s)


def quietest(count: int) -> frozenset[int]:
    """The `count` processors that did least in the last tenth of a second, of those this process may use.

    Empty where a process cannot be pinned. Processors with higher numbers are preferred among equals: interrupts
    mostly go to the first.
    """
    if not hasattr(os, "sched_getaffinity"):
        return frozenset()
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    before = {core: processor_times(frozenset({core}))[0] for core in allowed}
    time.sleep(LOOK_S)
    after = {core: processor_times(frozenset({core}))[0] for core in allowed}
    used = {core: round((after[core] or 0.0) - (before[core] or 0.0), 2) for core in allowed}
    return frozenset(sorted(allowed, key=lambda core: used[core])[:count])


def disturbed(before: Moment, after: Moment, cores: frozenset[int], own_cpu_s: float, switches: int) -> str | None:
    """Why what was measured between two moments does not count; None when the processors were ours.

    own_cpu_s: processor time that both sides used. switches: how often they were put aside against their will.
    """
    window_s = after.wall_s - before.wall_s
    if window_s < SHORTEST_WINDOW_S:
        return None
    if before.steal_s is not None and after.steal_s is not None and cores:
        steal = (after.steal_s - before.steal_s) / (window_s * len(cores))
        if steal > MAX_STEAL:
            return f"the hypervisor took {steal:.0%} of the processor's time"
    if before.busy_s is not None and after.busy_s is not None and cores:
        others = (after.busy_s - before.busy_s - own_cpu_s) / window_s
        if others > MAX_OTHERS:
            return f"other programs used {others:.1f} of the processor"
    if switches / window_s > MAX_SWITCHES_PER_SECOND:
        return f"the program was put aside {switches / window_s:.0f} times a second"
    return None
