"""Every way `bench` can refuse or fail, and the exit code each one ends in.

BenchError                 the root; never raised itself
├─ UserError               exit 2: the person at the keyboard can mend it; no traceback is shown
│  ├─ SuiteError           the suite file is wrong; carries every mistake found, each with file:line:column
│  ├─ UnknownName          no model, data set, sampler or metric has that name
│  ├─ ParamError           a factory was given an argument it does not take, or a value out of range
│  ├─ MissingWeights       a checkpoint is not there
│  ├─ BadCheckpoint        a checkpoint is there but must not be used
│  ├─ MissingData          a data set is not there
│  ├─ BadData              a data set is there but must not be used
│  └─ StoreError           a results file cannot be read
├─ SaveError               exit 4: results cannot be written (disk full, read-only folder)
└─ MeasurementError        becomes a FAILED record; the run goes on and exits 3
   ├─ NonFiniteOutput      the network or a metric gave NaN or infinity
   ├─ WorkerDied           the measuring process ended without an answer
   ├─ Unsupported          this machine or this model cannot do it at all; becomes an UNSUPPORTED record
   ├─ UnsupportedOperator  a counter met an operator it has no formula for
   └─ OutOfMemory          the cell did not fit

Whatever else is raised is an error that nobody foresaw and exits with 70. Exit code 1 is a verdict and never an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """What `bench` returns to the shell. The numbers are a contract with CI scripts."""

    OK = 0
    """Everything asked for was measured."""
    REGRESSION = 1
    """`compare`, `check` or `gate` found a regression, or a claim failed."""
    BAD_INPUT = 2
    """Nothing was run or compared: a suite, a checkpoint, an option, a path or one side of a comparison is wrong."""
    SOME_FAILED = 3
    """Some cells failed, were skipped or could not be compared; the others are saved."""
    CANNOT_SAVE = 4
    """Results, or the answer itself, cannot be written."""
    INTERNAL = 70
    """An error that nobody foresaw, of the program, of a plug-in or of a machine that has run out of something. It says
    nothing about any number; one line says what happened, `--traceback` adds where."""
    INTERRUPTED = 130
    """Ctrl-C; the same command continues where it stopped."""


class BenchError(Exception):
    """The root; catch it to catch everything this package raises on purpose."""


class UserError(BenchError):
    """Something the user can mend. The message says where, what was found, what was expected and what to do."""


class SuiteError(UserError):
    """A suite that cannot be run; `problems` holds every mistake, one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UnknownName(UserError):
    """A name that is not registered."""


class ParamError(UserError):
    """An argument that a factory does not take, or a value it refuses."""


class MissingWeights(UserError):
    """A checkpoint that is not where it should be."""


class BadCheckpoint(UserError):
    """A checkpoint that is corrupted, hostile, or of another architecture."""


class MissingData(UserError):
    """A data set that is not where it should be."""


class BadData(UserError):
    """A data set that is damaged, hostile or not what it should be."""


class StoreError(UserError):
    """A results file that cannot be read."""


class SaveError(BenchError):
    """A results file that cannot be written."""


class MeasurementError(BenchError):
    """One cell could not be measured. The sentence becomes the record's reason."""


class NonFiniteOutput(MeasurementError):
    """A network or a metric gave NaN or infinity."""


class WorkerDied(MeasurementError):
    """The measuring process ended without an answer."""


class Unsupported(MeasurementError):
    """This machine or this model cannot do it at all: no such device, images of another shape. Not a failure."""


class UnsupportedOperator(MeasurementError):
    """A counter met an operator that costs something and for which it has no formula."""


class OutOfMemory(MeasurementError):
    """The cell did not fit into memory."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'ddpm' or 'ddim'?`, or nothing when no word is close. Capitals, `-` and `_` do not count."""
    plain: dict[str, str] = {}
    for name in known:
        plain.setdefault(_plain(name), name)
    close = get_close_matches(_plain(word[:200]), list(plain), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(plain[match]) for match in close)}?" if close else ""


def _plain(word: str) -> str:
    return word.casefold().replace("_", "-")


def quoted(value: object, limit: int = 80) -> str:
    """A value out of somebody's file, for a message: one line of printable characters, some `limit` at most."""
    try:
        text = repr(value[:limit] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits, lists in lists without end
        text = f"a {type(value).__name__}"
    whole = len(text) <= limit and not (isinstance(value, str) and len(value) > limit)
    return text if whole else f"{text[: limit - 1]}…"


def printable(text: object, limit: int = 400) -> str:
    """A path or a sentence for a message: what cannot be printed is escaped, and the middle of a long one left out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return shown if len(shown) <= limit else f"{shown[: limit // 2]}…{shown[-limit // 2 :]}"
