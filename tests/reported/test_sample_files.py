"""Pictures as one array in an .npz or .npy, as sampling scripts write them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.main import main
from bench.data.folder import load_folder
from bench.data.sample_file import SampleSource
from bench.data.sources import open_source
from bench.errors import BadData, ExitCode, StoreError
from bench.quality.extractors import Extractor, load_extractor
from bench.quality.folders import FolderDistance, fid_between

Save = Callable[[Path, np.ndarray], Path]


def samples(images: int = 70, seed: int = 0, size: int = 16, channels: int = 1) -> np.ndarray:
    """uint8 [images, size, size, channels]."""
    return np.random.default_rng(seed).integers(0, 256, (images, size, size, channels), dtype=np.uint8)


def as_png(folder: Path, pictures: np.ndarray) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.squeeze()).save(folder / f"{number:03}.png")
    return folder


def with_labels(path: Path, pictures: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), pictures, np.arange(len(pictures)))
    return path.with_suffix(".npz")


def plain(path: Path, pictures: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), pictures)
    return path.with_suffix(".npz")


def compressed(path: Path, pictures: np.ndarray) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), pictures)
    return path.with_suffix(".npz")


def in_capitals(path: Path, pictures: np.ndarray) -> Path:
    return plain(path, pictures).rename(path.with_suffix(".NPZ"))


def bare(path: Path, pictures: np.ndarray) -> Path:
    np.save(path.with_suffix(".npy"), pictures)
    return path.with_suffix(".npy")


def of_another_name(path: Path, pictures: np.ndarray) -> Path:
    return plain(path, pictures).rename(path.with_suffix(".zip"))


@cache
def digits_network() -> Extractor:
    return load_extractor("digits-cnn")


def digits_distance(a: Path, b: Path) -> FolderDistance:
    return fid_between(a, b, features="digits-cnn", extractor=digits_network())


@pytest.mark.parametrize("save", [with_labels, plain, compressed, in_capitals, bare, of_another_name])
def test_a_sample_file_gives_the_number_of_its_pictures(tmp_path: Path, save: Save) -> None:
    file = save(tmp_path / "samples", samples())
    folder, reference = as_png(tmp_path / "a", samples()), as_png(tmp_path / "b", samples(seed=1))

    distance, data = digits_distance(file, reference), load_folder(str(file), 16, 1)

    assert distance.value == digits_distance(folder, reference).value
    assert digits_distance(reference, file).value == pytest.approx(distance.value)
    assert torch.equal(data[0:70], load_folder(str(folder), 16, 1)[0:70])
    left_out = "only arr_0 was taken for pictures; left out: arr_1"
    assert distance.warnings == ((f"{file}: {left_out}",) if save is with_labels else ())
    assert data.notes() == ((f"folder/all: {left_out}",) if save is with_labels else ())


def test_colour_pictures_come_with_their_colours(tmp_path: Path) -> None:
    pictures = samples(5, channels=3)

    data = load_folder(str(plain(tmp_path / "a", pictures)), 16, 3)

    expected = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(torch.float32).div(127.5).sub(1.0)
    assert torch.equal(data[0:5], expected)
    assert data.inputs == (tmp_path / "a.npz",)


@pytest.mark.parametrize("save", [plain, compressed, bare])
def test_pictures_are_read_in_any_order(tmp_path: Path, save: Save) -> None:
    source = open_source(save(tmp_path / "a", samples(12)))

    rows = [source.read(name)[-256:] for name in reversed(source.names)]

    assert rows == [picture.tobytes() for picture in reversed(samples(12))]


def test_statistics_in_capitals_are_statistics(tmp_path: Path) -> None:
    pictures = as_png(tmp_path / "a", samples())
    np.savez(tmp_path / "stats.npz", mu=np.zeros(64), sigma=np.eye(64))
    (tmp_path / "stats.npz").rename(tmp_path / "stats.NPZ")

    distance = digits_distance(pictures, tmp_path / "stats.NPZ")

    assert distance.images == (70, None)
    with pytest.raises(BadData, match=r"stats\.NPZ: holds statistics \(mu and sigma\), no pictures"):
        load_folder(str(tmp_path / "stats.NPZ"), 16)


def pickled() -> np.ndarray:
    return np.array([{"a": 1}], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"arr_0": samples().astype(np.float32)}, r"holds float32 \[70, 16, 16, 1\], expected uint8 .*: scale"),
        ({"arr_0": samples().astype(np.int64)}, r"holds int64 \[70, 16, 16, 1\], expected uint8"),
        ({"arr_0": samples().transpose(0, 3, 1, 2)}, r"holds uint8 \[70, 1, 16, 16\], .*transpose\(0, 2, 3, 1\)"),
        ({"arr_0": samples()[..., 0]}, r"holds uint8 \[70, 16, 16\], expected uint8 \[N, H, W, C\]"),
        ({"arr_0": samples(channels=4)}, r"holds uint8 \[70, 16, 16, 4\], expected"),
        ({"arr_0": samples()[:0]}, r"holds uint8 \[0, 16, 16, 1\], expected"),
        ({"arr_0": pickled()}, r"holds objects \[1\], expected uint8"),
        ({"arr_0": np.asfortranarray(samples())}, "column by column; save numpy.ascontiguousarray"),
        ({"images": samples(), "labels": pickled()}, r"holds neither pictures .* nor statistics .* but images, labels"),
        ({}, "holds neither pictures .* but no array"),
    ],
)
def test_an_array_that_is_no_row_of_pictures_is_one_sentence(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)

    for read in (
        lambda: digits_distance(tmp_path / "a.npz", tmp_path),
        lambda: load_folder(str(tmp_path / "a.npz"), 16),
    ):
        with pytest.raises(BadData, match=words) as caught:
            read()
        assert str(caught.value).isprintable()


def test_nothing_pickled_is_ever_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[], Path], tuple[str, ...]]:
            return (tmp_path / "sprung").touch, ()

    np.savez(tmp_path / "a.npz", samples(), np.array([Trap()], dtype=object), allow_pickle=True)

    data = load_folder(str(tmp_path / "a.npz"), 16, 1)
    data[0:70]

    assert data.notes() == ("folder/all: only arr_0 was taken for pictures; left out: arr_1",)
    assert not (tmp_path / "sprung").exists()


def zip_of(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("arr_0.npy", content)
    return path


def npy(text: str, body: bytes = b"") -> bytes:
    header = text.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def described(shape: str, descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x09\x10\x00",
        npy("{" * 9000),
        npy("(" * 9999),
        npy("__import__('os').system('false')"),
        npy(described("(10**9, 16, 16, 1)")),
        npy(described("(-1, 16, 16, 1)")),
        npy(described("(2.0, 16, 16, 1)")),
        npy(described("(True, 16, 16, 1)"), bytes(256)),
        npy(described("(2, 16, 16, 1)", "'|O'"), bytes(512)),
        npy(described("(2, 16, 16, 1)", "[('\\x1b[31m', '|u1')]"), bytes(512)),
        npy(described(f"({'9' * 4000}, 16, 16, 1)")),
        npy(described(f"({'9' * 5000}, 16, 16, 1)")),
        npy(described("(99999999999, 16, 16, 1)"), bytes(512)),
        npy(described("(2, 16, 16, 1)"), bytes(511)),
        npy(described("(2, 16, 16, 1)"), bytes(2**17)),
        npy(described("(2, 70000, 70000, 1)"), bytes(512)),
        npy(described("(9999999, 1, 1, 1)"), bytes(9999999)),
    ],
)
@pytest.mark.parametrize("wrap", ["npz", "npy"])
def test_a_damaged_or_hostile_array_is_one_short_sentence(tmp_path: Path, content: bytes, wrap: str) -> None:
    if wrap == "npz":
        path = zip_of(tmp_path / "a.npz", content)
    else:
        path = tmp_path / "a.npy"
        path.write_bytes(content)

    with pytest.raises(BadData) as caught:
        load_folder(str(path), 16)

    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 9000
    assert str(caught.value).isprintable()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    shape = described("(100, 1024, 1024, 1)")
    path = zip_of(tmp_path / "a.npz", npy(shape, bytes(100 * 2**20)), zipfile.ZIP_DEFLATED)

    with pytest.raises(BadData, match="decompression bomb"):
        load_folder(str(path), 16)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_array_packed_by_another_method_is_refused(tmp_path: Path, method: int) -> None:
    content = io.BytesIO()
    np.save(content, samples())

    with pytest.raises(BadData, match="packed by the method"):
        load_folder(str(zip_of(tmp_path / "a.npz", content.getvalue(), method)), 16)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("arr_0.npy", b"1")
        archive.writestr("arr_0.npy", b"2")

    with pytest.raises(BadData, match="holds arr_0 twice"):
        load_folder(str(tmp_path / "a.npz"), 16)


@pytest.mark.parametrize("save", [plain, compressed])
def test_a_flipped_bit_is_noticed_before_the_first_picture(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "a", samples())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    data = load_folder(str(path), 16, 1)
    with pytest.raises(BadData, match="cannot be read"):
        data[0:1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    path = plain(tmp_path / "a", samples(3000, size=64, channels=3))
    tracemalloc.start()
    source = SampleSource(path)
    total = sum(len(source.read(name)) for name in source.names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert total > 3000 * 64 * 64 * 3
    assert peak < 8 * 2**20


def test_the_command_line_takes_a_sample_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = with_labels(tmp_path / "a", samples()), as_png(tmp_path / "b", samples(seed=1))

    code = main(["fid", str(a), str(b), "--features", "digits-cnn"])

    said = capsys.readouterr().out.splitlines()
    assert code == ExitCode.OK
    assert said[1].startswith("70 images against 70")
    assert said[2] == f"note: {a}: only arr_0 was taken for pictures; left out: arr_1"


def test_an_npz_that_is_none_is_still_called_statistics(tmp_path: Path) -> None:
    (tmp_path / "a.NPZ").write_bytes(b"nothing")

    with pytest.raises(StoreError, match=r"a\.NPZ: not a readable \.npz"):
        digits_distance(tmp_path / "a.NPZ", tmp_path)
