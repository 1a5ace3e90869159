"""Pairs of processes to decisions, with pairs that say what they are told to: nothing is started, nothing timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from bench.errors import WorkerDied
from bench.gate.outlook import noise_of, outlook
from bench.gate.pairs import Unit
from bench.gate.rule import Decision, Plan
from bench.gate.sequence import Course, Deadline, Group, Story, judge, run_rule
from bench.gate.verdicts import time_verdict
from bench.suite.schema import Cell, Conditions, Effort, Ref
from bench.verdict.outcome import Outcome

GROUP = Group(1, "cpu", (0, 1))
PARTNER = {0: 0, 1: 1}
WILD = np.random.default_rng(1).normal(0.05, 3.0, 200)
"""Slowdowns of a machine on which nothing can be told."""


def unit(slowdown: float = 0.0, wobble: float = 0.001, index: int = 0, disturbed: str | None = None) -> Unit:
    """Four slot pairs around a slowdown."""
    base = tuple(1.0 + wobble * math.sin(index + k) for k in range(4))
    head = tuple(math.exp(slowdown + wobble * math.sin(3.7 * (index + 1) + k)) for k in range(4))
    return Unit(base, head, 1, 0.5, disturbed)


@dataclass
class Script:
    """Pairs that answer with what each cell is scripted to say, and remember what they were asked."""

    say: Callable[[int, int], Unit]
    """(cell, number of the visit) -> what is measured."""
    asked: list[tuple[int, bool]] = field(default_factory=list)
    pairs: int = 0

    @contextmanager
    def pair(self, group: Group) -> Iterator[Script]:
        self.pairs += 1
        yield self

    def open(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        return {}, {}

    def visit(self, base_cell: int, head_cell: int, *, head_first: bool) -> Unit:
        number = sum(cell == head_cell for cell, _ in self.asked)
        self.asked.append((head_cell, head_first))
        return self.say(head_cell, number)


def stories(script: Script, plan: Plan | None = None, deadline: Deadline | None = None) -> dict[int, Story]:
    return judge(
        [GROUP], PARTNER, plan or Plan(2), script.pair, tell=lambda text: None, deadline=deadline or Deadline()
    )


def cell(sampler: bool = True) -> Cell:
    return Cell(
        id="s/a",
        suite="s",
        model=Ref(name="m"),
        sampler=Ref(name="ddim") if sampler else None,
        data=None,
        conditions=Conditions(),
        seed=0,
        factors={"model": "m"},
        metrics=(),
        effort=Effort(),
    )


def verdict_of(story: Story, **more: Any) -> tuple[Outcome, str]:
    found = time_verdict(cell(), story, Plan(2), changed_work=more.pop("changed_work", False))
    return found.outcome, found.sentence


def test_equal_cells_are_decided_after_twelve_pairs() -> None:
    script = Script(lambda cell, number: unit(index=number))

    found = stories(script)

    assert script.pairs == 12
    assert [each.first.decision for each in found.values()] == [Decision.NOT_SLOWER] * 2
    assert all(each.confirmation is None for each in found.values())
    assert verdict_of(found[0])[0] is Outcome.UNCHANGED
    assert "in 12 pairs of processes; not slower by 5 %" in verdict_of(found[0])[1]


def test_the_sides_take_turns_in_going_first_and_so_do_the_cells() -> None:
    script = Script(lambda cell, number: unit(index=number))

    stories(script)

    assert [head_first for cell, head_first in script.asked if cell == 0] == [False, True] * 6
    assert [cell for cell, _ in script.asked[:4]] == [0, 1, 1, 0]


def test_a_decided_cell_is_not_visited_again() -> None:
    """Cell 1 is so noisy that it needs more pairs; cell 0 does not wait with it."""
    script = Script(lambda cell, number: unit(0.0 if cell == 0 else WILD[number], index=number))

    found = stories(script)

    visits = [cell for cell, _ in script.asked]
    assert visits.count(0) == 12
    assert visits.count(1) == 64
    assert found[1].first.decision is Decision.GO_ON
    assert "too noisy" in found[1].first.why


def test_a_slowdown_is_confirmed_with_fresh_pairs_of_that_cell_alone() -> None:
    script = Script(lambda cell, number: unit(0.06 if cell == 1 else 0.0, index=number))

    found = stories(script)

    assert script.pairs == 24
    assert [cell for cell, _ in script.asked[24:]] == [1] * 12
    assert found[0].confirmation is None
    outcome, sentence = verdict_of(found[1])
    assert outcome is Outcome.REGRESSED
    assert "slower, and confirmed with fresh processes (the first run said +6" in sentence


def test_a_slowdown_that_is_not_confirmed_is_undecided() -> None:
    script = Script(lambda cell, number: unit(0.06 if cell == 1 and number < 12 else 0.0, index=number))

    outcome, sentence = verdict_of(stories(script)[1])

    assert outcome is Outcome.UNDECIDED
    assert "did not confirm it" in sentence


def test_a_confirmation_that_stays_open_is_undecided_too() -> None:
    script = Script(lambda cell, number: unit(0.06 if number < 12 else WILD[number], index=number))

    outcome, sentence = verdict_of(stories(script)[0])

    assert outcome is Outcome.UNDECIDED
    assert "the confirmation was not decided: the machine is too noisy" in sentence


def test_a_speed_up_is_called_one() -> None:
    script = Script(lambda cell, number: unit(-0.08, index=number))

    outcome, sentence = verdict_of(stories(script)[0])

    assert outcome is Outcome.IMPROVED
    assert "-7.7 %" in sentence


def test_a_time_that_follows_the_work_says_so() -> None:
    script = Script(lambda cell, number: unit(0.06, index=number))

    assert verdict_of(stories(script)[0], changed_work=True)[1].endswith("a consequence of the work, which changed")


def test_a_disturbed_pair_is_measured_again_and_does_not_count() -> None:
    script = Script(
        lambda cell, number: unit(9.0 if number == 3 else 0.0, index=number, disturbed="x" if number == 3 else None)
    )

    found = stories(script)[0].first

    assert len(found.units) == 13 and len(found.counted) == 12
    assert found.decision is Decision.NOT_SLOWER


def test_too_many_disturbed_pairs_leave_a_cell_undecided() -> None:
    script = Script(lambda cell, number: unit(index=number, disturbed="others ran" if number % 2 else None))

    outcome, sentence = verdict_of(stories(script)[0])

    assert outcome is Outcome.UNDECIDED
    assert "5 of 10 pairs were disturbed, the last because others ran" in sentence


def test_when_the_time_is_over_nothing_more_is_measured() -> None:
    script = Script(lambda cell, number: unit(index=number))

    found = stories(script, deadline=Deadline(0.0))[0]

    assert script.pairs == 0
    assert verdict_of(found) == (Outcome.UNDECIDED, "the time was over after 0 pairs of processes")


def test_a_side_that_dies_leaves_its_cell_undecided_and_the_others_go_on() -> None:
    def say(cell: int, number: int) -> Unit:
        if cell == 1 and number == 2:
            raise WorkerDied("head: the process ended with -9")
        return unit(index=number)

    found = stories(Script(say))

    assert found[0].first.decision is Decision.NOT_SLOWER
    assert verdict_of(found[1])[0] is Outcome.UNDECIDED
    assert "the process ended with -9" in verdict_of(found[1])[1]


def test_one_run_of_the_rule_tells_how_far_it_is() -> None:
    heard: list[str] = []
    script = Script(lambda cell, number: unit(index=number))

    run_rule([GROUP], PARTNER, Plan(2), script.pair, tell=heard.append, deadline=Deadline())

    assert heard == ["after 12 pairs of processes: 2 of 2 cells decided"]


def test_a_verdict_has_the_ratio_and_the_seconds_of_one_call() -> None:
    course = Course([Unit((0.02,) * 4, (0.03,) * 4, 10, 1.0) for _ in range(12)], Decision.SLOWER)

    found = time_verdict(cell(sampler=False), Story(course, course), Plan(), changed_work=False)

    assert found.metric == "time of one network call"
    assert (found.base, found.new) == (0.002, 0.003)
    assert found.ratio == pytest.approx(1.5)
    assert found.low == pytest.approx(1.5) and found.high == pytest.approx(1.5)


def test_cells_lend_each_other_strength_when_noise_is_estimated() -> None:
    steady, noisy = [unit(index=k) for k in range(3)], [unit(0.1 * (-1) ** k, index=k) for k in range(3)]

    found = noise_of({0: steady, 1: noisy})

    own = float(np.sqrt(np.mean([each.value**2 for each in noisy])))
    assert 0.0 < found[0] < found[1] < own


def test_the_outlook_says_what_will_be_seen_and_how_long_it_takes() -> None:
    calibration = {0: [unit(index=k) for k in range(3)]}

    found = outlook(calibration, 4.0, Plan())

    assert "a slowdown of 2.5 % or more will be found" in found.sees
    assert found.usual_s == pytest.approx(12 * 4.5, rel=0.02)
    assert found.longest_s == pytest.approx(64 * 4.5)
    assert found.takes.startswith("1 cell: about 54 s when nothing changed, at most 4 min 48 s")


def test_the_outlook_of_a_hopeless_machine_says_so() -> None:
    calibration = {0: [unit(0.8 * (-1) ** k, index=k, disturbed="others ran") for k in range(3)]}

    found = outlook(calibration, 4.0, Plan())

    assert "even a slowdown of 10 % may be missed: it is too noisy" in found.sees
    assert found.sees.endswith("something else is running here: others ran")
