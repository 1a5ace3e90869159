"""What changed since a cell was measured: everything its numbers depend on, then and now, and what that means.

Whether `bench run` would measure again is decided by `bench.store.resume`; here it is said in words, input by input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.contracts import Scalar, Value
from bench.store.record import InputFile, Record, RunInfo
from bench.store.resume import NOT_IDENTITY, PARTS
from bench.suite.schema import Cell
from bench.verdict.surroundings import Difference, named, shown


@dataclass(frozen=True)
class Change:
    """One thing that a cell's numbers depend on."""

    what: str
    """`file {project}/models/weights/x.safetensors`, `code`, `factors`, `machine`, ..."""
    then: str
    now: str
    changed: bool

    @property
    def sentence(self) -> str:
        """`weights.safetensors: changed: sha256 04159c42 then, 9f86d081 now`."""
        if not self.changed:
            return f"{self.what}: unchanged ({self.then})" if self.then else f"{self.what}: unchanged"
        return f"{self.what}: changed: {self.then} then, {self.now} now"


def changes(
    records: Sequence[Record],
    then: RunInfo,
    now: RunInfo,
    planned: Cell | None,
    describe: Callable[[str], InputFile | None],
    code: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Change, ...]:
    """Every input of a cell's numbers, the changed ones first.

    records: of one cell. now: what a run of here and now would say. planned: the cell as today's suite has it, None
    when it has no such cell. describe: a recorded path to the file as it is, None when it is gone. code: metric ->
    part -> hash of its code as it is, for those that are planned.
    """
    found = [
        *_files(records, describe),
        *_code(records, then, now, code or {}),
        *_group("factors", _facts(records[0].factors), None if planned is None else _facts(planned.factors)),
        *_group("conditions", records[0].conditions, None if planned is None else planned.conditions.model_dump()),
        *_group("machine", _identity(then.machine), _identity(now.machine)),
        *_group("packages", then.packages, now.packages),
        *_group("environment variables", then.environment, now.environment),
        Change(
            "suite file",
            f"sha256 {then.suite_sha256[:8]}",
            f"sha256 {now.suite_sha256[:8]}",
            _differ(then, now, "suite_sha256"),
        ),
    ]
    return tuple(sorted(found, key=lambda change: not change.changed))


def _differ(then: RunInfo, now: RunInfo, name: str) -> bool:
    return bool(getattr(then, name) != getattr(now, name))


def _files(records: Sequence[Record], describe: Callable[[str], InputFile | None]) -> list[Change]:
    """The checkpoint, the data, plug-ins: by content."""
    inputs = {file.path: file for record in records for file in record.inputs}
    found = []
    for path, file in inputs.items():
        current = describe(path)
        then = f"sha256 {file.sha256[:8]}"
        now = "gone" if current is None else f"sha256 {current.sha256[:8]}"
        found.append(Change(f"file {path}", then, now, now != then))
    return found


def _code(
    records: Sequence[Record], then: RunInfo, now: RunInfo, code: Mapping[str, Mapping[str, str]]
) -> list[Change]:
    """The code of each part, as far as the numbers say which they come from; else that of all that can measure."""
    seen: dict[str, tuple[str, str]] = {}
    for record in records:
        for part, before in record.code.items():
            what = f"code of {record.metric}" if part == "metric" else f"code of the {PARTS.get(part, part)}"
            after = code.get(record.metric, {}).get(part)
            if after is not None and (what not in seen or before != after):
                seen[what] = before, after
    if seen:
        return [
            Change(what, f"hash {before[:8]}", f"hash {after[:8]}", before != after)
            for what, (before, after) in seen.items()
        ]
    if (then.schema < 2) != (now.schema < 2):  # hashed in another way, so that nothing tells
        return []
    before, after = then.code_sha256[:8], now.code_sha256[:8]
    return [Change("code", f"sha256 {before}", f"sha256 {after}", _differ(then, now, "code_sha256"))]


def _identity(machine: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    return {name: value for name, value in machine.items() if name not in NOT_IDENTITY}


def _facts(factors: Mapping[str, Scalar]) -> Mapping[str, Value]:
    return dict(factors)


def _group(what: str, then: Mapping[str, Value], now: Mapping[str, Value] | None) -> list[Change]:
    """One line for a group that did not change, else one for each change in it."""
    if now is None:
        return [Change(what, "in the suite", "the suite has no such cell", True)]
    differences: list[Difference] = list(named("", then, now))
    if not differences:
        return [Change(what, f"{len(then)} alike" if then else "", "", False)]
    return [Change(f"{what}: {each.field}", shown(each.base), shown(each.new), True) for each in differences]


def nearest(factors: Mapping[str, Scalar], cells: Sequence[Cell]) -> Cell | None:
    """The cell of a suite that differs from these factors in least; None where the suite has no cell of that model."""
    alike = [cell for cell in cells if cell.factors.get("model") == factors.get("model")]
    return min(alike, key=lambda cell: len(list(named("", factors, cell.factors))), default=None)
