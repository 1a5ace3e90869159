"""What need not be measured again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.store.attempts import Attempt, key_of
from bench.store.record import InputFile, Record, RunInfo, Status
from bench.store.resume import Lack, Wanted, carried_over, differences, lacking

MakeRecord = Callable[..., Record]

WEIGHTS = InputFile("w.safetensors", 10, 1, "aa")
TIMING = ("warmup", "repeats", "rounds", "processes")


def wanted_like(record: Record, effort: tuple[str, ...] = TIMING, **changes: Any) -> Wanted:
    wanted = Wanted(
        key_of(record),
        dict(record.factors),
        dict(record.conditions),
        record.seed,
        {name: record.effort[name] for name in effort},
    )
    return replace(wanted, **changes)


def lack(
    record: Record, wanted: Wanted | None = None, unchanged: Callable[[InputFile], bool] = lambda file: True
) -> Lack | None:
    return lacking(wanted or wanted_like(record), Attempt(key_of(record), (record,)), unchanged)


def test_ok_record_of_the_same_thing_stands(record: MakeRecord) -> None:
    assert lack(record()) is None


def test_what_was_never_measured_is_lacking(record: MakeRecord) -> None:
    assert lacking(wanted_like(record()), None, lambda file: True) == Lack("not measured yet")


@pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED])
def test_what_failed_or_was_skipped_is_tried_again(record: MakeRecord, status: Status) -> None:
    assert lack(record(status=status)) == Lack(f"{status} before", detail="because")


def test_what_is_unsupported_here_is_not_tried_again(record: MakeRecord) -> None:
    assert lack(record(status=Status.UNSUPPORTED)) is None


@pytest.mark.parametrize("name", TIMING)
def test_more_effort_than_before_is_measured_again_and_less_is_not(record: MakeRecord, name: str) -> None:
    before = record()
    asked = wanted_like(before).effort

    more = replace(wanted_like(before), effort={**asked, name: 9})
    less = replace(wanted_like(before), effort={**asked, name: 0})

    assert lack(before, more) == Lack(f"effort.{name} was {before.effort[name]} and now is 9")
    assert lack(before, less) is None


def test_effort_that_does_not_change_a_number_is_not_compared(record: MakeRecord) -> None:
    before = record(effort={"warmup": 0, "repeats": 1, "rounds": 1, "processes": 1})

    assert lack(before, wanted_like(record(), effort=())) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"factors": {"model": "other"}},
        {"conditions": {"device": "cuda", "threads": 1}},
        {"seed": 1},
    ],
)
def test_another_cell_with_the_same_id_is_stale(record: MakeRecord, changes: dict[str, Any]) -> None:
    assert lack(record(), wanted_like(record(), **changes)) == Lack("another cell had the same id", stale=True)


def test_changed_input_makes_numbers_stale_and_is_named(record: MakeRecord) -> None:
    before = record(inputs=(WEIGHTS,))

    assert lack(before, unchanged=lambda file: file != WEIGHTS) == Lack("w.safetensors changed since", stale=True)


CODE = {"harness": "1", "metric": "2", "model": "3", "data": "4"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"metric": "x"}, "the code of the metric 'latency' changed since"),
        ({"model": "x"}, "the code of the model 'skip-unet' changed since"),
        ({"data": "x"}, "the code of the data set 'digits' changed since"),
        ({"harness": "x", "model": "x"}, "the code that every number goes through changed since"),
        ({"sampler": "x"}, "the code of the sampler None changed since"),
    ],
)
def test_changed_code_makes_numbers_stale_and_is_named(
    record: MakeRecord, changed: dict[str, str], sentence: str
) -> None:
    before = record(code=CODE, factors={"model": "skip-unet", "data": "digits"})

    assert lack(before, wanted_like(before, code=CODE)) is None
    assert lack(before, wanted_like(before, code={**CODE, **changed})) == Lack(sentence, stale=True)


def test_changed_code_lets_what_was_unsupported_be_tried_again(record: MakeRecord) -> None:
    before = record(code=CODE, status=Status.UNSUPPORTED)

    assert lack(before, wanted_like(before, code=CODE)) is None
    assert lack(before, wanted_like(before, code={**CODE, "model": "x"})) is not None


def test_numbers_that_do_not_say_what_code_they_come_from_are_stale(record: MakeRecord) -> None:
    found = lack(record(), wanted_like(record(), code=CODE))

    assert found == Lack("measured by an earlier version, which did not note by what code", stale=True)


def test_same_surroundings_do_not_differ(info: RunInfo) -> None:
    assert differences(info, replace(info, id="other", started="later", command="again", suite_text="else")) == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"packages": {"python": "3.11", "torch": "2.16.0"}}, "packages: torch was 2.15.0 and now is 2.16.0"),
        ({"packages": {"python": "3.11"}}, "packages: torch was 2.15.0 and now is not there"),
        ({"environment": {}}, "environment: OMP_PROC_BIND was close and now is not there"),
        (
            {"environment": {"OMP_PROC_BIND": "close", "MKL_CBWR": "AVX2"}},
            "environment: MKL_CBWR was not there and now is AVX2",
        ),
    ],
)
def test_what_differs_is_said(info: RunInfo, changes: dict[str, Any], sentence: str) -> None:
    assert differences(info, replace(info, **changes)) == (sentence,)


def test_every_machine_fact_but_the_memory_size_counts(info: RunInfo) -> None:
    other = replace(info, machine={**info.machine, "cpu": "Toy 4000", "memory_bytes": 1})

    assert differences(info, other) == ("machine: cpu was Toy 3000 and now is Toy 4000",)


def test_carried_over_records_name_the_run_that_measured_them(record: MakeRecord) -> None:
    once = carried_over([record()], "20261121-000000-000000")
    twice = carried_over(once, "20261122-000000-000000")

    assert [(each.run, each.reused) for each in (*once, *twice)] == [
        ("20261121-000000-000000", "20261120-101500-ab12cd"),
        ("20261122-000000-000000", "20261120-101500-ab12cd"),
    ]
    assert replace(twice[0], run=record().run, reused=None) == record()
