"""A claim holds, fails, is undecided or has no number, and says by which cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from bench.analysis.results import collect
from bench.store.record import Record, Status
from bench.suite.schema import ClaimSpec, Quantity
from bench.verdict.claims import ClaimResult, Held, between, evaluate

MakeRecord = Callable[..., Record]


def claim(holds: str = ">", than: float | None = None, **more: Any) -> ClaimSpec:
    value = more.pop("value", {"metric": "latency"})
    return ClaimSpec(id="c", sentence="S.", value=Quantity(**value), holds=holds, than=than, **more)  # type: ignore[arg-type]


def judged(records: Iterable[Record], spec: ClaimSpec) -> ClaimResult:
    (result,) = evaluate([spec], collect(records))
    return result


def rounds(
    record: MakeRecord, values: Iterable[float], c: float = 0.0, skip: str = "zero", **more: Any
) -> list[Record]:
    """One visit for each value, in two processes."""
    return [record(skip, c, part=f"p{index % 2}r{index // 2}", values=(value,)) for index, value in enumerate(values)]


STEADY = (1.00, 1.01, 0.99, 1.02, 0.98, 1.01, 0.99, 1.00, 1.01, 0.99)


@pytest.mark.parametrize(
    ("low", "high", "holds", "than", "held"),
    [
        (1.0, 2.0, ">", 0.5, Held.HOLDS),
        (1.0, 2.0, ">", 1.0, Held.UNDECIDED),
        (1.0, 2.0, ">=", 1.0, Held.HOLDS),
        (1.0, 2.0, ">", 2.0, Held.FAILS),
        (1.0, 2.0, ">=", 2.0, Held.UNDECIDED),
        (1.0, 2.0, "<", 2.0, Held.UNDECIDED),
        (1.0, 2.0, "<=", 2.0, Held.HOLDS),
        (1.0, 2.0, "<", 1.0, Held.FAILS),
        (1.0, 2.0, "<=", 0.9, Held.FAILS),
        (1.0, 1.0, "<=", 1.0, Held.HOLDS),
        (1.0, 1.0, "<", 1.0, Held.FAILS),
    ],
)
def test_an_interval_holds_or_fails_as_a_whole(low: float, high: float, holds: str, than: float, held: Held) -> None:
    assert between(low, high, holds, than) is held


@pytest.mark.parametrize(
    ("than", "held"), [(0.5, Held.HOLDS), (1.5, Held.FAILS), (1.0, Held.UNDECIDED)], ids=["below", "above", "inside"]
)
def test_a_timed_number_is_held_against_a_number_with_its_interval(record: MakeRecord, than: float, held: Held) -> None:
    result = judged(rounds(record, STEADY), claim(than=than))

    assert result.held is held
    (evidence,) = result.evidence
    assert evidence.value is not None and evidence.value.low is not None
    assert str(held) in result.sentence
    assert "1.000 s [" in evidence.sentence.replace("1 s [", "1.000 s [")


def test_a_number_without_an_interval_is_undecided_and_says_why(record: MakeRecord) -> None:
    result = judged(rounds(record, (1.0, 1.1)), claim(than=0.5))

    assert result.held is Held.UNDECIDED
    assert "too few for a 95% interval" in result.sentence


def test_an_exact_number_needs_no_interval(record: MakeRecord) -> None:
    records = [record(metric="parameters", unit="count", values=(1000.0,))]
    value = {"metric": "parameters", "reduce": "value"}

    assert judged(records, claim("<=", 1000, value=value)).held is Held.HOLDS
    assert judged(records, claim("<", 1000, value=value)).held is Held.FAILS
    assert judged(records, claim("<", 1000, value=value)).sentence == "fails: 1,000 >= 1,000"


def test_a_saving_is_written_in_percent(record: MakeRecord) -> None:
    records = [record("zero", c, metric="macs", unit="MAC", values=(v,)) for c, v in ((0, 100.0), (2, 60.0))]
    value = {"metric": "macs", "reduce": "value", "relative": "time_saved", "to": {"model.skip_exponent": 0}}

    result = judged(records, claim(">", 0.25, value=value, where={"model.skip_exponent": 2}))

    assert result.sentence == "holds: 40.00 % > 25.00 %"


def test_every_cell_must_satisfy_a_claim_and_the_worst_decides(record: MakeRecord) -> None:
    records = [record("zero", c, metric="parameters", values=(10.0 * c,), unit="count") for c in (1.0, 2.0, 3.0)]
    value = {"metric": "parameters", "reduce": "value"}

    result = judged(records, claim("<", 25, value=value))

    assert result.held is Held.FAILS
    assert [each.held for each in result.evidence] == [Held.HOLDS, Held.HOLDS, Held.FAILS]
    assert result.sentence == "fails in 1 of 3 cells: skip_exponent = 3.0: 30 >= 25"


def test_where_takes_a_list_of_values(record: MakeRecord) -> None:
    records = [record("zero", c, metric="parameters", values=(10.0 * c,), unit="count") for c in (1.0, 2.0, 3.0)]
    value = {"metric": "parameters", "reduce": "value"}

    result = judged(records, claim("<", 25, value=value, where={"model.skip_exponent": (1, 2)}))

    assert result.held is Held.HOLDS
    assert [each.about for each in result.evidence] == [{"model.skip_exponent": 1.0}, {"model.skip_exponent": 2.0}]


def test_a_claim_about_cells_that_were_not_measured_has_no_number(record: MakeRecord) -> None:
    result = judged([record()], claim(than=1, where={"model.skip": "none"}))

    assert result.held is Held.NO_NUMBER
    assert result.sentence == "no number: no cell has what the claim is about"


def test_a_failed_cell_gives_no_number_and_its_reason(record: MakeRecord) -> None:
    result = judged([record(status=Status.FAILED, reason="out of memory")], claim(than=1))

    assert result.held is Held.NO_NUMBER
    assert result.sentence == "no number: failed: out of memory"


def test_two_sets_of_cells_are_compared_pairwise_by_their_difference(record: MakeRecord) -> None:
    """Both drift by half, together: the difference of the same rounds is sure where the levels overlap."""
    drift = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.4, 1.3, 1.2, 1.1]
    records = [
        *rounds(record, drift, 0.0),
        *rounds(record, [each * 0.98 for each in drift], 2.0),
        *rounds(record, [each * 0.97 for each in drift], 3.0),
    ]

    result = judged(records, claim("<", where={"model.skip_exponent": (2, 3)}, than_where={"model.skip_exponent": 0}))

    assert result.held is Held.HOLDS
    first = result.evidence[0]
    assert first.value is not None and first.other is not None and first.difference is not None
    assert first.difference.high is not None and first.difference.high < 0
    assert first.value.high is not None and first.other.low is not None and first.value.high > first.other.low
    assert ", difference -" in first.sentence


def test_a_cell_is_not_compared_with_itself(record: MakeRecord) -> None:
    records = [record("zero", c, metric="parameters", values=(10.0 + c,), unit="count") for c in (0.0, 2.0)]
    value = {"metric": "parameters", "reduce": "value"}

    result = judged(records, claim(">", value=value, than_where={"model.skip_exponent": 0}))

    assert result.held is Held.HOLDS
    assert len(result.evidence) == 1


def test_a_counterpart_that_is_not_there_is_named(record: MakeRecord) -> None:
    result = judged([record()], claim("<", than_where={"model.skip_exponent": 9}))

    assert result.held is Held.NO_NUMBER
    assert "there is no cell with model.skip_exponent = 9" in result.sentence


def test_relative_numbers_of_two_cells_are_compared_by_their_intervals(record: MakeRecord) -> None:
    value = {"metric": "latency", "relative": "time_saved", "to": {"model.skip_exponent": 0}}
    records = [
        *rounds(record, STEADY, 0.0, "zero"),
        *rounds(record, [0.5 * each for each in STEADY], 2.0, "zero"),
        *rounds(record, STEADY, 0.0, "duplicate"),
        *rounds(record, [0.8 * each for each in STEADY], 2.0, "duplicate"),
    ]
    where: Mapping[str, Any] = {"model.skip": "zero", "model.skip_exponent": 2}

    more = claim(">", value=value, where=where, than_where={"model.skip": "duplicate"})
    less = claim("<", value=value, where=where, than_where={"model.skip": "duplicate"})

    assert judged(records, more).held is Held.HOLDS
    assert judged(records, less).held is Held.FAILS


def test_numbers_made_by_different_recipes_are_not_compared(record: MakeRecord) -> None:
    def scored(c: float, n: int, value: float) -> Record:
        at = {"statistic": "value", "fingerprint": f"f{n}", "n": n}
        return record("zero", c, metric="frechet", unit="1", at=at, values=(value,))

    value = {"metric": "frechet", "reduce": "value"}
    spec = claim("<", value=value, where={"model.skip_exponent": 2}, than_where={"model.skip_exponent": 0})

    result = judged([scored(0.0, 1000, 5.0), scored(2.0, 500, 4.0)], spec)

    assert result.held is Held.NO_NUMBER
    assert "made by different recipes, which differ in fingerprint, n" in result.sentence


def test_a_chosen_cell_stands_for_its_row(record: MakeRecord) -> None:
    """Of three step counts the one with the best score is timed."""

    def cell(steps: int, score: float, seconds: float) -> list[Record]:
        factors = {"model": "u", "sampler": "ddim", "sampler.timesteps": steps}
        return [
            record(factors=factors, metric="score", unit="1", values=(score,)),
            record(factors=factors, metric="seconds", unit="s", values=(seconds,)),
        ]

    records = [*cell(10, 3.0, 1.0), *cell(20, 1.0, 2.0), *cell(40, 2.0, 4.0)]
    value = {
        "metric": "seconds",
        "reduce": "value",
        "chosen": {"over": "sampler.timesteps", "by": {"metric": "score", "reduce": "value"}, "prefer": "lower"},
    }

    result = judged(records, claim("<=", 2, value=value))

    assert result.held is Held.HOLDS
    assert len(result.evidence) == 1
