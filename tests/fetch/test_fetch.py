"""Downloads against a server on the loopback that cuts, corrupts, refuses and continues."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.downloads import DOWNLOADS, Download, Remote, fetched_path, find_download
from bench.errors import BadData, MissingData, SaveError, UnknownName
from bench.fetch import fetch

CONTENT = random.Random(0).randbytes(1_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does; changed by the tests."""

    content: bytes = CONTENT
    cut_after: list[int] = field(default_factory=list)
    """Bytes of body sent before the connection is cut, one entry a request; whole bodies afterwards."""
    statuses: list[int] = field(default_factory=list)
    """Error statuses to answer with first."""
    ranges: bool = True
    """Whether `Range` is honoured."""
    lengths: bool = True
    """Whether Content-Length is sent."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range header) of every request."""


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        plan = self.behaviour
        wanted = self.headers.get("Range")
        plan.requests.append((self.path, wanted))
        if plan.statuses:
            self.send_error(plan.statuses.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and plan.ranges else 0
        if start >= len(plan.content) and start:
            self.send_error(416)
            return
        body = plan.content[start:]
        self.send_response(206 if start else 200)
        if plan.lengths:
            self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(plan.content) - 1}/{len(plan.content)}")
        self.end_headers()
        self.wfile.write(body[: plan.cut_after.pop(0)] if plan.cut_after else body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Behaviour]]:
    """The address of a server on the loopback, and what it does. No proxy stands between."""
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    behaviour = Behaviour()
    handler = type("BehavingHandler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", behaviour
        listening.shutdown()
        thread.join()


def one_file(
    url: str, *, num_bytes: int | None = len(CONTENT), digest: str = f"sha256:{DIGEST}"
) -> dict[str, Download]:
    return {"toy": Download("a toy", (Remote(f"{url}/toy.bin", "weights/toy.bin", digest, num_bytes),))}


def get(url: str, root: Path, waits: list[float] | None = None, **arguments: object) -> Path:
    noted = [] if waits is None else waits
    return fetch("toy", root, wait=noted.append, downloads=one_file(url, **arguments))  # type: ignore[arg-type]


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server

    path = get(url, tmp_path)

    assert path == tmp_path / "weights" / "toy.bin"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["toy.bin"]
    assert get(url, tmp_path) == path
    assert behaviour.requests == [("/toy.bin", None)]


def test_a_cut_transfer_continues_where_it_stopped(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.cut_after = [300_000, 200_000, 1]

    assert get(url, tmp_path).read_bytes() == CONTENT

    starts = [wanted for _, wanted in behaviour.requests]
    assert starts == [None, "bytes=300000-", "bytes=500000-", "bytes=500001-"]


def test_what_an_earlier_run_left_is_continued(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.cut_after = [400_000, 0, 0, 0]
    with pytest.raises(MissingData, match=r"the connection was cut\); 400,000 bytes are kept"):
        get(url, tmp_path)
    assert (tmp_path / "weights" / "toy.bin.partial").read_bytes() == CONTENT[:400_000]
    behaviour.requests.clear()

    assert get(url, tmp_path).read_bytes() == CONTENT
    assert behaviour.requests == [("/toy.bin", "bytes=400000-")]


def test_a_server_that_cannot_continue_is_asked_for_everything(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.ranges = False
    behaviour.cut_after = [700_000]

    assert get(url, tmp_path).read_bytes() == CONTENT


def test_a_whole_partial_file_is_only_checked(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "toy.bin.partial").write_bytes(CONTENT)

    assert get(url, tmp_path).read_bytes() == CONTENT
    assert behaviour.requests == [("/toy.bin", "bytes=1000000-")]


@pytest.mark.parametrize("left", [b"another file's beginning", bytes(2_000_000)])
def test_a_wrong_partial_file_costs_one_more_transfer(
    server: tuple[str, Behaviour], tmp_path: Path, left: bytes
) -> None:
    url, _ = server
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "toy.bin.partial").write_bytes(left)

    assert get(url, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("lengths", [True, False])
def test_a_corrupted_transfer_is_not_kept(server: tuple[str, Behaviour], tmp_path: Path, lengths: bool) -> None:
    url, behaviour = server
    behaviour.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    behaviour.lengths = lengths

    with pytest.raises(
        BadData, match=rf"is sha256:[0-9a-f]{{64}}, expected sha256:{DIGEST}; it was not kept"
    ) as refused:
        get(url, tmp_path)

    assert "\n" not in str(refused.value)
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_file_cut_without_a_length_is_not_kept(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.lengths = False
    behaviour.cut_after = [500_000]

    with pytest.raises(BadData, match="it was not kept"):
        get(url, tmp_path)
    assert get(url, tmp_path).read_bytes() == CONTENT


def test_a_web_page_in_place_of_the_file_is_called_one(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.content = b"<!doctype html>Sign in"

    with pytest.raises(BadData, match=r"\(a web page\), expected"):
        get(url, tmp_path)


def test_a_server_that_never_stops_is_stopped(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.content = CONTENT * 20

    with pytest.raises(MissingData, match="it sends more than the 1,000,000 bytes of the file"):
        get(url, tmp_path)
    assert (tmp_path / "weights" / "toy.bin.partial").stat().st_size == 0


def test_a_file_that_is_not_there_is_asked_for_once(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.statuses = [404, 404, 404]

    with pytest.raises(MissingData, match=r"the server says 404 Not Found\); on a machine that can, download http"):
        get(url, tmp_path)
    assert len(behaviour.requests) == 1


def test_a_server_in_trouble_is_asked_again_after_a_pause(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.statuses = [503, 500]
    waits: list[float] = []

    assert get(url, tmp_path, waits).read_bytes() == CONTENT
    assert waits == [1.0, 2.0]


def test_without_a_connection_one_line_says_what_to_put_where(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:1"

    with pytest.raises(MissingData) as refused:
        get(nobody, tmp_path)

    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"toy: {nobody}/toy.bin cannot be had (ConnectionRefusedError")
    assert message.endswith(
        f"download {nobody}/toy.bin (sha256:{DIGEST}, 1,000,000 bytes) and put it at {tmp_path / 'weights' / 'toy.bin'}"
    )
    (tmp_path / "weights" / "toy.bin").write_bytes(CONTENT)
    assert get(nobody, tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_under_the_name_is_replaced(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "toy.bin").write_bytes(b"put here by mistake")

    assert get(url, tmp_path).read_bytes() == CONTENT


def test_proxy_variables_are_honoured(
    server: tuple[str, Behaviour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, behaviour = server
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.setenv("no_proxy", "")

    fetch("toy", tmp_path, wait=lambda s: None, downloads=one_file("http://originals.invalid"))

    assert behaviour.requests == [("http://originals.invalid/toy.bin", None)]


def test_a_mirror_is_asked_for_the_file_by_its_name(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server

    fetch("toy", tmp_path, mirror=f"{url}/copies/", downloads=one_file("http://originals.invalid"))

    assert behaviour.requests == [("/copies/toy.bin", None)]


def test_progress_is_told_in_bytes(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    told: list[tuple[str, int, int | None]] = []

    fetch("toy", tmp_path, on_bytes=lambda *step: told.append(step), downloads=one_file(url))

    assert told[-1] == ("toy.bin", 1_000_000, 1_000_000)
    assert [there for _, there, _ in told] == sorted(there for _, there, _ in told)


def test_several_files_come_into_one_folder(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    files = tuple(Remote(f"{url}/{name}", f"toys/{name}", f"sha256:{DIGEST}") for name in ("a", "b"))

    folder = fetch("toys", tmp_path, downloads={"toys": Download("toys", files)})

    assert folder == tmp_path / "toys"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_two_processes_do_not_write_one_file(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    (tmp_path / "weights").mkdir()
    with (tmp_path / "weights" / "toy.bin.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingData, match="another process is fetching"):
            get(url, tmp_path)

    assert behaviour.requests == []


def test_a_folder_that_cannot_be_written_is_a_save_error(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    (tmp_path / "weights").write_text("a file in the folder's place", encoding="utf-8")

    with pytest.raises(SaveError, match="cannot be written"):
        get(url, tmp_path)


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "pipe"])
def test_what_came_so_far_is_continued_in_a_file_of_our_own_only(
    server: tuple[str, Behaviour], tmp_path: Path, kind: str
) -> None:
    url, behaviour = server
    (tmp_path / "file").write_text("precious")
    (tmp_path / "weights").mkdir()
    partial = tmp_path / "weights" / "toy.bin.partial"
    if kind == "pipe":
        os.mkfifo(partial)
    else:
        partial.symlink_to(tmp_path / kind.rsplit(maxsplit=1)[1])

    with pytest.raises(SaveError, match=r"toy\.bin\.partial is a .*, expected a regular file; remove it"):
        get(url, tmp_path)

    assert behaviour.requests == []
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "pipe"])
def test_a_fetched_file_replaces_what_has_its_name(server: tuple[str, Behaviour], tmp_path: Path, kind: str) -> None:
    url, _ = server
    (tmp_path / "file").write_text("precious")
    (tmp_path / "weights").mkdir()
    target = tmp_path / "weights" / "toy.bin"
    if kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(tmp_path / kind.rsplit(maxsplit=1)[1])

    assert get(url, tmp_path).read_bytes() == CONTENT

    assert not target.is_symlink()
    assert (tmp_path / "file").read_text() == "precious"


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'cifar10'.*known: inception, ddpm-cifar10"):
        fetch("cifar-10", tmp_path)


def test_every_original_has_a_pinned_hash_a_safe_place_and_a_secure_address() -> None:
    lengths = {"md5": 32, "sha256": 64}
    places = [file.path for download in DOWNLOADS.values() for file in download.files]
    assert len(set(places)) == len(places)
    for download in DOWNLOADS.values():
        assert download.what
        for file in download.files:
            algorithm, digest = file.hash.split(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[algorithm]
            assert file.url.startswith("https://")
            assert not Path(file.path).is_absolute() and ".." not in Path(file.path).parts


@pytest.mark.parametrize("name", ["inception", "lpips-alex", "lpips-vgg", "lpips-squeeze"])
def test_a_file_named_after_its_hash_has_that_hash(name: str) -> None:
    (file,) = find_download(name).files

    assert Path(file.path).stem.rsplit("-", 1)[1] == file.hash.removeprefix("sha256:")[:8]


def test_a_fetched_file_lies_where_its_path_says(tmp_path: Path) -> None:
    assert fetched_path("mnist", tmp_path) == tmp_path / "mnist"
    assert fetched_path("inception", tmp_path).parent == tmp_path / "weights"


def test_fetching_imports_no_torch() -> None:
    code = "import sys, bench.fetch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="not an address: unknown url type"):
        get("no-scheme", tmp_path)
