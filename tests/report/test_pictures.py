"""What a page takes for a picture, and what it refuses."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from bench.report import pictures
from bench.report.pictures import BadPicture, check_png, read_picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int = 2, height: int = 1) -> bytes:
    """A grey picture."""
    target = io.BytesIO()
    Image.new("L", (width, height), 128).save(target, "png")
    return target.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A file that says it has this size, whatever its pixels are."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return pictures.SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    return tmp_path / "run"


def test_a_whole_png_is_taken_as_it_is(run_dir: Path) -> None:
    (run_dir / "artifacts" / "grid.png").write_bytes(png(3, 2))

    found = read_picture(run_dir, "artifacts/grid.png")

    assert (found.width, found.height, found.content) == (3, 2, png(3, 2))
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "is not a PNG"),
        (b"GIF89a", "is not a PNG"),
        (pictures.SIGNATURE, "is cut short"),
        (png()[:-1], "is cut short"),
        (png()[:-12], "is cut short"),
        (png() + b"PK\3\4", "has 4 bytes behind its end"),
        (png()[:40] + b"\xff" + png()[41:], "does not match its checksum"),
        (pictures.SIGNATURE + chunk(b"tEXt", b"a") + chunk(b"IEND", b""), "does not begin with an IHDR chunk"),
        (pictures.SIGNATURE + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b""), "is cut short"),
        (claiming(0, 4), "says it has 0 x 4 pixels"),
        (claiming(40_000, 1), "says it has 40,000 x 1 pixels"),
        (claiming(30_000, 30_000), "says it has 30,000 x 30,000 pixels"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(content: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        check_png(content)


def test_every_cut_and_every_changed_byte_is_noticed() -> None:
    whole = png(5, 3)

    for at in range(len(whole)):
        with pytest.raises(BadPicture):
            check_png(whole[:at])
        with pytest.raises(BadPicture):
            check_png(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd.png", "is not below artifacts/"),
        ("artifacts/../../secret.png", "is not below artifacts/"),
        ("logs/a.png", "is not below artifacts/"),
        ("", "is not below artifacts/"),
        ("artifacts", "is not a .png file"),
        ("artifacts/facts.json", "is not a .png file"),
        ("artifacts/absent.png", "is not there any more"),
        ("artifacts/folder.png", "is a folder, expected a regular file"),
        ("artifacts/link.png", "is a link that leads out of artifacts/"),
        ("artifacts/null\0.png", "cannot be read"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(run_dir: Path, name: str, reason: str) -> None:
    (run_dir.parent / "secret.png").write_bytes(png())
    (run_dir / "artifacts" / "link.png").symlink_to(run_dir.parent / "secret.png")
    (run_dir / "artifacts" / "folder.png").mkdir()

    with pytest.raises(BadPicture, match=reason):
        read_picture(run_dir, name)


def test_a_large_file_is_refused_before_it_is_read(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_BYTES", 50)
    (run_dir / "artifacts" / "large.png").write_bytes(png())

    with pytest.raises(BadPicture, match="at most 50 are shown"):
        read_picture(run_dir, "artifacts/large.png")
    with pytest.raises(BadPicture, match="more than 50 bytes"):
        check_png(png())
