from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.contracts import Dataset
from bench.data import decode as decode_module
from bench.data import folder as folder_module
from bench.data.decode import decode
from bench.data.folder import load_folder
from bench.errors import BadData, MissingData, ParamError

Save = Callable[..., None]


def test_images_come_sorted_by_name_as_float32(tmp_path: Path, save_image: Save) -> None:
    for name, value in (("b/1.png", 255), ("a.png", 0), ("b/0.bmp", 51)):
        save_image(tmp_path / name, value=(value, value, value))

    data = load_folder(str(tmp_path), image_size=8)

    assert isinstance(data, Dataset)
    assert data.names == ("a.png", "b/0.bmp", "b/1.png")
    assert data.image_shape == (3, 8, 8)
    assert data[:].dtype == torch.float32
    assert data[:].mean(dim=(1, 2, 3)).tolist() == pytest.approx([-1.0, -0.6, 1.0])
    assert torch.equal(data[1:3], data[:][1:3])
    assert data[1:1].shape == (0, 3, 8, 8)


def test_channels_are_converted_both_ways(tmp_path: Path, save_image: Save) -> None:
    save_image(tmp_path / "colour.png", value=(255, 0, 0))
    save_image(tmp_path / "grey.png", mode="L", value=100)

    colour, grey = load_folder(str(tmp_path), 8, 3)[:], load_folder(str(tmp_path), 8, 1)[:]

    assert colour[0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]
    assert torch.equal(colour[1, 0], colour[1, 2])
    assert grey.shape == (2, 1, 8, 8)
    assert ((grey[:, 0, 0, 0] + 1) * 127.5).tolist() == pytest.approx([76.0, 100.0])


def test_center_crop_takes_the_middle_square_and_squash_everything(tmp_path: Path, save_image: Save) -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    save_image(tmp_path / "wide.png", value=wide)

    cropped = load_folder(str(tmp_path), 8, resize="center_crop")[:]
    squashed = load_folder(str(tmp_path), 8, resize="squash")[:]

    assert torch.equal(cropped, torch.ones(1, 3, 8, 8))
    assert squashed[0, 0, 0, 0].item() == -1.0
    assert squashed.mean().item() == pytest.approx(-1 / 3, abs=0.03)


def test_shrinking_averages_instead_of_picking(tmp_path: Path, save_image: Save) -> None:
    checks = np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255
    save_image(tmp_path / "checks.png", value=checks)

    assert load_folder(str(tmp_path), 8, 1)[:].abs().max().item() < 0.05


def test_resize_none_names_the_image_of_another_size(tmp_path: Path, save_image: Save) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "odd.png", size=(8, 9))
    data = load_folder(str(tmp_path), 8, resize="none")

    assert data[0:1].shape == (1, 3, 8, 8)
    with pytest.raises(BadData, match=r"odd\.png: 8x9 pixels, expected 8x8; set `resize`"):
        data[:]


def test_train_and_test_are_subfolders(tmp_path: Path, save_image: Save) -> None:
    for name in ("train/a.png", "train/b.png", "test/c.png"):
        save_image(tmp_path / name)

    splits = {split: load_folder(str(tmp_path), 8, split=split) for split in ("train", "test", "all")}

    assert {split: len(data) for split, data in splits.items()} == {"train": 2, "test": 1, "all": 3}
    assert len({data.fingerprint for data in splits.values()}) == 3
    (tmp_path / "test/c.png").unlink()
    with pytest.raises(BadData, match=r"no images under test/ \(the first image is train/a\.png\)"):
        load_folder(str(tmp_path), 8, split="test")


def test_the_fingerprint_changes_with_content_and_preparation_only(tmp_path: Path, save_image: Save) -> None:
    for place in ("one", "two"):
        save_image(tmp_path / place / "a.png", value=(1, 2, 3))
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    first = load_folder(one, 8).fingerprint

    assert load_folder(two, 8).fingerprint == first
    others = {
        load_folder(one, 9).fingerprint,
        load_folder(one, 8, 1).fingerprint,
        load_folder(one, 8, resize="squash").fingerprint,
    }
    save_image(tmp_path / "one" / "a.png", value=(1, 2, 4))
    others.add(load_folder(one, 8).fingerprint)
    assert len({first, *others}) == 5


def test_inputs_are_the_archive_or_the_files_of_a_small_folder(tmp_path: Path, save_image: Save) -> None:
    for number in range(3):
        save_image(tmp_path / "images" / f"{number}.png")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "images" / "0.png", "0.png")

    assert load_folder(str(tmp_path / "images.zip"), 8).inputs == (tmp_path / "images.zip",)
    assert load_folder(str(tmp_path / "images"), 8).inputs == tuple(
        tmp_path / "images" / f"{number}.png" for number in range(3)
    )


def test_a_relative_path_is_looked_for_here_and_then_under_the_data_root(
    tmp_path: Path, save_image: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "root"))
    save_image(tmp_path / "root" / "faces" / "a.png")
    assert len(load_folder("faces", 8)) == 1

    save_image(tmp_path / "here" / "faces" / "a.png")
    save_image(tmp_path / "here" / "faces" / "b.png")
    assert len(load_folder("faces", 8)) == 2

    with pytest.raises(MissingData, match=r"root/elsewhere: no such folder or archive"):
        load_folder("elsewhere", 8)


def test_images_are_decoded_when_read_and_only_once(
    tmp_path: Path, save_image: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        save_image(tmp_path / f"{number}.png")
    decoded: list[str] = []

    def counting(content: bytes, where: str, *rest: object) -> np.ndarray:
        decoded.append(where[-5:])
        return decode(content, where, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.data.folder.decode", counting)
    monkeypatch.setattr(folder_module, "CACHE_BYTES", 2 * 3 * 8 * 8)
    data = load_folder(str(tmp_path), 8)
    assert decoded == []

    first = data[:]

    assert torch.equal(data[:], first)
    assert decoded == ["0.png", "1.png", "2.png", "2.png"]


def png(mode: str, size: tuple[int, int] = (8, 8), value: object = 0) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, value).save(buffer, "PNG")  # type: ignore[arg-type]
    return buffer.getvalue()


GOOD_PNG = png("RGB", (64, 64), (1, 2, 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable"),
        (b"plain text", "not a readable"),
        (GOOD_PNG[:-30], "not a readable"),
        (GOOD_PNG[:20], "not a readable"),
        (GOOD_PNG[:60] + b"\xff\xff" + GOOD_PNG[62:], "not a readable"),
        (b"GIF89a" + bytes(100), "not a readable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not a readable"),
    ],
)
def test_an_image_that_cannot_be_used_is_named(tmp_path: Path, save_image: Save, content: bytes, words: str) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(content)
    data = load_folder(str(tmp_path), 8)

    assert len(data[0:1]) == 1
    with pytest.raises(BadData, match=words) as caught:
        data[0:2]
    assert str(tmp_path) in str(caught.value)
    assert "bad.png" in str(caught.value)


def test_a_jpeg_cut_short_is_named_and_not_filled_with_grey(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])

    with pytest.raises(BadData, match=r"cut\.jpg: not a readable"):
        load_folder(str(tmp_path), 64)[:]


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("RGBA", value=(255, 0, 0, 255)))

    assert load_folder(str(tmp_path), 8)[:][0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]


@pytest.mark.parametrize("pixels", ["own limit", "pillow warns", "pillow raises"])
def test_an_image_with_far_too_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: str
) -> None:
    if pixels == "own limit":
        monkeypatch.setattr(decode_module, "MAX_PIXELS", 63)
    else:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 if pixels == "pillow warns" else 10)
    (tmp_path / "huge.png").write_bytes(png("L"))

    with pytest.raises(BadData, match=r"huge\.png"):
        load_folder(str(tmp_path), 8)[:]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")

    with pytest.raises(BadData, match=r"no \.png, \.jpg"):
        load_folder(str(tmp_path), 8)


@pytest.mark.parametrize("size", [0, -1, 4097])
def test_an_impossible_image_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ParamError, match=f"between 1 and 4096, got {size}"):
        load_folder(str(tmp_path), size)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, save_image: Save) -> None:
    save_image(tmp_path / "locked" / "a.png")
    (tmp_path / "locked").chmod(0)

    with pytest.raises(BadData, match="locked: cannot be read"):
        load_folder(str(tmp_path), 8)
