"""What else the machine did while a timed region ran, and the sentences a reader must see about it.

The kernel counts everything, so two cheap readings around a region tell what was between them; nothing polls while it
runs. Torch-free. Where the kernel does not say (no /proc), the facts are absent and nothing is claimed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

MAX_STEAL = 0.02
"""Largest fraction of processor time the hypervisor may take away."""
MAX_OTHERS = 0.2
"""Largest load of other programs, in processors, on the processors this process may use."""
MAX_SWITCHES_PER_SECOND = 50.0
"""Involuntary context switches. A busy program on a quiet machine sees a few a second, one that shares its processor
with another about 250."""
SHORTEST_WINDOW_S = 0.2
"""The kernel counts processor time in hundredths of a second: below this, shares mean nothing."""


@dataclass(frozen=True)
class Reading:
    """What the kernel has counted so far."""

    wall_s: float
    own_cpu_s: float
    """Processor time of this process, all threads, user and system."""
    involuntary_switches: int | None
    busy_s: float | None
    """Time the processors this process may use were not idle, summed over them; includes this process."""
    steal_s: float | None
    """Time the hypervisor ran something else instead."""
    processors: int
    """How many processors this process may use."""


@dataclass(frozen=True)
class Contamination:
    """What was between two readings."""

    window_s: float
    steal: float | None
    """Fraction of the processors' time taken by the hypervisor; None when unknown or the window is too short."""
    others: float | None
    """Load of other programs in processors, on average; None when unknown or the window is too short."""
    switches_per_second: float | None


def read() -> Reading:
    """Read the kernel's counters now. Takes well under a millisecond; do it outside the timed region."""
    times = os.times()
    processors = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
    busy_s, steal_s = _processor_times(_text(Path("/proc/stat")), processors)
    return Reading(
        wall_s=time.perf_counter(),
        own_cpu_s=times.user + times.system,
        involuntary_switches=_involuntary_switches(),
        busy_s=busy_s,
        steal_s=steal_s,
        processors=len(processors) or (os.cpu_count() or 1),
    )


def between(before: Reading, after: Reading) -> Contamination:
    """The shares of what happened from one reading to the other."""
    window_s = after.wall_s - before.wall_s
    long_enough = window_s >= SHORTEST_WINDOW_S
    steal = others = switches = None
    if long_enough and before.busy_s is not None and after.busy_s is not None:
        own_s = after.own_cpu_s - before.own_cpu_s
        # The two counters tick apart by up to 0.01 s, so a share just below zero is zero.
        others = max(0.0, (after.busy_s - before.busy_s - own_s) / window_s)
    if long_enough and before.steal_s is not None and after.steal_s is not None:
        steal = (after.steal_s - before.steal_s) / (window_s * after.processors)
    if long_enough and before.involuntary_switches is not None and after.involuntary_switches is not None:
        switches = (after.involuntary_switches - before.involuntary_switches) / window_s
    return Contamination(window_s, steal, others, switches)


def contamination_warnings(found: Contamination) -> tuple[str, ...]:
    """One plain sentence, ending in advice, for each sign that something else ran in the window."""
    warnings = []
    if found.steal is not None and found.steal > MAX_STEAL:
        warnings.append(
            f"the hypervisor took {found.steal:.0%} of the processors' time away while this ran; "
            "measure again when the host is quieter"
        )
    if found.others is not None and found.others > MAX_OTHERS:
        warnings.append(
            f"other programs used {found.others:.1f} processors while this ran; close them and measure again"
        )
    if found.switches_per_second is not None and found.switches_per_second > MAX_SWITCHES_PER_SECOND:
        warnings.append(
            f"the program was put aside {found.switches_per_second:.0f} times a second while this ran; "
            "close other programs or ask for fewer threads"
        )
    return tuple(warnings)


def processor_times(processors: frozenset[int]) -> tuple[float | None, float | None]:
    """(busy, steal) seconds of some processors since the machine started; None where the kernel does not say."""
    return _processor_times(_text(Path("/proc/stat")), processors)


def _processor_times(stat: str, processors: frozenset[int]) -> tuple[float | None, float | None]:
    """(busy, steal) seconds of the given processors, from the text of /proc/stat; None where it does not say."""
    names = {f"cpu{number}" for number in processors}
    rows = [line.split() for line in stat.splitlines()]
    # user nice system idle iowait irq softirq steal; guest time is already inside user.
    counts = [[int(count) for count in row[1:9]] for row in rows if row and row[0] in names and len(row) >= 9]
    if not counts:
        return None, None
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    busy = sum(user + nice + system + irq + softirq for user, nice, system, _, _, irq, softirq, _ in counts)
    return busy * tick_s, sum(row[7] for row in counts) * tick_s


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # not a Unix system
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
