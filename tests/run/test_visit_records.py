"""From what a visit gave, or how it failed, to records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.contracts import Measurement, Scalar
from bench.errors import (
    BadCheckpoint,
    MeasurementError,
    MissingData,
    MissingWeights,
    NonFiniteOutput,
    OutOfMemory,
    Unsupported,
    UnsupportedOperator,
    WorkerDied,
)
from bench.registry import metric_spec
from bench.run import outcome
from bench.run.messages import Done, Ready, check_answer, decode_event, decode_job, encode_event, encode_job
from bench.run.outcome import MAX_REASON, Circumstances, measured, missed, one_line, verdict
from bench.run.schedule import Visit
from bench.store.record import Status, from_line, to_line
from bench.suite.schema import Cell, Ref

MakeCell = Callable[..., Cell]
AROUND = Circumstances("run", "2026-11-20T10:15:04.000000Z", 1.5, {"paper": "none"})


@pytest.fixture
def visit(make_cell: MakeCell) -> Visit:
    metric = Ref(name="fake-stages", params={"stages": 2})
    return Visit(make_cell({"level": 3}, [metric]), metric, metric_spec("fake-stages"), "p1r0")


def test_record_says_everything_about_its_visit(visit: Visit) -> None:
    (record,) = measured(visit, [Measurement("fake-stages", "s", (1, 2.5), {"stage": 0}, nfe=3)], AROUND)

    assert json.loads(to_line(record)) | {"checksum": ""} == {
        "schema": 2,
        "run": "run",
        "cell": visit.cell.id,
        "suite": "toy",
        "factors": {"model": "fake", "model.level": 3},
        "conditions": {
            "device": "cpu",
            "dtype": "float32",
            "threads": 1,
            "batch_size": 1,
            "compile": False,
            "memory_format": "contiguous",
        },
        "metric": "fake-stages",
        "metric_params": {"stages": 2},
        "unit": "s",
        "at": {"stage": 0},
        "part": "p1r0",
        "values": [1.0, 2.5],
        "nfe": 3,
        "status": "ok",
        "reason": None,
        "warnings": [],
        "subject": {"paper": "none"},
        "inputs": [],
        "effort": {"warmup": 0, "repeats": 1, "rounds": 2, "processes": 2},
        "seed": 0,
        "started": "2026-11-20T10:15:04.000000Z",
        "duration_s": 1.5,
        "artifact": None,
        "reused": None,
        "code": {},
        "siblings": 1,
        "checksum": "",
    }


def test_records_of_one_visit_know_how_many_they_are(visit: Visit) -> None:
    found = measured(visit, [Measurement("fake-stages", "s", (1.0,), {"stage": n}) for n in range(3)], AROUND)

    assert [record.siblings for record in found] == [3, 3, 3]


def test_all_of_at_tells_measurements_apart_where_a_metric_declares_nothing(visit: Visit) -> None:
    found = [Measurement("fake-stages", "s", (1.0,), {"stage": 0, "timestep": t, "n": t}) for t in (10, 500)]

    assert [record.at["timestep"] for record in measured(visit, found, AROUND)] == [10, 500]


@pytest.mark.parametrize("at", [{"stage": 1}, {"stage": True}, {"stage": 1.0}])
def test_two_measurements_at_one_address_are_refused_and_the_sentence_says_what_to_do(
    visit: Visit, at: dict[str, Scalar]
) -> None:
    found = [Measurement("fake-stages", "s", (1.0,), each) for each in ({"stage": 1}, at)]

    with pytest.raises(MeasurementError, match=r"two measurements at .*; each needs its own: a key of `at` that tells"):
        measured(visit, found, AROUND)


@pytest.mark.parametrize(("declared", "word"), [("recipe", "recipe"), ("facts", "facts")])
def test_measurements_that_differ_only_in_what_is_declared_are_refused_by_its_name(
    visit: Visit, declared: str, word: str
) -> None:
    spec = replace(visit.spec, **{declared: frozenset({"n"})})
    found = [Measurement("fake-stages", "s", (1.0,), {"stage": 0, "n": n}) for n in (500, 1000)]

    with pytest.raises(MeasurementError, match=rf"differ only in 'n' of `at`, which it is registered with as {word}"):
        measured(replace(visit, spec=spec), found, AROUND)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Unsupported("no such device"), Status.UNSUPPORTED, "no such device"),
        (UnsupportedOperator("no formula"), Status.UNSUPPORTED, "no formula"),
        (MissingWeights("run bench train"), Status.SKIPPED, "run bench train"),
        (MissingData("put it there"), Status.SKIPPED, "put it there"),
        (BadCheckpoint("corrupted"), Status.FAILED, "BadCheckpoint: corrupted"),
        (WorkerDied("killed"), Status.FAILED, "WorkerDied: killed"),
        (OutOfMemory("8 GiB"), Status.FAILED, "OutOfMemory: the cell did not fit into memory: 8 GiB"),
        (MemoryError("8 GiB"), Status.FAILED, "OutOfMemory: the cell did not fit into memory: 8 GiB"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            Status.FAILED,
            "OutOfMemory: the cell did not fit into memory: DefaultCPUAllocator: can't allocate memory",
        ),
        (RuntimeError("size mismatch"), Status.FAILED, "RuntimeError: size mismatch"),
        (SystemExit(2), Status.FAILED, "the metric or the model called exit(2)"),
    ],
)
def test_every_exception_has_a_status_and_a_sentence(error: BaseException, status: Status, reason: str) -> None:
    assert verdict(error) == (status, reason)


@pytest.mark.parametrize(
    ("measurement", "error", "sentence"),
    [
        (Measurement("fake-stages", "s", (float("nan"),)), NonFiniteOutput, "fake-stages gave nan"),
        (Measurement("fake-stages", "s", (1.0, float("-inf")), {"stage": 1}), NonFiniteOutput, "-inf at {'stage': 1}"),
        (Measurement("fake-stages", "s", ()), MeasurementError, "without values"),
        (Measurement("other", "s", (1.0,)), MeasurementError, "called 'other' in 's'; it is registered as"),
        (Measurement("fake-stages", "ms", (1.0,)), MeasurementError, "in 'ms'; it is registered as"),
        (
            Measurement("fake-stages", "s", (1.0,), artifact="/etc/passwd"),
            MeasurementError,
            "is '/etc/passwd'",
        ),
        (Measurement("fake-stages", "s", (1.0,), artifact="a/../../b"), MeasurementError, "below artifacts/"),
    ],
)
def test_measurement_that_breaks_its_promise_is_no_record(
    visit: Visit, measurement: Measurement, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence.replace("{", r"\{")):
        measured(visit, [measurement], AROUND)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"at": {"sizes": [1, 2]}}, r"at\['sizes'\] is a list of 2, expected text, a number, true, false or null"),
        ({"at": {"k": {}}}, r"at\['k'\] is an object of 0"),
        ({"at": {"k": float("nan")}}, r"at\['k'\] is nan, expected a finite number"),
        ({"at": {"k": 10**30}}, r"at\['k'\] is a whole number of 100 bits"),
        ({"at": {1: 2}}, "a name in at is 1, expected text"),
        ({"at": {"x" * 201: 2}}, "a name in at is 'xxx"),
        ({"at": None}, "at is null, expected an object"),
        ({"at": {"k": "\ud800"}}, r"at\['k'\] is '\\ud800', expected text without halves"),
        ({"values": None}, "values is null, expected a list"),
        ({"values": "12"}, "values is '12', expected a list"),
        ({"values": ("1",)}, r"values\[0\] is '1', expected a finite number"),
        ({"values": (1.0, True)}, r"values\[1\] is true, expected a finite number"),
        ({"values": ((1,),)}, r"values\[0\] is a list of 1"),
        ({"values": (10**400,)}, r"values\[0\] is a whole number of 1,329 bits"),
        ({"values": (1e200,)}, r"values\[0\] is 1e\+200, expected a finite number of a magnitude below 1e\+150"),
        ({"values": (1.0 + 2.0j,)}, r"values\[0\] is of the type 'complex'"),
        ({"values": (0.0,) * 1_000_001}, "values is a list of 1,000,001, expected a list of at most 1,000,000"),
        ({"nfe": "x"}, "nfe is 'x', expected a whole number from 0"),
        ({"nfe": 1.5}, "nfe is 1.5"),
        ({"nfe": [1]}, "nfe is a list of 1"),
        ({"nfe": True}, "nfe is true"),
        ({"nfe": -1}, "nfe is -1"),
        ({"nfe": 10**400}, "nfe is a whole number of 1,329 bits"),
        ({"warnings": "text"}, "warnings is 'text', expected a list"),
        ({"warnings": (1,)}, r"warnings\[0\] is 1, expected text"),
        ({"warnings": ({"a": 1},)}, r"warnings\[0\] is an object of 1, expected text"),
        ({"artifact": 5}, "artifact is 5, expected text"),
        ({"artifact": ""}, "artifact is '', expected the name of a file below artifacts/"),
        ({"artifact": "records.jsonl"}, "artifact is 'records.jsonl'"),
        ({"artifact": "run.json"}, "artifact is 'run.json'"),
        ({"artifact": "artifacts/"}, "artifact is 'artifacts/'"),
        ({"artifact": "artifacts/../run.json"}, "artifact is 'artifacts/../run.json'"),
        ({"artifact": "artifacts/a\0b"}, "artifact is 'artifacts/a"),
        ({"unit": None}, "in null; it is registered as"),
        ({"metric": ["fake-stages"]}, "called a list of 1 in 's'; it is registered as"),
    ],
)
def test_field_of_a_measurement_of_another_kind_is_named(visit: Visit, fields: dict[str, Any], sentence: str) -> None:
    whole = {"metric": "fake-stages", "unit": "s", "values": (1.0,), **fields}

    with pytest.raises(MeasurementError, match=f"^fake-stages.*{sentence}"):
        measured(visit, [Measurement(**whole)], AROUND)


def test_what_is_no_measurement_is_named(visit: Visit) -> None:
    with pytest.raises(MeasurementError, match=r"fake-stages gave 1\.5, expected a Measurement"):
        measured(visit, [1.5], AROUND)  # type: ignore[list-item]


def test_numbers_of_numpy_are_numbers(visit: Visit) -> None:
    at = {"t": np.int64(3), "level": np.float32(0.5)}
    given = Measurement("fake-stages", "s", (np.float32(0.25), np.int64(2)), at, nfe=np.int32(4))  # type: ignore[arg-type]

    (record,) = measured(visit, [given], AROUND)

    assert (record.values, record.at, record.nfe) == ((0.25, 2.0), {"t": 3, "level": 0.5}, 4)
    assert [type(value) for value in (*record.values, *record.at.values(), record.nfe)] == [
        float, float, int, float, int,
    ]  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf")])
def test_numbers_that_are_not_finite_are_called_so(visit: Visit, value: Any) -> None:
    with pytest.raises(NonFiniteOutput, match=r"fake-stages gave (nan|inf)"):
        measured(visit, [Measurement("fake-stages", "s", (1.0, value))], AROUND)


def test_facts_that_cannot_be_saved_are_named(visit: Visit) -> None:
    around = replace(AROUND, subject={"weights.source": ["a"]})  # type: ignore[dict-item]

    with pytest.raises(MeasurementError, match=r"cannot be saved: .*subject\['weights.source'\] is a list"):
        measured(visit, [Measurement("fake-stages", "s", (1.0,))], around)


def test_record_that_is_longer_than_a_line_can_be_is_refused(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "MAX_LINE_BYTES", 1_000)

    with pytest.raises(MeasurementError, match=r"a record of .* bytes, expected fewer than 1,000"):
        measured(visit, [Measurement("fake-stages", "s", (0.5,) * 500)], AROUND)


def test_metric_that_gives_nothing_or_the_same_twice_is_refused(visit: Visit) -> None:
    same = Measurement("fake-stages", "s", (1.0,), {"stage": 1})

    with pytest.raises(MeasurementError, match="gave no measurement"):
        measured(visit, [], AROUND)
    with pytest.raises(MeasurementError, match=r"two measurements at \{'stage': 1\}"):
        measured(visit, [same, same], AROUND)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\tand\x1b[31m colour", "two lines and [31m colour"),
        ("", "no message"),
        (" \n ", "no message"),
        ("line\u2028separator", "line separator"),
        ("half \ud800 of a pair", "half \\ud800 of a pair"),
        ("x" * 1000, "x" * (MAX_REASON - 1) + "…"),
    ],
)
def test_reason_is_one_line(visit: Visit, text: str, line: str) -> None:
    (record,) = missed(visit, Status.FAILED, text, AROUND)

    assert record.reason == line == one_line(text)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"level": 3, "seconds": 0.1, "behave": "emoji 🧪 \u2028"},
        {"flag": True, "none": None, "zero": 0.0, "list": (1, 2.5, "x", None), "empty": ()},
        {"small": 1e-300, "large": 2**62},
    ],
)
def test_job_is_the_same_on_both_sides_of_the_border(make_cell: MakeCell, params: dict[str, object]) -> None:
    cell = make_cell(metrics=(Ref(name="fake-wrong", params={"gives": "inf"}),))
    cell = cell.model_copy(update={"model": Ref(name="fake", params=params), "sampler": Ref(name="ddim")})  # type: ignore[arg-type]
    sent = Visit(cell, cell.metrics[0], metric_spec("fake-wrong"), "p0r1")

    line = encode_job(sent)
    received = decode_job(line)

    assert line.count(b"\n") == 1
    assert (received.cell, received.metric, received.part, received.spec) == (cell, sent.metric, "p0r1", sent.spec)
    types = {name: type(value) for name, value in received.cell.model.params.items()}
    assert types == {name: type(value) for name, value in params.items()}


def test_answer_is_the_same_on_both_sides_of_the_border(visit: Visit) -> None:
    done = Done(missed(visit, Status.FAILED, "odd \udcff text 🧪", AROUND), clean=False)

    assert decode_event(encode_event(done)) == done
    assert decode_event(encode_event(Ready())) == Ready()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"event":"ready"',
        b'{"event":"what"}',
        b'{"event":"done","records":["x"]}',
        b"\xff",
        b"[" * 60_000,
        b'{"event":"done","records":5,"clean":true}',
        b'{"event":"done","records":[5],"clean":true}',
        b'{"event":["ready"]}',
    ],
)
def test_garbled_answer_is_a_dead_worker(line: bytes) -> None:
    with pytest.raises(WorkerDied, match="garbled"):
        decode_event(line)


def test_record_that_was_changed_on_its_way_is_a_dead_worker(visit: Visit) -> None:
    line = encode_event(Done(measured(visit, [Measurement("fake-stages", "s", (1.25,))], AROUND), clean=True))

    with pytest.raises(WorkerDied, match="garbled"):
        decode_event(line.replace(b"1.25", b"9.25"))


def other_cell(visit: Visit) -> Visit:
    return replace(visit, cell=visit.cell.model_copy(update={"id": "toy/other"}))


def other_part(visit: Visit) -> Visit:
    return replace(visit, part="p9r9")


def other_seed(visit: Visit) -> Visit:
    return replace(visit, cell=visit.cell.model_copy(update={"seed": 5}))


def other_metric(visit: Visit) -> Visit:
    return replace(visit, metric=Ref(name="fake-stages", params={"stages": 9}))


@pytest.mark.parametrize("change", [other_cell, other_part, other_seed, other_metric])
def test_answer_to_another_question_is_a_dead_worker(visit: Visit, change: Callable[[Visit], Visit]) -> None:
    done = Done(measured(change(visit), [Measurement("fake-stages", "s", (1.0,))], AROUND), clean=True)

    with pytest.raises(WorkerDied, match=r"garbled: it is of fake-stages of toy/.*, and .* was asked for"):
        check_answer(done, visit, AROUND.run)


def test_answer_of_another_run_or_in_part_is_a_dead_worker(visit: Visit) -> None:
    records = measured(visit, [Measurement("fake-stages", "s", (1.0,), {"stage": n}) for n in range(3)], AROUND)

    check_answer(Done(records, clean=True), visit, AROUND.run)
    with pytest.raises(WorkerDied, match="garbled: it is of"):
        check_answer(Done(records, clean=True), visit, "another")
    with pytest.raises(WorkerDied, match="garbled: it holds 2 of 3 records"):
        check_answer(Done(records[1:], clean=True), visit, AROUND.run)
    with pytest.raises(WorkerDied, match="garbled: it holds no record"):
        check_answer(Done((), clean=True), visit, AROUND.run)


def test_lines_of_the_file_are_those_of_the_worker(visit: Visit) -> None:
    (record,) = measured(visit, [Measurement("fake-stages", "s", (1.25,))], AROUND)

    assert from_line(to_line(record)) == record
