"""What the runner asks of whatever does the visits, and what it hears back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.run.schedule import Visit, WorkerPlan
from bench.store.record import Record


@dataclass(frozen=True)
class Setting:
    """What every visit of a run shares."""

    run: str
    """Run id."""
    run_dir: Path
    plugins: tuple[str, ...] = ()
    """As given on the command line; workers load them too."""
    wanted: Callable[[Visit], bool] = lambda visit: True
    """Asked right before each visit; what is not wanted any more is dropped."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """A visit begins when the executor is resumed; until then nothing is timed, so there is time to draw."""

    visit: Visit


@dataclass(frozen=True, eq=False)
class Ended:
    """A visit is over; its records are to be saved before the executor is resumed."""

    visit: Visit
    records: tuple[Record, ...]


@dataclass(frozen=True, eq=False)
class Dropped:
    """A visit was not made because it is not wanted any more."""

    visit: Visit


Happening = Beginning | Ended | Dropped


class Executor(Protocol):
    """Does all visits of all plans. Every wanted visit ends with at least one record, whatever happens."""

    def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
        """Closing the generator, or an exception in it, leaves no process behind."""
        ...
