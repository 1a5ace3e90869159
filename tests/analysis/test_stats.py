"""Medians and intervals against known answers and simulated truth."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from bench.analysis import stats
from bench.analysis.stats import Draws, bootstrap, everything, rank_correlation


def parts_of(processes: int, rounds: int) -> tuple[str, ...]:
    return tuple(f"p{process}r{turn}" for process in range(processes) for turn in range(rounds))


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    assert stats.median([4.0, 1.0, 3.0, 2.0]) == 2.5
    assert stats.median([9.0, 1.0, 2.0]) == 2.0


def test_the_median_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        stats.median([])


def test_the_relative_spread_is_the_interquartile_range_over_the_median() -> None:
    assert stats.relative_spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert stats.relative_spread([1.0, 2.0, 3.0]) is None
    assert stats.relative_spread([0.0, 0.0, 0.0, 0.0]) is None


@pytest.mark.parametrize(
    ("part", "process"),
    [("p0r3", "p0"), ("p12r0", "p12"), ("run-1/p0r3", "run-1/p0"), ("17", "17"), ("run-1/", "run-1/"), ("p0", "p0")],
)
def test_the_process_of_a_part(part: str, process: str) -> None:
    assert stats.process_of(part) == process


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)), st.integers(0, 2**32))
def test_counted_medians_are_the_medians_of_the_resamples(values: np.ndarray, seed: int) -> None:
    index = np.random.default_rng(seed).integers(0, len(values), (25, len(values)))
    counts = np.stack([(index == block).sum(axis=1) for block in range(len(values))]).astype(np.uint8)

    assert np.array_equal(Draws(counts).medians(values), np.median(values[index], axis=1))
    assert np.allclose(Draws(counts).means(values), values[index].mean(axis=1), atol=1e-6)


def test_more_blocks_than_a_byte_can_count_are_counted() -> None:
    values = np.arange(1000.0)

    assert everything(1000).medians(values)[0] == 499.5
    low, high = bootstrap([str(i) for i in range(1000)], lambda draws: draws.medians(values))
    assert 440 < low < 499.5 < high < 560


def test_every_resample_draws_as_many_blocks_as_there_are_and_whole_processes() -> None:
    draws = stats._draw(("p0", "p0", "p0", "p1", "p1"), 500, 7)

    assert (draws.counts.sum(axis=0) == 5).all()
    from_first = draws.counts[:3].sum(axis=0)
    assert set(from_first.tolist()) == {0, 2, 3, 5}  # p0 drawn for neither, for p1 only, for p0 only, for both


def test_the_bootstrap_of_one_process_gives_the_exact_distribution() -> None:
    """All 5^5 resamples of five blocks, by hand, against 10,000 drawn ones."""
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    medians = sorted(float(np.median(choice)) for choice in itertools.product(values, repeat=5))
    share = {value: Fraction(medians.count(value), len(medians)) for value in values}

    draws = stats._draw(("p0",) * 5, 10_000, stats.SEED)
    found = draws.medians(values)

    for value, expected in share.items():
        assert (found == value).mean() == pytest.approx(float(expected), abs=0.015)


def test_the_interval_is_the_same_every_time() -> None:
    values = np.random.default_rng(0).random(10)
    parts = parts_of(2, 5)

    first = bootstrap(parts, lambda draws: draws.medians(values))
    stats._draw.cache_clear()

    assert bootstrap(parts, lambda draws: draws.medians(values)) == first


def test_blocks_that_agree_have_an_interval_of_no_width() -> None:
    assert bootstrap(parts_of(2, 5), lambda draws: draws.medians(np.full(10, 3.0))) == (3.0, 3.0)


def test_processes_that_disagree_widen_the_interval_to_both() -> None:
    """Rounds alone would put the interval near the middle; processes as units reach from one to the other."""
    values = np.array([1.0] * 5 + [2.0] * 5)

    assert bootstrap(parts_of(2, 5), lambda draws: draws.medians(values)) == (1.0, 2.0)


@pytest.mark.parametrize(("count", "words"), [(1, "measured once"), (4, "4 blocks .* too few .* raise effort.rounds")])
def test_too_few_blocks_have_no_interval_and_a_reason(count: int, words: str) -> None:
    parts = parts_of(1, count)

    with pytest.raises(ValueError, match=words):
        bootstrap(parts, lambda draws: draws.medians(np.arange(float(count))))
    assert stats.why_no_interval(parts_of(1, 5)) is None


def test_many_blocks_are_resampled_in_pieces() -> None:
    seen: list[int] = []

    def statistic(draws: Draws) -> np.ndarray:
        seen.append(draws.counts.shape[1])
        return draws.means(np.ones(5000))

    bootstrap([str(index) for index in range(5000)], statistic)

    assert sum(seen) == 4000  # MANY // 5000
    assert max(seen) * 5000 <= stats.CHUNK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "rounds", "placement", "least"),
    [
        (2, 5, 0.0, 0.94),
        (2, 10, 0.0, 0.94),
        (5, 5, 0.0, 0.94),
        (5, 5, 0.01, 0.93),
        (10, 5, 0.02, 0.93),
        (2, 5, 0.01, 0.86),  # two processes cannot show how processes vary; said in the module's docstring
    ],
)
def test_the_interval_covers_the_truth(processes: int, rounds: int, placement: float, least: float) -> None:
    """Log-normal noise of 2 %, one visit in twenty slowed by 10 to 50 %, and a placement effect for each process."""
    rng = np.random.default_rng(20_261_120)
    parts = parts_of(processes, rounds)
    trials, hits = 1500, 0
    truth = float(np.median(_visits(rng, (400_000,), 0.0)))
    for _ in range(trials):
        placed = rng.normal(0, placement, (processes, 1)) if placement else 0.0
        values = (_visits(rng, (processes, rounds), 0.0) * np.exp(placed)).ravel()
        low, high = bootstrap(parts, partial(Draws.medians, values=values), resamples=2000)
        hits += low <= truth <= high

    assert hits / trials >= least


def _visits(rng: np.random.Generator, shape: tuple[int, ...], shift: float) -> np.ndarray:
    slow = 1 + (rng.random(shape) < 0.05) * rng.uniform(0.1, 0.5, shape)
    return np.exp(rng.normal(shift, 0.02, shape)) * slow


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30))
def test_rank_correlation_is_scipys(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)

    found = rank_correlation(one, other)

    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation(other, one) == pytest.approx(found)


def test_a_rank_correlation_takes_pairs() -> None:
    with pytest.raises(ValueError, match="two or more pairs, got 1 and 1"):
        rank_correlation([1.0], [2.0])
