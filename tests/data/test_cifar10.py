from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import cifar10
from bench.data.cifar10 import CLASSES, load_cifar10
from bench.errors import BadData, MissingData


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 20 records, and 2 test and 3 training images a class, instead of thousands."""
    monkeypatch.setattr(cifar10, "RECORDS", 20)
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 3, "test": 2, "all": 5})


def records(seed: int) -> bytes:
    rows = np.random.default_rng(seed).integers(0, 256, (20, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(20) % 10
    return rows.tobytes()


def write_binary(folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    files = {name: records(seed) for seed, name in enumerate(cifar10.BATCHES["all"])}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def write_images(root: Path, save_image: Callable[..., None], suffix: str = ".png") -> None:
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                value = (label * 20, number, 255 if split == "test" else 0)
                save_image(root / split / name / f"{number:04}{suffix}", size=(32, 32), value=value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_the_binary_version_is_read_in_file_order(tmp_path: Path, place: str) -> None:
    files = write_binary(tmp_path / place)

    test, train, everything = (load_cifar10(split, str(tmp_path)) for split in ("test", "train", "all"))

    rows = np.frombuffer(files["test_batch.bin"], np.uint8).reshape(20, 3073)
    assert test.image_shape == (3, 32, 32)
    assert test.labels is not None
    assert test.labels.tolist() == rows[:, 0].tolist()
    torch.testing.assert_close(test[:], torch.from_numpy(rows[:, 1:].reshape(20, 3, 32, 32) / 127.5 - 1).float())
    assert (len(test), len(train), len(everything)) == (20, 100, 120)
    assert torch.equal(everything[100:], test[:])
    assert test.fingerprint.startswith("cifar10/test:")


@pytest.mark.usefixtures("small")
def test_the_binary_version_packed_is_the_same_data(tmp_path: Path) -> None:
    write_binary(tmp_path / "a" / "cifar-10-batches-bin")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a" / "cifar-10-batches-bin", "cifar-10-batches-bin")

    unpacked, packed = (load_cifar10("train", str(tmp_path / name)) for name in "ab")

    assert unpacked.fingerprint == packed.fingerprint
    assert torch.equal(unpacked[:], packed[:])
    assert packed.inputs == (tmp_path / "b" / "cifar-10-binary.tar.gz",)


@pytest.mark.usefixtures("small")
def test_damaged_binary_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    whole = write_binary(folder)["test_batch.bin"]
    for content in (whole[:-1], whole + b"\0", b""):
        (folder / "test_batch.bin").write_bytes(content)
        with pytest.raises(BadData, match=rf"test_batch\.bin: {len(content)} bytes, expected 61460"):
            load_cifar10("test", str(tmp_path))
    (folder / "test_batch.bin").write_bytes(b"\x0b" + whole[1:])
    with pytest.raises(BadData, match="a label is 11"):
        load_cifar10("test", str(tmp_path))
    (folder / "test_batch.bin").unlink()
    with pytest.raises(MissingData, match=r"test_batch\.bin: not there"):
        load_cifar10("test", str(tmp_path))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damage", ["cut", "text", "empty archive"])
def test_a_damaged_binary_archive_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        if damage != "empty archive":
            member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
            member.size = 20 * 3073
            archive.addfile(member, io.BytesIO(records(0)))
    content = buffer.getvalue()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "text": gzip.compress(b"hello"), "empty archive": content}[damage]
    )

    with pytest.raises(BadData, match=r"cifar-10-binary\.tar\.gz.*again"):
        load_cifar10("test", str(tmp_path))


def test_the_python_version_is_never_opened(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/run",)

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(Hostile()))

    with pytest.raises(MissingData, match="cifar-10-batches-py is the python version, a pickle, which is never opened"):
        load_cifar10("test", str(tmp_path))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("suffix", "name"), [(".jpg", "cifar10-jpeg"), (".jpeg", "cifar10-jpeg"), (".png", "cifar10-png")]
)
def test_images_are_named_after_their_format_and_labelled_by_their_folder(
    tmp_path: Path, save_image: Callable[..., None], suffix: str, name: str
) -> None:
    write_images(tmp_path / "cifar10-jpeg", save_image, suffix)

    data = load_cifar10("test", str(tmp_path))

    assert data.fingerprint.startswith(f"{name}/test:")
    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [2] * 10
    reds = ((data[:][:, 0, 16, 16] + 1) * 127.5).round().tolist()
    assert reds == pytest.approx((data.labels * 20).tolist(), abs=4)


@pytest.mark.usefixtures("small")
def test_images_from_files_are_mixed_so_that_any_first_part_is_fair(
    tmp_path: Path, save_image: Callable[..., None]
) -> None:
    write_images(tmp_path / "cifar10", save_image)

    data = load_cifar10("train", str(tmp_path))

    assert data.labels is not None
    assert len(set(data.labels[:10].tolist())) > 4
    again = load_cifar10("train", str(tmp_path)).labels
    assert again is not None
    assert data.labels.tolist() == again.tolist()


@pytest.mark.usefixtures("small")
def test_an_incomplete_or_mixed_collection_is_refused(tmp_path: Path, save_image: Callable[..., None]) -> None:
    root = tmp_path / "cifar10"
    write_images(root, save_image)
    (root / "test" / "cat" / "0001.png").rename(root / "test" / "cat" / "0001.bmp")
    with pytest.raises(BadData, match=r"a mixture of \.bmp, \.png"):
        load_cifar10("test", str(tmp_path))

    (root / "test" / "cat" / "0001.bmp").unlink()
    with pytest.raises(BadData, match="1 images of class cat for split test, expected 2"):
        load_cifar10("test", str(tmp_path))

    save_image(root / "test" / "zebra" / "0.png", size=(32, 32))
    with pytest.raises(BadData, match=r"test/zebra/0\.png is in no class folder"):
        load_cifar10("test", str(tmp_path))


def test_nothing_there_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(MissingData) as caught:
        load_cifar10("test", str(tmp_path))

    for words in (str(tmp_path), "cifar-10-binary.tar.gz", "train/<class>/", "BENCH_DATA"):
        assert words in str(caught.value)


REAL = Path(os.environ.get("BENCH_DATA", "/nonexistent")) / "cifar10-jpeg" / "cifar10-jpeg.tar.xz"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="needs cifar10-jpeg.tar.xz under $BENCH_DATA/cifar10-jpeg")
def test_the_real_archive_is_complete_and_looks_like_cifar10() -> None:
    data = load_cifar10("test", str(REAL.parent.parent))

    assert len(data) == 10_000
    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [1000] * 10
    assert data.fingerprint.startswith("cifar10-jpeg/test:")
    pixels = (data[0:2000].double() + 1) / 2
    assert pixels.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.494, 0.485, 0.450], abs=0.01)
    assert pixels.std(dim=(0, 2, 3)).tolist() == pytest.approx([0.247, 0.243, 0.262], abs=0.01)
    assert len(set(data.labels[:100].tolist())) == 10


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_device_among_the_batches_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    make(folder / "test_batch.bin")

    with pytest.raises(BadData, match="expected a regular file"):
        load_cifar10("test", str(tmp_path))
