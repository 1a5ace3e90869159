"""What need not be measured again, decided from what is on disk. Pure: no clock, no file is touched here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bench.contracts import Scalar
from bench.store.attempts import Attempt, Key
from bench.store.record import SCHEMA, InputFile, Record, RunInfo, Status

NOT_IDENTITY = frozenset({"memory_bytes"})
"""Machine facts that may differ a little between two starts of one machine."""
PARTS: Mapping[str, str] = {"data": "data set"}
"""Parts of the code whose name is not what people call them."""


@dataclass(frozen=True)
class Wanted:
    """One planned visit of one metric, in the words of a record."""

    key: Key
    factors: Mapping[str, Scalar]
    conditions: Mapping[str, Scalar]
    seed: int
    effort: Mapping[str, int]
    """Only what changes the precision of this kind of number."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Part -> hash of the code that would run now."""

    def is_of(self, record: Record) -> bool:
        """Whether a record is of this very cell: ids may clash."""
        mine = (dict(self.factors), dict(self.conditions), self.seed)
        return mine == (dict(record.factors), dict(record.conditions), record.seed)


class Lack(NamedTuple):
    """Why a planned visit must be measured (again)."""

    reason: str
    """As the end of a sentence; the same for all visits with the same cause."""
    stale: bool = False
    """There are numbers, but of something else than what would be measured now: they must not be shown any more."""
    detail: str | None = None
    """The sentence an earlier attempt ended with."""


def lacking(wanted: Wanted, attempt: Attempt | None, unchanged: Callable[[InputFile], bool]) -> Lack | None:
    """Why a planned visit must be measured (again); None when what is there stands.

    What failed or was skipped is tried again. What this machine or model cannot do at all is not.
    """
    if attempt is None:
        return Lack("not measured yet")
    first = attempt.records[0]
    if attempt.status in (Status.FAILED, Status.SKIPPED):
        return Lack(f"{attempt.status} before", detail=attempt.reason)
    if not wanted.is_of(first):
        return Lack("another cell had the same id", stale=True)
    changed = changed_code(first, wanted.code) or changed_input(attempt, unchanged)
    if changed is not None:
        return Lack(changed, stale=True)
    for name, asked in wanted.effort.items() if attempt.status is Status.OK else ():
        if first.effort.get(name, 0) < asked:
            return Lack(f"effort.{name} was {first.effort.get(name, 0)} and now is {asked}")
    return None


def changed_code(record: Record, code: Mapping[str, str]) -> str | None:
    """`the code of the model 'cunet' changed since`; None when a record's code is what it was. code: as it is now."""
    if record.code and all(record.code.get(part) == now for part, now in code.items()):
        return None
    if not record.code:
        return "measured by an earlier version, which did not note by what code" if code else None
    part = next(part for part, now in code.items() if record.code.get(part) != now)
    if part == "harness":
        return "the code that every number goes through changed since"
    name = record.metric if part == "metric" else record.factors.get(part)
    return f"the code of the {PARTS.get(part, part)} {name!r} changed since"


def changed_input(attempt: Attempt, unchanged: Callable[[InputFile], bool]) -> str | None:
    """`w.safetensors changed since` when a file that the numbers depend on is not what it was; None otherwise."""
    path = next((file.path for file in attempt.records[0].inputs if not unchanged(file)), None)
    return None if path is None else f"{path} changed since"


def differences(old: RunInfo, new: RunInfo) -> tuple[str, ...]:
    """What differs between the surroundings of two runs; numbers are only carried over when nothing does.

    Each entry reads `packages: torch was 2.14.0 and now is 2.15.0`.
    """
    found = [
        f"{group}: {name} {_change(before.get(name), after.get(name))}"
        for group, before, after in (
            ("machine", old.machine, new.machine),
            ("packages", old.packages, new.packages),
            ("environment", old.environment, new.environment),
        )
        for name in sorted(before.keys() | after.keys())
        if name not in NOT_IDENTITY and before.get(name) != after.get(name)
    ]
    return tuple(found)


def _change(before: Scalar, after: Scalar) -> str:
    if before is None:
        return f"was not there and now is {after}"
    if after is None:
        return f"was {before} and now is not there"
    return f"was {before} and now is {after}"


def carried_over(records: Iterable[Record], run: str) -> tuple[Record, ...]:
    """The same numbers as records of another run; `reused` names the run that measured them."""
    return tuple(replace(record, schema=SCHEMA, run=run, reused=record.reused or record.run) for record in records)
