"""What one cell went through, as a verdict with a sentence."""

from __future__ import annotations

import math
import statistics

import numpy as np

from bench.analysis import stats
from bench.gate import rule
from bench.gate.rule import Decision, Plan
from bench.gate.sequence import Course, Story
from bench.suite.schema import Cell
from bench.units import plural
from bench.verdict.numbers import percent, percents, scale_of, written
from bench.verdict.outcome import Outcome, Verdict

WALK, CALL = "time of one walk", "time of one network call"


def time_verdict(cell: Cell, story: Story, plan: Plan, *, changed_work: bool) -> Verdict:
    """changed_work: whether the number of network calls or of multiply-accumulates changed, which explains a time."""
    outcome, said = _judged(story, plan)
    metric = CALL if cell.sampler is None else WALK
    course = story.confirmation if outcome is Outcome.REGRESSED and story.confirmation else story.first
    values = course.values
    if not values.size:
        return Verdict(outcome, cell.id, metric, "timing", "s", said, factors=cell.factors)
    base, head = (_seconds(course, side) for side in ("base", "head"))
    ratio = math.exp(float(np.median(values)))
    low, high = rule.interval(values) if values.size >= stats.MIN_BLOCKS else (None, None)
    scale = scale_of((base, head), "s")
    between = f" {percents(low, high)}" if low is not None and high is not None else ""
    numbers = (
        f"{written(base, scale, exact=False)} became {written(head, scale, exact=False)}, {percent(ratio)}{between}"
    )
    because = "; a consequence of the work, which changed" if changed_work and outcome is Outcome.REGRESSED else ""
    sentence = f"{numbers} in {plural(values.size, 'pair')} of processes; {said}{because}"
    return Verdict(
        outcome,
        cell.id,
        metric,
        "timing",
        "s",
        sentence,
        factors=cell.factors,
        base=base,
        new=head,
        ratio=ratio,
        low=low,
        high=high,
    )


def _judged(story: Story, plan: Plan) -> tuple[Outcome, str]:
    """The truth table of both runs of the rule:

    first       | confirmation | verdict
    ------------+--------------+---------------------
    not slower  |              | unchanged, improved
    slower      | slower       | regressed
    slower      | not slower   | undecided
    slower      | undecided    | undecided
    undecided   |              | undecided
    """
    first, again = story.first, story.confirmation
    if first.decision is Decision.NOT_SLOWER:
        if rule.is_faster(first.values, plan):
            return Outcome.IMPROVED, "faster"
        return Outcome.UNCHANGED, f"not slower by {100 * plan.tolerance:g} %"
    if first.decision is Decision.GO_ON or again is None:
        return Outcome.UNDECIDED, first.why or "it was not decided"
    if again.decision is Decision.SLOWER:
        before = percent(math.exp(float(np.median(first.values))))
        return Outcome.REGRESSED, f"slower, and confirmed with fresh processes (the first run said {before})"
    if again.decision is Decision.NOT_SLOWER:
        return Outcome.UNDECIDED, "slower at first, but fresh processes did not confirm it"
    return Outcome.UNDECIDED, f"slower at first, and the confirmation was not decided: {again.why}"


def _seconds(course: Course, side: str) -> float:
    """The median time of one call on one side."""
    slots = [(unit.base if side == "base" else unit.head, unit.repeat) for unit in course.counted]
    return statistics.median(value / repeat for values, repeat in slots for value in values)
