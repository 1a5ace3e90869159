"""Files in folders that a stranger may have filled.

What is written appears whole or not at all, is on the disk when the block ends, and never goes through a link: in a
cloned repository a link is an ordinary file, and one named like a file of ours would let a documented command overwrite
any file of the user. What is read is a regular file of bounded size: a pipe would be waited for, a device never ends.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from bench.errors import SaveError

PIECE = 1 << 20
"""Bytes read at a time."""
MAX_TEXT_BYTES = 16 << 20
"""Of a small file that people or programs wrote: a passport, a config, a suite."""
ADVICE = "make room or choose another folder"

_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})


class NotAFile(OSError):
    """A pipe, socket, device or folder where a file was expected; `strerror` says which."""


class TooLarge(OSError):
    """A file of more bytes than are read of its kind; `strerror` gives both numbers."""


@contextmanager
def whole_file(path: Path, *, advice: str = ADVICE) -> Iterator[BinaryIO]:
    """A file in the making: the block writes it, and at its end it has the name `path`, in place of what had it before.

    Until then it has no name where the file system can do that, so that a kill leaves nothing behind. Missing folders
    are made. advice: what the user can do when the disk does not take it. Raises SaveError then, also when the writer
    in the block hid the reason in an exception of its own, as torch.save does.
    """
    sink: _Sink | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _unnamed_file(folder) as (descriptor, name):
                sink = _Sink(descriptor, "wb", closefd=False)
                with io.BufferedWriter(sink) as file:
                    yield cast(BinaryIO, file)
                os.fsync(descriptor)
                _give_name(folder, descriptor, name, path.name)
            os.fsync(folder)
        finally:
            os.close(folder)
    except SaveError:
        raise
    except Exception as error:
        hidden = sink.failure if sink is not None else None
        reason = error if isinstance(error, OSError) else hidden
        if reason is None:
            raise
        raise SaveError(f"{path}: cannot be written: {reason.strerror or reason}; {advice}") from error


def write_whole(path: Path, content: str | bytes, *, advice: str = ADVICE) -> None:
    """Write a file, UTF-8 where it is text, as `whole_file` does. Raises SaveError.

    What UTF-8 cannot hold, such as a byte of a file name that is not UTF-8, is written as `\\udce9`.
    """
    with whole_file(path, advice=advice) as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


class _Sink(io.FileIO):
    """Remembers why a write failed."""

    failure: OSError | None = None

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def _unnamed_file(folder: int) -> Iterator[tuple[int, str]]:
    """A new file in an open folder, and its name, empty while it has none; what is not renamed by then is removed."""
    name = ""
    try:
        descriptor = os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_UNNAMED_FILES:
            raise
        name = _random_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o666, dir_fd=folder)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)
        if name:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def _give_name(folder: int, descriptor: int, name: str, final: str) -> None:
    """Put an open file in the place of whatever is called `final`; a link of that name is replaced, not followed."""
    if not name:
        name = _random_name()
        # Through /proc, because naming a descriptor directly needs a privilege (open(2), O_TMPFILE).
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
    try:
        os.rename(name, final, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise


def _random_name() -> str:
    return f".{secrets.token_hex(8)}.partial"


def own_folder(root: Path, *parts: str) -> Path:
    """The folder `root/parts...`, made where it is missing. Below root nothing may be a link, so that what is written
    there lies there.

    Raises SaveError naming the first part that is a link or a file, or that cannot be made.
    """
    folder = root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in parts:
            folder /= part
            with suppress(FileExistsError):
                folder.mkdir()
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise SaveError(
                    f"{folder}: is {kind_of(folder.lstat())}, expected a folder of its own; remove it or use another "
                    "results folder"
                )
    except OSError as error:
        raise SaveError(f"{folder}: cannot be made: {error.strerror or error}; {ADVICE}") from error
    return folder


def open_own(path: Path, flags: int) -> int:
    """Descriptor of a regular file that this program made or makes, for `os.read` and `os.write`.

    flags: of `os.open`, such as O_RDWR | O_CREAT. Raises OSError, NotAFile when a link or another thing has the name.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFile(errno.ELOOP, f"{path.name} is a symbolic link, expected a file; remove it") from error
        raise
    return _checked(path, descriptor)


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading; links are followed. Raises OSError, NotAFile when it is anything else.

    The size is that of the opened file: read no more than `os.fstat` says, or use `read_regular`.
    """
    # O_NONBLOCK: opening a pipe nobody writes to must not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.fdopen(_checked(path, descriptor), "rb")


def read_regular(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Content of a regular file. Raises OSError: NotAFile when it is none, TooLarge when it has more than max_bytes."""
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            size = os.fstat(file.fileno()).st_size
            raise TooLarge(errno.EFBIG, f"{path.name} has {size:,} bytes, more than the {max_bytes:,} that are read")
        return content


def file_hash(path: Path) -> str:
    """SHA-256 of a regular file's content as 64 hex digits, read in pieces. Raises OSError."""
    digest = sha256()
    with open_regular(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def kind_of(status: os.stat_result) -> str:
    """What a thing in a folder is, in words: a symbolic link, a pipe, a file."""
    kinds = (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((words for test, words in kinds if test(status.st_mode)), "a file")


def _checked(path: Path, descriptor: int) -> int:
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor
    os.close(descriptor)
    raise NotAFile(errno.EINVAL, f"{path.name} is {kind_of(status)}, expected a regular file")
