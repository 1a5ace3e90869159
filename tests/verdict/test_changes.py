"""What a cell's numbers depend on, then and now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bench.contracts import Scalar
from bench.store.record import InputFile, Record, RunInfo
from bench.suite.schema import Cell, Conditions, Effort, Ref
from bench.verdict.changes import Change, changes, nearest

MakeRecord = Callable[..., Record]
WEIGHTS = InputFile("{project}/w.safetensors", 10, 1, "a1" * 32)


def info(**more: Any) -> RunInfo:
    known = RunInfo(
        1, "r", "s", "s.yaml", "", "5u17e000", "", "", "0.1", "c0dec0de", None, None,
        {"cpu": "EPYC", "memory_bytes": 1}, {"torch": "2.15.0"}, {},
    )  # fmt: skip
    return replace(known, **more)


def cell(name: str = "s/a", **factors: Scalar) -> Cell:
    return Cell(
        id=name,
        suite="s",
        model=Ref(name="u"),
        sampler=None,
        data=None,
        conditions=Conditions(),
        seed=0,
        factors={"model": "u", **factors},
        metrics=(),
        effort=Effort(),
    )


def measured(record: MakeRecord) -> Record:
    """A record of `cell()` that read a checkpoint."""
    return replace(record(factors={"model": "u"}), conditions=Conditions().model_dump(), inputs=(WEIGHTS,))


def changed(
    record: MakeRecord,
    now: RunInfo | None = None,
    planned: Cell | None = None,
    files: Mapping[str, InputFile] | None = None,
) -> list[str]:
    there = {WEIGHTS.path: WEIGHTS} if files is None else files
    found = changes([measured(record)], info(), now or info(), planned or cell(), there.get)
    assert [each.changed for each in found] == sorted((each.changed for each in found), reverse=True)
    return [each.sentence for each in found if each.changed]


def test_nothing_changed_is_said_of_every_input(record: MakeRecord) -> None:
    found = changes([measured(record)], info(), info(), cell(), {WEIGHTS.path: WEIGHTS}.get)

    assert [each.what for each in found] == [
        *("file {project}/w.safetensors", "code", "factors", "conditions", "machine", "packages"),
        *("environment variables", "suite file"),
    ]
    assert not any(each.changed for each in found)
    assert found[0].sentence == "file {project}/w.safetensors: unchanged (sha256 a1a1a1a1)"


def test_other_weights_are_named_by_their_hash(record: MakeRecord) -> None:
    other = replace(WEIGHTS, sha256="b2" * 32)

    assert changed(record, files={WEIGHTS.path: other}) == [
        "file {project}/w.safetensors: changed: sha256 a1a1a1a1 then, sha256 b2b2b2b2 now"
    ]


def test_weights_that_are_gone_are_said_to_be(record: MakeRecord) -> None:
    assert changed(record, files={}) == ["file {project}/w.safetensors: changed: sha256 a1a1a1a1 then, gone now"]


def test_code_versions_variables_and_the_machine_are_told_apart(record: MakeRecord) -> None:
    now = info(
        code_sha256="0ther000",
        packages={"torch": "2.16.0"},
        environment={"OMP_PROC_BIND": "true"},
        machine={"cpu": "Xeon"},
    )

    assert changed(record, now) == [
        "code: changed: sha256 c0dec0de then, sha256 0ther000 now",
        "machine: cpu: changed: EPYC then, Xeon now",
        "packages: torch: changed: 2.15.0 then, 2.16.0 now",
        "environment variables: OMP_PROC_BIND: changed: absent then, true now",
    ]


def test_the_code_of_each_part_is_compared_where_the_numbers_say_it(record: MakeRecord) -> None:
    one = replace(measured(record), code={"harness": "1", "metric": "2", "model": "3"})
    metric = one.metric
    now = {metric: {"harness": "1", "metric": "2", "model": "x"}}

    found = changes([one], info(), info(code_sha256="0ther000"), cell(), lambda path: WEIGHTS, now)

    code = {each.what: each.changed for each in found if each.what.startswith("code")}
    assert code == {"code of the harness": False, f"code of {metric}": False, "code of the model": True}


def test_code_that_was_hashed_in_another_way_is_not_compared(record: MakeRecord) -> None:
    found = changes([measured(record)], info(), info(schema=2, code_sha256="x"), cell(), lambda path: WEIGHTS)

    assert not [each for each in found if each.what.startswith("code")]


def test_a_little_more_memory_is_no_change(record: MakeRecord) -> None:
    assert changed(record, info(machine={"cpu": "EPYC", "memory_bytes": 2})) == []


def test_conditions_and_factors_of_todays_suite_are_compared(record: MakeRecord) -> None:
    planned = cell(width=2).model_copy(update={"conditions": Conditions(threads=2)})

    assert changed(record, planned=planned) == [
        "factors: width: changed: absent then, 2 now",
        "conditions: threads: changed: 1 then, 2 now",
    ]


def test_a_cell_that_the_suite_does_not_have_any_more_is_said(record: MakeRecord) -> None:
    found = changes([measured(record)], info(), info(), None, {WEIGHTS.path: WEIGHTS}.get)

    assert Change("factors", "in the suite", "the suite has no such cell", True) in found


def test_the_nearest_cell_differs_in_least() -> None:
    cells = [cell("a", c=1, skip="zero"), cell("b", c=2, skip="zero"), cell("c", c=3, skip="copy")]

    found = nearest({"model": "u", "c": 2, "skip": "copy"}, cells)

    assert found is not None and found.id in ("b", "c")
    assert nearest({"model": "other"}, cells) is None
