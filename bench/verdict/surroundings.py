"""What two numbers were measured under, where it differs, and for which kinds of numbers that forbids a comparison.

    differs                                             | exact | timing | memory | quality
    ----------------------------------------------------+-------+--------+--------+--------
    factors, conditions, seed, arguments of the metric  |   x   |   x    |   x    |    x
    recipe of a picture metric, its data, its noise     |       |        |        |    x
    machine, packages of both, environment variables    |       |   x    |   x    |
    threads found, denormals, TF32                      |       |   x    |   x    |

The code and the weights are not here: they are what a comparison is about. Exact numbers are the same on every
machine. Scores move a little with the machine, less than their tolerance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bench.contracts import MetricKind, Value
from bench.store.record import Record, RunInfo
from bench.store.resume import NOT_IDENTITY

EVERY_KIND: frozenset[MetricKind] = frozenset({"exact", "timing", "memory", "quality"})
OF_THE_MACHINE: frozenset[MetricKind] = frozenset({"timing", "memory"})
OF_PICTURES: frozenset[MetricKind] = frozenset({"quality"})

SUBJECT: Mapping[str, frozenset[MetricKind]] = {
    "data.fingerprint": OF_PICTURES,
    "first_noise.sha256": OF_PICTURES,
    "threads.found": OF_THE_MACHINE,
    "flush_denormal": OF_THE_MACHINE,
    "tf32": OF_THE_MACHINE,
}
"""Facts of what was measured that must be equal."""

UNKNOWN = "not known"
ABSENT = "absent"
USED_WHERE_FOUND = frozenset({"triton"})
"""Packages that torch uses by itself where they are installed."""


@dataclass(frozen=True)
class Difference:
    """A field in which two sides differ."""

    field: str
    """`conditions.threads`, `machine.cpu`, `packages.torch`, ..."""
    base: Value
    new: Value
    kinds: frozenset[MetricKind] = EVERY_KIND
    """Of numbers that cannot be compared because of it."""

    @property
    def sentence(self) -> str:
        """`conditions.threads was 1 and is 2`."""
        if UNKNOWN in (self.base, self.new):
            side = "BASE" if self.base == UNKNOWN else "NEW"
            return f"{side} does not say where it was measured; give a run's folder, which has a run.json"
        return f"{self.field} was {shown(self.base)} and is {shown(self.new)}"


def shown(value: Value) -> str:
    """A value in a sentence, long ones shortened."""
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{text[:60]}\N{HORIZONTAL ELLIPSIS}" if len(text) > 61 else text


def of_records(base: Record, new: Record) -> tuple[Difference, ...]:
    """What differs between two measured quantities, as their records say."""
    return (
        *named("", base.factors, new.factors),
        *named("conditions.", base.conditions, new.conditions),
        *named("", {"seed": base.seed}, {"seed": new.seed}),
        *named("params.", base.metric_params, new.metric_params),
        *(
            Difference(f"subject.{name}", base.subject.get(name), new.subject.get(name), kinds)
            for name, kinds in SUBJECT.items()
            if name in base.subject and name in new.subject and base.subject[name] != new.subject[name]
        ),
    )


def of_runs(base: RunInfo | None, new: RunInfo | None) -> tuple[Difference, ...]:
    """What differs between the places two runs were made in."""
    if base is None or new is None:
        one, other = (UNKNOWN if run is None else str(run.machine.get("cpu")) for run in (base, new))
        return (Difference("machine", one, other, OF_THE_MACHINE),)
    return tuple(
        Difference(each.field, each.base, each.new, frozenset() if _is_spare(each) else OF_THE_MACHINE)
        for prefix, before, after in (
            ("machine.", base.machine, new.machine),
            ("packages.", base.packages, new.packages),
            ("environment.", base.environment, new.environment),
        )
        for each in named(prefix, before, after)
        if each.field.removeprefix(prefix) not in NOT_IDENTITY
    )


def _is_spare(difference: Difference) -> bool:
    """Whether a package is only there on one side: what was measured on both sides does not need it."""
    name = difference.field.removeprefix("packages.")
    return ABSENT in (difference.base, difference.new) and name != difference.field and name not in USED_WHERE_FOUND


def forbidding(
    differences: Iterable[Difference], kinds: Iterable[MetricKind], across: Iterable[str] = ()
) -> tuple[Difference, ...]:
    """Those that forbid to compare numbers of some kinds. across: patterns of fields that may differ, `packages.*`."""
    wanted = frozenset(kinds)
    patterns = tuple(across)
    return tuple(
        each
        for each in differences
        if wanted & each.kinds and not any(fnmatchcase(each.field, pattern) for pattern in patterns)
    )


def named(prefix: str, base: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[Difference]:
    """Names whose values differ, or that only one side has."""
    for name in dict.fromkeys((*base, *new)):
        before: Value = base.get(name)
        after: Value = new.get(name)
        if name in base and name in new and _same(before, after):
            continue
        if name not in base or name not in new:
            before, after = (before if name in base else ABSENT), (after if name in new else ABSENT)
        yield Difference(f"{prefix}{name}", before, after)


def _same(one: Value, other: Value) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other
