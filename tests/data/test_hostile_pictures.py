"""Pictures, archives and arrays that somebody damaged or made to do harm: one documented error and little memory.

Seeded, so that a failure can be repeated. What takes memory runs in a process of its own, whose peak is looked at.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import archives, decode, sample_file
from bench.data.decode import bombs_refused, convert_picture
from bench.data.folder import load_folder
from bench.data.sources import open_source
from bench.errors import BadData, StoreError
from bench.quality.moments import load_moments, moments_of, save_moments

LONGEST_SENTENCE = 1500
"""Characters, whatever a file claims of itself."""
PEAK_MB = 1024
Bytes = Callable[[], bytes]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def good_pictures() -> tuple[bytes, ...]:
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 13, 3), dtype=np.uint8))
    pages = {"save_all": True, "append_images": [colour]}
    return (
        encoded(colour, "TIFF"),
        encoded(colour, "TIFF", compression="tiff_lzw"),
        encoded(colour, "TIFF", compression="tiff_deflate"),
        encoded(colour, "TIFF", big_tiff=True),
        encoded(colour.convert("F"), "TIFF"),
        encoded(colour.convert("P"), "TIFF"),
        encoded(colour, "TIFF", **pages),
        encoded(colour, "PPM"),
        encoded(colour.convert("L"), "PPM"),
        b"P3\n2 2\n255\n1 2 3 4 5 6 7 8 9 10 11 12\n",
        b"P6 4 4 100\n" + bytes(48),
        encoded(colour, "PNG"),
        encoded(colour.convert("P"), "PNG", transparency=3),
        encoded(colour, "PNG", **pages),
        encoded(colour, "WEBP"),
        encoded(colour, "WEBP", **pages),
        encoded(colour, "JPEG"),
        encoded(colour, "BMP"),
    )


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, numbers made huge, pieces lost; more often near the beginning."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 2, 4, 12))):
        place = draw.randrange(min(len(changed), draw.choice((64, 400, 10**6))))
        kind = draw.random()
        if kind < 0.6:
            changed[place] = draw.choice((0, 1, 127, 255, draw.randrange(256)))
        elif kind < 0.8:
            changed[place : place + 4] = draw.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\0\0\0\1"))
        elif kind < 0.9 and len(changed) > 32:
            del changed[place : place + draw.randrange(1, 9)]
        else:
            del changed[max(8, place) :]
    return bytes(changed)


def one_sentence(error: Exception) -> bool:
    return str(error).isprintable() and len(str(error)) <= LONGEST_SENTENCE and " object at 0x" not in str(error)


@pytest.mark.parametrize("trials", [1500, pytest.param(60_000, marks=pytest.mark.slow)])
def test_a_damaged_picture_is_read_or_refused_in_one_sentence(trials: int) -> None:
    draw, good = random.Random(trials), good_pictures()

    with bombs_refused():
        for _ in range(trials):
            try:
                picture, _ = convert_picture(damaged(draw.choice(good), draw), "x.png", draw.choice(("L", "RGB")))
                assert picture.mode in ("L", "RGB")
            except BadData as error:
                assert one_sentence(error)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def zip_of(members: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def array_file(save: Callable[..., None]) -> bytes:
    content = io.BytesIO()
    save(content, np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8))
    return content.getvalue()


def containers() -> Mapping[str, bytes]:
    members = {f"{number}.png": content for number, content in enumerate(good_pictures()[-7:])}
    tar = tar_of(members)
    return {
        "a.zip": zip_of(members),
        "a.tar": tar,
        "a.tar.gz": gzip.compress(tar),
        "a.tar.bz2": bz2.compress(tar),
        "a.tar.xz": lzma.compress(tar),
        "a.npz": array_file(np.savez),
        "b.npz": array_file(np.savez_compressed),
        "a.npy": array_file(np.save),
    }


@pytest.mark.parametrize("trials", [25, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", containers())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_damaged_container_is_read_or_refused_in_one_sentence(tmp_path: Path, name: str, trials: int) -> None:
    draw, content, path = random.Random(trials), containers()[name], tmp_path / name

    for _ in range(trials):
        path.write_bytes(damaged(content, draw))
        try:
            source = open_source(path)
            for picture in source.names:
                source.read(picture)
        except BadData as error:
            assert one_sentence(error)
            assert str(tmp_path) in str(error)


@pytest.mark.parametrize("trials", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_statistics_are_read_or_refused_in_one_sentence(tmp_path: Path, trials: int) -> None:
    draw, path = random.Random(trials), tmp_path / "stats.npz"
    save_moments(path, moments_of(np.random.default_rng(0).standard_normal((20, 4)), "inception", "ab", "words"))
    content = path.read_bytes()

    for _ in range(trials):
        path.write_bytes(damaged(content, draw))
        try:
            moments = load_moments(path)
            assert moments.cov.shape == (moments.d, moments.d)
        except StoreError as error:
            assert one_sentence(error)


def test_one_flipped_bit_of_statistics_never_changes_them(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    moments = moments_of(np.random.default_rng(0).standard_normal((20, 3)), "inception", "ab", "words")
    save_moments(path, moments)
    content = path.read_bytes()
    body = range(content.index(b"\x93NUMPY"), content.index(b"PK\x01\x02"))

    for place in body[::3]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = load_moments(path)
        except StoreError:
            continue
        assert np.array_equal(found.mu, moments.mu) and np.array_equal(found.cov, moments.cov)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def wide_png(side: int = 8192) -> bytes:
    """One bit a pixel: a megabyte that is a picture of 67 million pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes(side * (1 + side // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_of_strips(strips: int) -> bytes:
    """A picture of 4x8 whose directory lists as many strips as fit into the file."""
    entries = [(256, 4, 4), (257, 4, 8), (258, 3, 8), (259, 3, 1), (262, 3, 1), (278, 4, 1)]
    fields = [(tag, kind, 1, value) for tag, kind, value in entries]
    fields += [(273, 4, strips, 8 + 2 + 12 * 8 + 4), (279, 4, strips, 8 + 2 + 12 * 8 + 4)]
    directory = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + directory + bytes(4 + 4 * strips)


def overlapping_tiff(entries: int = 200) -> bytes:
    """Every entry claims the same 8 MB."""
    directory = b"".join(struct.pack("<HHII", 40_000 + tag, 7, 8 * 2**20, 8) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(9 * 2**20)


HUGE: Mapping[str, Bytes] = {
    "wide.png": wide_png,
    "alpha.png": lambda: encoded(Image.new("RGBA", (8192, 8192)), "PNG"),
    "floats.tif": lambda: encoded(Image.new("F", (8192, 8192)), "TIFF", compression="tiff_lzw"),
    "print.tif": lambda: encoded(Image.new("CMYK", (8192, 8192)), "TIFF", compression="tiff_lzw"),
    "large.webp": lambda: encoded(Image.new("RGBA", (5792, 5792)), "WEBP"),
    "larger.webp": lambda: encoded(Image.new("RGB", (8192, 8192)), "WEBP"),
    "strips.tif": lambda: tiff_of_strips(8_000_000),
    "overlap.tif": overlapping_tiff,
    "text.ppm": lambda: b"P3\n4000 2700\n255\n" + b"0 " * (31 * 2**20),
    "odd maximum.ppm": lambda: b"P6\n4000 5000\n100\n" + bytes(60_000_000),
    "many.tar.gz": lambda: gzip.compress(tar_of({f"{number}.png": b"" for number in range(60_000)}), 1),
    "content.tar.gz": lambda: gzip.compress(os.urandom(2**23) + bytes(2**27)),
}


def peak_mb(read: Callable[[], object]) -> tuple[float, str]:
    """By how much reading raised the memory of a process of its own, and what came of it."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read()
            result = "read"
        except BadData as error:
            result = f"refused: {error}"
        except BaseException as error:  # noqa: BLE001 - the child must not go on with the tests
            result = f"crashed: {error!r}"
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(send, f"{(after - before) / 1024} {result}".encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    peak, _, result = text.partition(" ")
    return float(peak or "inf"), result


def written(folder: Path, name: str) -> Path:
    """Made in a process of its own, so that this one's peak stays small."""
    child = os.fork()
    if child == 0:
        (folder / name).write_bytes(HUGE[name]())
        os._exit(0)
    os.waitpid(child, 0)
    return folder / name if ".tar" in name else folder


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_nothing_a_stranger_made_takes_a_gigabyte(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)

    peak, result = peak_mb(lambda: load_folder(str(path), 8)[0:1])

    assert not result.startswith("crashed")
    assert peak < PEAK_MB


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide.png", "alpha.png", "large.webp"])
@pytest.mark.parametrize("recipe", ["tf", "tf1", "clean", "paper-b"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_distance_of_large_pictures_does_not_take_a_gigabyte(tmp_path: Path, name: str, recipe: str) -> None:
    import torch

    from bench.quality.extractors import Extractor
    from bench.quality.folders import fid_between

    network = Extractor("inception", "ab" * 32, 3, "float32", torch.device("cpu"), lambda x: x.mean(dim=(2, 3)))
    written(tmp_path, name)
    (tmp_path / f"again.{name}").hardlink_to(tmp_path / name)

    def read() -> object:
        torch.set_num_threads(1)
        return fid_between(tmp_path, tmp_path, recipe=recipe, extractor=network)  # type: ignore[arg-type]

    peak, result = peak_mb(read)

    assert "are the same picture" in result
    assert peak < PEAK_MB


def test_a_directory_of_too_many_numbers_is_refused_by_its_number() -> None:
    with bombs_refused(), pytest.raises(BadData, match="its directory holds 1,000,006 numbers"):
        convert_picture(tiff_of_strips(500_000), "x.tif", "RGB")
    with bombs_refused():
        assert convert_picture(tiff_of_strips(8), "x.tif", "RGB")[0].size == (4, 8)


def test_a_slow_kind_is_refused_above_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "SLOW_PIXELS", 15)

    for content in (b"P6 4 4 100\n" + bytes(48), b"P3 4 4 255\n" + b"1 " * 48):
        with bombs_refused(), pytest.raises(BadData, match="4x4 pixels are more than 15"):
            convert_picture(content, "x.ppm", "RGB")


def crowds(tmp_path: Path) -> Iterator[Path]:
    members = {f"{number}.png": b"x" for number in range(4)}
    (tmp_path / "a.zip").write_bytes(zip_of(members))
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    np.save(tmp_path / "a.npy", np.zeros((4, 2, 2, 3), np.uint8))
    (tmp_path / "folder").mkdir()
    for name in members:
        (tmp_path / "folder" / name).touch()
    yield from (tmp_path / name for name in ("a.zip", "a.tar", "a.npy", "folder"))


def test_more_pictures_than_can_be_listed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_PICTURES", 3)
    monkeypatch.setattr(sample_file, "MAX_PICTURES", 3)

    for path in crowds(tmp_path):
        with pytest.raises(BadData, match="more than the 3 pictures"):
            open_source(path)
