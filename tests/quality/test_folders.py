"""`bench fid A B` without the command line: pytorch-fid's number, or one sentence that names the file."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from reference_fid import pytorch_fid_of_folders
from torch import Tensor

from bench.data.digits import load_digits
from bench.errors import BadData, MissingData, MissingWeights, StoreError, UserError
from bench.files import file_hash
from bench.quality import folders
from bench.quality.extractors import Extractor, load_extractor
from bench.quality.folders import fid_between, read_side
from bench.quality.frechet import frechet_of_features
from bench.quality.moments import save_moments
from bench.quality.recipe import feature_recipe

DIGITS = load_digits("all")


def write_images(folder: Path, images: Tensor, suffix: str = "png") -> Path:
    """Images [N, C, H, W] in [0, 1] as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image.squeeze()).save(folder / f"{number:05d}.{suffix}")
    return folder


def write_digits(folder: Path, low: int, high: int, suffix: str = "png") -> Path:
    return write_images(folder, (DIGITS[low:high] + 1) / 2, suffix)


def digits_distance(a: Path, b: Path, **options: Any) -> folders.FolderDistance:
    return fid_between(a, b, features="digits-cnn", **options)


@pytest.mark.slow
def test_equals_pytorch_fid_on_two_small_folders(
    tmp_path: Path, full_size_file: Path, full_size_state: dict[str, Tensor], pictures: Callable[..., Tensor]
) -> None:
    from pytorch_fid import inception

    a = write_images(tmp_path / "a", pictures(30, 32, seed=1))
    b = write_images(tmp_path / "b", pictures(25, 48, seed=2), "jpg")
    with patch.object(inception, "load_state_dict_from_url", return_value=full_size_state):
        theirs = pytorch_fid_of_folders([a, b])

    network = load_extractor("inception", weights=full_size_file, sha256=file_hash(full_size_file))
    found = fid_between(a, b, extractor=network)

    assert found.value == pytest.approx(theirs, abs=1e-3)
    assert found.name == "FID(n=30)"
    assert found.images == (30, 25)
    assert any("rank-deficient" in each for each in found.warnings)
    assert any("compressed with loss" in each for each in found.warnings)


def test_is_the_distance_of_the_features_of_all_images(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 100), write_digits(tmp_path / "b", 100, 300)
    network = load_extractor("digits-cnn")
    sides = [((DIGITS[low:high] + 1) / 2 * 255).round() / 255 for low, high in ((0, 100), (100, 300))]

    found = digits_distance(a, b)

    # Tensors here are what the files hold, features what the network makes of them.
    expected = frechet_of_features(*(network.network(2 * side - 1) for side in sides)).value
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.name == "frechet[digits-cnn]"
    assert found.images == (100, 200)
    assert found.recipe["features.extractor"] == "digits-cnn"
    assert found.recipe["images"] == 100


def test_zips_tars_and_subfolders_hold_the_same_images(tmp_path: Path) -> None:
    folder, reference = write_digits(tmp_path / "a", 0, 40), write_digits(tmp_path / "b", 40, 100)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"deep/{file.name}")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        packed.add(folder, "images")

    values = {digits_distance(tmp_path / name, reference).value for name in ("a", "a.zip", "a.tar.gz")}

    assert len(values) == 1


def test_statistics_stand_for_the_images_they_were_made_of(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 100), write_digits(tmp_path / "b", 100, 200)
    network = load_extractor("digits-cnn")
    how = feature_recipe("tf", "digits-cnn", network.sha256, channels=1)
    save_moments(tmp_path / "b.npz", read_side(b, how, network).moments)

    found, direct = digits_distance(a, tmp_path / "b.npz"), digits_distance(a, b)

    assert found.value == direct.value
    assert found.images == (100, 100)
    assert found.warnings == direct.warnings == ()


def test_statistics_of_another_recipe_are_refused_and_of_unknown_origin_marked(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 80), write_digits(tmp_path / "b", 80, 200)
    network = load_extractor("digits-cnn")
    moments = read_side(b, feature_recipe("paper-b", "digits-cnn", network.sha256, channels=1), network).moments
    save_moments(tmp_path / "other.npz", moments)
    np.savez(tmp_path / "theirs.npz", mu=moments.mu, sigma=moments.cov)

    with pytest.raises(BadData, match=r"statistics of the recipe \w+, but this comparison is \w+ \(tf, digits-cnn"):
        digits_distance(a, tmp_path / "other.npz")
    found = digits_distance(a, tmp_path / "theirs.npz")
    assert found.images == (80, None)
    assert "unknown origin" in found.warnings[0]


def test_a_folder_against_itself_is_zero(tmp_path: Path) -> None:
    a = write_digits(tmp_path / "a", 0, 80)

    assert digits_distance(a, a).value == pytest.approx(0.0, abs=1e-6)


def test_paper_a_as_coded_takes_whole_batches_of_the_judged_side_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = write_digits(tmp_path / "a", 0, 530), write_digits(tmp_path / "b", 530, 700)

    found = digits_distance(a, b, recipe="paper-a-as-coded")

    assert found.images == (512, 170)


def test_progress_counts_the_images_of_both_sides(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 70), write_digits(tmp_path / "b", 70, 90)
    seen: list[tuple[str, int, int]] = []

    digits_distance(a, b, on_progress=lambda path, done, total: seen.append((path, done, total)))

    assert seen == [(str(a), 64, 70), (str(a), 70, 70), (str(b), 20, 20)]


def test_copies_are_counted(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 80), write_digits(tmp_path / "b", 80, 160)
    (a / "copy.png").write_bytes((a / "00003.png").read_bytes())

    assert digits_distance(a, b).warnings == (f"{a}: 1 of 81 images are copies of others",)


def refused(tmp_path: Path, kind: type[UserError], sentence: str) -> None:
    """Both orders give the sentence, on one line."""
    good = write_digits(tmp_path / "good", 0, 80)
    for pair in ((tmp_path / "bad", good), (good, tmp_path / "bad")):
        with pytest.raises(kind, match=sentence) as caught:
            digits_distance(*pair)
        assert "\n" not in str(caught.value)


def test_mixed_sizes_name_the_file(tmp_path: Path) -> None:
    write_digits(tmp_path / "bad", 0, 5)
    Image.new("L", (16, 20)).save(tmp_path / "bad" / "odd.png")

    refused(tmp_path, BadData, r"odd\.png: 16x20 pixels, but 00000\.png has 16x16")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    write_digits(tmp_path / "bad", 0, 5)
    (tmp_path / "bad" / "00002.png").write_bytes(content)

    refused(tmp_path, BadData, r"00002\.png: not a readable")


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    file = write_digits(tmp_path / "bad", 0, 5) / "00004.png"
    file.write_bytes(file.read_bytes()[:-30])

    refused(tmp_path, BadData, r"00004\.png: not a readable")


def test_sixteen_bit_pixels_are_cut_as_pillow_cuts_them_and_counted(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 40), write_digits(tmp_path / "b", 40, 100)
    Image.fromarray(np.full((16, 16), 256, np.uint16)).save(a / "deep.png")
    cut = digits_distance(a, b)
    Image.new("L", (16, 16), 255).save(a / "deep.png")

    assert cut.value == digits_distance(a, b).value
    assert cut.warnings[0] == (
        f"{a}: 1 of 41 images are of more than 8 bits a channel; as in pytorch-fid, levels outside of 0..255 were cut: "
        "save 8 bits"
    )


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    refused(tmp_path, BadData, "at least 2 images, found no .png")

    write_digits(tmp_path / "bad", 0, 1)
    refused(tmp_path, BadData, r"at least 2 images, found 00000\.png")


def test_a_folder_of_one_picture_many_times_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "bad", torch.full((9, 1, 16, 16), 0.5))

    refused(tmp_path, BadData, r"all 9 images are the same picture, 00000\.png")


def test_pictures_without_differing_features_are_refused(tmp_path: Path) -> None:
    network = Extractor("inception", "ab" * 32, 6, "float32", torch.device("cpu"), lambda x: torch.ones(len(x), 6))
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    a, b = write_images(tmp_path / "a", images), write_images(tmp_path / "b", images.flip(0))

    with pytest.raises(BadData, match=r"all 20 images of .* have the same features"):
        fid_between(a, b, extractor=network)


def test_too_few_images_for_the_recipe_as_coded_are_refused(tmp_path: Path) -> None:
    a, b = write_digits(tmp_path / "a", 0, 80), write_digits(tmp_path / "b", 80, 160)

    with pytest.raises(BadData, match="whole batches of 512 images, and 80 hold none"):
        digits_distance(a, b, recipe="paper-a-as-coded")


def test_a_missing_folder_and_damaged_statistics_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, MissingData, "no such folder or archive")

    good = write_digits(tmp_path / "good", 0, 80)
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"bad\.npz: not a readable"):
        digits_distance(good, tmp_path / "bad.npz")


def test_missing_inception_weights_are_said_before_any_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))

    with pytest.raises(MissingWeights, match="bench fetch inception"):
        fid_between(tmp_path / "none", tmp_path / "nowhere")


def test_few_images_for_inception_carry_their_number_in_the_name(tmp_path: Path) -> None:
    def flat(x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)).repeat(1, 2) + torch.linspace(0, 1, 6)

    network = Extractor("inception", "ab" * 32, 6, "float32", torch.device("cpu"), flat)
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    a, b = write_images(tmp_path / "a", images), write_images(tmp_path / "b", images.flip(0) ** 2)

    assert fid_between(a, b, extractor=network).name == "FID(n=20)"
