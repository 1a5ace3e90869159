"""A recipe's fingerprint changes with every value, and names mean what they say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import pytest

from bench.errors import MeasurementError, ParamError
from bench.quality.recipe import MEANING, RECIPE_NAMES, FidRecipe, feature_recipe, images_used, value_name

FEATURES = feature_recipe("tf", "inception", "ab" * 32, channels=3)
FID = FidRecipe("tf", FEATURES, 50_000, "cifar10/train:0123", "train", 50_000, ema=True)

OTHER_FEATURES = {
    "extractor": "digits-cnn",
    "extractor_sha256": "cd" * 32,
    "quantise": "none",
    "resize": "pil-bicubic",
    "scale": "(x-128)/128",
    "grey_to_rgb": "repeat",
    "dtype": "bfloat16",
    "batch": 50,
    "engine": 99,
}
OTHER_FID = {
    "name": "clean",
    "features": replace(FEATURES, batch=50),
    "images": 49_664,
    "reference": "cifar10/test:0123",
    "reference_split": "test",
    "reference_images": 10_000,
    "ema": False,
}


def test_every_value_of_a_feature_recipe_changes_its_fingerprint() -> None:
    assert set(OTHER_FEATURES) == {each.name for each in fields(FEATURES)}
    changed = {replace(FEATURES, **{name: value}).fingerprint for name, value in OTHER_FEATURES.items()}  # type: ignore[arg-type]

    assert len(changed | {FEATURES.fingerprint}) == len(OTHER_FEATURES) + 1


def test_every_value_of_a_comparison_changes_its_fingerprint() -> None:
    assert set(OTHER_FID) == {each.name for each in fields(FID)}
    changed = {replace(FID, **{name: value}).fingerprint for name, value in OTHER_FID.items()}  # type: ignore[arg-type]

    assert len(changed | {FID.fingerprint}) == len(OTHER_FID) + 1


def test_a_fingerprint_is_the_same_tomorrow() -> None:
    assert FEATURES.fingerprint == "e0b88211b149fd31"
    assert FID.fingerprint == "e74f83081af46917"


def test_the_facts_are_flat_and_complete() -> None:
    facts = FID.facts()

    assert facts["features.resize"] == "torch-bilinear"
    assert facts["fingerprint"] == FID.fingerprint
    assert {f"features.{each.name}" for each in fields(FEATURES)} < set(facts)
    assert all(isinstance(value, (str, int, float, bool)) for value in facts.values())


def test_named_recipes_differ_where_their_sources_do() -> None:
    made = {name: feature_recipe(name, "inception", "ab" * 32, channels=3) for name in RECIPE_NAMES}

    assert set(MEANING) == set(RECIPE_NAMES)
    # Paper A's two counts share their features; all others are features of their own.
    assert made["paper-a"] == made["paper-a-as-coded"]
    assert len({each.fingerprint for each in made.values()}) == len(RECIPE_NAMES) - 1
    assert made["paper-b"].quantise == "none"


def test_paper_a_as_coded_uses_49664_of_50000_images() -> None:
    assert images_used("paper-a-as-coded", 50_000) == 49_664
    assert images_used("paper-a", 50_000) == 50_000
    with pytest.raises(MeasurementError, match="whole batches of 512 images, and 500 hold none"):
        images_used("paper-a-as-coded", 500)


def test_grey_images_are_repeated_for_inception_and_left_alone_for_the_digits_classifier() -> None:
    assert feature_recipe("tf", "inception", "ab", channels=1).grey_to_rgb == "repeat"
    assert feature_recipe("tf", "inception", "ab", channels=3).grey_to_rgb == "not needed"
    digits = feature_recipe("clean", "digits-cnn", "ab", channels=1)
    assert (digits.grey_to_rgb, digits.resize) == ("not needed", "none")


def test_only_inception_features_give_a_fid() -> None:
    assert value_name("inception") == "FID"
    assert value_name("digits-cnn") == "frechet[digits-cnn]"


def test_an_unknown_recipe_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ParamError, match="did you mean 'paper-a'"):
        feature_recipe("papera", "inception", "ab", channels=3)  # type: ignore[arg-type]


def test_recipes_are_read_without_torch() -> None:
    code = "import bench.quality.recipe, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
