"""The shipped digits classifier: trained, pinned, and nothing else in its place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.data.digits import load_digits
from bench.errors import BadCheckpoint, MeasurementError, MissingWeights, ParamError, SaveError, SuiteError
from bench.files import file_hash
from bench.passport import read_passport
from bench.quality.classifier_recipe import ClassifierRecipe, parse_classifier
from bench.quality.digits_cnn import (
    MIN_ACCURACY,
    SHA256,
    DigitsCnn,
    Epoch,
    TrainedCnn,
    accuracy,
    load_digits_cnn,
    make_digits_cnn,
    shipped_weights,
    train_digits_cnn,
    write_digits_cnn,
)
from bench.quality.frechet import frechet_of_features
from bench.registry import load_builtins
from bench.suite.schema import Ref

TEST = load_digits("test")
IMAGES, LABELS = TEST[0 : len(TEST)], torch.from_numpy(TEST.labels)
RECIPE = Path(__file__).parents[2] / "models" / "recipes" / "digits-cnn.yaml"


def shipped_recipe() -> ClassifierRecipe:
    load_builtins()
    return parse_classifier(RECIPE.read_text(encoding="utf-8"), RECIPE.name)


def short(epochs: int, seed: int = 0) -> ClassifierRecipe:
    """The shipped recipe, cut short."""
    how = shipped_recipe()
    return how.model_copy(update={"train": how.train.model_copy(update={"epochs": epochs}), "seed": seed})


def test_the_shipped_weights_know_held_out_digits_as_their_passport_says() -> None:
    network = load_digits_cnn()

    found = accuracy(network, IMAGES, LABELS)

    passport = read_passport(shipped_weights())
    assert found >= MIN_ACCURACY
    assert passport.facts is not None
    assert found == passport.facts["accuracy"]
    assert passport.sha256 == SHA256 == file_hash(shipped_weights())
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
        load_digits_cnn(path, sha256=file_hash(path))


def test_training_repeats_itself_to_the_bit_and_its_file_loads(tmp_path: Path) -> None:
    """Four classes of stripes are learnt in seconds; two trainings of one seed give one network."""
    labels = torch.arange(96) % 4
    rows = torch.arange(16)[None, None, :, None]
    images = torch.where((rows // 4 == labels[:, None, None, None]), 1.0, -1.0).expand(96, 1, 16, 16).contiguous()

    how = short(epochs=7, seed=3)
    first = train_digits_cnn(images, labels, images[:40], labels[:40], how)
    second = train_digits_cnn(images, labels, images[:40], labels[:40], how)
    path = write_digits_cnn(first, tmp_path / "toy.safetensors", TEST, how, "toy.yaml")

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
        train_digits_cnn(images, labels, IMAGES[64:], LABELS[64:], short(epochs=1))

    assert torch.equal(torch.rand(3), expected)


def test_the_passport_of_the_shipped_weights_names_their_recipe() -> None:
    passport, how = read_passport(shipped_weights()), shipped_recipe()

    assert (passport.recipe, passport.recipe_sha256) == ("digits-cnn.yaml", how.fingerprint)
    assert (passport.name, passport.seed, passport.facts) == (
        how.recipe,
        how.seed,
        {"accuracy": 0.995, "held_out": "digits/test", "epochs": how.train.epochs},
    )


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped_weights().with_suffix(suffix), tmp_path)
    weights = tmp_path / "digits-cnn.safetensors"

    def never(done: Epoch) -> None:
        raise AssertionError("it is trained again")

    assert make_digits_cnn(shipped_recipe(), "digits-cnn.yaml", weights, never) == weights


def test_another_seed_is_another_recipe_and_another_title_is_not() -> None:
    how = shipped_recipe()

    assert how.model_copy(update={"seed": 1}).fingerprint != how.fingerprint
    assert how.model_copy(update={"title": "another"}).fingerprint == how.fingerprint


def test_images_without_digits_cannot_train_it(tmp_path: Path) -> None:
    load_builtins()
    how = shipped_recipe().model_copy(update={"data": Ref(name="photos", params={"split": "test"})})

    with pytest.raises(ParamError, match="labelled 1x16x16 digits, which 'photos' does not have"):
        make_digits_cnn(how, "r.yaml", tmp_path / "w.safetensors")


def test_mistakes_in_the_recipe_stand_at_their_lines() -> None:
    load_builtins()
    text = RECIPE.read_text(encoding="utf-8")

    with pytest.raises(SuiteError, match=r"r\.yaml:7:9: train\.epoch: unknown key; did you mean 'epochs'"):
        parse_classifier(text.replace("epochs: 40", "epoch: 40"), "r.yaml")
    with pytest.raises(SuiteError, match=r"r\.yaml:6:11: held_out: .*takes no parameter 'spilt'"):
        parse_classifier(text.replace("split: test", "spilt: test"), "r.yaml")


@pytest.mark.parametrize("name", ["small.safetensors", "small.json"])
def test_a_disk_that_takes_no_weights_or_no_passport_is_a_save_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import bench.files

    give_name = bench.files._give_name

    def full(folder: int, descriptor: int, temporary: str, final: str) -> None:
        if final == name:
            raise OSError(28, "No space left on device")
        give_name(folder, descriptor, temporary, final)

    trained = TrainedCnn(DigitsCnn(), 0.99, ((1, 0.5),), 1, 0.1)
    monkeypatch.setattr(bench.files, "_give_name", full)

    with pytest.raises(SaveError, match=rf"{re.escape(name)}: cannot be written: No space left on device"):
        write_digits_cnn(trained, tmp_path / "small.safetensors", TEST, shipped_recipe(), "small.yaml")
    assert not (tmp_path / name).exists()


@pytest.mark.slow
def test_the_recipe_reaches_98_percent_from_another_seed(tmp_path: Path) -> None:
    load_builtins()
    how = shipped_recipe().model_copy(update={"seed": 1})
    path = make_digits_cnn(how, "again.yaml", tmp_path / "again.safetensors")

    facts = read_passport(path).facts
    assert facts is not None
    assert facts["accuracy"] >= MIN_ACCURACY  # type: ignore[operator]
