"""What else the machine did: arithmetic on readings, and the real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.measure.contamination import Contamination, Reading, _processor_times, between, contamination_warnings, read

BEFORE = Reading(wall_s=100.0, own_cpu_s=10.0, involuntary_switches=5, busy_s=50.0, steal_s=1.0, processors=2)


def test_what_others_used_is_what_was_busy_less_our_own() -> None:
    after = replace(BEFORE, wall_s=110.0, own_cpu_s=20.0, busy_s=63.0, steal_s=1.4, involuntary_switches=105)

    found = between(BEFORE, after)

    assert found.others == pytest.approx(0.3)
    assert found.steal == pytest.approx(0.02)
    assert found.switches_per_second == 10.0


def test_counters_that_tick_apart_do_not_make_a_negative_load() -> None:
    after = replace(BEFORE, wall_s=101.0, own_cpu_s=11.0, busy_s=50.99)

    assert between(BEFORE, after).others == 0.0


def test_nothing_is_claimed_of_a_window_shorter_than_the_kernels_ticks_allow() -> None:
    after = replace(BEFORE, wall_s=100.1, busy_s=51.0, steal_s=2.0, involuntary_switches=1000)

    assert contamination_warnings(between(BEFORE, after)) == ()


def test_nothing_is_claimed_where_the_kernel_does_not_say() -> None:
    blind = replace(BEFORE, busy_s=None, steal_s=None, involuntary_switches=None)

    assert between(blind, replace(blind, wall_s=110.0)) == Contamination(10.0, None, None, None)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Contamination(1.0, 0.05, 0.0, 0.0), "the hypervisor took 5% of the processors' time"),
        (Contamination(1.0, 0.0, 1.2, 0.0), "other programs used 1.2 processors"),
        (Contamination(1.0, 0.0, 0.0, 240.0), "the program was put aside 240 times a second"),
    ],
)
def test_each_sign_has_its_sentence(found: Contamination, expected: str) -> None:
    (warning,) = contamination_warnings(found)

    assert warning.startswith(expected)


def test_a_quiet_window_is_not_remarked_upon() -> None:
    assert contamination_warnings(Contamination(1.0, 0.02, 0.2, 50.0)) == ()


def test_only_the_processors_this_process_may_use_are_looked_at() -> None:
    # name user nice system idle iowait irq softirq steal guest guest_nice
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 1000 1000 4 5 6 7 8\ncpu1 100 0 0 0 0 0 0 50 0 0\nintr 1 2 3\n"
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")

    assert _processor_times(stat, frozenset({0})) == pytest.approx((15 * tick_s, 6 * tick_s))
    assert _processor_times(stat, frozenset({0, 1})) == pytest.approx((115 * tick_s, 56 * tick_s))
    assert _processor_times(stat, frozenset({7})) == (None, None)
    assert _processor_times("", frozenset({0})) == (None, None)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the kernel's counters are read from /proc")
def test_a_busy_neighbour_is_seen() -> None:
    """Programs that spin on every processor this process may use, while it sleeps."""
    ready = "import sys; print(flush=True)\nwhile True: pass"
    processors = len(os.sched_getaffinity(0))
    spinners = [
        subprocess.Popen([sys.executable, "-c", ready], stdout=subprocess.PIPE) for _ in range(min(processors, 4))
    ]
    try:
        for spinner in spinners:
            assert spinner.stdout is not None
            spinner.stdout.readline()
        before = read()
        time.sleep(0.4)
        after = read()
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.communicate()

    warnings = contamination_warnings(between(before, after))

    assert any(warning.startswith("other programs used") for warning in warnings)
