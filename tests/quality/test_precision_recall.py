"""Precision, recall, density and coverage on toys that can be counted by hand, and against other programs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import MeasurementError
from bench.quality import precision_recall as module
from bench.quality.precision_recall import PrecisionRecall, precision_recall, squared_radii

Array = NDArray[np.float64]


def by_definition(generated: Array, real: Array, k: int) -> PrecisionRecall:
    """Slow and literal: sorted distances, one ball at a time."""

    def distance(a: Array, b: Array) -> Array:
        return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)))

    def radius(rows: Array) -> Array:
        return np.asarray(np.sort(distance(rows, rows), axis=1)[:, k])

    cross = distance(generated, real)
    in_real, in_fake = cross <= radius(real)[None, :], cross <= radius(generated)[:, None]
    return PrecisionRecall(
        precision=float(in_real.any(1).mean()),
        recall=float(in_fake.any(0).mean()),
        density=float(in_real.sum() / (k * len(generated))),
        coverage=float(in_real.any(0).mean()),
        neighbours=k,
    )


def close(a: PrecisionRecall, b: PrecisionRecall) -> bool:
    pairs = zip(
        (a.precision, a.recall, a.density, a.coverage), (b.precision, b.recall, b.density, b.coverage), strict=True
    )
    return all(x == pytest.approx(y, abs=1e-12) for x, y in pairs)


def test_four_points_on_a_line_are_counted_by_hand() -> None:
    real = np.array([[0.0], [1.0], [3.0], [10.0]])  # balls of k = 1: 1, 1, 2, 7
    generated = np.array([[1.5], [20.0], [4.5]])  # balls of k = 1: 3, 15.5, 3

    found = precision_recall(generated, real, neighbours=1)

    assert found.precision == 2 / 3  # 20 lies in no real ball
    assert found.recall == 1.0  # 0 lies in the ball of 1.5, and 10 in the ball of 20
    assert found.density == pytest.approx((2 + 0 + 2) / 3)  # 1.5 in those of 1 and 3; 4.5 in those of 3 and 10
    assert found.coverage == 3 / 4  # the ball of 0 is empty


@pytest.mark.parametrize(("n", "m", "d", "k"), [(40, 60, 2, 3), (60, 40, 5, 5), (30, 30, 50, 3), (200, 150, 8, 3)])
def test_equals_the_definition(n: int, m: int, d: int, k: int) -> None:
    draw = np.random.default_rng([n, m, d])
    generated, real = draw.standard_normal((n, d)), draw.standard_normal((m, d)) * 1.1 + 0.2

    assert close(precision_recall(generated, real, neighbours=k), by_definition(generated, real, k))


def test_equals_torch_fidelity() -> None:
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_full  # type: ignore[import-untyped]

    draw = np.random.default_rng(1)
    generated, real = draw.standard_normal((300, 6)), draw.standard_normal((400, 6)) * 1.3

    precision, recall = calculate_precision_recall_full(torch.from_numpy(generated), torch.from_numpy(real), 3)
    found = precision_recall(generated, real)

    # They average in float32.
    assert (found.precision, found.recall) == pytest.approx((precision, recall), abs=1e-6)


@pytest.mark.parametrize("tile", [1, 7, 64])
def test_the_size_of_a_tile_changes_nothing(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    generated, real = draw.standard_normal((50, 4)), draw.standard_normal((70, 4))
    whole = precision_recall(generated, real)

    monkeypatch.setattr(module, "TILE", tile)

    assert precision_recall(generated, real) == whole


def test_a_set_against_itself_is_perfect_and_far_sets_share_nothing() -> None:
    real = np.random.default_rng(3).standard_normal((100, 4))

    same = precision_recall(real, real)
    apart = precision_recall(real + 100, real)

    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0.0, 0.0, 0.0, 0.0)


def test_a_collapsed_generator_is_precise_and_covers_little() -> None:
    draw = np.random.default_rng(4)
    real = draw.standard_normal((500, 2))
    generated = real[:1] + 1e-3 * draw.standard_normal((500, 2))

    found = precision_recall(generated, real)

    assert found.precision == 1.0
    assert found.recall < 0.05
    assert found.coverage < 0.05


def test_a_distant_origin_changes_nothing() -> None:
    draw = np.random.default_rng(5)
    generated, real = draw.standard_normal((80, 4)), draw.standard_normal((80, 4))

    assert precision_recall(generated + 1e5, real + 1e5) == precision_recall(generated, real)


def test_radii_leave_out_the_image_itself_even_among_duplicates() -> None:
    rows = np.array([[0.0], [0.0], [5.0], [9.0]])

    assert squared_radii(rows, 1) == pytest.approx([0.0, 0.0, 16.0, 16.0])


def test_sets_with_too_few_images_are_refused() -> None:
    rows = np.random.default_rng(6).standard_normal((10, 2))

    with pytest.raises(MeasurementError, match="more than 3 images in each set, got 3 and 10"):
        precision_recall(rows[:3], rows)
    with pytest.raises(MeasurementError, match="2 wide in one set and 1"):
        precision_recall(rows, rows[:, :1])
