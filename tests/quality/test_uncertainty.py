"""Intervals that cover, lines that end at the truth, floors that real images set."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import MeasurementError
from bench.quality.frechet import frechet_distance, frechet_of_features, frechet_to_moments
from bench.quality.moments import Moments, moments_of
from bench.quality.uncertainty import (
    bootstrap_distances,
    bootstrap_interval,
    extrapolate,
    influence,
    real_floor,
)

Array = NDArray[np.float64]


def normal(n: int, d: int, *seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize(("n", "d"), [(200, 8), (30, 64), (64, 64), (65, 64)])
def test_a_replicate_is_the_distance_of_the_resampled_images(n: int, d: int) -> None:
    rows, reference = normal(n, d, 1) + 50.0, moments_of(normal(300, d, 2) + 50.1)

    found = bootstrap_distances(rows, reference, replicates=5, seed=9)

    for index in range(5):
        drawn = np.random.default_rng([9, index]).integers(0, n, n)
        assert found[index] == pytest.approx(frechet_to_moments(rows[drawn], reference).value, rel=1e-7)


def test_a_reference_that_is_not_of_full_rank_is_resampled_against_too() -> None:
    rows, reference = normal(100, 16, 1), moments_of(normal(10, 16, 2))

    found = bootstrap_distances(rows, reference, replicates=3, seed=0)

    drawn = np.random.default_rng([0, 1]).integers(0, 100, 100)
    assert found[1] == pytest.approx(frechet_to_moments(rows[drawn], reference).value, rel=1e-7)


def test_the_interval_covers_the_mean_of_the_distance_about_as_often_as_it_says() -> None:
    d, n, sets = 6, 200, 80
    reference = Moments(None, np.full(d, 0.3), np.eye(d))  # exact, so only the images vary
    values = [frechet_to_moments(normal(n, d, 5, i), reference).value for i in range(1000)]
    centre = float(np.mean(values))

    intervals = [bootstrap_interval(normal(n, d, 5, i), reference, replicates=60, seed=i) for i in range(sets)]

    covered = sum(each.low <= centre <= each.high for each in intervals)
    # 95 % of 80 is 76, give or take 1.9; percentile intervals of a skewed statistic are a little short.
    assert 69 <= covered <= 79


def test_the_interval_lies_around_the_estimate_though_the_replicates_do_not() -> None:
    reference = moments_of(normal(5000, 32, 1))
    rows = normal(300, 32, 2)

    interval = bootstrap_interval(rows, reference, seed=0)
    estimate = frechet_to_moments(rows, reference).value

    assert interval.low < estimate < interval.high
    assert interval.bias > 0.5 * estimate  # equal distributions: the whole estimate is bias, and doubles
    assert float(np.mean(interval.replicates)) == pytest.approx(estimate)
    assert len(interval.replicates) == 200


def test_the_influence_of_an_image_is_the_derivative_of_the_distance_towards_it() -> None:
    rows, reference = normal(400, 6, 1) * 1.3, moments_of(normal(500, 6, 2) + 0.2)
    pull = influence(rows, reference)
    base = moments_of(rows)

    for image in (0, 17, 399):
        step, gap = 1e-5, rows[image] - base.mu
        # The distribution with a little more weight on this image; population covariances mix linearly.
        population = base.cov * (1 - 1 / 400)
        mixed = (1 - step) * population + step * (1 - step) * np.outer(gap, gap)
        moved = Moments(None, base.mu + step * gap, mixed)
        change = (
            frechet_distance(moved, reference).raw - frechet_distance(Moments(None, base.mu, population), reference).raw
        )
        assert pull[image] == pytest.approx(change / step, rel=2e-2, abs=2e-2)
    assert float(pull.mean()) == pytest.approx(0.0, abs=1e-9)


def test_far_more_images_than_features_are_linearised_to_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, reference = normal(3000, 8, 3) * 1.2 + 0.1, moments_of(normal(3000, 8, 4))
    exact = bootstrap_interval(rows, reference, replicates=300)

    monkeypatch.setattr("bench.quality.uncertainty.EXACT_WORK", 0)
    linear = bootstrap_interval(rows, reference, replicates=300)

    assert (exact.method, linear.method) == ("bootstrap", "linearised bootstrap")
    assert linear.high - linear.low == pytest.approx(exact.high - exact.low, rel=0.1)
    assert linear.low == pytest.approx(exact.low, rel=0.05)
    assert bootstrap_interval(rows[:20], reference, replicates=5).method == "bootstrap"  # too few to be linear


def test_the_line_over_one_over_n_ends_within_three_errors_of_the_truth() -> None:
    d = 8
    gap = np.full(d, 0.5)
    for index, truth in ((0, 0.0), (1, float(gap @ gap))):
        reference = Moments(None, gap * index, np.eye(d))

        found = extrapolate(normal(2000, d, 7, index), reference, seed=index)

        assert abs(found.value - truth) < 3 * found.standard_error
        assert found.slope > 0
        assert found.distances[0] > found.distances[-1]
        assert found.warnings == ()


def test_the_slope_is_the_bias_per_image() -> None:
    """Against exact moments of an isotropic normal of d features it is d + d (d + 1) / 4 to first order."""
    d = 8
    reference = Moments(None, np.zeros(d), np.eye(d))

    slopes = [extrapolate(normal(1000, d, 8, i), reference, blocks=6, repeats=2, seed=i).slope for i in range(30)]

    assert float(np.mean(slopes)) == pytest.approx(d + d * (d + 1) / 4, rel=0.12)


def test_cutting_the_reference_down_too_takes_off_the_bias_of_both_sides() -> None:
    images, reference = normal(1500, 8, 10), normal(1500, 8, 11)

    both = extrapolate(images, reference)
    one = extrapolate(images, moments_of(reference))

    assert abs(both.value) < 3 * both.standard_error
    assert abs(both.value) < one.value < frechet_of_features(images, reference).value


def test_the_line_says_when_there_are_too_few_images_for_one() -> None:
    found = extrapolate(normal(200, 64, 1), moments_of(normal(300, 64, 2)), repeats=1)

    assert "for 64 features" in found.warnings[0]


def test_the_line_refuses_too_few_images() -> None:
    with pytest.raises(MeasurementError, match="15 blocks of 20 images"):
        extrapolate(normal(20, 4, 1), moments_of(normal(300, 4, 2)))
    with pytest.raises(MeasurementError, match="5 blocks"):
        extrapolate(normal(200, 4, 1), moments_of(normal(300, 4, 2)), blocks=3)


def test_the_same_seed_gives_the_same_line() -> None:
    rows, reference = normal(100, 4, 1), moments_of(normal(300, 4, 2))

    assert extrapolate(rows, reference, seed=5) == extrapolate(rows, reference, seed=5)
    assert extrapolate(rows, reference, seed=5) != extrapolate(rows, reference, seed=6)


def test_the_floor_is_real_images_in_the_place_of_generated_ones() -> None:
    train, test = normal(1000, 4, 1), normal(300, 4, 2)
    reference = moments_of(train)

    value, n = real_floor(test, reference, images=500)
    fewer, m = real_floor(test, reference, images=100)

    assert (n, m) == (300, 100)
    assert value == frechet_to_moments(test, reference).value
    assert 0 < value < fewer
    assert real_floor(test, reference, images=100) == (fewer, 100)


def test_intervals_refuse_senseless_settings() -> None:
    with pytest.raises(MeasurementError, match="2 replicates"):
        bootstrap_interval(normal(50, 2, 1), moments_of(normal(50, 2, 2)), replicates=1)
