"""Our Inception against pytorch-fid's, layer for layer the same function, and only with the right file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.downloads import fetched_path
from bench.errors import BadCheckpoint, MeasurementError, MissingWeights, NonFiniteOutput, Unsupported
from bench.files import file_hash
from bench.quality import extractors
from bench.quality.extractors import Extractor, extract, load_extractor, precision_error, reduced_precision_pays
from bench.quality.frechet import frechet_of_features
from bench.quality.inception import build_inception, load_inception
from bench.quality.inception_file import missing_inception, weights_path
from bench.quality.recipe import FeatureRecipe, feature_recipe

SIZE = 107


def with_seeded_weights(file: Path, **options: Any) -> tuple[Extractor, FeatureRecipe]:
    sha256 = file_hash(file)
    network = load_extractor("inception", weights=file, sha256=sha256, **options)
    return network, feature_recipe("tf", "inception", sha256, channels=3, dtype=network.dtype)


def test_computes_what_pytorch_fid_computes(
    inception_state: dict[str, Tensor], pytorch_fid_network: Callable[..., Any], pictures: Callable[..., Tensor]
) -> None:
    """Random weights are the hard case: they magnify the rounding of every layer."""
    x = 2 * pictures(6, SIZE, seed=1) - 1
    theirs = pytorch_fid_network(inception_state, resize_input=False, normalize_input=False)

    with torch.inference_mode():
        expected = theirs(x)[0].flatten(1)
        found = build_inception(inception_state)(x)

    assert found.shape == (6, 2048)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    assert float(expected.std(dim=0).mean()) > 1e-2  # features that vary, or the comparison would be empty


@pytest.mark.slow
def test_features_and_distance_equal_pytorch_fid_at_full_size(
    full_size_file: Path,
    full_size_state: dict[str, Tensor],
    pytorch_fid_network: Callable[..., Any],
    pictures: Callable[..., Tensor],
) -> None:
    ours, how = with_seeded_weights(full_size_file)
    theirs = pytorch_fid_network(full_size_state)
    sets = [(pictures(32, 32, seed=seed) * 255).round() / 255 for seed in (2, 3)]

    with torch.inference_mode():
        expected = [torch.cat([theirs(part)[0].flatten(1) for part in torch.split(images, 16)]) for images in sets]
    found = [extract(ours, how, images) for images in sets]

    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max()) <= 1e-4 * float(b.abs().max())
    distance = frechet_of_features(*expected).value
    assert frechet_of_features(*found).value == pytest.approx(distance, abs=1e-3)
    assert distance > 1.0


@pytest.mark.slow
def test_features_equal_torch_fidelity_under_its_own_recipe(
    full_size_file: Path, pictures: Callable[..., Tensor]
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-untyped]
        FeatureExtractorInceptionV3,
    )

    theirs = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(full_size_file))
    ours, _ = with_seeded_weights(full_size_file)
    how = feature_recipe("tf1", "inception", ours.sha256, channels=3)
    images = (pictures(8, 32, seed=4) * 255).round() / 255

    with torch.inference_mode():
        expected = theirs((images * 255).round().to(torch.uint8))[0]

    found = extract(ours, how, images)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_features_do_not_depend_on_batch_mates(
    inception_state: dict[str, Tensor], pictures: Callable[..., Tensor]
) -> None:
    network = build_inception(inception_state)
    x = 2 * pictures(8, SIZE, seed=5) - 1

    with torch.inference_mode():
        together = network(x)
        for size in (1, 3):
            apart = torch.cat([network(part) for part in torch.split(x, size)])
            assert float((apart - together).abs().max()) <= 1e-4 * float(together.abs().max())


def test_the_last_small_batch_is_not_dropped(inception_file: Path, pictures: Callable[..., Tensor]) -> None:
    network, how = with_seeded_weights(inception_file)
    seen: list[int] = []

    def counting(x: Tensor) -> Tensor:
        seen.append(len(x))
        return torch.ones(len(x), 2048)

    counted = Extractor("inception", network.sha256, 2048, "float32", network.device, counting)

    assert extract(counted, how, pictures(7, 8, seed=0)).shape == (7, 2048)
    assert seen == [4, 3]
    assert extract(counted, how, torch.empty(0, 3, 8, 8)).shape == (0, 2048)


def test_features_that_are_not_finite_name_the_image(pictures: Callable[..., Tensor]) -> None:
    how = feature_recipe("tf", "digits-cnn", "ab", channels=1)

    def broken(x: Tensor) -> Tensor:
        features = torch.ones(len(x), 64)
        features[5, 3] = torch.nan
        return features

    network = Extractor("digits-cnn", "ab", 64, "float32", torch.device("cpu"), broken)

    with pytest.raises(NonFiniteOutput, match="image 5 are not finite"):
        extract(network, how, pictures(8, 16, seed=0, channels=1))


def test_the_recipe_and_the_network_must_be_the_same() -> None:
    network = load_extractor("digits-cnn")
    other = feature_recipe("tf", "digits-cnn", "ab" * 32, channels=1)

    with pytest.raises(MeasurementError, match="the recipe wants digits-cnn abababababab in float32"):
        extract(network, other, torch.zeros(1, 1, 16, 16))


def test_missing_weights_say_what_to_put_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))

    with pytest.raises(MissingWeights, match=r"bench fetch inception.* pt_inception-2015-12-05-6726825d\.pth"):
        load_extractor("inception")


def test_weights_are_looked_for_where_fetch_puts_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    place = fetched_path("inception", tmp_path)

    assert weights_path() == place
    assert [str(place) in sentence for sentence in missing_inception()] == [True]
    place.parent.mkdir()
    place.touch()
    assert list(missing_inception()) == []


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1"])
def test_another_file_in_its_place_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pt_inception.pth"
    path.write_bytes(content)

    with pytest.raises(BadCheckpoint, match="a FID of other weights is no FID"):
        load_inception(path)


def test_a_file_with_other_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)

    with pytest.raises(BadCheckpoint, match="holds no Inception weights"):
        load_inception(path, sha256=file_hash(path))


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"

    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (marker,)

    torch.save({"Conv2d_1a_3x3.conv.weight": Evil()}, path)

    with pytest.raises(BadCheckpoint, match="holds no Inception weights"):
        load_inception(path, sha256=file_hash(path))
    assert not marker.exists()


def test_random_inception_weights_are_refused_as_the_published_ones(inception_file: Path) -> None:
    with pytest.raises(BadCheckpoint, match="its SHA-256 begins"):
        load_extractor("inception", weights=inception_file)


def test_reduced_precision_says_what_it_was_measured_to_change(
    inception_file: Path, pictures: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractors, "reduced_precision_pays", lambda dtype, device: True)
    monkeypatch.setattr("bench.quality.preprocess.INCEPTION_SIZE", SIZE)
    monkeypatch.setattr("bench.quality.preprocess.resize.__defaults__", (SIZE,))
    exact, how = with_seeded_weights(inception_file)
    reduced, other = with_seeded_weights(inception_file, dtype="bfloat16")

    found = precision_error(exact, reduced, how, pictures(3, 32, seed=6), pictures(3, 32, seed=7))

    assert how.fingerprint != other.fingerprint
    assert 1e-4 < found.feature_error < 0.5
    assert found.exact != found.reduced
    assert f"{found.exact:.6g}" in found.sentence
    assert "bfloat16: on 3 against 3 images" in found.sentence


def test_reduced_precision_is_refused_where_the_processor_would_emulate_it(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(extractors, "_cpu_flags", lambda: {"avx2", "fma"})
    assert not reduced_precision_pays("bfloat16", cpu)
    with pytest.raises(Unsupported, match="no units for bfloat16"):
        with_seeded_weights(inception_file, dtype="bfloat16")

    monkeypatch.setattr(extractors, "_cpu_flags", lambda: {"avx512f", "amx_bf16"})
    assert reduced_precision_pays("bfloat16", cpu)
    assert not reduced_precision_pays("float16", cpu)


@pytest.mark.slow
def test_compiling_changes_nothing_but_rounding(inception_file: Path, pictures: Callable[..., Tensor]) -> None:
    eager, how = with_seeded_weights(inception_file)
    compiled, _ = with_seeded_weights(inception_file, compile=True)
    images = pictures(4, 32, seed=8)

    found, expected = extract(compiled, how, images), extract(eager, how, images)

    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
