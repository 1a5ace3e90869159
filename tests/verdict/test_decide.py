"""The truth table, row by row, and what must hold of every row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.verdict.decide import Better, decide_difference, decide_exact, decide_ratio
from bench.verdict.outcome import Outcome

OPPOSITE = {Outcome.REGRESSED: Outcome.IMPROVED, Outcome.IMPROVED: Outcome.REGRESSED}
better = st.sampled_from(["lower", "higher"])
sizes = st.floats(0.01, 100.0)


@pytest.mark.parametrize(
    ("base", "new", "better", "outcome"),
    [
        ((5.0,), (5.0,), "lower", Outcome.UNCHANGED),
        ((5.0,), (5.0,), None, Outcome.UNCHANGED),
        ((5.0,), (6.0,), "lower", Outcome.REGRESSED),
        ((5.0,), (4.0,), "lower", Outcome.IMPROVED),
        ((5.0,), (6.0,), "higher", Outcome.IMPROVED),
        ((5.0,), (4.0,), "higher", Outcome.REGRESSED),
        ((5.0,), (4.0,), None, Outcome.REGRESSED),
        ((5.0,), (5.0 + 1e-15,), "lower", Outcome.REGRESSED),
        ((35_710_339.0,), (35_710_340.0,), "lower", Outcome.REGRESSED),
        ((0.0, 1.0), (0.0, 1.0), None, Outcome.UNCHANGED),
        ((0.0, 1.0), (0.0, 0.0), "lower", Outcome.REGRESSED),
        ((0.0, 1.0), (0.0,), "lower", Outcome.REGRESSED),
    ],
)
def test_exact_numbers_count_every_change(
    base: tuple[float, ...], new: tuple[float, ...], better: Better, outcome: Outcome
) -> None:
    assert decide_exact(base, new, better) is outcome


@pytest.mark.parametrize(
    ("interval", "better", "outcome"),
    [
        (None, "lower", Outcome.UNDECIDED),
        ((1.11, 1.20), "lower", Outcome.REGRESSED),
        ((1.11, 1.20), "higher", Outcome.IMPROVED),
        ((1.11, 1.20), None, Outcome.REGRESSED),
        ((0.80, 0.90), "lower", Outcome.IMPROVED),
        ((0.80, 0.90), "higher", Outcome.REGRESSED),
        ((0.80, 0.90), None, Outcome.REGRESSED),
        ((0.95, 1.05), "lower", Outcome.UNCHANGED),
        ((1.01, 1.09), "lower", Outcome.UNCHANGED),
        ((1.05, 1.15), "lower", Outcome.UNDECIDED),
        ((0.50, 2.00), "lower", Outcome.UNDECIDED),
        ((0.85, 1.00), "lower", Outcome.UNDECIDED),
    ],
)
def test_times_are_judged_by_the_interval_of_their_ratio(
    interval: tuple[float, float] | None, better: Better, outcome: Outcome
) -> None:
    assert decide_ratio(interval, 0.10, better) is outcome


@pytest.mark.parametrize(
    ("difference", "interval", "better", "outcome"),
    [
        (0.0, None, "lower", Outcome.UNCHANGED),
        (1.0, None, "lower", Outcome.UNCHANGED),
        (-1.0, None, "lower", Outcome.UNCHANGED),
        (1.1, None, "lower", Outcome.REGRESSED),
        (-1.1, None, "lower", Outcome.IMPROVED),
        (1.1, None, "higher", Outcome.IMPROVED),
        (-1.1, None, None, Outcome.REGRESSED),
        (1.1, (0.2, 2.0), "lower", Outcome.REGRESSED),
        (1.1, (-0.2, 2.4), "lower", Outcome.UNDECIDED),
        (1.1, (0.0, 2.4), "lower", Outcome.UNDECIDED),
        (0.5, (0.4, 0.6), "lower", Outcome.UNCHANGED),
    ],
)
def test_numbers_that_repeat_are_judged_by_their_tolerance(
    difference: float, interval: tuple[float, float] | None, better: Better, outcome: Outcome
) -> None:
    assert decide_difference(difference, 1.0, better, interval) is outcome


@given(sizes, sizes, better)
def test_exchanging_the_sides_exchanges_better_and_worse_of_exact_numbers(
    base: float, new: float, better: Better
) -> None:
    found = decide_exact((base,), (new,), better)

    assert decide_exact((new,), (base,), better) is OPPOSITE.get(found, found)


@given(sizes, sizes, st.floats(0.0, 0.5), better)
def test_exchanging_the_sides_exchanges_better_and_worse_of_times(
    one: float, other: float, tolerance: float, better: Better
) -> None:
    low, high = sorted((one, other))

    found = decide_ratio((low, high), tolerance, better)

    # log(1/x) and -log(x) may differ in the last bit, so an interval that ends on the limit may fall to either side.
    tighter, wider = (decide_ratio((1 / high, 1 / low), each, better) for each in (tolerance * (1 - 1e-9), tolerance))
    assert OPPOSITE.get(found, found) in (tighter, wider, decide_ratio((1 / high, 1 / low), tolerance + 1e-9, better))


@given(st.floats(-10, 10), st.floats(0, 5), better, st.none() | st.tuples(st.floats(-20, 0), st.floats(0, 20)))
def test_exchanging_the_sides_exchanges_better_and_worse_of_scores(
    difference: float, tolerance: float, better: Better, around: tuple[float, float] | None
) -> None:
    interval = None if around is None else (difference + around[0], difference + around[1])
    turned = None if interval is None else (-interval[1], -interval[0])

    found = decide_difference(difference, tolerance, better, interval)

    assert decide_difference(-difference, tolerance, better, turned) is OPPOSITE.get(found, found)


@given(sizes, sizes, st.floats(0.0, 0.5), better)
def test_a_wider_tolerance_never_makes_a_change_worse(
    one: float, other: float, tolerance: float, better: Better
) -> None:
    """A change that does not matter at some tolerance does not matter at any larger one."""
    interval = (min(one, other), max(one, other))

    if decide_ratio(interval, tolerance, better) is Outcome.UNCHANGED:
        assert decide_ratio(interval, tolerance + 0.1, better) is Outcome.UNCHANGED
    if decide_difference(one - other, tolerance, better) is Outcome.UNCHANGED:
        assert decide_difference(one - other, tolerance + 0.1, better) is Outcome.UNCHANGED


@given(sizes, sizes, better)
def test_a_number_that_is_called_unchanged_lies_within_the_tolerance(one: float, other: float, better: Better) -> None:
    low, high = sorted((one, other))

    if decide_ratio((low, high), 0.10, better) is Outcome.UNCHANGED:
        assert low * (1 + 1e-12) >= 1 / 1.1 and high <= 1.1 * (1 + 1e-12)
