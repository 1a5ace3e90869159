"""What a side of a gate answers is a stranger's: a pull request's code may write anything into its channel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.errors import WorkerDied
from bench.gate import process
from bench.gate.exact import exact_verdicts
from bench.gate.process import ArmProcess
from bench.registry import load_builtins
from bench.suite.expand import expand
from bench.suite.read import parse_suite
from bench.suite.schema import Cell
from bench.verdict.outcome import Outcome

SUITE = """\
schema: 1
suite: s
title: T
grid: [{model: {name: skip-unet, weights: random, skip: zero, skip_exponent: 0}}]
metrics: [parameters]
"""
IMAGE = {"sha256": "0" * 64, "image": ""}


@pytest.fixture
def cell() -> Cell:
    load_builtins()
    (found,) = expand(parse_suite(SUITE, "s.yaml"))
    return found


def side(**number: Any) -> dict[str, Any]:
    whole = {"metric": "parameters", "unit": "count", "better": "lower", "values": [5.0], "at": {}, **number}
    return {**IMAGE, "numbers": json.loads(json.dumps([whole]))}


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ({"at": {"sizes": [1, 2]}}, "at['sizes'] is a list of 2, expected text"),
        ({"values": ["x"]}, "values[0] is 'x', expected a finite number"),
        ({"values": [float("nan")]}, "values[0] is nan"),
        ({"values": []}, "an ok record needs values"),
        ({"unit": 5}, "unit is 5"),
    ],
)
def test_a_number_of_head_that_is_none_is_a_regression_with_its_reason(
    cell: Cell, number: dict[str, Any], sentence: str
) -> None:
    verdicts = exact_verdicts(cell, side(), side(**number), 0.0)

    (told,) = [verdict for verdict in verdicts if verdict.metric == "parameters"]
    assert told.outcome in (Outcome.REGRESSED, Outcome.UNDECIDED)
    assert sentence in told.sentence


class Said(ArmProcess):
    """A process that has said something already."""

    def __init__(self, said: bytes) -> None:
        self.name, self._log = "head", "arm.log"  # type: ignore[assignment]
        self._heard = bytearray(said)
        self._answers = 0


@pytest.mark.parametrize("said", [b"garbage", b"[" * 60_000, b"5", b"[]", b"\xff"])
def test_a_garbled_answer_is_a_dead_process(said: bytes) -> None:
    with pytest.raises(WorkerDied, match="head: its answer was garbled: "):
        Said(said + b"\n").hear(1.0)


def test_an_endless_answer_is_a_dead_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_ANSWER_BYTES", 5)

    with pytest.raises(WorkerDied, match="head: an answer longer than 5 bytes"):
        Said(b"x" * 9).hear(1.0)
