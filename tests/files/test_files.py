"""Whole-file writes that follow no link, and reads of regular files of bounded size."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import SaveError
from bench.files import (
    NotAFile,
    TooLarge,
    file_hash,
    open_own,
    open_regular,
    own_folder,
    prove_room,
    read_regular,
    whole_file,
    write_whole,
)


@pytest.fixture(params=["unnamed", "named"])
def _any_file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without O_TMPFILE, which network and FUSE file systems lack."""
    if request.param == "named":
        real = os.open

        def without_unnamed_files(path: object, flags: int, *rest: object, **names: object) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, "Operation not supported")
            return real(path, flags, *rest, **names)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", without_unnamed_files)


pytestmark = pytest.mark.usefixtures("_any_file_system")


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "page.html"

    write_whole(target, "Größe")

    assert target.read_bytes() == "Größe".encode()
    assert names(target.parent) == ["page.html"]


def test_while_it_is_written_the_old_content_stays(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")

    with whole_file(target) as file:
        file.write(b"ne")
        file.flush()
        assert target.read_text() == "old"
        file.write(b"w")

    assert target.read_text() == "new"


def test_a_block_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")

    with pytest.raises(ZeroDivisionError), whole_file(target) as file:
        file.write(b"new")
        raise ZeroDivisionError

    assert target.read_text() == "old"
    assert names(tmp_path) == ["page.html"]


def test_a_link_of_the_files_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target = tmp_path / "page.html"
    target.symlink_to("victim")

    write_whole(target, "page")

    assert victim.read_text() == "precious"
    assert not target.is_symlink()
    assert target.read_text() == "page"


def test_a_full_disk_is_a_save_error_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(SaveError, match=r"page\.html: cannot be written: No space left on device; use another disk"):
        write_whole(tmp_path / "page.html", "page", advice="use another disk")
    assert names(tmp_path) == []


def test_the_reason_is_named_when_the_writer_hides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.files

    def full(self: object, data: object) -> int:
        self.failure = OSError(28, "No space left on device")  # type: ignore[attr-defined]
        raise self.failure  # type: ignore[attr-defined]

    monkeypatch.setattr(bench.files._Sink, "write", full)

    with pytest.raises(SaveError, match="No space left on device"), whole_file(tmp_path / "state") as file:
        try:
            file.write(b"x" * 100_000)
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error


def test_a_writer_that_goes_on_after_a_failed_write_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.files

    def full(self: object, data: object) -> int:
        self.failure = OSError(28, "No space left on device")  # type: ignore[attr-defined]
        return len(data)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.files._Sink, "write", full)

    with pytest.raises(SaveError, match="No space left on device"):
        write_whole(tmp_path / "state", b"x" * 100_000)
    assert names(tmp_path) == []


def test_where_an_unnamed_file_cannot_be_linked_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object, **names: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)

    write_whole(tmp_path / "page.html", b"x" * 3_000_000)

    assert (tmp_path / "page.html").read_bytes() == b"x" * 3_000_000
    assert names(tmp_path) == ["page.html"]


@pytest.mark.parametrize("make", ["pipe", "dangling link", "link to a device"])
def test_whatever_has_the_files_name_is_replaced(tmp_path: Path, make: str) -> None:
    target = tmp_path / "page.html"
    if make == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to("/dev/zero" if make == "link to a device" else tmp_path / "nothing")

    write_whole(target, "page")

    assert not target.is_symlink()
    assert target.read_text() == "page"
    assert names(tmp_path) == ["page.html"]


def test_below_its_root_a_file_is_not_written_through_a_folder_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "artifacts").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SaveError, match="artifacts: is a symbolic link, expected a folder of its own"):
        write_whole(tmp_path / "run" / "artifacts" / "a.png", "x", root=tmp_path / "run")
    assert names(tmp_path / "elsewhere") == []


def test_below_its_root_a_file_is_not_written_through_the_folder_above(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    with pytest.raises(SaveError, match=r"run: '\.\.' is not the name of a folder in there"):
        write_whole(tmp_path / "run" / ".." / "a.png", "x", root=tmp_path / "run")
    assert names(tmp_path) == ["run"]


def test_a_folder_that_takes_so_many_bytes_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ".probe").symlink_to("victim")

    prove_room(tmp_path, 65_536)

    assert names(tmp_path) == [".probe"]


def test_a_folder_with_too_little_room_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: 100)

    with pytest.raises(OSError, match="No space left on device"):
        prove_room(tmp_path, 65_536)
    assert names(tmp_path) == []


def test_the_new_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", "x")
    (tmp_path / "theirs").write_text("x")

    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@pytest.mark.parametrize("depth", [0, 1])
def test_below_the_root_a_folder_is_never_a_link(tmp_path: Path, depth: int) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = tmp_path / "results" if depth == 0 else tmp_path / "results" / "suite"
    place.mkdir(parents=True)
    (place / "part").symlink_to(tmp_path / "elsewhere")
    parts = ("part", "x") if depth == 0 else ("suite", "part", "x")

    with pytest.raises(SaveError, match="part: is a symbolic link, expected a folder of its own"):
        own_folder(tmp_path / "results", *parts)
    assert names(tmp_path / "elsewhere") == []


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to("disk")

    own_folder(tmp_path / "results", "suite", "logs")

    assert (tmp_path / "disk" / "suite" / "logs").is_dir()


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [_pipe, _device, _folder])
@pytest.mark.parametrize("read", [open_regular, read_regular, file_hash])
def test_nothing_but_a_regular_file_is_read(
    tmp_path: Path, make: Callable[[Path], None], read: Callable[[Path], object]
) -> None:
    make(tmp_path / "file")

    with pytest.raises(NotAFile, match="expected a regular file"):
        read(tmp_path / "file")


def test_a_socket_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    _socket(Path("file"))

    with pytest.raises(OSError, match="No such device"):
        read_regular(Path("file"))


def test_a_file_larger_than_its_kind_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "passport.json"
    path.write_bytes(bytes(11))

    assert read_regular(path, 11) == bytes(11)
    with pytest.raises(TooLarge, match="has 11 bytes, more than the 10 that are read"):
        read_regular(path, 10)


def test_a_file_of_our_own_is_not_opened_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".lock").symlink_to("victim")

    with pytest.raises(NotAFile, match=r"\.lock is a symbolic link"):
        open_own(tmp_path / ".lock", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("make", [_pipe, _socket, _folder])
def test_a_file_of_our_own_is_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    make(Path(".lock"))

    with pytest.raises(NotAFile, match=r"\.lock is a (pipe|socket|folder), expected a"):
        open_own(Path(".lock"), os.O_RDWR | os.O_CREAT)


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")

    assert file_hash(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["open", "fsync", "link", "rename"])
@pytest.mark.parametrize("number", [28, 5, 122, 30])
def test_every_call_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    (tmp_path / "page.html").write_text("old")
    real = getattr(os, name)
    calls = 0

    def failing(at: int) -> Callable[..., object]:
        def call(*arguments: object, **names: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **names)

        return call

    for at in range(1, 10):
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing(at))
            try:
                write_whole(tmp_path / "page.html", "new")
            except SaveError as error:
                assert os.strerror(number) in str(error)
        assert (tmp_path / "page.html").read_text() in ("old", "new")
        assert names(tmp_path) == ["page.html"]
        if calls < at:
            break
        (tmp_path / "page.html").write_text("old")

    assert calls < at
    assert (tmp_path / "page.html").read_text() == "new"
