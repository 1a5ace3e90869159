"""The gate's rule on thousands of simulated machines: no false alarms, no slowdown missed, and honest doubt.

The machine's speed drifts (AR(1)), single calls scatter and have outliers, and every process has an effect of its own
from where its code and memory came to lie. Nothing here measures time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import wilcoxon

from bench.gate.rule import (
    LOOKS,
    Decision,
    Plan,
    decide,
    decide_many,
    forecast,
    interval,
    is_faster,
    run_many,
    signed_rank_p,
)

STREAMS = 3000
INNER = 5
PAIRS = 4
MEMORY = 0.98
"""Correlation of the machine's speed from one slot to the next: it changes over about 50 slots."""


@dataclass(frozen=True)
class Noise:
    """A machine."""

    cv: float
    """Scatter of single calls."""
    drift: float
    """Standard deviation of the machine's speed over time."""
    process: float = 0.0
    """Standard deviation of the effect of a process."""
    outliers: float = 0.02
    """Part of calls that take 10 to 100 % longer."""

    def __str__(self) -> str:
        return f"cv{self.cv:g}-drift{self.drift:g}-process{self.process:g}"


@dataclass(frozen=True)
class Found:
    """Shares of all streams."""

    slower: float
    passed: float
    undecided: float
    units: float


def simulate(noise: Noise, slowdown: float, plan: Plan | None = None, *, inner: int = INNER, seed: int = 0) -> Found:
    """The whole rule on STREAMS machines that begin at different moments of their drift; head is slower by slowdown.

    Streams that are decided are not simulated further.
    """
    plan = plan or Plan()
    rng = np.random.Generator(np.random.SFC64(seed))
    units = np.zeros((STREAMS, 0))
    state = rng.normal(0, noise.drift, (STREAMS, 1)).astype(np.float32)
    left = np.arange(STREAMS)
    slower = passed = used = 0
    for count in plan.looks:
        fresh, state = unit_values(noise, slowdown, rng, state, count - units.shape[1], inner)
        units = np.concatenate([units, fresh], axis=1)
        bad, good = decide_many(units, plan)
        slower, passed = slower + int(bad.sum()), passed + int(good.sum())
        used += count * int((bad | good).sum())
        stay = ~(bad | good)
        units, state, left = units[stay], state[stay], left[stay]
        if not left.size:
            break
    return Found(slower / STREAMS, passed / STREAMS, left.size / STREAMS, (used + plan.most * left.size) / STREAMS)


def unit_values(
    noise: Noise, slowdown: float, rng: np.random.Generator, state: NDArray[np.float32], count: int, inner: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The next units of every stream [streams, count], and the state of its drift after them.

    Slots follow each other in the order base head head base base head head base.
    """
    streams = len(state)
    slots = count * 2 * PAIRS
    pushes = rng.standard_normal((streams, slots), dtype=np.float32) * np.float32(
        noise.drift * math.sqrt(1 - MEMORY**2)
    )
    pushes[:, 0] += MEMORY * state[:, 0]
    drift = lfilter([1.0], [1.0, -MEMORY], pushes, axis=1)
    calls = rng.standard_normal((streams, slots, inner), dtype=np.float32) * np.float32(noise.cv)
    # An outlier is a call whose own draw falls into the share of outliers; how much longer it takes is drawn anew.
    hit = rng.random((streams, slots, inner), dtype=np.float32)
    calls += np.where(hit < noise.outliers, np.log1p(0.1 + 0.9 * hit / max(noise.outliers, 1e-9)), 0.0)
    slot = np.median(calls, axis=2) + drift
    process = rng.standard_normal((streams, count, 2, 1), dtype=np.float32) * np.float32(noise.process)
    slot = slot.reshape(streams, count, PAIRS, 2)
    first, second = slot[..., 0], slot[..., 1]
    turned = np.arange(PAIRS) % 2 == 1
    base, head = np.where(turned, second, first), np.where(turned, first, second)
    pairs = head + process[:, :, 1] - base - process[:, :, 0] + math.log1p(slowdown)
    return np.median(pairs, axis=2).astype(np.float64), drift[:, -1:].astype(np.float32)


QUIET = Noise(0.01, 0.02)
USUAL = Noise(0.03, 0.05)
LOUD = Noise(0.05, 0.05)
WILD = Noise(0.08, 0.08, outliers=0.10)
PLACED = [Noise(0.03, 0.05, process) for process in (0.01, 0.02, 0.03)]
MACHINES = [QUIET, USUAL, LOUD, WILD, *PLACED, Noise(0.05, 0.05, 0.03)]


@pytest.mark.parametrize("noise", MACHINES, ids=str)
def test_identical_code_is_not_called_slower(noise: Noise) -> None:
    """3,000 runs on each machine, before the confirmation that makes a false alarm rarer still."""
    found = simulate(noise, 0.0)

    assert found.slower <= 0.01
    assert found.undecided <= 0.02


@pytest.mark.parametrize("noise", MACHINES, ids=str)
def test_five_per_cent_are_found_and_never_called_unchanged(noise: Noise) -> None:
    found = simulate(noise, 0.05)

    assert found.slower >= 0.97
    assert found.passed <= 0.02


@pytest.mark.parametrize("noise", [USUAL, WILD, PLACED[-1]], ids=str)
def test_ten_per_cent_are_found_at_once(noise: Noise) -> None:
    found = simulate(noise, 0.10)

    assert found.slower == 1.0
    assert found.units < 25


def test_a_change_inside_the_tolerance_mostly_passes() -> None:
    assert simulate(QUIET, 0.02).slower < 0.2


def test_a_faster_head_is_never_called_slower() -> None:
    found = simulate(LOUD, -0.05)

    assert found.slower == 0.0 and found.passed > 0.99


def test_twenty_cells_together_raise_no_more_alarms_than_one() -> None:
    """Each of 20 cells may be called slower in a twentieth of 1 % of runs."""
    found = simulate(WILD, 0.0, Plan(cells=20))

    assert found.slower <= 0.0005 + 3 * math.sqrt(0.0005 / STREAMS)


def test_single_calls_instead_of_medians_lose_power_on_a_wild_machine() -> None:
    """Why a slot is the median of five calls."""
    one, five = simulate(WILD, 0.05, inner=1), simulate(WILD, 0.05)

    assert one.slower < five.slower - 0.05
    assert one.units > 2 * five.units


def test_a_machine_that_is_too_noisy_is_left_undecided_rather_than_judged() -> None:
    found = simulate(Noise(0.20, 0.30, 0.20), 0.0)

    assert found.undecided > 0.1
    assert found.slower <= 0.01


def test_slot_pairs_as_units_would_raise_false_alarms() -> None:
    """The control: the same noise, with every slot pair counted as if it were a process pair of its own."""
    rng = np.random.Generator(np.random.SFC64(1))
    processes = 3
    placed = rng.normal(0, 0.03, (STREAMS, processes, 1)) - rng.normal(0, 0.03, (STREAMS, processes, 1))
    pairs = (placed + rng.normal(0, 0.02, (STREAMS, processes, PAIRS))).reshape(STREAMS, -1)

    slower, _ = decide_many(pairs, Plan())

    assert slower.mean() > 0.02


@pytest.mark.parametrize("n", [5, 12, 20, 33])
def test_the_signed_rank_test_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1.0, (20, n))

    expected = [wilcoxon(row, alternative="greater", method="exact").pvalue for row in values]

    np.testing.assert_allclose(signed_rank_p(values), expected, rtol=1e-10)


def test_the_smallest_p_of_twelve_units_allows_one_cell_but_not_twenty() -> None:
    sure = np.full((1, 12), 0.06) + np.linspace(0, 0.001, 12)

    assert signed_rank_p(sure)[0] == pytest.approx(2.0**-12)
    assert decide(sure[0], Plan(cells=1)) is Decision.SLOWER
    assert decide(sure[0], Plan(cells=20)) is Decision.GO_ON


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=30))
@settings(deadline=None)
def test_zeros_and_ties_never_make_a_result_surer_than_it_is(values: list[float]) -> None:
    """Rounding to few different numbers makes zeros and ties; both one-sided p together stay at least 1."""
    rounded = np.round(np.array(values), 1)[None, :]

    assert signed_rank_p(rounded)[0] + signed_rank_p(-rounded)[0] >= 1.0 - 1e-9


@pytest.mark.parametrize(
    ("middle", "decision"),
    [(0.06, Decision.SLOWER), (0.0, Decision.NOT_SLOWER), (-0.2, Decision.NOT_SLOWER), (0.024, Decision.NOT_SLOWER)],
)
def test_steady_units_are_decided_at_the_first_look(middle: float, decision: Decision) -> None:
    units = middle + 0.002 * np.sin(np.arange(LOOKS[0]))

    assert decide(units, Plan()) is decision


def test_units_on_both_sides_of_the_border_go_on() -> None:
    assert decide(np.where(np.arange(12) % 2, 0.2, -0.15), Plan()) is Decision.GO_ON


def test_faster_is_said_by_the_same_rule() -> None:
    units = 0.002 * np.sin(np.arange(20))

    assert is_faster(units - 0.06, Plan())
    assert not is_faster(units - 0.01, Plan())
    assert not is_faster(units + 0.06, Plan())


def test_the_interval_of_the_ratio_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    ends = [interval(rng.normal(math.log(1.05), 0.02, 20)) for _ in range(200)]

    assert 0.88 <= np.mean([low <= 1.05 <= high for low, high in ends]) <= 1.0


def test_the_forecast_knows_what_the_rule_will_see() -> None:
    quiet, loud = forecast(0.005, Plan()), forecast(0.06, Plan())

    assert quiet.smallest is not None and loud.smallest is not None
    assert 0.025 < quiet.smallest < 0.032
    assert quiet.units == pytest.approx(12, abs=0.5)
    assert loud.smallest > quiet.smallest and loud.units > quiet.units
    rng = np.random.default_rng(9)
    again = run_many(math.log1p(loud.smallest) + rng.normal(0, 0.06, (STREAMS, LOOKS[-1])), Plan())[0].mean()
    assert again == pytest.approx(0.95, abs=0.025)


def test_the_forecast_says_when_a_machine_sees_nothing() -> None:
    assert forecast(1.0, Plan()).smallest is None
