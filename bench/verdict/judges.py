"""One number of both sides, measured under equal conditions: what is found, the verdict, and the sentence about it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench import units
from bench.analysis import stats
from bench.contracts import MetricSpec, Scalar
from bench.store.record import Record
from bench.units import plural
from bench.verdict import decide, summaries
from bench.verdict.directions import CALLS
from bench.verdict.lines import visit
from bench.verdict.numbers import percent, percents, scale_of, written
from bench.verdict.outcome import Outcome, Verdict
from bench.verdict.tolerances import Tolerance

WORST_FIRST = (Outcome.REGRESSED, Outcome.UNDECIDED, Outcome.IMPROVED, Outcome.UNCHANGED)


def judge_exact(before: Sequence[Record], after: Sequence[Record], spec: MetricSpec, empty: Verdict) -> Verdict:
    """Counts: any change is one. empty: a verdict that names the number."""
    was, now = before[-1].values, after[-1].values
    outcome = decide.decide_exact(was, now, spec.better)
    if len(was) == 1 and len(now) == 1:
        verdict = _with_numbers(empty, outcome, was[0], now[0], _exact_sentence(outcome, was[0], now[0], spec))
    else:
        verdict = replace(empty, outcome=outcome, sentence=_values_sentence(was, now))
    calls = _judge_calls(before, after, spec, empty)
    if calls is not None and outcome is Outcome.UNCHANGED:
        return calls
    return _both(verdict, calls)


def _judge_calls(before: Sequence[Record], after: Sequence[Record], spec: MetricSpec, empty: Verdict) -> Verdict | None:
    """How often a walk calls what was measured, where that changed: the walk costs so many times the number."""
    if CALLS not in spec.facts:
        return None
    was, now = (_count(side[-1].at.get(CALLS)) for side in (before, after))
    if was == now:
        return None
    outcome = decide.decide_exact((was,), (now,), spec.better)
    return replace(empty, outcome=outcome, sentence=f"{was:g} calls of it in a walk became {now:g}")


def _both(verdict: Verdict, calls: Verdict | None) -> Verdict:
    """A number and how often it is called: the worse of the two is what became of it."""
    if calls is None:
        return verdict
    outcome = min(verdict.outcome, calls.outcome, key=WORST_FIRST.index)
    return replace(verdict, outcome=outcome, sentence=f"{verdict.sentence}; {calls.sentence}")


def _count(value: Scalar) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def judge_several(before: Sequence[Record], after: Sequence[Record], empty: Verdict) -> Verdict:
    """Several numbers that have one name: only that all of them stayed can be said."""
    if [(each.at, each.values) for each in before] == [(each.at, each.values) for each in after]:
        return replace(empty, outcome=Outcome.UNCHANGED, sentence=f"all {len(after)} numbers of this name as before")
    sentence = (
        f"several numbers have this one name ({len(before)} in BASE, {len(after)} in NEW), so which belongs to which "
        "cannot be told; give each an `at` of its own"
    )
    return replace(empty, outcome=Outcome.UNDECIDED, sentence=sentence)


def judge_samples(before: Record, after: Record, empty: Verdict) -> Verdict:
    """Drawn pictures: by the hash of their values, on equal machines."""
    was, now = (str(each.at["sample_hash"])[:12] for each in (before, after))
    same = before.at["sample_hash"] == after.at["sample_hash"] and before.values == after.values
    sentence = f"the same to the bit ({now})" if same else f"other pictures: their hash was {was} and is {now}"
    return replace(empty, outcome=Outcome.UNCHANGED if same else Outcome.REGRESSED, sentence=sentence)


def _exact_sentence(outcome: Outcome, was: float, now: float, spec: MetricSpec) -> str:
    scale = scale_of((was, now), spec.unit)
    if outcome is Outcome.UNCHANGED:
        return f"{written(now, scale, exact=True)}, exactly as before"
    texts = [written(value, scale, exact=True) for value in (was, now)]
    if texts[0] == texts[1]:  # a small change of a large number
        texts = [f"{value:,.15g}" for value in (was, now)]
    change = f" ({percent(now / was)})" if was > 0 and now > 0 else ""
    return f"{texts[0]} became {texts[1]}{change}; it is an exact number"


def _values_sentence(was: tuple[float, ...], now: tuple[float, ...]) -> str:
    if was == now:
        return f"all {plural(len(now), 'value')} as before"
    if len(was) != len(now):
        return f"{plural(len(was), 'value')} became {len(now):,}"
    differ = [index for index, (one, other) in enumerate(zip(was, now, strict=True)) if one != other]
    first = differ[0]
    return f"{len(differ):,} of {len(now):,} values changed, the first at {first}: {was[first]:g} became {now[first]:g}"


def judge_timed(
    before: Sequence[Record], after: Sequence[Record], spec: MetricSpec, empty: Verdict, tolerance: Tolerance
) -> Verdict:
    """Seconds: by the interval of their ratio."""
    return _both(_judge_seconds(before, after, spec, empty, tolerance), _judge_calls(before, after, spec, empty))


def _judge_seconds(
    before: Sequence[Record], after: Sequence[Record], spec: MetricSpec, empty: Verdict, tolerance: Tolerance
) -> Verdict:
    sides = blocks(before), blocks(after)
    was, now = (statistics.median(side.values()) for side in sides)
    if [each.values for each in before] == [each.values for each in after] and before[0].started == after[0].started:
        return _with_numbers(empty, Outcome.UNCHANGED, was, now, "the same measurement on both sides")
    if was <= 0 or now <= 0:
        return _with_numbers(empty, Outcome.UNDECIDED, was, now, "a time of 0 has no ratio to another")
    scale = scale_of((was, now), spec.unit)
    moved = f"{written(was, scale, exact=False)} became {written(now, scale, exact=False)}, {percent(now / was)}"
    times = _times(before, sides[0]), _times(after, sides[1])
    if why := next((each for each in times if isinstance(each, str)), None):
        return _with_numbers(empty, Outcome.UNDECIDED, was, now, f"{moved}, but {why}")
    low, high = _ratio_interval(*(each for each in times if not isinstance(each, str)))
    share = _share(tolerance, was, now)
    outcome = decide.decide_ratio((low, high), share, spec.better)
    reach = {
        Outcome.UNCHANGED: f"within the {100 * share:g} % that do not matter",
        Outcome.UNDECIDED: f"the interval reaches across the {100 * share:g} % that matter; measure more rounds",
    }.get(outcome, f"more than the {100 * share:g} % that matter")
    sentence = f"{moved} {percents(low, high)}; {reach}{_made_of(times)}"
    return replace(_with_numbers(empty, outcome, was, now, sentence), low=low, high=high)


Times = Mapping[str, float] | summaries.Summary
"""What is known of a timed number: its visits, or a median with what was said of its spread."""


def _times(records: Sequence[Record], visits: Mapping[str, float]) -> Times | str:
    """What an interval can be made of, or why there is none."""
    if not summaries.is_summary(records):
        return stats.why_no_interval(tuple(visits)) or visits
    return summaries.summary(records[0]) or (
        "the file keeps a median without single times, and without five rounds and their spread there is no interval; "
        "save it with --benchmark-save-data"
    )


def _made_of(times: Sequence[Times | str]) -> str:
    """What an interval is of that was not made of single times."""
    rounds = {
        name: each.rounds
        for name, each in zip(("BASE", "NEW"), times, strict=True)
        if isinstance(each, summaries.Summary)
    }
    if not rounds:
        return ""
    said = " and ".join(f"{name} of {count:,} rounds" for name, count in rounds.items())
    return (
        f"; no single times were kept, so the interval is an estimate from the spread that is stated for {said} "
        "(--benchmark-save-data keeps the times)"
    )


def _share(tolerance: Tolerance, was: float, now: float) -> float:
    """The tolerance as a share of a timed number, for the interval of the ratio."""
    return tolerance.of(was, now) / max(was, now)


def blocks(records: Iterable[Record]) -> dict[str, float]:
    """Visits with the median of their values; the values of what was visited once are blocks of their own."""
    found: dict[str, list[float]] = {}
    for record in records:
        found.setdefault(visit(record), []).extend(record.values)
    if len(found) == 1 and not next(iter(records)).part:
        (values,) = found.values()
        return {str(index): value for index, value in enumerate(values)}
    return {part: statistics.median(values) for part, values in found.items()}


def _ratio_interval(one: Times, other: Times) -> tuple[float, float]:
    """95 % interval of the ratio of medians of two sides that were measured at different times.

    Each side is resampled by itself. In logarithms, and with resamples that go with the side's numbers and not with
    its role, so that exchanging the sides turns the interval over exactly.
    """
    keys = [_order(side) for side in (one, other)]
    seeds = (stats.SEED + 1, stats.SEED) if keys != sorted(keys) else (stats.SEED, stats.SEED + 1)
    was, now = (_log_medians(side, seed) for side, seed in zip((one, other), seeds, strict=True))
    count = min(was.size, now.size)
    low, high = stats.interval(now[:count] - was[:count])
    return float(np.exp(low)), float(np.exp(high))


def _order(times: Times) -> tuple[bool, list[float]]:
    if isinstance(times, summaries.Summary):
        return True, [times.median, times.error]
    return False, np.log(np.array(list(times.values()))).tolist()


def _log_medians(times: Times, seed: int) -> stats.Vector:
    if isinstance(times, summaries.Summary):
        return times.resampled(seed)
    logarithms = np.log(np.array(list(times.values())))
    return stats.resample(tuple(times), lambda draws: draws.medians(logarithms), seed=seed)


def judge_repeating(
    before: Sequence[Record],
    after: Sequence[Record],
    spec: MetricSpec,
    empty: Verdict,
    tolerance: Tolerance,
    replicates: tuple[Record, Record] | None,
) -> Verdict:
    """Bytes and scores: they repeat, so a change beyond their tolerance is one."""
    one, other = before[-1].values, after[-1].values
    was, now = statistics.fmean(one), statistics.fmean(other)
    allowed = tolerance.of(was, now)
    interval = _difference_interval(one, other, replicates) if spec.kind == "quality" else None
    outcome = decide.decide_difference(now - was, allowed, spec.better, interval)
    scale = scale_of((was, now), spec.unit)
    change = f", {percent(now / was)}" if was > 0 and now > 0 else ""
    moved = f"{written(was, scale, exact=True)} became {written(now, scale, exact=True)}{change}"
    if one == other:
        moved = f"{written(now, scale, exact=True)}, exactly as before"
    matters = f"{written(allowed, units.choose_scale([allowed], spec.unit), exact=True)} that do not matter"
    reach = {
        Outcome.UNCHANGED: "" if one == other else f"; within the {matters}",
        Outcome.UNDECIDED: f"; beyond the {matters}, but other images could say the opposite",
    }.get(outcome, f"; beyond the {matters}")
    low, high = interval or (None, None)
    return replace(
        _with_numbers(empty, outcome, was, now, f"{moved}{reach}{_weights(before[0], after[0])}"), low=low, high=high
    )


def _difference_interval(
    one: tuple[float, ...], other: tuple[float, ...], replicates: tuple[Record, Record] | None
) -> tuple[float, float] | None:
    """95 % interval of new - base over other images, where the records say something about those."""
    if replicates is not None and len(replicates[0].values) == len(replicates[1].values):
        was, now = (np.array(each.values) for each in replicates)
        return stats.interval(now - was)
    if len(one) == len(other) and len(one) >= stats.MIN_BLOCKS:
        difference = np.array(other) - np.array(one)
        return stats.bootstrap(tuple(str(index) for index in range(len(one))), lambda draws: draws.means(difference))
    return None


def _weights(before: Record, after: Record) -> str:
    """A change of weights is what a comparison may be about; it is said, not forbidden."""
    one, other = (each.subject.get("weights.sha256") for each in (before, after))
    return f" (the weights changed: {str(one)[:8]} became {str(other)[:8]})" if one != other else ""


def _with_numbers(empty: Verdict, outcome: Outcome, was: float, now: float, sentence: str) -> Verdict:
    ratio = now / was if was else None
    return replace(empty, outcome=outcome, base=was, new=now, ratio=ratio, sentence=sentence)
