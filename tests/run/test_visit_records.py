"""From what a visit gave, or how it failed, to records."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bench.contracts import Measurement
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
from bench.run.messages import Done, Ready, decode_event, decode_job, encode_event, encode_job
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
        (Measurement("fake-stages", "s", (1.0,), artifact="/etc/passwd"), MeasurementError, "must lie inside"),
        (Measurement("fake-stages", "s", (1.0,), artifact="a/../../b"), MeasurementError, "must lie inside"),
    ],
)
def test_measurement_that_breaks_its_promise_is_no_record(
    visit: Visit, measurement: Measurement, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence.replace("{", r"\{")):
        measured(visit, [measurement], AROUND)


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
    ],
)
def test_garbled_answer_is_a_dead_worker(line: bytes) -> None:
    with pytest.raises(WorkerDied, match="garbled"):
        decode_event(line)


def test_record_that_was_changed_on_its_way_is_a_dead_worker(visit: Visit) -> None:
    line = encode_event(Done(measured(visit, [Measurement("fake-stages", "s", (1.25,))], AROUND), clean=True))

    with pytest.raises(WorkerDied, match="garbled"):
        decode_event(line.replace(b"1.25", b"9.25"))


def test_lines_of_the_file_are_those_of_the_worker(visit: Visit) -> None:
    (record,) = measured(visit, [Measurement("fake-stages", "s", (1.25,))], AROUND)

    assert from_line(to_line(record)) == record
