"""One open file, looked at with suspicion: regular, of a sane size, and the same from the first byte read to the last.

The path is opened once. Hash, table of contents and tensors all come from that descriptor, so exchanging the file
behind the path exchanges nothing, and writing to it is noticed.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadCheckpoint, MissingWeights, printable
from bench.models.checkpoints.hub_cache import link_target

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MAX_FILE_BYTES = 16 << 30
"""Larger than any network measured here by a factor of a hundred; a wrong path is likelier than such a checkpoint."""
PIECE = 1 << 20
# O_NONBLOCK: opening a pipe nobody writes to must not wait. O_NOFOLLOW: what is hashed is what was named.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
MAX_SENTENCE = 900
"""Characters of a refusal behind the path; the middle of a longer one is left out."""


class Source:
    """A regular file open for reading."""

    def __init__(self, path: Path, descriptor: int, status: os.stat_result) -> None:
        self.path = path
        self.size: int = status.st_size
        """Bytes, when it was opened."""
        self._descriptor = descriptor
        self._identity = _identity(status)

    def read(self, offset: int, count: int) -> bytearray:
        """Exactly `count` bytes from `offset`. Raises BadCheckpoint when the file does not have them."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self.refuse(f"is cut short: bytes {offset} to {offset + count} are wanted, it has {self.size}")
        content = bytearray(count)
        view = memoryview(content)
        done = 0
        while done < count:
            got = os.preadv(self._descriptor, [view[done:]], offset + done)
            if got == 0:
                raise self.refuse("became shorter while it was read")
            done += got
        return content

    def digest(self, digest: Hash) -> str:
        """Hexadecimal digest of the content, by a hash of hashlib."""
        for offset in range(0, self.size, PIECE):
            digest.update(self.read(offset, min(PIECE, self.size - offset)))
        return digest.hexdigest()

    def stream(self) -> io.BufferedReader:
        """The content as a seekable file object."""
        return io.BufferedReader(_Stream(self), PIECE)

    def check_unchanged(self) -> None:
        """Raises BadCheckpoint when somebody wrote to the file, or removed it, since it was opened."""
        if _identity(os.fstat(self._descriptor)) != self._identity:
            raise self.refuse("was changed or exchanged while it was read; load it again")

    def refuse(self, sentence: str) -> BadCheckpoint:
        """The error that begins with the path and goes on with `sentence`, in one line that can be printed."""
        return refusal(self.path, sentence)


def refusal(path: Path, sentence: str) -> BadCheckpoint:
    """The error that begins with a path and goes on with `sentence`, in one line that can be printed."""
    return BadCheckpoint(f"{printable(path)}: {printable(sentence, MAX_SENTENCE)}")


class _Stream(io.RawIOBase):
    """A Source with a position, for readers that want a file object."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning of the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._source.size - self._position))
        buffer[:count] = self._source.read(min(self._position, self._source.size), count)
        self._position += count
        return count


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The file behind `path`, closed afterwards.

    Raises MissingWeights when nothing is there, BadCheckpoint when it is a symbolic link (but for those of a hub's
    cache), a folder, a pipe, a device, empty, unreadable or larger than MAX_FILE_BYTES.
    """
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        _check_status(path, status)
        yield Source(path, descriptor, status)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, FLAGS)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EMLINK):
            raise _unopened(path, error) from error
    except ValueError as error:
        raise BadCheckpoint(f"{printable(path)}: not a path: {error}") from error
    target = link_target(path)
    try:
        return os.open(target, FLAGS)
    except OSError as error:
        raise _unopened(path, error) from error


def _unopened(path: Path, error: OSError) -> BadCheckpoint | MissingWeights:
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.ENOTDIR):
        reason = "no such file" if error.errno == errno.ENOENT else f"no such file: {error.strerror}"
        return MissingWeights(f"{printable(path)}: {reason}")
    return BadCheckpoint(f"{printable(path)}: cannot be opened: {error.strerror}")


def _check_status(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise refusal(path, "is a folder, and a checkpoint file was expected")
    if not stat.S_ISREG(status.st_mode):
        raise refusal(path, "is a pipe, socket or device, and a checkpoint file was expected")
    if status.st_size == 0:
        raise refusal(path, "is empty; copy or fetch it again")
    if status.st_size > MAX_FILE_BYTES:
        raise refusal(path, f"has {status.st_size:,} bytes, more than the {MAX_FILE_BYTES:,} that are read")


def _identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
