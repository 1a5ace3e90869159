"""Text on its way to a terminal or a pipe: nothing in it moves the cursor, and no reader that goes stops the program.

Names, titles, reasons and paths come from files of strangers. Whatever is shown of them goes through `visible`.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import select
from collections.abc import Mapping
from typing import Any, TextIO


def visible(text: str) -> str:
    """The text as one line: characters that are not printable (control, bidirectional, surrogate) become escapes.

    `\\x1b` for ESC, `\\u202e` for a right-to-left override, `\\n` for the end of a line; spaces stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_sentence(text: str) -> str:
    """The text as one visible line; the ends of its lines become spaces."""
    return visible(re.sub(r"\s*[\r\n]\s*", " ", text.strip()))


def json_text(value: Mapping[str, object], encoding: str | None = None) -> str:
    """One JSON document with a line's end. What is not printable is a JSON escape.

    encoding: the stream's; JSON is UTF-8, so in any other everything but ASCII is an escape too. Raises ValueError for
    NaN and infinity, which JSON does not have.
    """
    utf8 = encoding is None or codecs.lookup(encoding).name == "utf-8"
    text = json.dumps(value, indent=2, ensure_ascii=not utf8, allow_nan=False)
    if not text.replace("\n", "").isprintable():
        text = "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)
    return f"{text}\n"


class Unbreakable:
    """A text stream that can be written to whatever happens to it: what went wrong first is kept in `trouble`.

    Its reader may go away (`| head`), its disk may be full, its encoding may lack a character (which is then written as
    an escape), it may be closed from the start. Everything else is the stream's own.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """stream: None for one that was closed before the program began."""
        self._stream = stream
        self.trouble: Exception | None = None if stream is not None else ValueError("the stream is closed")
        self.encoding: str | None = getattr(stream, "encoding", None)

    @property
    def reader_gone(self) -> bool:
        """Whether nobody reads any more, which is no error of ours."""
        return isinstance(self.trouble, ConnectionError)

    def write(self, text: str) -> int:
        if self._stream is not None and self.trouble is None:
            try:
                self._stream.write(_encodable(text, self.encoding))
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._stream is not None and self.trouble is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def isatty(self) -> bool:
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()

    def _give_up(self, error: Exception) -> None:
        self.trouble = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__.get("_stream"), name)


class _Descriptor(io.RawIOBase):
    """Writes all of it, or fails."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
        return size


def stream_of(descriptor: int, encoding: str) -> TextIO:
    """A text stream of its own on an open file descriptor, which stays open. Written in blocks, in lines on a terminal.

    Characters that the encoding lacks become escapes. A descriptor that does not wait (another program may have made it
    so) is waited for.
    """
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=os.isatty(descriptor),
    )


def _encodable(text: str, encoding: str | None) -> str:
    """Text as a stream can show it: what its encoding lacks is written as an escape."""
    if _fits(text, encoding):
        return text
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def _fits(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
