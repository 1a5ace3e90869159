from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.idx import read_idx
from bench.data.mnist import load_mnist
from bench.errors import BadData, MissingData


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_pair(folder: Path, part: str, count: int, compress: bool = True, dot: bool = False) -> np.ndarray:
    """`count` images whose pixels tell their number apart, labels 0..9 in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    mark = "." if dot else "-"
    for name, array in ((f"{part}-images{mark}idx3-ubyte", images), (f"{part}-labels{mark}idx1-ubyte", labels)):
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), mtime=0))
        else:
            (folder / name).write_bytes(idx(array))
    return images


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize(("compress", "dot"), [(True, False), (False, False), (False, True)])
def test_files_are_found_in_the_usual_places(tmp_path: Path, folder: str, compress: bool, dot: bool) -> None:
    images = write_pair(tmp_path / folder, "t10k", 20, compress, dot)

    data = load_mnist("test", str(tmp_path))

    torch.testing.assert_close(data[:][:, 0], torch.from_numpy(images) / 127.5 - 1.0)
    assert data.labels is not None
    assert data.labels.tolist() == [*range(10), *range(10)]
    assert data.image_shape == (1, 28, 28)


def test_size_32_puts_a_black_border_of_two_around(tmp_path: Path) -> None:
    write_pair(tmp_path, "t10k", 10)
    small, large = load_mnist("test", str(tmp_path)), load_mnist("test", str(tmp_path), size=32)

    assert large.image_shape == (1, 32, 32)
    assert torch.equal(large[:][..., 2:30, 2:30], small[:])
    assert large[:].sum() - small[:].sum() == -10 * (32**2 - 28**2)
    assert large.fingerprint != small.fingerprint


def test_all_is_training_then_test(tmp_path: Path) -> None:
    train, test = write_pair(tmp_path, "train", 30), write_pair(tmp_path, "t10k", 10)

    data = load_mnist("all", str(tmp_path))

    assert len(data) == 40
    torch.testing.assert_close(data[:][:, 0], torch.from_numpy(np.concatenate([train, test])) / 127.5 - 1.0)
    assert len(data.inputs) == 4


def test_the_test_images_can_be_divided(tmp_path: Path) -> None:
    write_pair(tmp_path, "t10k", 2000)

    train, test, everything = (load_mnist(split, str(tmp_path), divide_test=True) for split in ("train", "test", "all"))

    assert (len(train), len(test), len(everything)) == (1000, 1000, 2000)
    assert test.labels is not None
    assert np.bincount(test.labels).tolist() == [100] * 10
    together = {image.numpy().tobytes() for image in torch.cat([train[:], test[:]])}
    assert together == {image.numpy().tobytes() for image in everything[:]}
    assert train.fingerprint.startswith("mnist-t10k/train:")


def test_the_fingerprint_is_of_the_pixels_and_not_of_the_compression(tmp_path: Path) -> None:
    write_pair(tmp_path / "a", "t10k", 10, compress=True)
    write_pair(tmp_path / "b", "t10k", 10, compress=False)
    images = write_pair(tmp_path / "c", "t10k", 10, compress=False)
    images[5, 3, 3] ^= 1
    (tmp_path / "c" / "t10k-images-idx3-ubyte").write_bytes(idx(images))

    a, b, c = (load_mnist("test", str(tmp_path / name)).fingerprint for name in "abc")

    assert a == b != c


def test_missing_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    write_pair(tmp_path, "t10k", 10)

    with pytest.raises(MissingData) as caught:
        load_mnist("train", str(tmp_path))

    for words in (str(tmp_path), "train-images-idx3-ubyte.gz", "divide_test: true", "BENCH_DATA"):
        assert words in str(caught.value)


def test_the_root_comes_from_the_argument_then_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(tmp_path / "argument", "t10k", 10)
    write_pair(tmp_path / "variable", "t10k", 20)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "variable"))

    assert len(load_mnist("test")) == 20
    assert len(load_mnist("test", str(tmp_path / "argument"))) == 10
    monkeypatch.setenv("BENCH_DATA", "")
    with pytest.raises(MissingData, match="no-data"):
        load_mnist("test")


GOOD = idx(np.zeros((2, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD[:-1], "1568 bytes follow, but there are only 1567"),
        (GOOD + b"\0", "but there are more"),
        (GOOD[:10], "not an idx file"),
        (b"", "not an idx file"),
        (b"PNG?" + GOOD, "not an idx file"),
        (idx(np.zeros((2, 28, 28), np.uint8), kind=0x0D), "type 0x0d with 3 dimensions; expected 0x08"),
        (idx(np.zeros((2, 28), np.uint8)), "with 2 dimensions"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "which is not a data set"),
        (bytes([0, 0, 8, 3]) + b"\0" * 12, "0x0x0"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)

    with pytest.raises(BadData, match=words) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "flipped", "not gzip", "sum"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = bytearray(gzip.compress(GOOD, mtime=0))
    if damage == "cut":
        del content[-9:]
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    elif damage == "sum":
        content[-8] ^= 0xFF
    else:
        content = bytearray(GOOD)
    path.write_bytes(content)

    with pytest.raises(BadData, match="fetch it again") as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_a_small_file_cannot_unpack_into_a_large_one(tmp_path: Path) -> None:
    """Only as much as the header announces, and one byte, is ever unpacked."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000), mtime=0))

    with pytest.raises(BadData, match="but there are more"):
        read_idx(path, 3)


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    write_pair(tmp_path, "t10k", 10)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(9, np.uint8))))
    with pytest.raises(BadData, match=r"10 images, but .* has 9 labels"):
        load_mnist("test", str(tmp_path))

    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.full(10, 12, np.uint8))))
    with pytest.raises(BadData, match=r"a label is 12, expected 0\.\.9"):
        load_mnist("test", str(tmp_path))

    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((10, 32, 32), np.uint8))))
    with pytest.raises(BadData, match="images are 32x32, expected 28x28"):
        load_mnist("test", str(tmp_path))


REAL = Path(os.environ.get("BENCH_DATA", "/nonexistent")) / "mnist" / "t10k-images-idx3-ubyte.gz"


@pytest.mark.skipif(not REAL.is_file(), reason="needs the MNIST test files under $BENCH_DATA/mnist")
def test_the_real_test_images_are_the_known_ones() -> None:
    data = load_mnist("test", str(REAL.parent.parent))

    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = (data[:].double() + 1) / 2
    assert pixels.mean().item() == pytest.approx(0.1325, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3105, abs=5e-5)
    assert data.fingerprint == "mnist/test:2312db560bcd03e3"


@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_device_is_refused_and_never_waited_for(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)

    with pytest.raises(BadData, match="expected a regular file"):
        read_idx(tmp_path / name, 3)
