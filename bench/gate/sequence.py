"""Pair after pair until every cell is decided, and once more for those that were called slower."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bench.errors import WorkerDied
from bench.gate import rule
from bench.gate.pairs import Unit
from bench.gate.rule import Decision, Plan
from bench.units import plural

MOST_DISTURBED = 0.2
"""Part of a cell's units that may be thrown away before it is left undecided."""
FEWEST_FOR_SHARE = 10
"""Units below which that part says nothing."""

Tell = Callable[[str], None]


class Visits(Protocol):
    """A pair of processes, as far as this module cares."""

    def open(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]: ...

    def visit(self, base_cell: int, head_cell: int, *, head_first: bool) -> Unit: ...


MakePair = Callable[["Group"], AbstractContextManager[Visits]]


@dataclass(frozen=True)
class Group:
    """Cells that can share a process: equal threads and device."""

    threads: int
    device: str
    cells: tuple[int, ...]
    """Indices of head's cells."""


@dataclass
class Course:
    """What one cell went through in one run of the rule."""

    units: list[Unit] = field(default_factory=list)
    """In the order they were measured, with those that do not count."""
    decision: Decision = Decision.GO_ON
    why: str = ""
    """Why it was left undecided; a sentence."""

    @property
    def counted(self) -> list[Unit]:
        return [unit for unit in self.units if unit.disturbed is None]

    @property
    def values(self) -> rule.Vector:
        """u of every unit that counts."""
        return np.array([unit.value for unit in self.counted])

    @property
    def is_open(self) -> bool:
        return self.decision is Decision.GO_ON and not self.why


@dataclass(frozen=True)
class Deadline:
    """When to stop whatever is known by then."""

    at: float = float("inf")
    """On the monotonic clock."""

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.at


def run_rule(
    groups: Sequence[Group],
    partner: Mapping[int, int],
    plan: Plan,
    make_pair: MakePair,
    *,
    tell: Tell,
    deadline: Deadline,
    first: int = 0,
) -> dict[int, Course]:
    """The rule for some cells, from nothing. partner: head's cell -> base's. first: turns the order of sides."""
    courses = {cell: Course() for group in groups for cell in group.cells}
    turn = first
    while open_cells := [cell for cell, course in courses.items() if course.is_open]:
        if deadline.is_over:
            for cell in open_cells:
                courses[cell].why = f"the time was over after {_so_far(courses[cell])}"
            break
        for group in groups:
            wanted = [cell for cell in group.cells if courses[cell].is_open]
            if wanted:
                _one_pair(group, _turned(wanted, turn), partner, courses, make_pair, head_first=turn % 2 == 1)
        for cell in open_cells:
            _look(courses[cell], plan)
        turn += 1
        most = max(len(courses[cell].counted) for cell in open_cells)
        if most in plan.looks:
            decided = sum(not course.is_open for course in courses.values())
            tell(f"after {most} pairs of processes: {decided} of {len(courses)} cells decided")
    return courses


def _so_far(course: Course) -> str:
    thrown = len(course.units) - len(course.counted)
    disturbed = f" and {thrown} more that something else disturbed" if thrown else ""
    return f"{plural(len(course.counted), 'pair')} of processes{disturbed}"


def _turned(cells: list[int], turn: int) -> list[int]:
    """The cells beginning with another one in each pair."""
    shift = turn % len(cells)
    return [*cells[shift:], *cells[:shift]]


def _one_pair(
    group: Group,
    cells: Sequence[int],
    partner: Mapping[int, int],
    courses: Mapping[int, Course],
    make_pair: MakePair,
    *,
    head_first: bool,
) -> None:
    cell = cells[0]
    try:
        with make_pair(group) as pair:
            pair.open()
            for cell in cells:
                courses[cell].units.append(pair.visit(partner[cell], cell, head_first=head_first))
    except WorkerDied as death:
        courses[cell].why = str(death)


def _look(course: Course, plan: Plan) -> None:
    """Decide where the number of units says so, or give up."""
    if not course.is_open:
        return
    count, all_units = len(course.counted), len(course.units)
    thrown = all_units - count
    if all_units >= FEWEST_FOR_SHARE and thrown > MOST_DISTURBED * all_units:
        reasons = [unit.disturbed for unit in course.units if unit.disturbed]
        course.why = f"{thrown} of {all_units} pairs were disturbed, the last because {reasons[-1]}"
        return
    if count not in plan.looks or course.units[-1].disturbed is not None:
        return
    course.decision = rule.decide(course.values, plan)
    if course.decision is Decision.GO_ON and count == plan.most:
        noise = float(np.std(course.values, ddof=1))
        course.why = (
            f"the machine is too noisy: {count} pairs of processes differ by {100 * noise:.1f} % among themselves"
        )


@dataclass
class Story:
    """What one cell went through in the whole gate."""

    first: Course
    confirmation: Course | None = None
    """Only where the first run of the rule called it slower."""


def judge(
    groups: Sequence[Group],
    partner: Mapping[int, int],
    plan: Plan,
    make_pair: MakePair,
    *,
    tell: Tell,
    deadline: Deadline,
) -> dict[int, Story]:
    """The rule for all cells, and once more, with fresh processes, for those it called slower."""
    stories = {
        cell: Story(course)
        for cell, course in run_rule(groups, partner, plan, make_pair, tell=tell, deadline=deadline).items()
    }
    slower = {cell for cell, story in stories.items() if story.first.decision is Decision.SLOWER}
    if slower:
        tell(f"slower: {len(slower)} of {len(stories)} cells; measuring those again with fresh processes to confirm it")
        again = [
            Group(group.threads, group.device, tuple(cell for cell in group.cells if cell in slower))
            for group in groups
        ]
        again = [group for group in again if group.cells]
        found = run_rule(again, partner, plan, make_pair, tell=tell, deadline=deadline, first=1)
        for cell, course in found.items():
            stories[cell].confirmation = course
    return stories
