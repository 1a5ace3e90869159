"""The Fréchet distance against closed forms, against other programs and against inputs that must not give a number."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray
from reference_fid import pytorch_fid_distance

from bench.errors import MeasurementError, NonFiniteOutput
from bench.quality.frechet import (
    cholesky_factor,
    combine,
    eigen_factor,
    frechet_distance,
    frechet_of_features,
    frechet_to_moments,
)
from bench.quality.moments import Moments, moments_of

Array = NDArray[np.float64]

SIZES = (2, 3, 4, 8, 16, 33, 64, 128, 256, 1024)
WIDTHS = (2, 4, 8, 32, 64, 128)


def feature_sets(n: int, m: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    """Two sets with a falling spectrum, correlated differently and shifted against each other."""
    draw = np.random.default_rng([seed, n, m, d])
    spectrum = np.arange(1, d + 1) ** -0.5
    mixing = np.eye(d) + 0.3 * draw.standard_normal((d, d)) / np.sqrt(d)
    a = draw.standard_normal((n, d)) * spectrum
    b = (draw.standard_normal((m, d)) * spectrum) @ mixing + 0.2 * spectrum
    return a, b


def torch_fidelity(a: Array, b: Array) -> float:
    import torch
    from torch_fidelity.metric_fid import (  # type: ignore[import-untyped]
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    stats = [fid_features_to_statistics(torch.from_numpy(side)) for side in (a, b)]
    return float(fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"])


def all_three(a: Array, b: Array) -> tuple[float, float, float]:
    """Our three roads to the same number."""
    return (
        frechet_distance(moments_of(a), moments_of(b)).value,
        frechet_of_features(a, b).value,
        frechet_to_moments(a, moments_of(b)).value,
    )


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("n", SIZES)
def test_equals_pytorch_fid_and_torch_fidelity_on_the_same_features(n: int, d: int) -> None:
    for m in (n, 300):
        a, b = feature_sets(n, m, d)

        ours = all_three(a, b)

        for theirs in (pytorch_fid_distance(a, b), torch_fidelity(a, b)):
            assert ours == pytest.approx((theirs,) * 3, rel=1e-6)
            if min(n, m) > d:
                assert ours == pytest.approx((theirs,) * 3, rel=0, abs=1e-8)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("n", SIZES)
def test_the_three_forms_agree_a_hundred_times_better_than_the_promise(n: int, d: int) -> None:
    a, b = feature_sets(n, 300, d)

    ours = all_three(a, b)

    assert ours == pytest.approx((ours[1],) * 3, rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("n", [256, 1000, 4096])
def test_equals_pytorch_fid_at_inception_width(n: int) -> None:
    a, b = feature_sets(n, 4096, 2048)

    theirs = pytorch_fid_distance(a, b)

    # Below full rank the square root of rounding noise adds some 1e-6 to theirs.
    assert all_three(a, b) == pytest.approx((theirs,) * 3, rel=1e-9 if n > 2048 else 1e-5)


def test_equal_covariances_leave_exactly_the_squared_gap_of_the_means() -> None:
    a, _ = feature_sets(500, 500, 16)
    shift = np.linspace(-1, 1, 16)

    for value in all_three(a, a + shift):
        assert value == pytest.approx(float(shift @ shift), rel=1e-9)


def test_diagonal_covariances_have_a_closed_form() -> None:
    s, t = np.array([4.0, 9.0, 0.25]), np.array([1.0, 16.0, 0.01])
    a = Moments(100, np.zeros(3), np.diag(s))
    b = Moments(100, np.array([1.0, 2.0, 2.0]), np.diag(t))

    found = frechet_distance(a, b)

    assert found.mean_part == 9.0
    assert found.cov_part == pytest.approx(float(((np.sqrt(s) - np.sqrt(t)) ** 2).sum()), rel=1e-12)
    assert found.value == found.raw == pytest.approx(found.mean_part + found.cov_part)


@pytest.mark.parametrize("n", [5, 64, 500])
def test_the_distance_to_oneself_is_zero_and_its_raw_value_only_rounding(n: int) -> None:
    a, _ = feature_sets(n, n, 32)
    trace = float(np.trace(np.cov(a, rowvar=False)))

    for found in (frechet_of_features(a, a), frechet_distance(moments_of(a), moments_of(a))):
        assert 0.0 <= found.value <= 1e-6 * trace
        assert abs(found.raw) <= 1e-6 * trace


def test_the_distance_does_not_depend_on_the_order_of_the_sets() -> None:
    for n, m in ((10, 300), (300, 10), (100, 120)):
        a, b = feature_sets(n, m, 64)

        assert frechet_of_features(a, b).value == pytest.approx(frechet_of_features(b, a).value, rel=1e-10)
        first, second = moments_of(a), moments_of(b)
        assert frechet_distance(first, second).value == pytest.approx(frechet_distance(second, first).value, rel=1e-10)


def test_dead_features_and_duplicated_images_cost_no_accuracy() -> None:
    a, b = feature_sets(200, 250, 32)
    a, b = np.repeat(a, 2, axis=0), np.repeat(b, 2, axis=0)
    a[:, 5:9] = 0.5
    b[:, 5:9] = 0.5
    live = np.r_[0:5, 9:32]

    assert cholesky_factor(moments_of(a)) is None
    expected = frechet_of_features(a[:, live], b[:, live]).value
    # Square roots of rounding: four dead directions of about 1e-8 each.
    assert all_three(a, b) == pytest.approx((expected,) * 3, rel=1e-6)


def test_external_statistics_without_n_are_taken_at_full_rank() -> None:
    a, b = feature_sets(300, 400, 16)
    known, other = moments_of(a), moments_of(b)
    unknown = Moments(None, known.mu, known.cov)

    assert frechet_distance(unknown, other).value == pytest.approx(frechet_distance(known, other).value, rel=1e-12)


def test_float32_features_are_widened_before_anything_is_summed() -> None:
    a, b = feature_sets(400, 400, 24)
    narrow = (a + 1000.0).astype(np.float32), (b + 1000.0).astype(np.float32)

    widened = frechet_of_features(narrow[0].astype(np.float64), narrow[1].astype(np.float64))

    assert frechet_of_features(*narrow).value == widened.value


def test_eigen_factor_gives_the_covariance_back() -> None:
    a, _ = feature_sets(10, 10, 32)
    moments = moments_of(a)

    factor = eigen_factor(moments)

    assert factor.shape == (32, 9)
    assert factor @ factor.T == pytest.approx(moments.cov, abs=1e-12)


@pytest.mark.parametrize("n", [50, 100, 200, 400, 800, 1600])
def test_the_bias_of_two_equal_distributions_falls_as_one_over_n(n: int) -> None:
    """n x distance is constant: reporting a distance without n says nothing."""
    d = 8
    values = [
        frechet_of_features(
            np.random.default_rng([1, n, i]).standard_normal((n, d)),
            np.random.default_rng([2, n, i]).standard_normal((n, d)),
        ).value
        for i in range(40)
    ]

    # E = (2 d + d (d + 1) / 2) / n to first order: two means, and one quarter of the spread of both covariances.
    assert n * float(np.mean(values)) == pytest.approx(2 * d + d * (d + 1) / 2, rel=0.12)


def test_the_law_of_one_over_n_uses_the_numbers_of_a_float64_square_root() -> None:
    """A single-precision square root of tiny negative eigenvalues is NaN; that mistake must not pass for a number."""
    a, b = feature_sets(20, 20, 32)
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)

    with np.errstate(invalid="ignore"):
        careless = np.sqrt(np.linalg.eigvals(product).real.astype(np.float32)).sum()

    assert np.isnan(careless)
    assert np.isfinite(frechet_of_features(a, b).value)


def nan_at(image: int) -> Array:
    a, _ = feature_sets(40, 40, 4)
    a[image, 2] = np.nan
    return a


GOOD = feature_sets(40, 40, 4)[1]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (np.zeros((1, 4)), "at least 2 images on each side, got 1"),
        (np.zeros((0, 4)), "at least"),
        (np.full((40, 4), 0.3), "same features"),
        (np.zeros((40, 5)), "wide"),
        (np.zeros(40), r"must be \[n, d\]"),
    ],
)
def test_sets_that_have_no_distribution_give_a_sentence(bad: Array, sentence: str) -> None:
    for first, second in ((bad, GOOD), (GOOD, bad)):
        with pytest.raises(MeasurementError, match=sentence):
            frechet_of_features(first, second)
    with pytest.raises(MeasurementError, match=sentence):
        frechet_to_moments(bad, moments_of(GOOD))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_with_the_image(value: float) -> None:
    bad = GOOD.copy()
    bad[7, 1] = value

    with pytest.raises(NonFiniteOutput, match="first image 7"):
        frechet_of_features(bad, GOOD)
    with pytest.raises(NonFiniteOutput, match="first image 7"):
        moments_of(bad)


def test_moments_of_one_image_or_of_equal_images_are_refused() -> None:
    good = moments_of(GOOD)

    with pytest.raises(MeasurementError, match=r"got 1 in one\.png"):
        frechet_distance(moments_of(GOOD[:1], source="one.png"), good)
    with pytest.raises(MeasurementError, match="all 40 images of black have the same features"):
        frechet_distance(moments_of(np.zeros((40, 4)), source="black"), good)


def test_recipes_that_differ_are_not_compared() -> None:
    first, second = moments_of(GOOD, "digits-cnn", "aaaa"), moments_of(GOOD, "digits-cnn", "bbbb")

    with pytest.raises(MeasurementError, match="recipes differ: aaaa and bbbb"):
        frechet_distance(first, second)
    with pytest.raises(MeasurementError, match="features differ: digits-cnn and inception"):
        frechet_distance(first, moments_of(GOOD, "inception", "aaaa"))


def test_a_matrix_that_is_no_covariance_is_refused() -> None:
    indefinite = Moments(40, np.zeros(2), np.array([[1.0, 0.0], [0.0, -0.5]]), source="bad.npz")
    definite = Moments(40, np.zeros(2), np.eye(2))

    with pytest.raises(MeasurementError, match="no covariance"):
        frechet_distance(indefinite, definite)
    with pytest.raises(MeasurementError, match=r"bad\.npz has the eigenvalue -0\.5"):
        eigen_factor(indefinite)


def test_a_distance_below_zero_by_more_than_rounding_is_an_error_and_by_rounding_is_zero() -> None:
    zero = np.zeros(2)

    with pytest.raises(MeasurementError, match="below zero by more than rounding"):
        combine(zero, 1.0, zero, 1.0, 1.001)
    found = combine(zero, 1.0, zero, 1.0, 1.0 + 1e-8)
    assert found.value == 0.0
    assert found.raw == pytest.approx(-2e-8)


def test_the_square_root_oracle_agrees_too() -> None:
    a, b = feature_sets(300, 300, 16)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)

    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root)

    assert frechet_of_features(a, b).value == pytest.approx(float(expected), abs=1e-10)
