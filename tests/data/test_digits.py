from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.contracts import Dataset
from bench.data import digits as module
from bench.data.digits import digits_path, enlarge, load_digits
from bench.errors import BadData, MissingData


@pytest.mark.parametrize(("split", "count"), [("train", 1397), ("test", 400), ("all", 1797)])
def test_the_split_has_the_size_it_says(split: str, count: int) -> None:
    data = load_digits(split)  # type: ignore[arg-type]

    assert isinstance(data, Dataset)
    assert len(data) == count == len(data.labels if data.labels is not None else ())
    assert data.image_shape == (1, 16, 16)
    assert data.split == split
    assert data.inputs == (digits_path(),)


def test_images_are_float32_between_minus_one_and_one() -> None:
    images = load_digits("all")[:]

    assert images.shape == (1797, 1, 16, 16)
    assert images.dtype == torch.float32
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)


def test_the_test_split_is_balanced_and_disjoint_from_training() -> None:
    train, test, everything = (load_digits(split) for split in ("train", "test", "all"))
    assert train.labels is not None
    assert test.labels is not None
    rows = {each.numpy().tobytes() for each in everything[:]}

    assert np.bincount(test.labels).tolist() == [40] * 10
    assert np.bincount(train.labels).tolist() == [138, 142, 137, 143, 141, 142, 141, 139, 134, 140]
    assert len(rows) == 1797
    assert {each.numpy().tobytes() for each in train[:]} | {each.numpy().tobytes() for each in test[:]} == rows


def test_the_fingerprint_is_the_same_on_every_machine_and_differs_between_splits() -> None:
    """A change here means that results on digits made before cannot be compared with results made after."""
    prints = [load_digits(split).fingerprint for split in ("train", "test", "all")]

    assert prints[1] == "digits/test:b87ac2552b0629bc"
    assert len(set(prints)) == 3


def test_pixels_and_labels_agree_with_the_originals_enlarged_by_pillow() -> None:
    """Pillow's bicubic is the same cubic; it treats borders in its own way, so the middle is compared."""
    rows = csv.reader(gzip.decompress(digits_path().read_bytes()).decode().splitlines())
    table = np.array([[int(cell) for cell in row] for row in rows])
    originals = table[:, :64].reshape(-1, 8, 8).astype(np.float32)
    data = load_digits("all")
    ours = (data[:].numpy()[:, 0] + 1) * 8

    assert data.labels is not None
    assert data.labels.tolist() == table[:, 64].tolist()
    for image, expected in zip(ours[::50], originals[::50], strict=True):
        enlarged = np.asarray(Image.fromarray(expected).resize((16, 16), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(image[3:13, 3:13], enlarged.clip(0, 16)[3:13, 3:13], atol=1e-4)


def test_enlarging_is_exact_on_a_ramp_and_keeps_flat_images_flat() -> None:
    ramp = np.tile(np.arange(8), (1, 8, 1))
    flat = np.full((1, 8, 8), 5)

    columns = (enlarge(ramp)[0, 0] + 1) * 8
    assert columns[3:13].tolist() == [1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5.25, 5.75]
    assert np.all((enlarge(flat) + 1) * 8 == 5)


def test_every_pixel_is_a_multiple_that_float32_holds_exactly() -> None:
    """So no rounding of any machine or library can change the data."""
    images = load_digits("all")[:].double()

    assert torch.equal(images * 2**17, (images * 2**17).round())


def test_reading_twice_gives_the_same_images_and_a_copy_each_time() -> None:
    data = load_digits()
    first = data[0:4]
    first.zero_()

    assert torch.equal(data[0:4], load_digits()[:][0:4])
    assert not torch.equal(data[0:4], first)


def test_one_image_must_be_asked_for_as_a_slice() -> None:
    with pytest.raises(TypeError, match=r"such as data\[0:8\], got data\[3\]"):
        load_digits()[3]  # type: ignore[index]


def test_neither_scikit_learn_nor_its_imports_are_loaded() -> None:
    code = (
        "import sys; from bench.data.digits import load_digits; load_digits(); "
        "sys.exit(bool({'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingData, match="pip install scikit-learn"):
        load_digits()


@pytest.mark.parametrize(
    "content",
    [
        b"not gzip at all",
        gzip.compress(b"1,2,3\n4,5,6\n"),
        gzip.compress(b"a,b\n"),
        gzip.compress(b"99," * 64 + b"1\n"),
        gzip.compress(b"0," * 64 + b"1\n")[:-12],
    ],
)
def test_a_damaged_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr(module, "digits_path", lambda: path)

    with pytest.raises(BadData, match=r"digits\.csv\.gz .*reinstall scikit-learn"):
        load_digits()
