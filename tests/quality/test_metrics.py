"""The picture metrics on a toy: right numbers, named for what they are, from samples that are drawn once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Dataset, Measurement, Need
from bench.data.digits import load_digits
from bench.data.images import ArrayImages
from bench.downloads import fetched_path
from bench.errors import BadCheckpoint, MeasurementError, MissingWeights, ParamError, Unsupported
from bench.files import file_hash
from bench.quality import digits_cnn, features, inception, metrics
from bench.quality.digits_cnn import load_digits_cnn
from bench.quality.features import generated, real
from bench.quality.frechet import frechet_of_features
from bench.quality.kid import kid
from bench.quality.metrics import Choice
from bench.quality.precision_recall import precision_recall
from bench.quality.preprocess import to_unit
from bench.quality.recipe import feature_recipe
from bench.quality.uncertainty import extrapolate
from bench.registry import METRICS, load_builtins, metric_spec
from bench.subject import Subject
from bench.suite.schema import Effort, Ref

Build = Callable[..., Subject]
HOW = feature_recipe("tf", "digits-cnn", digits_cnn.SHA256, channels=1)


def measure(metric: str, subject: Subject, **params: Any) -> list[Measurement]:
    load_builtins()
    return list(METRICS.get(metric).factory(subject, Effort(), **params))


def by_statistic(found: Iterable[Measurement]) -> dict[Any, Measurement]:
    return {each.at["statistic"]: each for each in found}


def direct(images: Tensor) -> Tensor:
    """Features of images [B, 1, 16, 16] in [-1, 1] without any of the machinery."""
    levels = (to_unit(images) * 255).round() / 255
    return load_digits_cnn().features(2 * levels - 1)


def split(name: Any) -> Tensor:
    digits = load_digits(name)
    return digits[0 : len(digits)]


def test_frechet_is_the_distance_of_all_samples_to_the_whole_split(toy_subject: Build) -> None:
    subject = toy_subject()

    found = by_statistic(measure("frechet", subject, images=150, replicates=20))

    samples = direct(torch.cat([subject.sample(0, 64), subject.sample(64, 128), subject.sample(128, 192)])[:150])
    for statistic, reference in (("value", "train"), ("against_other_split", "test")):
        expected = frechet_of_features(samples, direct(split(reference))).value
        assert found[statistic].values[0] == pytest.approx(expected, rel=1e-5)


def test_a_value_says_what_it_is(toy_subject: Build) -> None:
    found = by_statistic(measure("frechet", toy_subject(), images=150, replicates=20))

    at = found["value"].at
    assert at["name"] == "frechet[digits-cnn]"
    assert at["recipe"] == "tf"
    assert at["n"] == 150
    assert at["reference"] == load_digits("train").fingerprint
    assert at["reference_n"] == 1397
    assert len(str(at["fingerprint"])) == 16
    assert found["value"].unit == "1"


def test_the_interval_is_in_the_replicates_and_around_the_value(toy_subject: Build) -> None:
    found = by_statistic(measure("frechet", toy_subject(), images=150, replicates=40))

    replicates = found["replicates"].values
    assert len(replicates) == 40
    assert float(np.mean(replicates)) == pytest.approx(found["value"].values[0])
    assert "replicates" not in by_statistic(measure("frechet", toy_subject(), images=150, replicates=0))


def test_halves_are_every_other_image_against_the_same_reference(toy_subject: Build) -> None:
    subject = toy_subject()

    found = measure("frechet", subject, images=151, replicates=20, halves=True)

    rows = generated(subject, HOW, 151).all()
    reference = real(load_digits("train"), HOW, subject.workspace.cache_dir, "cpu").all()
    for name, half in (("half_a", rows[0::2]), ("half_b", rows[1::2])):
        (value,) = [each for each in found if each.at["statistic"] == name]
        (replicates,) = [each for each in found if each.at.get("of") == name]
        assert value.at["n"] == replicates.at["n"] == len(half)
        assert value.values[0] == pytest.approx(frechet_of_features(half, reference).value, rel=1e-6)
        assert float(np.mean(replicates.values)) == pytest.approx(value.values[0])
        assert value.at["fingerprint"] == replicates.at["fingerprint"]
    assert len({each.at["fingerprint"] for each in found}) == 3  # 151, 76 and 75 images are not comparable


def test_halves_are_marked_where_only_they_have_too_few_images(toy_subject: Build) -> None:
    found = measure("frechet", toy_subject(), images=100, replicates=0, halves=True)

    whole, half = ([each for each in found if each.at["statistic"] == name] for name in ("value", "half_b"))
    assert not whole[0].warnings
    assert "rank-deficient: 50 generated images for 64 features" in half[0].warnings[0]
    with pytest.raises(ParamError, match="halves of 3 images have fewer than 2"):
        measure("frechet", toy_subject(), images=3, replicates=0, halves=True)


def test_the_floor_puts_real_images_in_the_place_of_samples_at_equal_n(toy_subject: Build) -> None:
    """400 digits are held out: more samples than that are cut to 400 for the comparison."""
    many = by_statistic(measure("frechet", toy_subject(), images=600, replicates=0))
    few = by_statistic(measure("frechet", toy_subject(), images=150, replicates=0))

    reference = direct(split("train"))
    assert many["floor"].values[0] == pytest.approx(
        frechet_of_features(direct(split("test")), reference).value, rel=1e-4
    )
    assert many["floor"].at["floor_n"] == many["value_at_floor_n"].at["floor_n"] == 400
    assert many["floor"].values[0] < many["value"].values[0] < many["value_at_floor_n"].values[0]
    assert few["floor"].at["floor_n"] == 150
    assert "value_at_floor_n" not in few


def test_the_facts_lie_in_the_folder_of_the_run(toy_subject: Build) -> None:
    subject = toy_subject()
    found = by_statistic(measure("frechet", subject, images=150, replicates=20))

    artifact = found["value"].artifact
    assert artifact is not None
    facts = json.loads((subject.workspace.run_dir / artifact).read_text())
    assert facts["recipe"]["features.extractor_sha256"] == digits_cnn.SHA256
    assert facts["recipe"]["fingerprint"] == found["value"].at["fingerprint"]
    assert facts["mean_part"] + facts["cov_part"] == pytest.approx(facts["raw"])


def test_a_second_metric_draws_nothing_and_computes_no_feature(
    toy_subject: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure("frechet", toy_subject(), images=150, replicates=0)
    subject = toy_subject()

    def never(*args: object) -> None:
        raise AssertionError("the features are in the cache")

    monkeypatch.setattr(features, "shared_extractor", never)

    for name in ("kid", "precision_recall", "frechet_infinity", "frechet"):
        assert measure(name, subject, images=150)
    assert subject.denoiser.network.seen == 0  # type: ignore[attr-defined]


def test_moments_from_the_cache_are_those_of_the_features(toy_subject: Build) -> None:
    subject = toy_subject()
    first = generated(subject, HOW, 150)

    moments = first.moments()
    again = generated(subject, HOW, 150).moments()

    assert np.array_equal(moments.cov, again.cov)
    assert moments.cov == pytest.approx(np.cov(first.all(), rowvar=False), rel=1e-6, abs=1e-6)
    assert (moments.n, moments.features, moments.recipe) == (150, "digits-cnn", HOW.fingerprint)
    (first.stage.folder / "moments-150.npz").write_bytes(b"damaged")
    assert np.array_equal(generated(subject, HOW, 150).moments().cov, moments.cov)


def test_more_images_reuse_the_shards_of_fewer(toy_subject: Build) -> None:
    subject = toy_subject()
    few = generated(subject, HOW, 70).all()
    calls = subject.denoiser.network.seen  # type: ignore[attr-defined]

    many = generated(subject, HOW, 150).all()

    assert np.array_equal(many[:70], few)
    assert subject.denoiser.network.seen == calls * 3 // 2  # type: ignore[attr-defined]


def test_a_damaged_feature_shard_is_computed_again(toy_subject: Build) -> None:
    subject = toy_subject()
    whole = generated(subject, HOW, 100)
    before = whole.all()
    (whole.stage.folder / "000001.npz").write_bytes(b"PK")

    assert np.array_equal(generated(subject, HOW, 100).all(), before)


def test_features_of_real_images_stop_where_the_images_do(tmp_path: Path) -> None:
    digits: Dataset = load_digits("test")
    found = real(digits, HOW, tmp_path, "cpu")

    assert found.all().shape == (400, 64)
    assert torch.allclose(torch.from_numpy(found.all()), direct(split("test")), atol=1e-4)
    with pytest.raises(MeasurementError, match="has 400 images, 401 were asked for"):
        real(digits, HOW, tmp_path, "cpu", 401)


def test_kid_precision_and_the_line_are_those_of_the_features(toy_subject: Build) -> None:
    subject = toy_subject()
    samples, train = (
        generated(subject, HOW, 200).all(),
        real(load_digits("train"), HOW, subject.workspace.cache_dir, "cpu"),
    )
    reference = train.all()

    kernel = by_statistic(measure("kid", subject, images=200, subsets=7, seed=3))
    covers = {each.at["which"]: each for each in measure("precision_recall", subject, images=200, neighbours=5)}
    line = by_statistic(measure("frechet_infinity", subject, images=200))

    expected = kid(samples, reference, subsets=7, subset_size=100, seed=3)
    assert kernel["value"].values == (expected.mean,)
    assert kernel["subsets"].values == expected.values
    assert kernel["value"].at["subset_size"] == 100
    four = precision_recall(samples, reference[:200], neighbours=5)
    assert covers["density"].values == (four.density,)
    assert covers["coverage"].values == (four.coverage,)
    assert covers["precision"].at["used"] == 200
    assert line["value"].values == (extrapolate(samples, reference).value,)
    assert line["standard_error"].values[0] > 0


def test_few_images_are_marked_rank_deficient(toy_subject: Build) -> None:
    few = by_statistic(measure("frechet", toy_subject(), images=64, replicates=0))
    enough = by_statistic(measure("frechet", toy_subject(), images=65, replicates=0))

    assert few["value"].warnings == (
        "rank-deficient: 64 generated images for 64 features; the value is far above that of more images",
    )
    assert enough["value"].warnings == ()


def test_paper_a_as_coded_says_how_many_images_it_used(toy_subject: Build) -> None:
    found = by_statistic(measure("frechet", toy_subject(), images=600, recipe="paper-a-as-coded", replicates=0))

    assert found["value"].at["n"] == 512
    assert found["value"].warnings == ("512 of 600 images, as recipe paper-a-as-coded uses them",)
    with pytest.raises(MeasurementError, match="whole batches of 512"):
        measure("frechet", toy_subject(), images=100, recipe="paper-a-as-coded")


def test_recipes_splits_and_counts_have_fingerprints_of_their_own(toy_subject: Build) -> None:
    choices: list[dict[str, Any]] = [
        {},
        {"recipe": "paper-b"},
        {"reference": "test"},
        {"images": 151},
        {"recipe": "paper-a"},
    ]

    made = [
        by_statistic(measure("frechet", toy_subject(), replicates=0, **{"images": 150, **each})) for each in choices
    ]

    assert len({each["value"].at["fingerprint"] for each in made}) == len(choices)
    assert made[1]["value"].values != made[0]["value"].values


def test_the_fingerprint_is_the_same_for_another_sampler_and_another_seed(toy_subject: Build) -> None:
    """They are what a table compares."""
    made = [
        by_statistic(measure("frechet", toy_subject(**change), images=100, replicates=0))["value"]
        for change in ({}, {"sampler": {"eta": 1.0}}, {"seed": 5})
    ]

    assert len({each.at["fingerprint"] for each in made}) == 1
    assert len({each.values for each in made}) == 3


def test_a_collapsed_model_is_refused_not_scored(toy_subject: Build) -> None:
    class Collapsed(nn.Module):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x_t)

    subject = toy_subject()
    collapsed = replace(subject, denoiser=replace(subject.denoiser, network=Collapsed()))

    with pytest.raises(MeasurementError, match="99 of 100 samples are copies"):
        measure("frechet", collapsed, images=100)


def test_the_reference_must_exist(toy_subject: Build) -> None:
    with pytest.raises(MeasurementError, match="give the cell `data:`"):
        measure("frechet", toy_subject(data=None), images=100)
    with pytest.raises(ParamError, match="at least 2"):
        measure("frechet", toy_subject(), images=1)
    subject = replace(toy_subject(), cell=None)
    with pytest.raises(ParamError, match="has no split 'train', only 'test'; use reference: own"):
        metrics.Comparison(subject, Choice(100, "digits-cnn", "tf", "train", "float32"))


def test_training_images_as_the_only_reference_are_said(toy_subject: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "OTHER", {})

    found = by_statistic(measure("frechet", toy_subject(), images=100, replicates=0))

    assert "a model that copied them would score best" in found["value"].warnings[0]


def test_all_images_have_no_other_split(toy_subject: Build) -> None:
    subject = toy_subject(data=Ref(name="digits", params={"split": "all"}))

    found = by_statistic(measure("frechet", subject, images=100, reference="own", replicates=0))

    assert set(found) == {"value"}
    assert found["value"].at["reference_n"] == 1797


def test_the_digits_classifier_judges_digits_only(toy_subject: Build) -> None:
    subject = toy_subject()
    large = replace(subject, denoiser=replace(subject.denoiser, image_shape=(1, 28, 28)))

    with pytest.raises(MeasurementError, match="1x16x16 digits only"):
        measure("frechet", large, images=100)


def test_inception_without_its_weights_is_missing_weights(
    toy_subject: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    features.shared_extractor.cache_clear()

    with pytest.raises(MissingWeights, match="bench fetch inception"):
        measure("frechet", toy_subject(), images=100, features="inception")


def test_reduced_precision_of_the_classifier_is_unsupported(toy_subject: Build) -> None:
    with pytest.raises(Unsupported):
        measure("frechet", toy_subject(), images=100, dtype="bfloat16")


def test_a_changed_classifier_is_refused(toy_subject: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "digits-cnn.safetensors"
    other.write_bytes(digits_cnn.shipped_weights().read_bytes() + b" ")
    monkeypatch.setattr(digits_cnn, "shipped_weights", lambda: other)
    features.shared_extractor.cache_clear()

    with pytest.raises(BadCheckpoint, match="would rank models by chance"):
        measure("frechet", toy_subject(), images=100)
    features.shared_extractor.cache_clear()


def test_every_picture_metric_needs_trained_weights_data_and_a_sampler() -> None:
    load_builtins()

    for name in ("frechet", "frechet_infinity", "kid", "precision_recall"):
        assert metric_spec(name).needs == {Need.TRAINED_WEIGHTS, Need.DATA, Need.SAMPLER}
        assert metric_spec(name).kind == "quality"


def test_the_catalogue_is_read_without_torch() -> None:
    code = "import bench.quality.catalogue, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def small_inception(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inception with seeded weights in the place of the published ones, at 107 pixels; gives its direct features."""
    sha256 = file_hash(inception_file)
    (tmp_path / "weights").mkdir()
    fetched_path("inception", tmp_path).symlink_to(inception_file)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(inception, "SHA256", sha256)
    monkeypatch.setitem(features.SHA256, "inception", sha256)
    monkeypatch.setattr(inception.load_inception, "__kwdefaults__", {"sha256": sha256})
    monkeypatch.setattr("bench.quality.preprocess.resize.__defaults__", (107,))
    features.shared_extractor.cache_clear()
    network = inception.load_inception(inception_file)

    def extracted(images: Tensor) -> Tensor:
        levels = (to_unit(images) * 255).round() / 255
        large = nn.functional.interpolate(levels.expand(-1, 3, -1, -1), size=(107, 107), mode="bilinear")
        with torch.inference_mode():
            return torch.cat([network(2 * part - 1) for part in torch.split(large, 4)])

    yield extracted
    features.shared_extractor.cache_clear()


@pytest.mark.slow
def test_grey_samples_are_scored_by_inception_as_fid(
    toy_subject: Build, small_inception: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_digits("test")
    few = ArrayImages(digits.pixels[:10], None, "test", "few/test:00", ())
    subject = replace(toy_subject(), data=few)
    choice: dict[str, Any] = {"images": 8, "features": "inception", "reference": "own", "replicates": 10}

    found = by_statistic(measure("frechet", subject, **choice))

    expected = frechet_of_features(small_inception(subject.sample(0, 64)[:8]), small_inception(few[0:10])).value
    assert found["value"].values[0] == pytest.approx(expected, rel=1e-4)
    assert found["value"].at["name"] == "FID"
    assert [each.split(":")[0] for each in found["value"].warnings] == ["rank-deficient"] * 2

    monkeypatch.setattr("bench.quality.extractors.reduced_precision_pays", lambda dtype, device: True)
    reduced = by_statistic(measure("frechet", subject, dtype="bfloat16", **choice))
    moved = abs(reduced["value"].values[0] - expected)
    assert reduced["value"].at["fingerprint"] != found["value"].at["fingerprint"]
    # 8 images of each side were tried, which is nearly all there is.
    assert reduced["precision_error"].values[0] == pytest.approx(moved, rel=0.5)
    assert "features in bfloat16: on 8 against 8 images" in reduced["value"].warnings[-1]
