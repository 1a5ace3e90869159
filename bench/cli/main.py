"""From the command line to a verb, and from whatever happens to an exit code.

Exit code 1 means a regression or a failed claim and nothing else, so nothing may end the program in Python's own way,
whose exit code is 1. Hence everything that can fail is imported inside.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from bench.cli.streams import complain, own_streams, say_lines
from bench.errors import BenchError, ExitCode, SaveError, SuiteError

TRACEBACK = "--traceback"
TRACEBACK_VARIABLE = "BENCH_TRACEBACK"
"""An environment variable that stands for the option."""
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""Errors of the system that mean: this cannot be written."""
EXHAUSTED = {
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs, or ask for less",
    errno.EAGAIN: "raise the limit of processes (`ulimit -u`), or close other programs",
}
"""Errors of the system that mean: this machine has no more of it. And what helps."""
PATHS = frozenset(
    {
        errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG,
        errno.EEXIST, errno.ENXIO, errno.EINVAL,
    }
)  # fmt: skip
"""Errors of the system that are about the path somebody gave."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. arguments: those of the program when None.

    Whoever reads: an answer whose reader has gone keeps its verdict's exit code. An answer that cannot be written, on a
    full disk or into a closed stream, is exit code 4 where it would be 0.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    leaving: SystemExit | None = None
    with own_streams(for_good=arguments is None) as answer:
        try:
            code = _perform(words)
        except _Leave as error:  # argparse has said what it has to say
            leaving, code = error.exit, _code_of_exit(error.exit)
        answer.flush()
        if answer.trouble is not None and not answer.reader_gone:
            reason = getattr(answer.trouble, "strerror", None) or answer.trouble
            complain(f"the answer cannot be written to standard output: {reason}")
            if code == ExitCode.OK:
                leaving, code = None, ExitCode.CANNOT_SAVE
    if leaving is not None:
        raise leaving
    return int(code)


class _Leave(BaseException):
    """The parser has answered by itself: help, a version, a wrong option."""

    def __init__(self, exit: SystemExit) -> None:
        super().__init__()
        self.exit = exit


def _perform(words: Sequence[str]) -> int:
    """Parse and run; whatever is raised on the way becomes its exit code."""
    try:
        from bench.cli.parser import parse

        try:
            options = parse(words)
        except SystemExit as error:
            raise _Leave(error) from None
        if getattr(options, "data", None) is not None:
            os.environ["BENCH_DATA"] = str(options.data)
        from bench.cli.verbs import VERBS

        return int(VERBS[options.verb](options))
    except _Leave:
        raise
    except BaseException as error:  # noqa: BLE001  the border: no error of any kind may be taken for a regression
        if TRACEBACK in words or os.environ.get(TRACEBACK_VARIABLE):
            _show_traceback(error)
        return _explain(error)


def _explain(error: BaseException) -> ExitCode:
    """Say in a line what happened, and which exit code that is."""
    if isinstance(error, KeyboardInterrupt):
        complain("interrupted; the same command continues where it stopped")
        return ExitCode.INTERRUPTED
    if isinstance(error, BenchError):
        for sentence in error.problems if isinstance(error, SuiteError) else (str(error),):
            complain(sentence)
        return ExitCode.CANNOT_SAVE if isinstance(error, SaveError) else ExitCode.BAD_INPUT
    if isinstance(error, MemoryError):
        complain("out of memory; close other programs, or ask for less")
        return ExitCode.INTERNAL
    if isinstance(error, OSError) and (code := _system_error(error)) is not None:
        return code
    complain(
        f"an error that nobody foresaw: {_words(error)} ({_place(error)}); please report it, with what {TRACEBACK} adds"
    )
    return ExitCode.INTERNAL


def _system_error(error: OSError) -> ExitCode | None:
    """The same for what the system refuses and a person can mend; None for the rest."""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
    reason = error.strerror or str(error)
    if error.errno in DISK:
        complain(f"{where}cannot be written: {reason}; make room or choose another folder")
        return ExitCode.CANNOT_SAVE
    if error.errno in EXHAUSTED:
        complain(f"{where}{reason}; {EXHAUSTED[error.errno]}")
        return ExitCode.INTERNAL
    if error.errno in PATHS and where:
        complain(f"{where}{reason}")
        return ExitCode.BAD_INPUT
    return None


def _words(error: BaseException) -> str:
    """`KeyError: 'a'`, also of an error whose own text cannot be made."""
    return "".join(traceback.format_exception_only(error)).strip()[:500]


def _place(error: BaseException) -> str:
    """The last line of ours, or of a plug-in, that was running: `bench/suite/expand.py:88`."""
    root = Path(__file__).parents[2]
    frames = traceback.extract_tb(error.__traceback__)
    libraries = ("site-packages", "dist-packages", str(Path(os.__file__).parent), "<frozen")
    near = [
        frame
        for frame in frames
        if any(Path(frame.filename).is_relative_to(root / room) for room in ("bench", "models"))
        or not any(part in frame.filename for part in libraries)
    ]
    frame = (near or frames)[-1]
    path = Path(frame.filename)
    return f"{path.relative_to(root) if path.is_relative_to(root) else path}:{frame.lineno}"


def _show_traceback(error: BaseException) -> None:
    for piece in traceback.format_exception(error):
        say_lines(piece.rstrip("\n").split("\n"))


def _code_of_exit(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else 0 if error.code is None else int(ExitCode.BAD_INPUT)
