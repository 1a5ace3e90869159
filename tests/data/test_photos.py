from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.contracts import Dataset
from bench.data import photos as module
from bench.data.images import ArrayImages
from bench.data.photos import SIZE, TEST, TRAIN, cut, halve, load_photos, photos_folder, read_photo, tiles
from bench.errors import BadData, MissingData
from bench.registry import DATASETS, load_builtins


@pytest.fixture(scope="module")
def splits() -> dict[str, ArrayImages]:
    """Both parts; cutting the training patches takes a second."""
    return {"train": load_photos("train"), "test": load_photos("test")}


@pytest.mark.parametrize(("split", "count", "photographs"), [("train", 3200, TRAIN), ("test", 105, TEST)])
def test_the_split_has_the_size_it_says(
    splits: dict[str, ArrayImages], split: str, count: int, photographs: tuple[str, ...]
) -> None:
    data = splits[split]

    assert isinstance(data, Dataset)
    assert len(data) == count == len(data.labels if data.labels is not None else ())
    assert data.image_shape == (3, SIZE, SIZE)
    assert data.split == split
    assert [path.name for path in data.inputs] == list(photographs)
    assert data[0:4].dtype == torch.float32
    assert -1.0 <= data[0:64].min().item() < data[0:64].max().item() <= 1.0


def test_train_and_test_are_cut_from_different_photographs(splits: dict[str, ArrayImages]) -> None:
    everything, train, test = load_photos("all"), splits["train"], splits["test"]

    assert not set(TRAIN) & set(TEST)
    assert train.labels is not None and test.labels is not None
    assert not set(train.labels.tolist()) & set(test.labels.tolist())
    assert len(everything) == len(train) + len(test)


def test_test_patches_never_overlap() -> None:
    places = list(tiles("p", np.zeros((200, 330, 3), np.uint8)))
    seen = np.zeros((200, 330), int)
    for place in places:
        seen[place.top : place.top + 2 * SIZE, place.left : place.left + 2 * SIZE] += 1

    assert len(places) == 3 * 5
    assert seen.max() == 1


def test_the_first_images_are_a_mixture_of_all_photographs(splits: dict[str, ArrayImages]) -> None:
    train, test = splits["train"], splits["test"]
    assert train.labels is not None and test.labels is not None

    assert set(train.labels[:40].tolist()) == {0, 1, 2, 3}
    assert set(test.labels[:20].tolist()) == {4, 5}


def test_the_fingerprint_of_the_test_images_is_the_same_on_every_machine() -> None:
    """They are all from PNG files; of the training photographs one is a JPEG, which libraries decode differently."""
    assert load_photos("test").fingerprint == "photos/test:5989caf40bbacdb5"


def test_a_patch_is_the_photograph_where_it_says() -> None:
    photo = read_photo(photos_folder() / "chelsea.png")
    place = next(iter(tiles("chelsea.png", photo)))
    patch = cut(photo, place)

    assert patch.shape == (SIZE, SIZE, 3)
    np.testing.assert_allclose(patch[0, 0], photo[:2, :2].reshape(4, 3).mean(axis=0), atol=0.5)


def test_halving_is_the_mean_rounded_half_up() -> None:
    block = np.array([[[0], [1]], [[0], [1]]], np.uint8)

    assert halve(block).tolist() == [[[1]]]
    assert halve(np.full((4, 6, 3), 255, np.uint8)).tolist() == [[[255] * 3] * 3] * 2
    assert halve(np.array([[[0], [1]], [[0], [0]]], np.uint8)).tolist() == [[[0]]]


def test_every_training_patch_shows_something(splits: dict[str, ArrayImages]) -> None:
    pixels = splits["train"].pixels

    assert pixels.std(axis=(2, 3)).mean(axis=1).min() >= module.MIN_SPREAD * 255


def test_skimage_is_not_imported() -> None:
    code = "import sys; from bench.data.photos import load_photos; load_photos(); sys.exit('skimage' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_scikit_image_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingData, match="pip install scikit-image"):
        load_photos()


def test_a_missing_a_damaged_and_a_tiny_photograph_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"chelsea\.png, which is not there"):
        read_photo(tmp_path / "chelsea.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(BadData, match=r"broken\.png is damaged"):
        read_photo(tmp_path / "broken.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "tiny.png")
    with pytest.raises(BadData, match="40x40 pixels, too small"):
        read_photo(tmp_path / "tiny.png")


def test_it_is_registered() -> None:
    load_builtins()

    assert DATASETS.get("photos").factory(split="test").fingerprint == load_photos("test").fingerprint
