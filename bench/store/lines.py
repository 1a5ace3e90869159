"""Reading and appending lines of records: a line is whole or it is not there, whatever killed the writer."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from bench.errors import SaveError, StoreError
from bench.files import NotAFile, open_own, open_regular, sync_folder
from bench.store.record import MAX_LINE_BYTES, Record, Repeated, from_line, to_line

MAX_FILE_BYTES = 1 << 30
"""Of a file of records."""
MAX_MEMORY = 384 << 20
"""What the records of one file may take in memory, roughly: some 200,000 of the usual ones."""
RECORD_MEMORY = 1_000
VALUE_MEMORY = 32
"""Bytes that one record takes besides the parts it shares with others, and each of its values."""
LARGE = "leave out what is not needed: each line is a record of its own"


@dataclass(frozen=True)
class DamagedLine:
    """A line that is not shown as a number."""

    number: int
    """Counted from 1."""
    reason: str


@dataclass(frozen=True)
class Lines:
    """What a file of records holds, superseded records included, in file order."""

    records: tuple[Record, ...]
    damaged: tuple[DamagedLine, ...]


def read_lines(path: Path, containing: bytes = b"") -> Lines:
    """Every readable record of a file, and every line that is not one; a missing file holds nothing.

    containing: lines without it are passed over unread. Raises StoreError when the file is there and cannot be read, is
    no regular file, or holds more than fits into memory.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise StoreError(f"{path}: has {size:,} bytes, expected at most {MAX_FILE_BYTES:,}; {LARGE}")
            return _parse(file, containing)
    except FileNotFoundError:
        return Lines((), ())
    except _TooMuch as error:
        raise StoreError(f"{path}: {error}; {LARGE}") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def parse_lines(data: bytes) -> Lines:
    """The same of a file's content. Only a newline byte ends a line: other separators may stand inside of a text.

    Raises StoreError when it holds more than fits into memory.
    """
    try:
        return _parse(io.BytesIO(data), b"")
    except _TooMuch as error:
        raise StoreError(str(error)) from error


class _TooMuch(Exception):
    """Records that memory does not hold."""

    def __init__(self, line: int) -> None:
        super().__init__(f"takes more than {MAX_MEMORY >> 20} MiB of memory up to line {line:,}")


def _parse(file: BinaryIO, containing: bytes) -> Lines:
    records: list[Record] = []
    damaged: list[DamagedLine] = []
    repeated = Repeated()
    memory = number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            damaged.append(DamagedLine(number, f"not a record: longer than {MAX_LINE_BYTES:,} bytes"))
            while not line.endswith(b"\n") and (line := file.readline(MAX_LINE_BYTES)):
                pass
        elif line != b"\n" and containing in line:
            try:
                record = from_line(line.removesuffix(b"\n").decode("utf-8"), repeated)
                records.append(record)
                memory += RECORD_MEMORY + VALUE_MEMORY * len(record.values)
            except (StoreError, UnicodeDecodeError) as error:
                damaged.append(DamagedLine(number, str(error)))
        if memory + repeated.size + RECORD_MEMORY * len(damaged) > MAX_MEMORY:
            raise _TooMuch(number)
    return Lines(tuple(records), tuple(damaged))


CONTINUE_ADVICE = (
    "make room or use another results folder, then run the same command again (what was saved before is kept)"
)


def cannot_save(folder: Path, error: OSError) -> SaveError:
    """The one-line error of every way in which saving can fail."""
    advice = "remove it or use another results folder" if isinstance(error, NotAFile) else CONTINUE_ADVICE
    return SaveError(f"{folder}: results cannot be saved: {error.strerror or error}; {advice}")


class LineWriter:
    """Appends records to one file. When `append` returns, they are on disk; the file is never truncated below that."""

    def __init__(self, path: Path) -> None:
        """Raises SaveError when the file cannot be opened or made, or is a link: what it leads to is not ours."""
        self._path = path
        try:
            new = not path.exists()
            self._fd = open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                if new:
                    sync_folder(path.parent)
                size = os.fstat(self._fd).st_size
                self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            raise cannot_save(path.parent, error) from error

    def append(self, records: Sequence[Record]) -> None:
        """Write records in one go, after a torn line on a line of their own. Raises SaveError; then none was added."""
        text = "".join(f"{to_line(record)}\n" for record in records)
        data = memoryview(("\n" if self._torn else "").encode() + text.encode())
        size = os.fstat(self._fd).st_size
        was_torn, self._torn = self._torn, True
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError as error:
            self._torn = was_torn or not self._cut(size)
            raise cannot_save(self._path.parent, error) from error
        self._torn = False

    def _cut(self, size: int) -> bool:
        """Take back what a failed write left; what cannot be taken back is a torn line, which readers skip."""
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            return False
        return True

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._fd)
