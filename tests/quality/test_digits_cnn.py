"""The shipped digits classifier: trained, pinned, and nothing else in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.data.digits import load_digits
from bench.errors import BadCheckpoint, MeasurementError, MissingWeights
from bench.passport import file_sha256, read_passport
from bench.quality.digits_cnn import (
    MIN_ACCURACY,
    SHA256,
    DigitsCnn,
    accuracy,
    load_digits_cnn,
    make_digits_cnn,
    shipped_weights,
    train_digits_cnn,
    write_digits_cnn,
)
from bench.quality.frechet import frechet_of_features

TEST = load_digits("test")
IMAGES, LABELS = TEST[0 : len(TEST)], torch.from_numpy(TEST.labels)


def test_the_shipped_weights_know_held_out_digits_as_their_passport_says() -> None:
    network = load_digits_cnn()

    found = accuracy(network, IMAGES, LABELS)

    passport = read_passport(shipped_weights())
    assert found >= MIN_ACCURACY
    assert passport.facts is not None
    assert found == passport.facts["accuracy"]
    assert passport.sha256 == SHA256 == file_sha256(shipped_weights())
    assert passport.data == load_digits("train").fingerprint


def test_features_are_the_layer_before_the_classes() -> None:
    network = load_digits_cnn()

    features = network.features(IMAGES[:5])

    assert features.shape == (5, 64)
    assert torch.equal(network(IMAGES[:5]), network.classes(features))


def test_no_feature_is_dead() -> None:
    spread = load_digits_cnn().features(IMAGES).std(dim=0)

    assert float(spread.min()) > 0.1 * float(spread.max())


def test_the_distance_grows_with_noise_and_blur() -> None:
    network = load_digits_cnn()
    train = load_digits("train")
    reference = network.features(train[0 : len(train)])
    noise = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(0))

    def distance(images: torch.Tensor) -> float:
        return frechet_of_features(network.features(images), reference).value

    clean, little, much = (distance((IMAGES + sigma * noise).clamp(-1, 1)) for sigma in (0.0, 0.2, 0.5))
    blurred = distance(torch.nn.functional.avg_pool2d(IMAGES, 3, 1, 1))

    assert clean < little < much
    assert blurred > 2 * clean


def test_a_random_network_is_refused_in_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "digits-cnn.safetensors"
    save_file(DigitsCnn().state_dict(), path)

    with pytest.raises(BadCheckpoint, match="random ones above all"):
        load_digits_cnn(path)


def test_a_missing_file_is_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"absent\.safetensors, which is not there"):
        load_digits_cnn(tmp_path / "absent.safetensors")


def test_a_file_that_is_no_safetensors_is_a_bad_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "digits-cnn.safetensors"
    path.write_bytes(b"<html>not found</html>")

    with pytest.raises(BadCheckpoint, match="not a readable safetensors"):
        load_digits_cnn(path, sha256=file_sha256(path))


def test_training_repeats_itself_to_the_bit_and_its_file_loads(tmp_path: Path) -> None:
    """Four classes of stripes are learnt in seconds; two trainings of one seed give one network."""
    labels = torch.arange(96) % 4
    rows = torch.arange(16)[None, None, :, None]
    images = torch.where((rows // 4 == labels[:, None, None, None]), 1.0, -1.0).expand(96, 1, 16, 16).contiguous()

    first = train_digits_cnn(images, labels, images[:40], labels[:40], seed=3, epochs=7)
    second = train_digits_cnn(images, labels, images[:40], labels[:40], seed=3, epochs=7)
    path = write_digits_cnn(first, tmp_path / "toy.safetensors", TEST)

    assert first.accuracy == 1.0
    assert first.curve == second.curve
    assert first.curve[-1][1] < first.curve[0][1]
    loaded = load_digits_cnn(path, sha256=read_passport(path).sha256)
    assert torch.equal(loaded(images[:8]), second.network(images[:8]))


def test_training_draws_from_its_own_generator() -> None:
    images, labels = IMAGES[:64], LABELS[:64]
    torch.manual_seed(7)
    expected = torch.rand(3)

    torch.manual_seed(7)
    with pytest.raises(MeasurementError, match=r"below 98%; features of such a network must not judge"):
        train_digits_cnn(images, labels, IMAGES[64:], LABELS[64:], epochs=1)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_the_recipe_reaches_98_percent_from_another_seed(tmp_path: Path) -> None:
    path = make_digits_cnn(tmp_path / "again.safetensors", seed=1)

    facts = read_passport(path).facts
    assert facts is not None
    assert facts["accuracy"] >= MIN_ACCURACY  # type: ignore[operator]
