"""Why two numbers differ: what is named, in which order, and what is said when nothing differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.contracts import MetricKind
from bench.registry import load_builtins
from bench.store.record import Record, RunInfo
from bench.verdict.compare import side_of
from bench.verdict.sides import Side
from bench.verdict.suspects import RANKS, Explanation, explain, narrowed, rank

load_builtins()
MakeRecord = Callable[..., Record]


def info(run: str = "20261120-101500-ab12cd", **more: Any) -> RunInfo:
    known = RunInfo(
        1, run, "s", "", "", "", "", "2026-11-20T10:15:00Z", "0.1", "c0de", None, None, {"cpu": "EPYC"},
        {"torch": "2.15.0", "numpy": "2.4"}, {},
    )  # fmt: skip
    return replace(known, **more)


def only(one: Side, other: Side) -> Explanation:
    (found,) = explain(one, other)
    return found


def fields(found: Explanation) -> list[str]:
    return [each.difference.field for each in found.suspects]


def side(records: Record | list[Record], run: RunInfo | None = None) -> Side:
    found = records if isinstance(records, list) else [records]
    place = run or info()
    return side_of([replace(each, run=place.id) for each in found], "x", place)


def test_more_network_calls_come_before_another_machine_and_another_release(record: MakeRecord) -> None:
    one = side(record(values=(1.0,), nfe=10, threads=1))
    elsewhere = info("20261121-101500-ab12cd", machine={"cpu": "Xeon"}, packages={"torch": "2.14.0", "numpy": "2.3"})
    other = side(record(values=(2.02,), nfe=20, threads=2), elsewhere)

    found = only(one, other)

    assert fields(found) == ["nfe", "conditions.threads", "machine.cpu", "packages.torch", "packages.numpy", "started"]
    assert found.suspects[0].reason.endswith("; the calls changed by +100 %, the number by +102 %")
    assert found.conclusion.startswith("most likely: nfe was 10 and is 20")


def test_the_number_of_images_comes_before_everything_else_of_a_score(record: MakeRecord) -> None:
    def scored(n: int, sha: str, run: RunInfo) -> Side:
        at = {"statistic": "value", "n": n, "fingerprint": f"f{n}"}
        return side(record(metric="frechet", unit="1", at=at, values=(5.0 / n,), subject={"weights.sha256": sha}), run)

    elsewhere = info("20261121-101500-ab12cd", packages={"torch": "2.14.0"}, code_sha256="other")

    found = only(scored(1000, "a", info()), scored(500, "b", elsewhere))

    assert fields(found)[:3] == ["at.n", "at.fingerprint", "subject.weights.sha256"]
    assert fields(found)[-2:] == ["packages.torch", "packages.numpy"]
    assert "code" in fields(found)


def test_two_cells_of_one_run_are_told_apart_by_their_factors(record: MakeRecord) -> None:
    found = only(side(record("zero", 0.0, values=(2.0,))), side(record("duplicate", 2.0, values=(1.0,))))

    assert fields(found) == ["model.skip", "model.skip_exponent"]


def test_no_machine_is_suspected_of_changing_a_count(record: MakeRecord) -> None:
    one = side(record(metric="macs", unit="MAC", values=(1.0,)))
    other = side(
        record(metric="macs", unit="MAC", values=(2.0,)),
        info("20261121-101500-ab12cd", machine={"cpu": "Xeon"}, code_sha256="x"),
    )

    assert fields(only(one, other)) == ["code"]


def test_the_part_whose_code_differs_is_named(record: MakeRecord) -> None:
    code = {"harness": "1", "metric": "2", "model": "3"}
    later = info("20261121-101500-ab12cd", code_sha256="other")

    found = only(
        side(replace(record(metric="macs", unit="MAC", values=(1.0,)), code=code)),
        side(replace(record(metric="macs", unit="MAC", values=(2.0,)), code={**code, "model": "x"}), later),
    )

    assert fields(found) == ["code.model"]
    assert found.suspects[0].reason == "the measuring code or a model's code changed"


def test_code_that_was_hashed_in_another_way_is_not_suspected(record: MakeRecord) -> None:
    one, other = (record(metric="macs", unit="MAC", values=(value,)) for value in (1.0, 2.0))
    later = info("20261121-101500-ab12cd", schema=2, code_sha256="other")

    assert fields(only(side(one, info(schema=1)), side(other, later))) == []


def test_what_ran_beside_a_time_is_suspected(record: MakeRecord) -> None:
    one, other = (
        side(record(values=(1.0,))),
        side(record(values=(1.5,), warnings=("other programs used 1.0 processors",))),
    )

    found = only(one, other)

    assert fields(found) == ["warnings"]
    assert "something else ran at the same time" in found.conclusion


def test_two_runs_of_the_same_thing_can_only_differ_in_when_they_were_made(record: MakeRecord) -> None:
    later = info("20261121-101500-ab12cd", started="2026-11-21T10:15:00Z")

    found = only(side(record(values=(1.0,))), side(record(values=(1.5,)), later))

    assert fields(found) == ["started"]
    assert "not equally fast at all times" in found.conclusion


def test_when_nothing_differs_chance_is_left(record: MakeRecord) -> None:
    found = only(side(record(values=(1.0,))), side(record(values=(1.5,))))

    assert found.suspects == ()
    assert found.conclusion.startswith("nothing that is recorded differs: what is left is chance")


def test_equal_numbers_need_no_cause(record: MakeRecord) -> None:
    same = side(record(metric="nfe", unit="calls"))

    assert only(same, same).conclusion == "the numbers are the same, as far as they can be told apart"


def test_what_differs_in_most_pairs_comes_first_among_equals(record: MakeRecord) -> None:
    one = side([record(c=c, values=(1.0,)) for c in (0.0, 1.0)])
    other = side(
        [record(c=c, values=(2.0,)) for c in (0.0, 1.0)],
        info("20261121-101500-ab12cd", machine={"cpu": "X", "simd": "a"}),
    )

    found = only(one, other)

    assert [(each.difference.field, each.pairs) for each in found.suspects][:2] == [
        ("machine.cpu", 2),
        ("machine.simd", 2),
    ]
    assert found.pairs == 2


@pytest.mark.parametrize("kind", RANKS)
def test_every_rank_has_a_reason_and_unknown_fields_come_last(kind: MetricKind) -> None:
    assert all(patterns and reason for patterns, reason in RANKS[kind])
    assert rank(kind, "never.heard.of") == (len(RANKS[kind]), "recorded because it can matter")


@pytest.mark.parametrize(
    ("kind", "likelier", "less"),
    [
        ("timing", "conditions.device", "nfe"),
        ("timing", "nfe", "model.skip"),
        ("timing", "conditions.threads", "machine.cpu"),
        ("timing", "warnings", "packages.torch"),
        ("timing", "packages.torch", "code"),
        ("timing", "code", "effort.rounds"),
        ("quality", "at.n", "subject.weights.sha256"),
        ("quality", "subject.weights.sha256", "sampler.timesteps"),
        ("quality", "sampler.timesteps", "seed"),
        ("quality", "seed", "packages.torch"),
        ("memory", "conditions.batch_size", "packages.torch"),
        ("exact", "model.skip", "code"),
    ],
)
def test_the_order_of_suspects_is_as_documented(kind: MetricKind, likelier: str, less: str) -> None:
    assert rank(kind, likelier)[0] < rank(kind, less)[0]


def test_a_side_is_narrowed_by_cell_metric_and_factors(record: MakeRecord) -> None:
    whole = side(
        [record("zero", 0.0), record("zero", 2.0), record("duplicate", 2.0), record("zero", 2.0, metric="nfe")]
    )

    assert len(narrowed(whole, None, "latency", [("skip", "zero"), ("skip_exponent", "2")]).records) == 1
    assert len(narrowed(whole, "duplicate", None).records) == 1
    assert len(narrowed(whole, None, None, [("threads", "1")]).records) == 4
    assert narrowed(whole, None, None, [("skip", "copy")]).records == ()
