"""Two sides to a verdict for every number: the walk through the truth table of `decide`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.analysis.samples import REPLICATES, STATISTIC, VALUE
from bench.contracts import MetricKind, MetricSpec, Scalar
from bench.registry import METRICS, metric_spec
from bench.store.record import Record, RunInfo, code_differs
from bench.units import plural
from bench.verdict import surroundings
from bench.verdict.directions import SAMPLE_HASH, direction, is_judged, score_of
from bench.verdict.judges import judge_exact, judge_repeating, judge_samples, judge_timed
from bench.verdict.matching import FACTS, PICTURE_RECIPE, Group, Pair, numbers, pairs
from bench.verdict.outcome import Comparison, Outcome, Verdict
from bench.verdict.sides import Side
from bench.verdict.surroundings import Difference
from bench.verdict.tolerances import Tolerances

ORDER: Mapping[MetricKind, int] = {"exact": 0, "memory": 1, "timing": 2, "quality": 3}
COSTS = ("nfe", "ode_nfe", "macs", "stages")
"""Exact metrics whose change explains a change of time."""


@dataclass(frozen=True)
class Rules:
    """How to compare."""

    tolerances: Tolerances
    across: tuple[str, ...] = ()
    """Patterns of conditions that may differ, such as `packages.torch`: they are what is compared."""
    lone: bool = False
    """Whether the only cells of two sides belong together whatever they differ in."""


def compare(base: Side, new: Side, rules: Rules | None = None) -> Comparison:
    """Every number of both sides, exact ones first.

    Metrics that are not registered here are judged by their unit, so load the plug-ins they come from before.
    """
    rules = rules or Rules(Tolerances())
    spec_of = specs_of({**base.specs, **new.specs}, (*base.records, *new.records))
    places: dict[tuple[str | None, str | None], tuple[Difference, ...]] = {}

    def place(before: Record, after: Record) -> tuple[Difference, ...]:
        one, other = base.run_of(before), new.run_of(after)
        key = (one.id if one else None, other.id if other else None)
        if key not in places:
            places[key] = surroundings.of_runs(one, other)
        return places[key]

    verdicts = [
        verdict
        for pair in pairs(base.records, new.records, lone=rules.lone)
        for verdict in _judge(pair, spec_of[(pair.new or pair.base).metric], place, rules)  # type: ignore[union-attr]
    ]
    verdicts.sort(key=lambda verdict: ORDER[verdict.kind])
    return Comparison(base.name, new.name, tuple(_consequences(verdicts)), tuple(_notes(base, new, verdicts)))


def specs_of(known: Mapping[str, MetricSpec], records: Iterable[Record]) -> Mapping[str, MetricSpec]:
    """What each metric is: as registered, as a side says, or guessed from its records."""
    found: dict[str, MetricSpec] = {}
    for record in records:
        if record.metric not in found:
            found[record.metric] = (
                known[record.metric]
                if record.metric in known
                else metric_spec(record.metric)
                if record.metric in METRICS
                else guessed(record)
            )
    return found


def guessed(record: Record) -> MetricSpec:
    """A metric that is not registered here: seconds are timed, bytes are memory, everything else is a score."""
    timed = record.part or record.unit == "s"
    kind: MetricKind = "timing" if timed else "memory" if record.unit == "bytes" else "quality"
    return MetricSpec(record.metric, record.unit, None if kind == "quality" else "lower", kind)


Place = Callable[[Record, Record], tuple[Difference, ...]]


def _judge(pair: Pair, spec: MetricSpec, place: Place, rules: Rules) -> Iterator[Verdict]:
    """All verdicts of one metric of one cell."""
    base, new = pair.base, pair.new
    if base is None or new is None:
        only = base or new
        assert only is not None  # a pair has a side
        outcome = Outcome.NEW if base is None else Outcome.MISSING
        said = "not in BASE" if base is None else "in BASE and not in NEW: measure it again, or take it out of BASE"
        reason = f"; it gave no number: {only.reason}" if only.reason else ""
        yield _verdict(outcome, only, spec, f"{said}{reason}")
        return
    if base.reason or new.reason:
        yield _failed(base, new, spec)
        return
    differing = (*surroundings.of_records(base.first, new.first), *place(base.first, new.first))
    drawn = SAMPLE_HASH in base.first.at and SAMPLE_HASH in new.first.at
    kinds: tuple[MetricKind, ...] = ("quality", "timing") if drawn else (_kind_here(spec),)
    forbidding = surroundings.forbidding(differing, kinds, rules.across)
    if base.first.unit != new.first.unit:
        forbidding = (Difference("unit", base.first.unit, new.first.unit), *forbidding)
    if forbidding:
        more = f", and {plural(len(forbidding) - 1, 'field')} more" if len(forbidding) > 1 else ""
        verdict = _verdict(Outcome.INCOMPARABLE, new, spec, f"{forbidding[0].sentence}{more}")
        yield replace(verdict, differs=forbidding[0].field)
        return
    before, after = numbers(base), numbers(new)
    for key, records in after.items():
        if is_judged(spec, records[0].at):
            yield _number(before.get(key), records, spec, rules, _replicates(before, after, records[0]))
    for key, records in before.items():
        if key not in after and is_judged(spec, records[0].at):
            said = "BASE has this number and NEW has not"
            yield replace(_verdict(Outcome.MISSING, new, spec, said), at=what(records[0]))


def _kind_here(spec: MetricSpec) -> MetricKind:
    """Seconds that are measured once in a process of their own are timed all the same."""
    return "timing" if spec.kind == "memory" and spec.unit == "s" else spec.kind


def _failed(base: Group, new: Group, spec: MetricSpec) -> Verdict:
    if base.reason and new.reason:
        same = base.reason == new.reason
        said = f"no number on either side: {new.reason}" if same else f"no number: {new.reason}; before: {base.reason}"
        return _verdict(Outcome.UNDECIDED, new, spec, said)
    if new.reason:
        return _verdict(Outcome.REGRESSED, new, spec, f"it gave a number and now gives none: {new.reason}")
    return _verdict(Outcome.IMPROVED, new, spec, f"it gives a number now; before: {base.reason}")


def _number(
    before: Sequence[Record] | None,
    after: Sequence[Record],
    spec: MetricSpec,
    rules: Rules,
    replicates: tuple[Record, Record] | None,
) -> Verdict:
    """One number of both sides, measured under equal conditions."""
    empty = _verdict(
        Outcome.NEW, Group(after[0].cell, after[0].metric, "", tuple(after)), spec, "BASE has not this number"
    )
    empty = replace(empty, at=what(after[0]))
    if before is None:
        return empty
    recipe = next((name for name in PICTURE_RECIPE if before[0].at.get(name) != after[0].at.get(name)), None)
    if recipe is not None and f"at.{recipe}" not in rules.across:
        names = sorted(name for name in PICTURE_RECIPE if before[0].at.get(name) != after[0].at.get(name))
        # A fingerprint only says that something differs; another key says what.
        name = next((each for each in names if each != "fingerprint"), names[0])
        difference = Difference(f"at.{name}", before[0].at.get(name), after[0].at.get(name))
        return replace(empty, outcome=Outcome.INCOMPARABLE, sentence=difference.sentence, differs=difference.field)
    if SAMPLE_HASH in before[0].at and SAMPLE_HASH in after[0].at:
        return judge_samples(before[0], after[0], empty)
    spec = replace(spec, better=direction(spec, after[0].at))
    tolerance = rules.tolerances.of(spec.name, spec.kind, score_of(after[0].at))
    match _kind_here(spec):
        case "exact":
            return judge_exact(before, after, spec, empty)
        case "timing":
            return judge_timed(before, after, spec, empty, tolerance)
        case _:
            return judge_repeating(before, after, spec, empty, tolerance, replicates)


def _replicates(
    before: Mapping[object, Sequence[Record]], after: Mapping[object, Sequence[Record]], record: Record
) -> tuple[Record, Record] | None:
    """The resamples that belong to a number on both sides."""
    if record.at.get(STATISTIC) != VALUE:
        return None
    rest = _besides(record)
    found = [
        next((each[0] for each in side.values() if _resamples(each[0]) and _besides(each[0]) == rest), None)
        for side in (before, after)
    ]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def _resamples(record: Record) -> bool:
    return record.at.get(STATISTIC) == REPLICATES and record.at.get("of", VALUE) == VALUE


def _besides(record: Record) -> Mapping[str, Scalar]:
    return {name: value for name, value in what(record).items() if name not in (STATISTIC, "of")}


def what(record: Record) -> Mapping[str, Scalar]:
    """What a number is of."""
    return {name: value for name, value in record.at.items() if name not in FACTS | PICTURE_RECIPE}


def _verdict(outcome: Outcome, group: Group, spec: MetricSpec, sentence: str) -> Verdict:
    return Verdict(outcome, group.cell, group.metric, spec.kind, spec.unit, sentence, factors=group.first.factors)


def _consequences(verdicts: Sequence[Verdict]) -> Iterator[Verdict]:
    """A time that changed with the work that is done says so."""
    causes: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.metric in COSTS and verdict.outcome in (Outcome.REGRESSED, Outcome.IMPROVED):
            names = causes.setdefault(verdict.cell, [])
            if verdict.metric not in names:
                names.append(verdict.metric)
    for verdict in verdicts:
        changed = verdict.kind == "timing" and verdict.outcome in (Outcome.REGRESSED, Outcome.IMPROVED)
        if changed and verdict.cell in causes:
            because = f"; a consequence of {' and '.join(causes[verdict.cell])}, which changed"
            verdict = replace(verdict, sentence=verdict.sentence + because)
        yield verdict


def _notes(base: Side, new: Side, verdicts: Sequence[Verdict]) -> Iterator[str]:
    for side, name in ((base, "BASE"), (new, "NEW")):
        if side.damaged:
            yield f"{name}: {plural(side.damaged, 'line')} could not be read and count as not measured"
    if any(verdict.kind == "timing" and verdict.low is not None for verdict in verdicts):
        yield (
            "times of two runs differ by what the machine did between them, which no interval holds; "
            "`bench gate` measures both at once and decides 5 %"
        )
    runs = [[run for run in side.runs.values() if run.code_sha256] for side in (base, new)]
    codes = [{run.code_sha256 for run in each} for each in runs]
    if all(codes) and codes[0] != codes[1] and any(code_differs(one, other) for one in runs[0] for other in runs[1]):
        yield "the measuring code or a model's code differs between BASE and NEW"


def side_of(records: Iterable[Record], name: str = "results", run: RunInfo | None = None) -> Side:
    """A side made in code. run: where the records were measured, all of them."""
    found = tuple(records)
    return Side(name, found, {} if run is None else {record.run: run for record in found})
