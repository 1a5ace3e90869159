"""What a person sees of a run. Nothing is drawn between two events, so nothing is drawn in a timed region."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO, cast

from bench.run.schedule import Visit
from bench.store.record import Record, Status
from bench.terminal import Unbreakable, visible


@dataclass(frozen=True)
class Step:
    """Where a run is."""

    visit: Visit
    """What begins now."""
    done: int
    """Visits that are over."""
    of: int
    """Visits that this call of the program makes, if none fails."""
    cells_done: int
    cells: int
    left_s: float | None
    """Estimated seconds until the end; None while unknown."""


class Progress(Protocol):
    """Hears of everything, in order. Called only while no worker is timing anything."""

    def start(self, visits: Sequence[Visit]) -> None:
        """visits: everything this call is going to measure; nothing when it is there already."""
        ...

    def cell(self, step: Step) -> None:
        """A visit begins when this returns."""
        ...

    def ended(self, visit: Visit, records: Sequence[Record]) -> None:
        """A visit is over and its records are safely on disk; without records it was not made after all."""
        ...

    def note(self, text: str) -> None:
        """A sentence worth reading."""
        ...

    def finish(self, summary: str) -> None:
        """The run is over, or was interrupted; once for every start."""
        ...


class QuietProgress:
    """Shows nothing."""

    def start(self, visits: Sequence[Visit]) -> None:
        return

    def cell(self, step: Step) -> None:
        return

    def ended(self, visit: Visit, records: Sequence[Record]) -> None:
        return

    def note(self, text: str) -> None:
        return

    def finish(self, summary: str) -> None:
        return


class PlainProgress:
    """Lines for logs and pipes: one for each cell of a stage, and in timing one for each round over all cells."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = Unbreakable(stream)
        self._visits: Counter[str] = Counter()
        self._records: Counter[str] = Counter()
        self._left_s: float | None = None

    def start(self, visits: Sequence[Visit]) -> None:
        self._visits = Counter(_group(visit) for visit in visits)
        self._of = self._visits.total()
        self._write(f"{counted(self._of, 'visit')} to make" if visits else "everything is there already")

    def cell(self, step: Step) -> None:
        self._left_s = step.left_s

    def ended(self, visit: Visit, records: Sequence[Record]) -> None:
        self._report_missed(records)
        group = _group(visit)
        self._records[group] += sum(record.status is Status.OK for record in records)
        if group not in self._visits:
            return
        self._visits[group] -= 1
        if self._visits[group] == 0 and self._records[group]:
            done = self._of - self._visits.total()
            found = counted(self._records[group], "record")
            self._write(f"{group}: {found} ({done} of {self._of}{_left(self._left_s)})")

    def note(self, text: str) -> None:
        self._write(text)

    def finish(self, summary: str) -> None:
        self._write(summary)

    def _report_missed(self, records: Sequence[Record]) -> None:
        for line in _missed_lines(records):
            self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(f"{visible(line)}\n")
        self._stream.flush()


class LiveProgress:
    """A bar at the bottom of a terminal: visits and cells done, elapsed and estimated time, what is measured now.

    Drawn only when something happens, between two visits: the clock in it stands still while a cell is timed.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, never backwards."""
        from rich.console import Console
        from rich.live import Live

        self._clock = clock
        self._began = clock()
        self._console = Console(
            file=cast(TextIO, Unbreakable(stream)), emoji=False, markup=False, highlight=False, soft_wrap=True
        )
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=True
        )

    def start(self, visits: Sequence[Visit]) -> None:
        if visits:
            self._live.start()

    def cell(self, step: Step) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        done = f"{100 * step.done / step.of:3.0f} %  {step.cells_done} of {step.cells} cells"
        times = f"{duration(self._clock() - self._began)}{_left(step.left_s)}"
        line = Table.grid(padding=(0, 1))
        line.add_row(ProgressBar(step.of, step.done, width=20), Text(f"{done}  {times}", no_wrap=True))
        now = visible(f"{stage(step.visit)}: {step.visit.metric.name} of {step.visit.cell.id}")
        self._live.update(Group(line, Text(now, no_wrap=True, overflow="ellipsis")), refresh=True)

    def ended(self, visit: Visit, records: Sequence[Record]) -> None:
        for line in _missed_lines(records):
            self.note(line)

    def note(self, text: str) -> None:
        self._console.print(visible(text))

    def finish(self, summary: str) -> None:
        self._live.stop()
        self._console.print(visible(summary))


def progress_for(stream: TextIO, *, quiet: bool = False) -> Progress:
    """The progress that fits a stream: a bar on a terminal, lines elsewhere."""
    if quiet:
        return QuietProgress()
    live = stream.isatty() and os.environ.get("TERM") != "dumb"
    return LiveProgress(stream) if live else PlainProgress(stream)


def stage(visit: Visit) -> str:
    """`timing, process 1, round 3`, or `exact`."""
    if not visit.part:
        return visit.spec.kind
    process, _, number = visit.part.removeprefix("p").partition("r")
    return f"{visit.spec.kind}, process {int(process) + 1}, round {int(number) + 1}"


def counted(count: int, noun: str) -> str:
    """`1 visit`, `2 visits`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _group(visit: Visit) -> str:
    """What one plain line is about."""
    return stage(visit) if visit.part else f"{stage(visit)}: {visit.cell.id}"


def _missed_lines(records: Sequence[Record]) -> list[str]:
    return [
        f"{record.status}: {record.metric} of {record.cell}: {record.reason}"
        for record in records
        if record.status is not Status.OK
    ]


def _left(left_s: float | None) -> str:
    return "" if left_s is None else f", about {duration(left_s)} left"
