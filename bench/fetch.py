"""`bench fetch NAME`: the public originals, each from one address and known by its hash. Nothing else ever downloads.

A transfer goes into `FILE.partial` and is continued there, in this run or the next; only a file whose hash is right
gets its name. The standard proxy variables (HTTPS_PROXY, NO_PROXY, ...) are honoured. Imports no torch.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bench.downloads import DOWNLOADS, Download, Remote, find_download
from bench.errors import BadData, MissingData, SaveError
from bench.files import ADVICE, NotAFile, open_own, sync_folder
from bench.version import __version__

PIECE_BYTES = 1 << 18
"""Read from a connection at a time."""
TIMEOUT_S = 60.0
"""Without a byte, before a connection counts as cut."""
FRUITLESS = 3
"""Attempts in a row that bring no byte, before giving up."""
ATTEMPTS = 200
"""Attempts in all, however much they bring."""


OnBytes = Callable[[str, int, int | None], None]
"""(file name, bytes there, bytes in all when known), after every piece."""


def fetch(
    name: str,
    root: Path,
    *,
    mirror: str | None = None,
    on_bytes: OnBytes = lambda file, there, size: None,
    wait: Callable[[float], None] = time.sleep,
    downloads: Mapping[str, Download] = DOWNLOADS,
) -> Path:
    """Put a download under the data root, unless it is there already; returns the file, or the folder of several.

    mirror: an address to take the files from instead, by their names. wait: pauses for seconds between attempts.
    Raises UnknownName; MissingData, saying what to put where, when the file cannot be had; BadData when what came, or
    what is there, is another file; SaveError when it cannot be written.
    """
    download = find_download(name, downloads)
    for remote in download.files:
        path = root / remote.path
        url = remote.url if mirror is None else f"{mirror.rstrip('/')}/{path.name}"
        if not _is_right(path, remote):
            _fetch_file(name, url, remote, path, on_bytes, wait)
    return root / download.place


def _fetch_file(
    name: str, url: str, remote: Remote, path: Path, on_bytes: OnBytes, wait: Callable[[float], None]
) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(name, partial) as file:
            continued = file.tell() > 0
            _transfer(name, url, remote, path, file, on_bytes, wait)
            if continued and not _is_right(partial, remote):
                # What an earlier run left may have been another file's beginning: once more, from nothing.
                file.truncate(0)
                _transfer(name, url, remote, path, file, on_bytes, wait)
            if not _is_right(partial, remote):
                found = f"{_hash(partial, remote)}{_looks_like(file)}"
                partial.unlink()
                raise BadData(
                    f"{name}: what came from {url} is {found}, expected {remote.hash}; it was not kept; "
                    f"{_by_hand(url, remote, path)}"
                )
            os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
    except NotAFile as error:
        raise SaveError(f"{name}: {path} cannot be written: {error.strerror}; remove it and fetch again") from error
    except OSError as error:
        raise SaveError(f"{name}: {path} cannot be written: {error.strerror or error}; {ADVICE}") from error


def _transfer(
    name: str,
    url: str,
    remote: Remote,
    path: Path,
    file: BinaryIO,
    on_bytes: OnBytes,
    wait: Callable[[float], None],
) -> None:
    """Append to the file until it is whole. Raises MissingData when nothing comes any more."""
    fruitless = 0
    for attempt in range(ATTEMPTS):
        before = file.seek(0, os.SEEK_END)
        try:
            whole = _attempt(url, remote, path.name, file, on_bytes)
        except _Refused as error:
            reason = str(error)
            fruitless = FRUITLESS if error.final else fruitless + 1
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = _reason(error)
            fruitless += 1
        else:
            if whole:
                return
            reason = "the connection was cut"
            fruitless += 1
        there = file.seek(0, os.SEEK_END)
        if there > before:
            fruitless = 0
        if fruitless >= FRUITLESS or attempt == ATTEMPTS - 1:
            kept = f"; {there:,} bytes are kept and the next attempt continues there" if there else ""
            raise MissingData(f"{name}: {url} cannot be had ({reason}){kept}; {_by_hand(url, remote, path)}")
        if there == before:
            wait(2.0 ** (fruitless - 1))


class _Refused(Exception):
    """The server answered, and not with the file."""

    def __init__(self, sentence: str, *, final: bool) -> None:
        super().__init__(sentence)
        self.final = final


def _attempt(url: str, remote: Remote, shown: str, file: BinaryIO, on_bytes: OnBytes) -> bool:
    """One connection's worth of bytes, appended; True when the file is whole by the server's account."""
    there = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": f"denoiser-bench/{__version__}", "Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    # A new opener each time: it reads the proxy variables when it is built.
    opener = urllib.request.build_opener()
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as response:
            if there and response.status != http.client.PARTIAL_CONTENT:
                file.truncate(0)  # the server does not continue: from the beginning
                there = file.seek(0)
            size = _whole_size(response.headers, there)
            for piece in _pieces(response):
                file.write(piece)
                there += len(piece)
                on_bytes(shown, there, size)
                if remote.num_bytes is not None and there > remote.num_bytes:
                    file.truncate(0)
                    raise _Refused(f"it sends more than the {remote.num_bytes:,} bytes of the file", final=True)
            file.flush()
            return there > 0 and (size is None or there == size)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Everything is there already, or more than there is; the hash tells which.
            return True
        raise _Refused(f"the server says {error.code} {error.reason}", final=error.code < 500) from error
    except ValueError as error:
        raise _Refused(f"not an address: {error}", final=True) from error


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body, piece by piece. Whatever breaks the line is a ConnectionError, so that no other OSError is one."""
    while True:
        try:
            piece = response.read(PIECE_BYTES)
        except OSError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        if not piece:
            return
        yield piece


def _whole_size(headers: http.client.HTTPMessage, there: int) -> int | None:
    """Bytes of the whole file by the server's account, None when it does not say."""
    length = headers.get("Content-Length", "")
    return there + int(length) if length.isdigit() else None


@contextmanager
def _locked(name: str, partial: Path) -> Iterator[BinaryIO]:
    """The partial file, open for reading and appending, for this process alone. Raises NotAFile when it is a link."""
    with os.fdopen(open_own(partial, os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MissingData(f"{name}: another process is fetching {partial.name}; wait for it") from None
        file.seek(0, os.SEEK_END)
        yield file


def _is_right(path: Path, remote: Remote) -> bool:
    return path.is_file() and _hash(path, remote) == remote.hash


def _hash(path: Path, remote: Remote) -> str:
    """The file's hash by the algorithm its publisher uses, `algorithm:hex digest`."""
    import pooch

    algorithm = remote.hash.split(":")[0]
    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


def _looks_like(file: BinaryIO) -> str:
    file.seek(0)
    return " (a web page)" if file.read(64).lstrip().startswith(b"<") else ""


def _by_hand(url: str, remote: Remote, path: Path) -> str:
    size = f", {remote.num_bytes:,} bytes" if remote.num_bytes is not None else ""
    return f"on a machine that can, download {url} ({remote.hash}{size}) and put it at {path}"


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:160]
