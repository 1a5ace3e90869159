"""The kernel distance against torch-fidelity on the same subsets, and against its own definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import MeasurementError, NonFiniteOutput
from bench.quality.kid import draw_subsets, kid, kid_over, polynomial_mmd2

Array = NDArray[np.float64]


def sets(n: int = 300, m: int = 250, d: int = 16) -> tuple[Array, Array]:
    draw = np.random.default_rng(0)
    return draw.standard_normal((n, d)), draw.standard_normal((m, d)) * 1.2 + 0.1


def test_equals_torch_fidelity_on_the_same_subsets() -> None:
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric  # type: ignore[import-untyped]

    a, b = sets()
    # Their generator, drawn in their order.
    generator = np.random.RandomState(2020)
    subsets = [
        (generator.choice(300, 100, replace=False), generator.choice(250, 100, replace=False)) for _ in range(20)
    ]

    theirs = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=20, kid_subset_size=100, rng_seed=2020, verbose=False
    )
    ours = kid_over(a, b, subsets)

    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)
    assert ours.spread == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-10)


def test_is_the_sum_over_pairs_that_the_definition_writes() -> None:
    a, b = sets(5, 4, 3)

    def kernel(x: Array, y: Array) -> float:
        return float((x @ y / 3 + 1) ** 3)

    def pairs(rows: Array) -> float:
        return float(np.mean([kernel(x, y) for x, y in itertools.permutations(rows, 2)]))

    expected = pairs(a) + pairs(b) - 2 * float(np.mean([kernel(x, y) for x in a for y in b]))

    assert polynomial_mmd2(a, b) == pytest.approx(expected, rel=1e-12)


def test_is_unbiased_so_that_equal_distributions_fall_on_both_sides_of_zero() -> None:
    values = [polynomial_mmd2(*np.random.default_rng(i).standard_normal((2, 50, 8))) for i in range(200)]

    error = float(np.std(values)) / np.sqrt(len(values))
    assert abs(float(np.mean(values))) < 3 * error
    assert min(values) < 0 < max(values)


def test_the_same_seed_gives_the_same_subsets_and_more_subsets_begin_with_them() -> None:
    a, b = sets()

    few = kid(a, b, subsets=5, subset_size=50, seed=3)
    many = kid(a, b, subsets=8, subset_size=50, seed=3)
    other = kid(a, b, subsets=5, subset_size=50, seed=4)

    assert many.values[:5] == few.values
    assert other.values != few.values
    assert few.subset_size == 50


def test_no_image_stands_twice_in_a_subset() -> None:
    for left, right in draw_subsets(60, 50, 10, 50, seed=0):
        assert len(set(left)) == len(set(right)) == 50


def test_sees_a_shift_that_is_there() -> None:
    a, b = sets()

    assert kid(a, b, subsets=20, subset_size=100).mean > 5 * kid(a, a + 1e-9, subsets=20, subset_size=100).spread / 20


def test_a_subset_larger_than_a_set_is_refused() -> None:
    a, b = sets()

    with pytest.raises(MeasurementError, match="subset of 1000 images does not fit into sets of 300 and 250"):
        kid(a, b)
    with pytest.raises(MeasurementError, match="at least 2 images"):
        kid(a, b, subset_size=1)
    with pytest.raises(MeasurementError, match="16 wide in one set and 15"):
        kid(a, b[:, :15], subset_size=10)


def test_nan_features_are_refused() -> None:
    a, b = sets()
    a[:, 0] = np.nan

    with pytest.raises(NonFiniteOutput):
        kid(a, b, subset_size=10)
