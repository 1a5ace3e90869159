"""Which step is best, by hand-made curves: executed steps, counted from 1."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.quality.best_step import at_steps, best_steps, choose, chosen_steps, elbow_steps, mean_best_step

Floats = NDArray[np.float64]


def curves(*images: list[float]) -> Floats:
    """[N, B] from one list for each image."""
    return np.array(images, dtype=float).T


def test_steps_are_counted_as_executed_from_one() -> None:
    """A curve that peaks after the third network call has best step 3, whatever the timestep is called there."""
    rising = curves([0.1, 0.2, 0.9, 0.3])

    assert best_steps(rising, higher=True).tolist() == [3]
    assert best_steps(rising, higher=False).tolist() == [1]
    assert at_steps(rising, best_steps(rising, higher=True)).tolist() == [0.9]


def test_of_equal_steps_the_first_is_best() -> None:
    assert best_steps(curves([0.5, 0.7, 0.7]), higher=True).tolist() == [2]
    assert best_steps(curves([0.5, 0.2, 0.2]), higher=False).tolist() == [2]


def test_the_average_of_best_scores_is_no_worse_than_the_best_of_the_average() -> None:
    found = curves([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.4, 0.6, 0.4])

    assert at_steps(found, best_steps(found, higher=True)).mean() == pytest.approx(2.6 / 3)
    assert found[mean_best_step(found, higher=True) - 1].mean() == pytest.approx(1.4 / 3)


def test_the_step_of_an_image_is_chosen_by_the_half_it_is_not_in() -> None:
    # Images 0 and 2 peak at step 1, images 1 and 3 at step 3.
    found = curves([0.9, 0.5, 0.1], [0.1, 0.5, 0.9], [0.8, 0.5, 0.2], [0.2, 0.5, 0.8])

    assert chosen_steps(found, higher=True).tolist() == [3, 1, 3, 1]
    assert at_steps(found, chosen_steps(found, higher=True)).tolist() == [0.1, 0.1, 0.2, 0.2]
    assert chosen_steps(found, higher=False).tolist() == [1, 3, 1, 3]


def test_an_image_has_no_say_in_its_own_step() -> None:
    rng = np.random.default_rng(0)
    found = rng.normal(size=(40, 7))
    before = chosen_steps(found, higher=True)
    found[11, 4] = 99.0

    assert chosen_steps(found, higher=True)[4] == before[4]
    assert chosen_steps(found, higher=True)[5] == 12


def test_chance_alone_gains_by_an_oracle_and_not_by_a_held_out_choice() -> None:
    """Pure noise has no best step: the oracle's gain is the winner's curse, the other choice has none."""
    noise = np.random.default_rng(1).normal(size=(100, 400))
    oracle = at_steps(noise, best_steps(noise, higher=True)).mean()
    found = choose(noise, higher=True, replicates=0, seed=0)

    assert oracle > 2.3  # the expected largest of 100 is 2.5
    assert found.best > 0.08
    assert abs(found.chosen) < 0.15 < found.best + 0.15


def test_an_elbow_is_where_the_curve_leaves_the_line_from_its_peak_to_its_end() -> None:
    plateau_then_fall = curves([0.1, 0.5, 1.0, 0.99, 0.98, 0.97, 0.5, 0.0])
    fall_then_plateau = curves([0.1, 0.5, 1.0, 0.3, 0.29, 0.28, 0.27, 0.26])

    assert elbow_steps(plateau_then_fall, higher=True).tolist() == [6]
    assert elbow_steps(fall_then_plateau, higher=True).tolist() == [4]
    assert elbow_steps(1 - plateau_then_fall, higher=False).tolist() == [6]


def test_a_curve_that_is_straight_or_ends_at_its_peak_has_its_elbow_there() -> None:
    assert elbow_steps(curves([0.1, 0.2, 0.3]), higher=True).tolist() == [3]
    assert elbow_steps(curves([1.0, 0.5, 0.0]), higher=True).tolist() == [1]
    assert elbow_steps(curves([0.0, 1.0, 0.9, 0.2]), higher=True).tolist() == [3]


def test_an_elbow_does_not_depend_on_units() -> None:
    curve = curves([0.0, 1.0, 0.95, 0.9, 0.4, 0.3])

    assert elbow_steps(curve * 1000 - 5, higher=True).tolist() == elbow_steps(curve, higher=True).tolist()


def test_one_choice_for_all_images_reports_what_it_says() -> None:
    found = choose(
        curves([0.9, 0.5, 0.1], [0.1, 0.5, 0.9], [0.8, 0.5, 0.2], [0.2, 0.5, 0.9]),
        higher=True,
        replicates=50,
        seed=0,
    )

    assert (found.step, found.best) == (3, pytest.approx(0.525))
    assert found.chosen == pytest.approx(0.15)
    assert found.best_replicates.shape == found.step_replicates.shape == found.chosen_replicates.shape == (50,)
    assert set(found.step_replicates.tolist()) == {1, 3}


def test_resamples_hold_the_value_and_narrow_with_more_images() -> None:
    rng = np.random.default_rng(2)
    hill = -((np.arange(1, 31) - 20) ** 2)[:, None] / 200

    few, many = (
        choose(hill + rng.normal(scale=0.3, size=(30, n)), higher=True, replicates=300, seed=0) for n in (20, 500)
    )

    low, high = np.quantile(many.best_replicates, [0.025, 0.975])
    assert low < many.best < high
    assert many.step == pytest.approx(20, abs=3)
    assert np.std(many.best_replicates) < 0.4 * np.std(few.best_replicates)


def test_the_same_seed_draws_the_same_images_so_that_cells_are_paired() -> None:
    """A second cell that is the first one plus a constant differs by that constant in every resample."""
    one = np.random.default_rng(3).normal(size=(10, 24))

    first, second = (choose(each, higher=True, replicates=40, seed=5) for each in (one, one + 0.25))

    np.testing.assert_allclose(second.best_replicates - first.best_replicates, 0.25)
    np.testing.assert_allclose(second.chosen_replicates - first.chosen_replicates, 0.25)
    assert not np.array_equal(first.best_replicates, choose(one, higher=True, replicates=40, seed=6).best_replicates)


def test_one_image_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="no other half"):
        chosen_steps(curves([0.1, 0.2]), higher=True)
