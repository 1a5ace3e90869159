"""Two sides to a verdict for every number: the walk through the truth table of `decide`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.contracts import MetricKind, MetricSpec
from bench.registry import METRICS, metric_spec
from bench.store.record import Record, RunInfo, code_differs
from bench.units import plural
from bench.verdict import surroundings
from bench.verdict.directions import direction, is_drawn, score_of
from bench.verdict.judges import judge_exact, judge_repeating, judge_samples, judge_several, judge_timed
from bench.verdict.lines import Line, disagree, lines
from bench.verdict.matching import Group, Pair, pairs
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
    verdicts = [_in_doubt(verdict, base, new) for verdict in verdicts]
    verdicts.sort(key=lambda verdict: ORDER[verdict.kind])
    return Comparison(
        base.name,
        new.name,
        tuple(_consequences(verdicts)),
        tuple(_notes(base, new, verdicts)),
        left_open=tuple(_left_open(base, new)),
    )


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
    """All verdicts of one metric of one cell: every record of both sides is behind one of them."""
    base, new = pair.base, pair.new
    if base is None or new is None:
        only = base or new
        assert only is not None  # a pair has a side
        outcome = Outcome.NEW if base is None else Outcome.MISSING
        said = "not in BASE" if base is None else "in BASE and not in NEW: measure it again, or take it out of BASE"
        reason = f"; it gave no number: {only.reason}" if only.reason else ""
        yield _verdict(outcome, only, spec, f"{said}{reason}")
        return
    if new.reason or not base.has_numbers:
        yield _failed(base, new, spec)
        return
    drawn = is_drawn(spec, base.first.at) and is_drawn(spec, new.first.at)
    kinds: tuple[MetricKind, ...] = ("quality", "timing") if drawn else (_kind_here(spec),)
    forbidding = surroundings.forbidding(_differences(base, new, place), kinds, rules.across)
    if forbidding:
        more = f", and {plural(len(forbidding) - 1, 'field')} more" if len(forbidding) > 1 else ""
        verdict = _verdict(Outcome.INCOMPARABLE, new, spec, f"{forbidding[0].sentence}{more}")
        yield replace(verdict, differs=forbidding[0].field)
        return
    lacking = f"; some visits of BASE gave no number: {base.reason}" if base.reason else ""
    for line in lines(base.records, new.records, spec):
        verdict = _number(line, new, spec, rules)
        yield replace(verdict, sentence=verdict.sentence + lacking)


def _differences(base: Group, new: Group, place: Place) -> tuple[Difference, ...]:
    """What differs between the records of both sides, each field once; records of one cell rarely differ among
    themselves, but a file that was put together by hand may hold anything.
    """
    found: dict[str, Difference] = {}
    for before in base.representatives:
        for after in new.representatives:
            for each in (*surroundings.of_records(before, after), *place(before, after)):
                found.setdefault(each.field, each)
    return tuple(found.values())


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
    verdict = _verdict(Outcome.IMPROVED, new, spec, f"it gives a number now; before: {base.reason}")
    return replace(verdict, one_sided=True)


def _number(line: Line, group: Group, spec: MetricSpec, rules: Rules) -> Verdict:
    """One number of both sides, measured under equal conditions."""
    before, after = line.base, line.new
    empty = replace(_verdict(Outcome.NEW, group, spec, "BASE has not this number"), at=line.at)
    if not before and not after:
        said = "neither side has the number itself, only what stands beside it; measure it again"
        return replace(empty, outcome=Outcome.UNDECIDED, sentence=said)
    if not before:
        return empty
    if not after:
        return replace(empty, outcome=Outcome.MISSING, sentence="BASE has this number and NEW has not")
    difference = _unlike(before, after, spec, rules)
    if difference is not None:
        return replace(empty, outcome=Outcome.INCOMPARABLE, sentence=difference.sentence, differs=difference.field)
    kind = _kind_here(spec)
    if disagree(before, spec, kind) or disagree(after, spec, kind):
        return judge_several(before, after, empty)
    if is_drawn(spec, before[0].at) and is_drawn(spec, after[0].at):
        return judge_samples(before[0], after[0], empty)
    score = score_of(after[0].at) if spec.better is None else None
    spec = replace(spec, better=direction(spec, after[0].at))
    tolerance = rules.tolerances.of(spec.name, spec.kind, score)
    match kind:
        case "exact":
            return judge_exact(before, after, spec, empty)
        case "timing":
            return judge_timed(before, after, spec, empty, tolerance)
        case _:
            return judge_repeating(before, after, spec, empty, tolerance, line.replicates)


def _unlike(before: Sequence[Record], after: Sequence[Record], spec: MetricSpec, rules: Rules) -> Difference | None:
    """Why records of one number cannot be compared: another unit, or another recipe."""
    units = [dict.fromkeys(each.unit for each in side) for side in (before, after)]
    if len({**units[0], **units[1]}) > 1:
        one, other = (" and ".join(each) for each in units)
        return Difference("unit", one, other)
    if not spec.recipe:
        return None
    found = {
        name: Difference(f"at.{name}", one.at.get(name), other.at.get(name))
        for one in before
        for other in after
        for name in sorted(spec.recipe)
        if one.at.get(name) != other.at.get(name) and f"at.{name}" not in rules.across
    }
    # A fingerprint only says that something differs; another key says what.
    return next((found[name] for name in found if name != "fingerprint"), found.get("fingerprint"))


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


def _in_doubt(verdict: Verdict, base: Side, new: Side) -> Verdict:
    """What one side lacks may stand in its lines that cannot be read."""
    side, name = {Outcome.NEW: (base, "BASE"), Outcome.MISSING: (new, "NEW")}.get(verdict.outcome, (None, ""))
    if side is None or not side.damaged:
        return verdict
    said = f"{name} lacks it, but {plural(side.damaged, 'line')} of {name} could not be read and may have held it"
    return replace(verdict, outcome=Outcome.UNDECIDED, sentence=said)


def _left_open(base: Side, new: Side) -> Iterator[str]:
    for side, name in ((base, "BASE"), (new, "NEW")):
        if side.cut:
            yield (
                f"{name}: {plural(len(side.cut), 'visit')} of {side.cut[0].metric} in {side.cut[0].cell} "
                "gave more numbers than the file holds, or two of one address, and count as not measured; measure again"
            )


def _notes(base: Side, new: Side, verdicts: Sequence[Verdict]) -> Iterator[str]:
    for side, name in ((base, "BASE"), (new, "NEW")):
        if side.damaged:
            yield f"{name}: {plural(side.damaged, 'line')} could not be read and count as not measured"
    known = {*METRICS.names(), *base.specs, *new.specs}
    strangers = dict.fromkeys(verdict.metric for verdict in verdicts if verdict.metric not in known)
    if any(verdict.is_comparison and verdict.metric in strangers for verdict in verdicts):
        yield (
            f"{', '.join(strangers)}: not registered here, so judged by the unit alone; load what registers it with "
            "--plugin"
        )
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
