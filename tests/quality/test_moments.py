"""Streaming moments: the same whatever the split, flat in memory, and safe to read back."""

from __future__ import annotations

import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import MeasurementError, StoreError, UserError
from bench.quality.frechet import frechet_distance
from bench.quality.moments import Moments, RunningMoments, load_moments, merged, moments_of, save_moments

FEATURES = np.random.default_rng(0).standard_normal((500, 12)) * np.arange(1, 13) + 100.0


def close(a: Moments, b: Moments, rel: float) -> bool:
    scale = np.abs(b.cov).max()
    return bool(
        a.n == b.n and np.allclose(a.mu, b.mu, rtol=rel, atol=0) and np.allclose(a.cov, b.cov, rtol=0, atol=rel * scale)
    )


def test_equals_numpy_mean_and_cov() -> None:
    moments = moments_of(FEATURES)

    assert moments.n == 500
    assert moments.d == 12
    assert moments.mu == pytest.approx(FEATURES.mean(axis=0), rel=1e-13)
    assert moments.cov == pytest.approx(np.cov(FEATURES, rowvar=False), rel=1e-11, abs=1e-11)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 500), max_size=8), order=st.randoms(use_true_random=False))
def test_any_split_and_any_order_of_shards_gives_the_same_moments(cuts: list[int], order: object) -> None:
    edges = sorted({0, 500, *cuts})
    shards = [moments_of(FEATURES[low:high]) for low, high in pairwise(edges)]
    order.shuffle(shards)  # type: ignore[attr-defined]

    assert close(merged(shards), moments_of(FEATURES), rel=1e-9)


def test_any_split_gives_the_same_distance() -> None:
    other = moments_of(np.random.default_rng(1).standard_normal((300, 12)))
    whole = frechet_distance(moments_of(FEATURES), other).value

    for size in (1, 7, 64, 499):
        shards = [moments_of(FEATURES[low : low + size]) for low in range(0, 500, size)]
        assert frechet_distance(merged(shards), other).value == pytest.approx(whole, rel=1e-9)


def test_a_distant_origin_does_not_cancel_the_spread_away() -> None:
    """A sum of squares minus a square of sums would lose 12 of 16 digits here."""
    moments = RunningMoments()
    for low in range(0, 500, 50):
        moments.add(FEATURES[low : low + 50] + 1e6)

    assert moments.result().cov == pytest.approx(moments_of(FEATURES).cov, rel=1e-7, abs=1e-7)


def test_tensors_and_float32_are_summed_in_float64() -> None:
    narrow = torch.tensor(FEATURES, dtype=torch.float32, requires_grad=True)

    moments = moments_of(narrow)

    assert moments.cov.dtype == np.float64
    assert close(moments, moments_of(narrow.detach().double()), rel=1e-15)


def test_a_million_images_need_no_more_memory_than_ten_thousand() -> None:
    def peak(images: int) -> int:
        batch = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)
        tracemalloc.start()
        running = RunningMoments()
        for _ in range(images // 1000):
            running.add(batch)
        assert running.result().n == images
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(1_000_000) <= peak(10_000) + 4096


def test_a_long_array_is_widened_block_by_block() -> None:
    features = np.zeros((60_000, 8), np.float32)
    features[:, 0] = np.arange(60_000)
    tracemalloc.start()
    moments_of(features)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found < features.nbytes / 4


def test_one_image_has_moments_that_can_be_merged() -> None:
    assert moments_of(FEATURES[:1]).cov.max() == 0.0
    assert close(merged(moments_of(row[None]) for row in FEATURES), moments_of(FEATURES), rel=1e-9)


def test_shards_of_two_recipes_or_widths_are_refused() -> None:
    with pytest.raises(MeasurementError, match="different recipes"):
        merged([moments_of(FEATURES, "inception", "a"), moments_of(FEATURES, "inception", "b")])
    with pytest.raises(MeasurementError, match="11 wide here and 12 wide before"):
        merged([moments_of(FEATURES), moments_of(FEATURES[:, :11])])


def test_no_images_and_unknown_counts_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no images in nowhere"):
        RunningMoments().result(source="nowhere")
    with pytest.raises(MeasurementError, match="do not say n"):
        merged([Moments(None, np.zeros(2), np.eye(2), source="stats.npz")])


def test_saving_and_loading_gives_the_same_bits_and_words(tmp_path: Path) -> None:
    moments = moments_of(FEATURES, "inception", "abc123", "cifar10 test, 500 images")
    path = tmp_path / "moments.npz"

    save_moments(path, moments)
    found = load_moments(path)

    assert (found.n, found.features, found.recipe, found.source) == (
        500,
        "inception",
        "abc123",
        "cifar10 test, 500 images",
    )
    assert np.array_equal(found.mu, moments.mu)
    assert np.array_equal(found.cov, moments.cov)
    assert [each.name for each in tmp_path.iterdir()] == ["moments.npz"]


def test_statistics_of_pytorch_fid_are_read_with_n_unknown(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    np.savez_compressed(path, mu=FEATURES.mean(axis=0), sigma=np.cov(FEATURES, rowvar=False))

    found = load_moments(path)

    assert found.n is None
    assert found.recipe == ""


def write(path: Path, **arrays: object) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"mu": np.zeros(3)}, "no sigma"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, "do not fit"),
        ({"mu": np.zeros((3, 1)), "sigma": np.eye(3)}, "do not fit"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "do not fit"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, "NaN"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 5.0], [0.0, 1.0]])}, "not symmetric"),
        ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "not a covariance"),
        ({"mu": np.zeros(2), "sigma": np.array([["a", "b"], ["c", "d"]])}, "expected floating-point"),
        ({"mu": np.array([{}, 1], dtype=object), "sigma": np.eye(2)}, "pickle|Object arrays"),
    ],
)
def test_damaged_or_hostile_statistics_give_one_sentence(
    tmp_path: Path, arrays: dict[str, object], sentence: str
) -> None:
    path = tmp_path / "stats.npz"
    write(path, **arrays)

    with pytest.raises(StoreError, match=sentence) as caught:
        load_moments(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"<html>404</html>"])
def test_files_that_are_no_npz_give_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stats.npz"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"not a readable \.npz"):
        load_moments(path)


def test_a_truncated_npz_gives_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    save_moments(path, moments_of(FEATURES))
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(StoreError, match=r"not a readable \.npz"):
        load_moments(path)


def test_an_archive_that_would_fill_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.quality.moments.MAX_FEATURES", 100)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mu.npy", bytes(2**20))

    assert path.stat().st_size < 2000
    with pytest.raises(StoreError, match="1,048,576 bytes are more than the 80,000"):
        load_moments(path)


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such statistics file"):
        load_moments(tmp_path / "absent.npz")
