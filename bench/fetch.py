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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bench.errors import BadData, MissingData, SaveError, UnknownName, did_you_mean
from bench.version import __version__

PIECE = 1 << 18
TIMEOUT_S = 60.0
"""Without a byte, before a connection counts as cut."""
FRUITLESS = 3
"""Attempts in a row that bring no byte, before giving up."""
ATTEMPTS = 200
"""Attempts in all, however much they bring."""


@dataclass(frozen=True)
class Remote:
    """One file of a download."""

    url: str
    path: str
    """Where it goes, relative to the data root."""
    hash: str
    """`algorithm:hex digest`, as its publisher gives it."""
    num_bytes: int | None = None
    """Its size, when known; a longer transfer is stopped."""


@dataclass(frozen=True)
class Download:
    """What `bench fetch` knows by one name."""

    what: str
    files: tuple[Remote, ...]

    @property
    def place(self) -> PurePosixPath:
        """The file, or the folder of several, relative to the data root."""
        paths = [PurePosixPath(file.path) for file in self.files]
        return paths[0] if len(paths) == 1 else paths[0].parent


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
BACKBONES = "https://download.pytorch.org/models"

DOWNLOADS: Mapping[str, Download] = {
    "inception": Download(
        "the Inception network of the FID, as pytorch-fid converted it",
        (
            Remote(
                "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
                "weights/pt_inception-2015-12-05-6726825d.pth",
                "sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                95_628_359,
            ),
        ),
    ),
    "ddpm-cifar10": Download(
        "Ho et al.'s CIFAR-10 network after 790,000 steps, moving average, as pesser converted it",
        (
            Remote(
                "https://heibox.uni-heidelberg.de/f/2e4f01e2d9ee49bab1d5/?dl=1",
                "weights/ddpm-cifar10/ema-model-790000.ckpt",
                "md5:1fa350b952534ae442b1d5235cce5cd3",
            ),
        ),
    ),
    "ddpm-cifar10-raw": Download(
        "the same network's raw weights, without the moving average",
        (
            Remote(
                "https://heibox.uni-heidelberg.de/f/869980b53bf5416c8a28/?dl=1",
                "weights/ddpm-cifar10/model-790000.ckpt",
                "md5:82ed3067fd1002f5cf4c339fb80c4669",
            ),
        ),
    ),
    "lpips-alex": Download(
        "AlexNet, the backbone of LPIPS as paper B uses it",
        (
            Remote(
                f"{BACKBONES}/alexnet-owt-7be5be79.pth",
                "weights/alexnet-owt-7be5be79.pth",
                "sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                244_408_911,
            ),
        ),
    ),
    "lpips-vgg": Download(
        "VGG-16, another backbone of LPIPS",
        (
            Remote(
                f"{BACKBONES}/vgg16-397923af.pth",
                "weights/vgg16-397923af.pth",
                "sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                553_433_881,
            ),
        ),
    ),
    "lpips-squeeze": Download(
        "SqueezeNet 1.1, the smallest backbone of LPIPS",
        (
            Remote(
                f"{BACKBONES}/squeezenet1_1-b8a52dc0.pth",
                "weights/squeezenet1_1-b8a52dc0.pth",
                "sha256:b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
                4_958_839,
            ),
        ),
    ),
    "mnist": Download(
        "MNIST, 60,000 images to train and 10,000 to test",
        tuple(
            Remote(f"{MNIST}/{name}", f"mnist/{name}", f"md5:{digest}")
            for name, digest in (
                ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
                ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
                ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
            )
        ),
    ),
    "cifar10": Download(
        "CIFAR-10, binary version, 50,000 images to train and 10,000 to test",
        (
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "cifar10/cifar-10-binary.tar.gz",
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                170_052_171,
            ),
        ),
    ),
}
"""Every address this program may download from."""

OnBytes = Callable[[str, int, int | None], None]
"""(file name, bytes there, bytes in all when known), after every piece."""


def find_download(name: str, downloads: Mapping[str, Download] = DOWNLOADS) -> Download:
    """What is known by the name. Raises UnknownName with close matches and the whole list."""
    try:
        return downloads[name]
    except KeyError:
        raise UnknownName(
            f"nothing to fetch is called {name!r}{did_you_mean(name, downloads)} (known: {', '.join(downloads)})"
        ) from None


def fetched_path(name: str, root: Path) -> Path:
    """Where a download lies under the data root, whether it is there or not: the file, or the folder of several."""
    return root / find_download(name).place


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
            partial.replace(path)
    except OSError as error:
        raise SaveError(f"{name}: {path} cannot be written: {error.strerror or error}") from error


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
            piece = response.read(PIECE)
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
    """The partial file, open for reading and appending, for this process alone."""
    with partial.open("a+b") as file:
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
