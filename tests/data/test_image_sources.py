from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data import archives, sources
from bench.data.sources import open_source
from bench.errors import BadData, MissingData

FILES = {"b/2.png": b"two", "a.jpg": b"one", "b/c/3.WEBP": b"three", "notes.txt": b"no image"}
IMAGES = ("a.jpg", "b/2.png", "b/c/3.WEBP")


def as_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tar_bytes(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return buffer.getvalue()


def as_tar(path: Path, files: dict[str, bytes]) -> Path:
    squeeze: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
    path.write_bytes(squeeze.get(path.suffix, bytes)(tar_bytes(files)))
    return path


def packed(tmp_path: Path, kind: str, files: dict[str, bytes]) -> Path:
    if kind == "folder":
        return as_folder(tmp_path / "images", files)
    return (as_zip if kind == "zip" else as_tar)(tmp_path / f"images.{kind}", files)


KINDS = ("folder", "zip", "tar", "tar.gz", "tar.xz", "tar.bz2")
TARS = KINDS[2:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_the_same_sorted_images(tmp_path: Path, kind: str) -> None:
    source = open_source(packed(tmp_path, kind, FILES))

    assert source.names == IMAGES
    assert [source.read(name) for name in IMAGES] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_files_are_left_out(tmp_path: Path, kind: str) -> None:
    files = {**FILES, "._a.jpg": b"", ".thumbs/x.jpg": b"", "__MACOSX/b/2.png": b"", "b/.hidden.png": b""}

    assert open_source(packed(tmp_path, kind, files)).names == IMAGES


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.xz"])
def test_a_leading_dot_slash_is_no_part_of_the_name(tmp_path: Path, kind: str) -> None:
    source = open_source(packed(tmp_path, kind, {f"./{name}": content for name, content in FILES.items()}))

    assert source.names == IMAGES
    assert source.read("b/2.png") == b"two"


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_hash_changes_with_content_and_names(tmp_path: Path, kind: str) -> None:
    variants = (
        FILES,
        {**FILES, "a.jpg": b"One"},
        {**FILES, "d.jpg": b""},
        {**FILES, "b/2.png": b"", "b/3.png": b"two"},
    )
    for number, files in enumerate((*variants, FILES)):
        (tmp_path / str(number)).mkdir()
        packed(tmp_path / str(number), kind, files)
    name = "images" if kind == "folder" else f"images.{kind}"
    if kind.endswith(".gz") or kind == "zip":  # their headers carry the time of packing
        (tmp_path / "4" / name).write_bytes((tmp_path / "0" / name).read_bytes())

    hashes = [open_source(tmp_path / str(number) / name).content_hash() for number in range(5)]

    assert len(set(hashes[:4])) == 4
    assert hashes[4] == hashes[0]


@pytest.mark.parametrize("kind", ["zip", *TARS])
@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "..\\evil.png", "C:\\evil.png", "../notes.txt"]
)
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    path = packed(tmp_path, kind, {**FILES, name: b"x"})

    with pytest.raises(BadData, match="leads out of the archive") as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("link.png")
    member.type, member.linkname = kind, "/etc/passwd"
    path = tmp_path / "images.tar"
    path.write_bytes(tar_bytes(FILES, member))

    with pytest.raises(BadData, match=r"link\.png: a link or device"):
        open_source(path)


def test_links_and_encrypted_members_in_a_zip_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BadData, match=r"link\.png: a link"):
        open_source(tmp_path / "link.zip")

    content = bytearray(as_zip(tmp_path / "secret.zip", {"a.png": b"x"}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(content)
    with pytest.raises(BadData, match=r"a\.png: encrypted"):
        open_source(tmp_path / "secret.zip")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_two_members_of_one_name_are_refused(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path, kind, {"a.png": b"1", "./a.png": b"2"})

    with pytest.raises(BadData, match=r"holds a\.png twice"):
        open_source(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_lists_one_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")

    with pytest.raises(BadData, match=r"twice\.zip: holds a\.png twice"):
        open_source(tmp_path / "twice.zip")


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_a_damaged_archive_is_refused_and_never_shortened(tmp_path: Path, kind: str) -> None:
    """Cut anywhere, an archive is refused when it is opened or when the lost image is read."""
    files = {f"{number}.png": os.urandom(700) for number in range(6)}
    whole = packed(tmp_path, kind, files).read_bytes()
    path = tmp_path / f"cut.{kind}"

    for length in (0, 1, 10, 600, len(whole) // 3, len(whole) // 2, len(whole) - 1025, len(whole) - 7):
        if not 0 <= length < len(whole):
            continue
        path.write_bytes(whole[:length])
        if kind == "tar" and whole[length - 512 : length] == bytes(512):
            continue  # only padding is lost
        with pytest.raises(BadData) as caught:
            source = open_source(path)
            assert len(source.names) == 6
            for name in source.names:
                source.read(name)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_flipped_byte_in_an_image_is_noticed(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path, kind, {"a.png": os.urandom(50_000)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)

    with pytest.raises(BadData, match="cannot be read") as caught:
        open_source(path).read("a.png")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
@pytest.mark.parametrize("members", [1, 4])
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, kind: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 MB of zeros pack into a few kB; the limits are lowered so that the test stays small."""
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    path = packed(tmp_path, kind, {f"{number}.png": bytes(4_000_000 // members) for number in range(members)})

    with pytest.raises(BadData, match="decompression bomb") as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_a_bomb_in_a_header_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tarfile reads the long names of extended headers whole, whatever size they claim."""
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**35
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(format=tarfile.GNU_FORMAT) + bytes(10_000)))

    with pytest.raises(BadData, match="decompression bomb"):
        open_source(path)


def test_a_member_that_claims_more_than_the_file_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.txt")
    member.size = 2**40
    path = tmp_path / "claims.tar"
    path.write_bytes(member.tobuf() + bytes(1024))

    with pytest.raises(BadData, match="claim to hold"):
        open_source(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_too_large_for_an_image_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 100)
    path = packed(tmp_path, kind, {"a.png": os.urandom(101)})

    with pytest.raises(BadData, match=r"a\.png: 101 bytes are more than an image"):
        open_source(path).read("a.png")


def test_what_is_not_there_and_what_is_no_archive_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="nowhere: no such folder or archive"):
        open_source(tmp_path / "nowhere")

    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(BadData, match=r"text\.zip: cannot be read"):
        open_source(tmp_path / "text.zip")


def test_links_in_a_folder_are_followed_and_circles_end(tmp_path: Path) -> None:
    as_folder(tmp_path / "elsewhere", {"x.png": b"x"})
    root = as_folder(tmp_path / "images", {"a.png": b"a"})
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    (root / "file.png").symlink_to(tmp_path / "elsewhere" / "x.png")

    assert open_source(root).names == ("a.png", "file.png", "linked/x.png")


def test_a_broken_link_in_a_folder_is_named(tmp_path: Path) -> None:
    root = as_folder(tmp_path / "images", {"a.png": b"a"})
    (root / "gone.png").symlink_to(tmp_path / "nothing")

    with pytest.raises(BadData, match=r"gone\.png: cannot be read"):
        open_source(root)


def test_the_hash_of_a_large_folder_is_remembered_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SMALL_FOLDER_BYTES", 2)
    root = as_folder(tmp_path / "images", FILES)
    first = open_source(root).content_hash()
    remembered = list((tmp_path / "cache/denoiser-bench/hashes").iterdir())
    monkeypatch.setattr(sources.FolderSource, "read", lambda self, name: pytest.fail("was read again"))

    assert open_source(root).content_hash() == first
    assert [path.read_text() for path in remembered] == [first]

    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SMALL_FOLDER_BYTES", 2)
    (root / "a.jpg").write_bytes(b"changed")
    assert open_source(root).content_hash() != first


def test_a_cache_that_cannot_be_used_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = as_folder(tmp_path / "images", FILES)
    expected = open_source(root).content_hash()
    monkeypatch.setattr(sources, "SMALL_FOLDER_BYTES", 2)
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert open_source(root).content_hash() == expected

    (tmp_path / "cache").unlink()
    open_source(root).content_hash()
    for path in (tmp_path / "cache/denoiser-bench/hashes").iterdir():
        path.write_text("damaged")
    assert open_source(root).content_hash() == expected
