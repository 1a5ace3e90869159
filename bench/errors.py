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
    """Nothing was run or compared: a suite, a checkpoint, an option, a data path or a side is wrong."""
    SOME_FAILED = 3
    """Some cells failed, were skipped or could not be compared; the others are saved."""
    CANNOT_SAVE = 4
    """Results cannot be written."""
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
    """`; did you mean 'ddpm' or 'ddim'?`, or nothing when no known word is close."""
    close = get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
