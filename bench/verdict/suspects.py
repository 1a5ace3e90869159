"""Why two numbers differ: every recorded condition in which their measurements differ, the likeliest cause first.

The order is by how much such a difference has been seen to move a number of that kind, and how often it goes unseen:

times      another device, more network calls, another network or batch; then precision, compilation and threads; then
           the machine; then what else ran beside it; then versions and code. Effort only changes how sure a time is.
scores     how many images and which recipe (a Fréchet distance is biased by about c / n and moves by whole points with
           the resize); then weights, network, sampler, data; then seed and noise; then precision; last versions and
           machine, which move the fourth digit.
bytes      batch, precision, network; then how it was called; then allocator, kernel and versions.
counts     the network and what it is asked to do; then the counter; then code. No machine changes a count.

A difference that is in none of these lists is shown last: it was recorded because it can matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bench.contracts import MetricKind
from bench.store.record import Record, RunInfo, code_differs
from bench.verdict.compare import Rules, compare, specs_of
from bench.verdict.matching import Group, pairs
from bench.verdict.numbers import percent
from bench.verdict.outcome import Outcome, Verdict
from bench.verdict.sides import Side
from bench.verdict.surroundings import Difference, named, of_records, of_runs
from bench.verdict.tolerances import Tolerances

Rank = tuple[tuple[str, ...], str]
"""Patterns of fields, and why they matter so much."""

TIMES: Sequence[Rank] = (
    (("conditions.device",), "another device is another machine"),
    (("nfe", "sampler.timesteps", "sampler", "sampler.*"), "time is proportional to the number of network calls"),
    (("at.calls", "at.stage"), "another part of the network was called"),
    (("model.weights",), "weights change a time only where they make denormal numbers"),
    (("model", "model.*"), "another network does other work"),
    (("conditions.batch_size",), "a larger batch takes longer, and less for each image"),
    (("conditions.dtype", "conditions.compile", "conditions.memory_format"), "chooses other kernels"),
    (("conditions.threads", "subject.threads.found"), "more threads share the work, or wait for each other"),
    (
        ("subject.flush_denormal", "subject.weights.denormals", "subject.tf32"),
        "can cost a factor of ten on some layers",
    ),
    (("machine.gpu", "machine.cpu", "machine.simd", "machine.affinity", "machine.cpu_quota"), "another processor"),
    (("warnings",), "something else ran at the same time on one side"),
    (("machine.logical_cores", "machine.governor", "machine.turbo_off", "machine.smt", "machine.virtual"), "its speed"),
    (("packages.torch", "packages.triton"), "another release has other kernels"),
    (("code", "code.*"), "the measuring code or a model's code changed"),
    (("environment.*",), "steers threads, memory or kernels"),
    (("machine.*", "packages.*"), "part of the surroundings"),
    (("started",), "a machine is not equally fast at all times; nothing recorded says how fast it was"),
    (("effort.*",), "changes how sure a time is, not the time"),
)
SCORES: Sequence[Rank] = (
    (("at.n", "params.images"), "the distance is biased by about c / n: other numbers of images have other values"),
    (("at.*", "params.*"), "another recipe: features, resize or reference move a score by whole points"),
    (("subject.weights.sha256", "subject.weights.origin", "model.weights"), "other weights draw other pictures"),
    (("subject.weights.ema",), "averaged and raw weights differ by several points"),
    (("model", "model.*"), "another network"),
    (("sampler", "sampler.*", "nfe"), "another walk ends in other pictures"),
    (("data", "data.*", "subject.data.*"), "other real images to compare with"),
    (
        ("seed", "subject.first_noise.sha256"),
        "other noise gives other pictures of the same quality, within sampling error",
    ),
    (("conditions.dtype", "subject.tf32"), "rounding, which moves the third digit"),
    (("code", "code.*"), "the measuring code or a model's code changed"),
    (("packages.*",), "another release rounds differently, which moves the fourth digit"),
    (("machine.*", "conditions.*", "subject.*", "environment.*"), "other kernels, which move the fourth digit"),
)
BYTES: Sequence[Rank] = (
    (("conditions.device",), "another device has other memory"),
    (("conditions.batch_size",), "activations are proportional to it"),
    (("conditions.dtype", "conditions.memory_format", "conditions.compile"), "bytes of every element, or copies"),
    (("model", "model.*"), "another network"),
    (("params.*", "sampler", "sampler.*", "data", "data.*"), "called in another way"),
    (("conditions.threads", "subject.threads.found"), "every thread has buffers of its own"),
    (("packages.torch",), "another release allocates differently"),
    (("environment.MALLOC_*", "environment.*"), "steers the allocator"),
    (("machine.transparent_hugepages", "machine.kernel"), "decides what a page is"),
    (("code", "code.*"), "the measuring code or a model's code changed"),
    (("machine.*", "packages.*"), "part of the surroundings"),
)
COUNTS: Sequence[Rank] = (
    (("model", "model.*"), "another network"),
    (("sampler", "sampler.*", "nfe"), "another walk makes other calls"),
    (("conditions.dtype",), "bytes of every element"),
    (("at.*", "params.*"), "another counter or another part"),
    (("code", "code.*"), "the measuring code or a model's code changed"),
    (("packages.*",), "another release of a counter, or of what is counted"),
)
RANKS: Mapping[MetricKind, Sequence[Rank]] = {
    "timing": TIMES,
    "quality": SCORES,
    "memory": BYTES,
    "exact": COUNTS,
}
NO_CAUSE: Mapping[MetricKind, tuple[str, ...]] = {
    "exact": ("machine.*", "environment.*", "warnings", "started", "effort.*", "seed", "subject.*"),
    "quality": ("warnings", "started", "effort.*"),
    "memory": ("warnings", "started", "effort.*", "seed", "subject.weights.*", "subject.data.*"),
    "timing": (
        "seed",
        "subject.weights.sha256",
        "subject.weights.steps",
        "subject.data.*",
        "subject.first_noise.sha256",
    ),
}
"""Fields that cannot change a number of a kind."""


@dataclass(frozen=True)
class Suspect:
    """A condition in which two sides differ, and what speaks for it."""

    difference: Difference
    reason: str
    pairs: int
    """Of how many pairs of measurements."""


@dataclass(frozen=True)
class Explanation:
    """What differs for one kind of numbers, and why it may."""

    kind: MetricKind
    moved: tuple[Verdict, ...]
    """Numbers that differ, those that moved most first."""
    pairs: int
    """Measurements of this kind that both sides have."""
    suspects: tuple[Suspect, ...]

    @property
    def conclusion(self) -> str:
        """What to think first."""
        if not self.moved:
            return "the numbers are the same, as far as they can be told apart"
        if not self.suspects:
            return "nothing that is recorded differs: what is left is chance, or something nobody recorded"
        first = self.suspects[0]
        return f"most likely: {first.difference.sentence} ({first.reason})"


def explain(one: Side, other: Side) -> tuple[Explanation, ...]:
    """For each kind of numbers that both sides have: what moved, and the suspects in order.

    One cell on each side are compared with each other, whatever they are.
    """
    specs = specs_of({**one.specs, **other.specs}, (*one.records, *other.records))
    verdicts = compare(one, other, Rules(Tolerances(), across=("*",), lone=True)).verdicts
    found: dict[MetricKind, list[tuple[Group, Group]]] = {}
    for each in pairs(one.records, other.records, lone=True):
        if each.base is not None and each.new is not None:
            found.setdefault(specs[each.new.metric].kind, []).append((each.base, each.new))
    return tuple(
        Explanation(
            kind,
            tuple(sorted((each for each in verdicts if _moved(each, kind)), key=_size, reverse=True)),
            len(groups),
            _suspects(kind, groups, one, other),
        )
        for kind, groups in found.items()
    )


def _moved(verdict: Verdict, kind: MetricKind) -> bool:
    return verdict.kind == kind and verdict.outcome not in (Outcome.UNCHANGED, Outcome.NEW, Outcome.MISSING)


def _size(verdict: Verdict) -> float:
    """How far a number moved, in either direction."""
    if verdict.ratio is None or verdict.ratio <= 0:
        return float("inf")
    return max(verdict.ratio, 1 / verdict.ratio)


def _suspects(kind: MetricKind, groups: Sequence[tuple[Group, Group]], one: Side, other: Side) -> tuple[Suspect, ...]:
    counted: dict[tuple[str, str, str], tuple[Difference, int, str]] = {}
    for base, new in groups:
        for each in differences(base.first, new.first, one.run_of(base.first), other.run_of(new.first)):
            key = (each.field, str(each.base), str(each.new))
            known = counted.get(key)
            counted[key] = (each, 1 + (known[1] if known else 0), known[2] if known else _proportion(each, base, new))
    ranked: list[tuple[int, int, int, Suspect]] = []
    for difference, count, proportion in counted.values():
        if any(fnmatchcase(difference.field, pattern) for pattern in NO_CAUSE[kind]):
            continue
        place, reason = rank(kind, difference.field)
        ranked.append((place, -count, len(ranked), Suspect(difference, reason + proportion, count)))
    return tuple(suspect for *_, suspect in sorted(ranked, key=lambda each: each[:3]))


def rank(kind: MetricKind, field: str) -> tuple[int, str]:
    """The place of a field among the suspects, 0 the likeliest, and why."""
    for place, (patterns, reason) in enumerate(RANKS[kind]):
        if any(fnmatchcase(field, pattern) for pattern in patterns):
            return place, reason
    return len(RANKS[kind]), "recorded because it can matter"


def differences(one: Record, other: Record, before: RunInfo | None, after: RunInfo | None) -> Iterator[Difference]:
    """Every recorded thing in which two measurements differ, whether it can matter or not."""
    yield from (each for each in of_records(one, other) if not each.field.startswith("subject."))
    yield from named("subject.", one.subject, other.subject)
    yield from named("at.", one.at, other.at)
    if one.code and other.code:
        yield from named("code.", one.code, other.code)
    if one.nfe != other.nfe:
        yield Difference("nfe", one.nfe, other.nfe)
    yield from named("effort.", one.effort, other.effort)
    if set(one.warnings) != set(other.warnings):
        yield Difference("warnings", "; ".join(one.warnings) or None, "; ".join(other.warnings) or None)
    if before is None or after is None:
        yield from of_runs(before, after)
        return
    if before.id != after.id:
        yield from of_runs(before, after)
        if not (one.code and other.code) and code_differs(before, after):
            yield Difference("code", before.code_sha256[:12], after.code_sha256[:12])
        yield Difference("started", before.started, after.started)


def _proportion(difference: Difference, base: Group, new: Group) -> str:
    """How well a difference in the number of calls explains a difference in time."""
    was, now = difference.base, difference.new
    if difference.field != "nfe" or not isinstance(was, int) or not isinstance(now, int) or not was or not now:
        return ""
    times = [sorted(value for record in group.records for value in record.values) for group in (base, new)]
    if not all(times):
        return ""
    middle = [values[len(values) // 2] for values in times]
    if middle[0] <= 0 or middle[1] <= 0:
        return ""
    return f"; the calls changed by {percent(now / was)}, the number by {percent(middle[1] / middle[0])}"


def narrowed(side: Side, cell: str | None, metric: str | None, factors: Iterable[tuple[str, str]] = ()) -> Side:
    """The part of a side that is asked about: cells whose id holds a text, one metric, factors with a value.

    A factor is named in full or by its end; its value is compared as text.
    """
    wanted = tuple(factors)

    def fits(record: Record) -> bool:
        if cell is not None and cell not in record.cell:
            return False
        if metric is not None and record.metric != metric:
            return False
        everything = {**record.conditions, **record.factors}
        return all(_has(everything, name, value) for name, value in wanted)

    found = tuple(record for record in side.records if fits(record))
    return replace(side, records=found)


def _has(everything: Mapping[str, object], name: str, value: str) -> bool:
    bare = name.removeprefix("conditions.")
    return any(
        (key in (name, bare) or key.endswith(f".{name}")) and _text(found) == value for key, found in everything.items()
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)
