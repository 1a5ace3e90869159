"""Features and moments that are kept are those of these images, or they are computed again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.contracts import Scalar
from bench.quality import digits_cnn
from bench.quality.features import FeatureSet, generated
from bench.quality.metrics import Choice, frechet
from bench.quality.recipe import feature_recipe
from bench.subject import Subject

Build = Callable[..., Subject]
Change = Callable[[dict[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
HOW = feature_recipe("tf", "digits-cnn", digits_cnn.SHA256, channels=1)
IMAGES = 100


def features_of(subject: Subject) -> FeatureSet:
    return generated(subject, HOW, IMAGES)


def rewrite(features: FeatureSet, part: str, change: Change) -> None:
    """Alter what a part holds and seal it again, as somebody could who knows how."""
    with np.load(features.stage.folder / f"{part}.npz") as data:
        arrays = {name: data[name] for name in data.files if name != "seal"}
    features.stage.write(part, change(arrays))


FEATURES: dict[str, Change] = {
    "of other images": lambda arrays: {**arrays, "hashes": arrays["hashes"][::-1].copy()},
    "of too few images": lambda arrays: {name: array[:10] for name, array in arrays.items()},
    "of too many images": lambda arrays: {name: np.concatenate([array, array]) for name, array in arrays.items()},
    "more than hashes": lambda arrays: {**arrays, "hashes": arrays["hashes"][:-1]},
    "narrower": lambda arrays: {**arrays, "features": arrays["features"][:, 1:].copy()},
    "flat": lambda arrays: {**arrays, "features": arrays["features"].ravel()},
    "of another type": lambda arrays: {**arrays, "features": arrays["features"].astype(np.float64)},
    "not finite": lambda arrays: {**arrays, "features": arrays["features"] * np.float32(np.nan)},
    "without hashes": lambda arrays: {"features": arrays["features"]},
}


@pytest.mark.parametrize("change", FEATURES.values(), ids=FEATURES)
def test_features_that_are_not_those_of_the_samples_are_computed_again(toy_subject: Build, change: Change) -> None:
    features = features_of(toy_subject())
    whole = features.all()
    rewrite(features, "000000", change)

    again = features_of(toy_subject())

    assert np.array_equal(again.all(), whole)
    assert again.hashes() == features.hashes()


MOMENTS: dict[str, Change] = {
    "of another number of images": lambda arrays: {**arrays, "n": np.asarray(np.int64(IMAGES - 1))},
    "of an unknown number of images": lambda arrays: {**arrays, "n": np.asarray(np.str_("x"))},
    "of another recipe": lambda arrays: {**arrays, "recipe": np.asarray(np.str_("0" * 16))},
    "of another network": lambda arrays: {**arrays, "features": np.asarray(np.str_("inception"))},
    "of other features": lambda arrays: {**arrays, "shards": arrays["shards"][::-1].copy()},
    "of features nobody names": lambda arrays: {name: value for name, value in arrays.items() if name != "shards"},
    "no covariance": lambda arrays: {**arrays, "sigma": -arrays["sigma"]},
    "of another width": lambda arrays: {**arrays, "mu": arrays["mu"][1:], "sigma": arrays["sigma"][1:, 1:].copy()},
}


@pytest.mark.parametrize("change", MOMENTS.values(), ids=MOMENTS)
def test_moments_that_are_not_those_of_the_features_are_computed_again(toy_subject: Build, change: Change) -> None:
    features = features_of(toy_subject())
    whole = features.moments()
    rewrite(features, f"moments-{IMAGES}", change)

    moments = features_of(toy_subject()).moments()

    assert (moments.n, moments.source) == (IMAGES, whole.source)
    assert np.array_equal(moments.mu, whole.mu)
    assert np.array_equal(moments.cov, whole.cov)


def test_moments_are_computed_again_when_their_features_changed(toy_subject: Build) -> None:
    features = features_of(toy_subject())
    whole = features.moments()
    rewrite(features, "000001", lambda arrays: {**arrays, "features": arrays["features"] + np.float32(1)})

    moments = features_of(toy_subject()).moments()

    assert not np.array_equal(moments.mu, whole.mu)


def test_numbers_of_what_another_machine_made_say_so(toy_subject: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(64, "digits-cnn", "tf", "test", "float32")
    monkeypatch.setattr("bench.quality.kernels.processor_name", lambda cpuinfo: "Another 9000")
    features_of(toy_subject()).moments()
    monkeypatch.undo()

    warnings = {
        warning
        for each in frechet(toy_subject(), choice, replicates=0, halves=False, seed=0)
        for warning in each.warnings
    }

    assert "part of it was made on another machine with the same kernels, Another 9000, and kept" in warnings


def test_what_is_kept_stands_when_what_it_was_made_of_was_deleted(toy_subject: Build) -> None:
    subject = toy_subject()
    features = features_of(subject)
    whole = features.moments()
    shutil.rmtree(subject.workspace.cache_dir / "samples")
    for shard in features.stage.folder.glob("0*.npz"):
        shard.unlink()

    again = FeatureSet(features.stage, IMAGES, whole.source, HOW, _never, "cpu")

    assert np.array_equal(again.moments().mu, whole.mu)


def _never(low: int) -> Any:
    raise AssertionError("nothing had to be drawn")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def garble_header(path: Path) -> None:
    """A header that numpy would evaluate."""
    path.write_bytes(path.read_bytes().replace(b"'descr'", b"('descr"))


def claim_terabytes(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"'shape': (64, ", b"'shape': (9999999999, ")[: path.stat().st_size])


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [cut, flip, garble_header, claim_terabytes, make_a_folder, make_a_pipe, make_endless, empty]
)
def test_no_damaged_file_of_the_cache_fails_a_cell_or_changes_a_number(
    toy_subject: Build, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    def distance() -> list[tuple[Mapping[str, Scalar], tuple[float, ...]]]:
        choice = Choice(64, "digits-cnn", "tf", "test", "float32")
        measurements = frechet(toy_subject(), choice, replicates=2, halves=False, seed=0)
        return [(measurement.at, measurement.values) for measurement in measurements]

    before = distance()
    mine = files_made_of_samples(tmp_path / "cache")
    for path in mine:
        damage(path)

    assert len(mine) == 5
    assert distance() == before


def files_made_of_samples(cache: Path) -> list[Path]:
    """Every file of the samples, and of the features and moments made of them."""
    files = [path for kind in ("samples", "features") for path in sorted((cache / kind).rglob("*.*"))]
    return [path for path in files if "sampl" in (path.parent / "identity.json").read_text()]
