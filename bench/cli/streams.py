"""The three streams of the program while a verb runs: the answer's own, and everybody else's words beside it.

Standard output is the answer and nothing else: a plug-in that prints, or a library that writes to file descriptor 1,
is heard on standard error. So `--json` is one JSON document whatever is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from bench.terminal import Unbreakable, one_sentence, stream_of, visible

_answers: list[Unbreakable] = []
"""The streams of the calls in progress, the innermost last."""


def answers() -> Unbreakable:
    """Where the answer of the verb in progress goes; standard output when none is."""
    return _answers[-1] if _answers else Unbreakable(sys.stdout)


def say_lines(lines: Iterable[str]) -> None:
    """Lines beside the answer, on standard error."""
    stream = Unbreakable(sys.stderr)
    stream.writelines(f"{visible(line)}\n" for line in lines)
    stream.flush()


def complain(text: str) -> None:
    """One line on standard error that begins with the program's name; lost when standard error is closed."""
    say_lines([f"bench: {one_sentence(text)}"])


@contextmanager
def own_streams(*, for_good: bool) -> Iterator[Unbreakable]:
    """The stream for the answer. Meanwhile `sys.stdout` and file descriptor 1 lead to standard error.

    for_good: leave it so, because what prints when the program ends must not be taken for the answer either.
    """
    closed = _occupied()
    out, err = sys.stdout, sys.stderr
    beside = Unbreakable(err)
    ours = _descriptor_of(out) if out is not None else 1 if 1 in closed else None
    kept = None
    if ours == 1:
        if out is not None:
            _flush(out)
        kept = os.dup(1)
        os.dup2(2, 1)
    stream = out if kept is None or out is None else stream_of(kept, out.encoding)
    answer = Unbreakable(stream)
    sys.stdout, sys.stderr = cast(TextIO, Unbreakable(cast(TextIO, beside))), cast(TextIO, beside)
    _answers.append(answer)
    try:
        yield answer
    finally:
        _answers.remove(answer)
        answer.flush()
        if kept is not None and stream is not None and answer.trouble is not None:
            _to_nowhere(kept)  # what is left in its buffer must not fail again when the program ends
            _flush(stream)
        if not for_good:
            _flush(sys.stdout)
            sys.stdout, sys.stderr = out, err
            if kept is not None:
                os.dup2(kept, 1)
                if stream is not None:
                    stream.close()
                os.close(kept)


def _occupied() -> frozenset[int]:
    """Give the standard descriptors that are closed to the null device, and say which: a file that is opened later
    must not become the standard output of somebody who prints."""
    closed = set()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            os.set_inheritable(descriptor, True)
    return frozenset(closed)


def _descriptor_of(stream: TextIO) -> int | None:
    """The file descriptor of a stream, or None of one that has none, such as a test's."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _flush(stream: TextIO) -> None:
    Unbreakable(stream).flush()


def _to_nowhere(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
