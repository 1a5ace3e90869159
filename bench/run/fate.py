"""What became of everything that was planned: the counts and the exit code of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ExitCode
from bench.run.progress import counted
from bench.run.schedule import Quantity, Visit
from bench.store.attempts import Attempt, Key
from bench.store.record import Status


@dataclass(frozen=True)
class RunOutcome:
    """One metric of one cell counts once, however many visits it took."""

    path: Path
    """The run's folder."""
    ok: int
    """Metrics of cells that have all their values."""
    failed: int
    skipped: int
    unsupported: int
    measured: int
    """Visits made by this call."""
    carried: int
    """Visits whose numbers this call carried over from earlier runs."""
    damaged: int
    """Lines of the results file that were skipped."""
    problems: tuple[Attempt, ...]
    """Of each metric that is not ok, the first attempt without a number."""

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.failed + self.skipped + self.unsupported == 0 else ExitCode.SOME_FAILED

    @property
    def summary(self) -> str:
        """One line for the end of a run."""
        words = {"failed": self.failed, "skipped": self.skipped, "unsupported": self.unsupported}
        parts = [
            f"{self.ok} of {self.ok + sum(words.values())} numbers ok",
            *(f"{count} {word}" for word, count in words.items() if count),
            f"{counted(self.measured, 'visit')} made" if self.measured else "nothing had to be measured",
            *([f"{self.carried} carried over"] if self.carried else []),
        ]
        return f"{', '.join(parts)}; results in {self.path}"


def unanswered(visits: Iterable[Visit], attempts: Mapping[Key, Attempt]) -> tuple[Visit, ...]:
    """The first visit of every metric of a cell that has no attempt at all."""
    visits = tuple(visits)
    answered = {visit.quantity for visit in visits if visit.key in attempts}
    first: dict[Quantity, Visit] = {}
    for visit in visits:
        if visit.quantity not in answered:
            first.setdefault(visit.quantity, visit)
    return tuple(first.values())


def outcome(
    path: Path,
    visits: Iterable[Visit],
    attempts: Mapping[Key, Attempt],
    *,
    measured: int,
    carried: int,
    damaged: int,
) -> RunOutcome:
    """Count the fates of all planned visits, made now or earlier. Every metric must have an attempt."""
    problems: dict[Quantity, Attempt] = {}
    quantities: set[Quantity] = set()
    for visit in visits:
        quantities.add(visit.quantity)
        attempt = attempts.get(visit.key)
        if attempt is not None and attempt.status is not Status.OK:
            problems.setdefault(visit.quantity, attempt)
    counts = {status: sum(attempt.status is status for attempt in problems.values()) for status in Status}
    return RunOutcome(
        path,
        len(quantities) - len(problems),
        counts[Status.FAILED],
        counts[Status.SKIPPED],
        counts[Status.UNSUPPORTED],
        measured,
        carried,
        damaged,
        tuple(problems.values()),
    )
