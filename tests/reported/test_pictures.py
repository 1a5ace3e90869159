"""Folders and archives of pictures as people have them: every kind, every name, and what is wrong with one of them."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench.cli.main import main
from bench.data.decode import bombs_refused, convert_picture, decode
from bench.data.folder import load_folder
from bench.data.sources import open_source
from bench.errors import BadData, ExitCode, MissingData
from bench.quality.extractors import Extractor, load_extractor
from bench.quality.folders import FolderDistance, fid_between
from bench.run.inline import InlineExecutor

KINDS = ("bmp", "jpg", "jpeg", "pgm", "png", "ppm", "tif", "tiff", "webp")
"""What pytorch-fid looks for."""


def smooth_levels(images: int, seed: int, size: int = 16) -> list[np.ndarray]:
    """Grey pictures [size, size]: 4x4 noise, enlarged."""
    draw = np.random.default_rng(seed)
    small = [Image.fromarray(draw.integers(0, 256, (4, 4), dtype=np.uint8)) for _ in range(images)]
    return [np.asarray(each.resize((size, size), Image.Resampling.BICUBIC)) for each in small]


def pictures_in(
    folder: Path, seed: int, images: int = 90, size: int = 16, suffixes: tuple[str, ...] = ("png",)
) -> Path:
    folder.mkdir()
    for number, levels in enumerate(smooth_levels(images, seed, size)):
        Image.fromarray(levels).save(folder / f"{number:03}.{suffixes[number % len(suffixes)]}")
    return folder


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return pictures_in(tmp_path / "a", seed=0)


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return pictures_in(tmp_path / "b", seed=1)


@cache
def digits_network() -> Extractor:
    return load_extractor("digits-cnn")


def digits_distance(a: Path, b: Path) -> FolderDistance:
    return fid_between(a, b, features="digits-cnn", extractor=digits_network())


def small_network() -> Extractor:
    """Stands for Inception: six features of the mean colour and of the middle of the prepared picture."""

    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x[:, :, 149, 149]], dim=1)

    return Extractor("inception", "ab" * 32, 6, "float32", torch.device("cpu"), features)


def as_folder(folder: Path, target: Path) -> Path:
    return folder


def as_zip(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target.with_suffix(".zip"), "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return target.with_suffix(".zip")


def as_tar(folder: Path, target: Path) -> Path:
    with tarfile.open(target.with_suffix(".tar"), "w") as archive:
        archive.add(folder, "images")
    return target.with_suffix(".tar")


CONTAINERS = (as_folder, as_zip, as_tar)


@pytest.mark.parametrize("pack", CONTAINERS)
@pytest.mark.parametrize("suffixes", [("png", "tif", "PNG", "pgm"), ("bmp", "TIFF", "ppm", "Png")])
def test_every_kind_gives_the_number_of_the_same_pictures_as_png(
    tmp_path: Path, a: Path, b: Path, pack: Callable[[Path, Path], Path], suffixes: tuple[str, ...]
) -> None:
    mixed = pack(pictures_in(tmp_path / "mixed", seed=0, suffixes=suffixes), tmp_path / "packed")

    distance = digits_distance(mixed, b)

    assert distance.images == (90, 90)
    assert distance.value == digits_distance(a, b).value
    assert distance.warnings == ()


def test_a_data_set_reads_the_files_that_pytorch_fid_finds(tmp_path: Path) -> None:
    from pytorch_fid.fid_score import IMAGE_EXTENSIONS

    folder = pictures_in(tmp_path / "a", seed=0, images=18, suffixes=KINDS)
    theirs = {file.name for kind in IMAGE_EXTENSIONS for file in folder.glob(f"*.{kind}")}

    data = load_folder(str(folder), 16, channels=1)

    assert set(data.names) == theirs
    assert data[0:18].shape == (18, 1, 16, 16)
    assert set(KINDS) == IMAGE_EXTENSIONS


def odd_pictures() -> dict[str, bytes]:
    """Files of every pixel type that Pillow writes, and some that only look at first like a plain picture."""
    draw = np.random.default_rng(3)
    colour = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    grey, alpha = colour.convert("L"), Image.fromarray(draw.integers(0, 256, (16, 16), dtype=np.uint8))
    deep = Image.fromarray(draw.integers(0, 65536, (16, 16)).astype(np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    flat = colour.convert("P")
    return {
        "colour.png": encoded(colour, "PNG"),
        "alpha.png": encoded(Image.merge("RGBA", (*colour.split(), alpha)), "PNG"),
        "grey alpha.png": encoded(Image.merge("LA", (grey, alpha)), "PNG"),
        "alpha.webp": encoded(Image.merge("RGBA", (*colour.split(), alpha)), "WEBP", lossless=True),
        "alpha.tif": encoded(Image.merge("RGBA", (*colour.split(), alpha)), "TIFF"),
        "palette.png": encoded(flat, "PNG"),
        "transparent palette.png": encoded(flat, "PNG", transparency=bytes(range(256))),
        "transparent colour.png": encoded(colour, "PNG", transparency=colour.getpixel((3, 3))),
        "two levels.png": encoded(colour.convert("1"), "PNG"),
        "fax.tif": encoded(colour.convert("1"), "TIFF", compression="group4"),
        "deep.png": encoded(deep, "PNG"),
        "deep.tif": encoded(deep, "TIFF"),
        "deep.pgm": encoded(deep, "PPM"),
        "shallow.png": encoded(Image.fromarray(np.asarray(grey).astype(np.uint16)), "PNG"),
        "floats.tif": encoded(Image.fromarray(np.asarray(grey).astype(np.float32)), "TIFF"),
        "print.jpg": encoded(colour.convert("CMYK"), "JPEG"),
        "print.tif": encoded(colour.convert("CMYK"), "TIFF"),
        "lzw.tif": encoded(colour, "TIFF", compression="tiff_lzw"),
        "moving.png": encoded(colour, "PNG", save_all=True, append_images=[grey.convert("RGB")]),
        "moving.webp": encoded(colour, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
        "pages.tif": encoded(colour, "TIFF", save_all=True, append_images=[grey]),
        "turned.jpg": encoded(colour, "JPEG", exif=turned),
        "text.ppm": b"P3\n2 2\n255\n" + b"1 2 3 " * 4,
        "odd maximum.pgm": b"P5 2 2 100\n" + bytes((0, 50, 99, 100)),
        "really a jpeg.png": encoded(colour, "JPEG"),
        "really a tiff.JPG": encoded(colour, "TIFF"),
    }


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


ODD = odd_pictures()


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # theirs
@pytest.mark.parametrize("name", ODD)
def test_pixels_are_those_of_pytorch_fid_and_torch_fidelity(tmp_path: Path, name: str) -> None:
    from pytorch_fid.fid_score import TF, ImagePathDataset
    from torch_fidelity.datasets import ImagesPathDataset

    (tmp_path / name).write_bytes(ODD[name])
    theirs = ImagePathDataset([tmp_path / name], TF.ToTensor())[0]
    also_theirs = ImagesPathDataset([str(tmp_path / name)])[0]

    with bombs_refused():
        picture, _ = convert_picture(ODD[name], name, "RGB")

    assert torch.equal(TF.ToTensor()(picture), theirs)
    assert torch.equal((TF.ToTensor()(picture) * 255).round().to(torch.uint8), also_theirs)


@pytest.mark.parametrize("name", ODD)
def test_a_data_set_sees_the_pixels_that_a_distance_sees(name: str) -> None:
    size = {"text.ppm": 2, "odd maximum.pgm": 2}.get(name, 16)

    with bombs_refused():
        pixels, losses = decode(ODD[name], name, size, 3, "none")
        picture, same_losses = convert_picture(ODD[name], name, "RGB")

    assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(picture))
    assert losses == same_losses


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        (
            "alpha",
            {
                "alpha.png",
                "grey alpha.png",
                "alpha.webp",
                "alpha.tif",
                "transparent palette.png",
                "transparent colour.png",
            },
        ),
        ("depth", {"deep.png", "deep.tif", "deep.pgm", "floats.tif"}),
        ("frames", {"moving.png", "moving.webp", "pages.tif"}),
    ],
)
def test_what_a_file_loses_is_noticed_and_nothing_else(loss: str, names: set[str]) -> None:
    with bombs_refused():
        losing = {name for name, content in ODD.items() if loss in convert_picture(content, name, "RGB")[1]}

    assert losing == names


@pytest.mark.parametrize("pack", CONTAINERS)
def test_what_looks_like_an_image_and_is_not_read_is_counted(
    tmp_path: Path, a: Path, b: Path, pack: Callable[[Path, Path], Path]
) -> None:
    for number, suffix in enumerate(("gif", "GIF", "heic", "jxl", "jp2", "tga", "avif", "jfif")):
        (a / f"x{number}.{suffix}").write_bytes(b"whatever")
    (a / ".hidden.png").write_bytes(b"whatever")
    (a / "notes.txt").write_bytes(b"no image")
    (a / "._000.png").write_bytes(b"what macOS leaves behind")
    packed = pack(a, tmp_path / "packed")

    distance = digits_distance(packed, b)
    data = load_folder(str(packed), 16, 1)

    note = (
        "9 files that look like images were left out (2 .gif, 1 .avif, 1 .heic, 1 .jfif, 1 .jp2, 1 .jxl, 1 .tga, "
        "1 hidden); read are .png, .jpg, .jpeg, .bmp, .webp, .tif, .tiff, .pgm or .ppm"
    )
    assert distance.images == (90, 90)
    assert distance.warnings == (f"{packed}: {note}",)
    assert data.notes() == (f"folder/all: {note}",)


def test_a_folder_of_unread_kinds_only_says_which(tmp_path: Path, b: Path) -> None:
    folder = pictures_in(tmp_path / "gifs", seed=0, images=3, suffixes=("gif",))

    with pytest.raises(BadData, match=r"at least 2 images, found no \.png.*; 3 files that look like .* \(3 \.gif\)"):
        digits_distance(folder, b)
    with pytest.raises(BadData, match=r"no \.png.*; 3 files that look like images were left out \(3 \.gif\)"):
        load_folder(str(folder), 16)


def half_transparent(folder: Path, seed: int = 0) -> Path:
    folder.mkdir()
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:, :8] = 0
    for number, levels in enumerate(smooth_levels(90, seed)):
        Image.fromarray(np.stack([levels, alpha], axis=2)).save(folder / f"{number:03}.png")
    return folder


def test_alpha_is_dropped_and_counted_by_one_rule_in_both_places(tmp_path: Path, a: Path, b: Path) -> None:
    folder = half_transparent(tmp_path / "alpha")
    note = (
        "90 of 90 images are partly transparent; as in pytorch-fid, alpha was dropped and not blended with a background"
    )

    distance, data = digits_distance(folder, b), load_folder(str(folder), 16, 1)

    assert distance.value == digits_distance(a, b).value
    assert distance.warnings == (f"{folder}: {note}",)
    assert torch.equal(data[0:90], load_folder(str(a), 16, 1)[0:90])
    assert data.notes() == (f"folder/all: {note}",)


def test_an_opaque_alpha_channel_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGBA", (16, 16), (1, 2, 3, 255)).save(tmp_path / "images" / "a.png")

    assert load_folder(str(tmp_path / "images"), 16).notes() == ()


@pytest.mark.slow
def test_a_number_made_with_such_a_data_set_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = half_transparent(tmp_path / "alpha")
    (folder / "more.gif").write_bytes(b"GIF89a")
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "schema: 1\nsuite: s\ntitle: s\nconditions: {device: cpu, threads: 1, batch_size: 1, dtype: float32}\nseed: 0\n"
        "grid:\n  - model: {name: skip-unet, skip: zero, skip_exponent: 0}\n"
        f"    data: {{name: folder, path: {folder}, image_size: 16, channels: 1}}\n"
        "    sampler: {name: ddim, timesteps: 2}\n"
        "    metrics: [parameters, {name: frechet, images: 64, reference: own, replicates: 0, halves: false}]\n"
        "metrics: [parameters]\n"
    )

    results = bench.run(suite, results=tmp_path / "r", quiet=True, executor=InlineExecutor())

    warnings = {record.metric: record.warnings for record in results.records}
    assert any("90 of 90 images are partly transparent" in each for each in warnings["frechet"])
    assert any("1 file that looks like an image was left out (1 .gif)" in each for each in warnings["frechet"])
    assert str(tmp_path) not in str(warnings)
    assert not any("transparent" in each for each in warnings["parameters"])


@pytest.mark.parametrize("size", [15, 32])
def test_pictures_of_another_size_for_the_digits_classifier_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    a = pictures_in(tmp_path / "a", seed=0, images=4, size=size)

    code = main(["fid", str(a), str(a), "--features", "digits-cnn"])

    assert code == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"bench: {a}: 000.png: digits-cnn judges 1x16x16 digits only, and the images are 1x{size}x{size}; "
        "use features: inception (--features inception)\n"
    )


def test_statistics_of_another_network_are_one_sentence(tmp_path: Path, b: Path) -> None:
    np.savez(tmp_path / "inception.npz", mu=np.zeros(2048), sigma=np.eye(2048))

    with pytest.raises(BadData, match=r"features are 2048 wide in .*, 64 in"):
        digits_distance(tmp_path / "inception.npz", b)


def latin_1_folder(folder: Path, source: Path) -> Path:
    folder.mkdir()
    for file in source.iterdir():
        (folder / os.fsdecode(b"caf\xe9" + file.name.encode())).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("images", [6, 90])
def test_file_names_that_are_no_utf_8_are_measured(tmp_path: Path, a: Path, b: Path, images: int) -> None:
    for file in sorted(a.iterdir())[images:]:
        file.unlink()
    folder = latin_1_folder(tmp_path / "latin", a)

    data = load_folder(str(folder), 16, 1)

    assert digits_distance(folder, b).value == digits_distance(a, b).value
    assert torch.equal(data[0:images], load_folder(str(a), 16, 1)[0:images])
    assert str(data.inputs).isprintable()
    assert str(data.inputs).encode("utf-8")


def test_the_listing_of_a_large_folder_takes_names_that_are_no_utf_8(tmp_path: Path, a: Path) -> None:
    from bench.store.inputs import Inputs

    folder = latin_1_folder(tmp_path / "latin", a)

    assert len(Inputs().describe(folder).sha256) == 64


def test_member_names_that_are_no_utf_8_are_measured(tmp_path: Path, a: Path, b: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in a.iterdir():
            archive.writestr("cafX" + file.name, file.read_bytes())
    content = (tmp_path / "a.zip").read_bytes().replace(b"cafX", b"caf\x82")  # e acute in code page 437
    (tmp_path / "a.zip").write_bytes(content)
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        for file in a.iterdir():
            archive.add(file, f"café{file.name}")

    expected = digits_distance(a, b).value
    assert digits_distance(tmp_path / "a.zip", b).value == expected
    assert digits_distance(tmp_path / "a.tar", b).value == expected
    assert len(load_folder(str(tmp_path / "a.tar"), 16, 1)) == 90


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.png", r"caf\xe9.png"),
        (b"\x1b[31m.png", r"\x1b[31m.png"),
        ("\u202egnp.png".encode(), r"\u202egnp.png"),
        (b"a\nb.png", r"a\nb.png"),
    ],
)
def test_a_name_reaches_the_terminal_cleaned(
    tmp_path: Path, a: Path, capsys: pytest.CaptureFixture[str], name: bytes, shown: str
) -> None:
    (a / os.fsdecode(name)).write_bytes(b"no picture")

    code = main(["fid", str(a), str(a), "--features", "digits-cnn"])

    said = capsys.readouterr().err
    assert code == ExitCode.BAD_INPUT
    assert shown in said
    assert said.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"plain text", "it is not a picture of the kinds PNG"),
        (b"GIF89a" + bytes(100), "it is not a picture of the kinds PNG"),
        (b"\x1b[31m\x00\xff", "it is not a picture of the kinds PNG"),
        (b"II*\0" + bytes(60), "not a readable image"),
        (b"P6 9 9 255\n", "not a readable image"),
    ],
)
def test_an_empty_or_foreign_file_is_called_that(tmp_path: Path, a: Path, content: bytes, words: str) -> None:
    (a / "bad.png").write_bytes(content)

    for read in (lambda: digits_distance(a, a), lambda: load_folder(str(a), 16)[:]):
        with pytest.raises(BadData, match=words) as caught:
            read()
        assert "bad.png" in str(caught.value)
        assert "BytesIO" not in str(caught.value)
        assert str(caught.value).isprintable()


def test_sizes_that_differ_are_taken_by_a_recipe_that_resizes_each_picture(tmp_path: Path) -> None:
    a = pictures_in(tmp_path / "a", seed=0, images=9, size=16)
    b = pictures_in(tmp_path / "b", seed=1, images=9, size=16)
    Image.fromarray(smooth_levels(1, 7, 20)[0]).resize((17, 23)).save(a / "odd.png")

    mixed = fid_between(a, b, recipe="clean", extractor=small_network())

    assert mixed.images == (10, 9)
    assert mixed.value == pytest.approx(by_hand(a, b), rel=1e-9)
    with pytest.raises(
        BadData, match=r"odd\.png: 17x23 pixels, but 000\.png has 16x16; .* except with the recipe clean"
    ):
        fid_between(a, b, recipe="tf", extractor=small_network())


def by_hand(a: Path, b: Path) -> float:
    """The distance when every picture is prepared in a call of its own."""
    from bench.quality.frechet import frechet_of_features
    from bench.quality.preprocess import prepare
    from bench.quality.recipe import feature_recipe

    how = feature_recipe("clean", "inception", "ab" * 32, channels=3)
    sides = []
    for folder in (a, b):
        rows = []
        for file in sorted(folder.iterdir()):
            levels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
            rows.append(small_network().network(prepare(levels[None].to(torch.float32) / 255, how)))
        sides.append(torch.cat(rows))
    return frechet_of_features(*sides).value


def test_a_large_picture_gives_the_number_that_it_gives_in_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = pictures_in(tmp_path / "a", seed=0, images=9, size=40)
    b = pictures_in(tmp_path / "b", seed=1, images=9, size=24)
    for recipe in ("tf", "tf1", "clean", "paper-a", "paper-b"):
        together = fid_between(a, b, recipe=recipe, extractor=small_network()).value
        with monkeypatch.context() as patch:
            patch.setattr("bench.quality.folders.LARGE", 40)
            alone = fid_between(a, b, recipe=recipe, extractor=small_network()).value

        assert alone == pytest.approx(together, rel=1e-4)


@pytest.mark.parametrize("name", ["000.png", "renamed"])
def test_a_path_to_one_picture_is_called_that(a: Path, b: Path, name: str) -> None:
    (a / "000.png").rename(a / name)

    for read in (lambda: digits_distance(a / name, b), lambda: load_folder(str(a / name), 16)):
        with pytest.raises(BadData, match=f"{name}: is a picture; name the folder"):
            read()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            listening.bind(path.name)
        finally:
            os.chdir(here)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def linked_fifo(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


@pytest.mark.parametrize(
    ("make", "words"),
    [(fifo, "a pipe"), (linked_fifo, "a pipe"), (bound_socket, "a socket"), (endless, "a device")],
)
def test_what_is_no_file_is_named_and_never_opened(a: Path, b: Path, make: Callable[[Path], None], words: str) -> None:
    make(a / "x.png")

    for read in (lambda: digits_distance(a, b), lambda: load_folder(str(a), 16)):
        with pytest.raises(BadData, match=rf"x\.png: is {words}, expected a picture"):
            read()
    for read in (lambda: digits_distance(a / "x.png", b), lambda: load_folder(str(a / "x.png"), 16)):
        with pytest.raises(BadData, match=rf"x\.png: is {words}, expected a folder"):
            read()


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "~nobody-of-this-name/images"])
def test_a_path_that_cannot_be_is_one_sentence(path: str) -> None:
    with pytest.raises(MissingData):
        load_folder(path, 16)


def test_links_to_pictures_are_read_and_links_to_what_holds_the_folder_are_not_followed(
    tmp_path: Path, a: Path
) -> None:
    folder = tmp_path / "deep" / "images"
    folder.mkdir(parents=True)
    (folder / "one.png").symlink_to(a / "000.png")
    (folder / "all").symlink_to(a)
    (folder / "up").symlink_to(tmp_path)
    (folder / "root").symlink_to("/")

    assert len(open_source(folder).names) == 91


def test_a_zip_of_pictures_may_hold_arrays_of_labels(tmp_path: Path, a: Path, b: Path) -> None:
    packed = as_zip(a, tmp_path / "packed")
    labels = io.BytesIO()
    np.save(labels, np.arange(90))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("labels.npy", labels.getvalue())

    assert digits_distance(packed, b).images == (90, 90)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_zipfile_would_unpack_without_bound_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", bytes(10_000))

    with pytest.raises(BadData, match=r"a\.png: packed by the method \d+, expected deflate; unpack"):
        open_source(tmp_path / "a.zip")
