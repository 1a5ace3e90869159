"""No number is ever left out of a comparison: each is behind exactly one verdict, whatever its `at` holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contracts import MetricSpec, Scalar, address_key
from bench.errors import ExitCode
from bench.registry import load_builtins, metric_spec
from bench.store.record import Record, Status
from bench.verdict.compare import Rules, compare, side_of
from bench.verdict.lines import lines
from bench.verdict.outcome import Outcome, Verdict
from bench.verdict.sides import Side
from bench.verdict.tolerances import Tolerances
from bench.verdict.values import values

load_builtins()
MakeRecord = Callable[..., Record]
KEYS = ("timestep", "n", "calls", "statistic", "which", "score", "fingerprint", "sample_hash", "stage", "of")
SCALARS: tuple[Scalar, ...] = (1, 2, True, 1.5, None, "value", "replicates", "final", "psnr", "curve")
UNITS = {"exact": "1", "timing": "s", "memory": "bytes", "quality": "1"}
SPECS = [
    *(metric_spec(name) for name in ("frechet", "denoising", "step_time", "macs", "samples", "peak_memory", "kid")),
    *(MetricSpec(f"mine-{kind}", unit, better, kind)  # type: ignore[arg-type]
      for (kind, unit), better in product(UNITS.items(), ("lower", None))),
]  # fmt: skip
AT = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(SCALARS), max_size=3)
RECORD = st.tuples(AT, st.sampled_from(["", "p0r0", "p0r1", "p1r0"]), st.sampled_from([1.0, 9.0]), st.booleans())


def side(record: MakeRecord, spec: MetricSpec, drawn: Sequence[tuple[dict[str, Scalar], str, float, bool]]) -> Side:
    records = [
        record(metric=spec.name, unit=spec.unit, at=at, part=part, values=(value,), c=float(cell))
        for at, part, value, cell in drawn
    ]
    return Side("x", tuple(records), specs={spec.name: spec})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SPECS), st.lists(RECORD, max_size=8), st.lists(RECORD, max_size=8))
def test_every_record_of_either_side_is_in_exactly_one_line_and_every_line_is_one_verdict(
    record: MakeRecord,
    spec: MetricSpec,
    base: list[tuple[dict[str, Scalar], str, float, bool]],
    new: list[tuple[dict[str, Scalar], str, float, bool]],
) -> None:
    one, other = (side(record, spec, [(*each[:3], False) for each in drawn]).records for drawn in (base, new))

    found = lines(one, other, spec)

    assert Counter(map(id, (each for line in found for each in line.records))) == Counter(map(id, (*one, *other)))
    if one and other:
        sides = [Side("x", records, specs={spec.name: spec}) for records in (one, other)]
        verdicts = compare(*sides).verdicts
        whole = len(verdicts) == 1 and verdicts[0].outcome is Outcome.INCOMPARABLE
        assert whole or len(verdicts) == len(found)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SPECS), st.lists(RECORD, min_size=1, max_size=6), st.data())
def test_one_number_that_grew_ninefold_is_never_green(
    record: MakeRecord,
    spec: MetricSpec,
    drawn: list[tuple[dict[str, Scalar], str, float, bool]],
    data: st.DataObject,
) -> None:
    """Numbers of their own right: those that a metric declares to stand beside them are not judged."""
    base = side(record, spec, [(at, part, 1.0, cell) for at, part, _, cell in drawn])
    judged = [
        place
        for place, each in enumerate(base.records)
        if not spec.stands_beside(each.at) and each.at.get("statistic") != "replicates"
    ]
    if not judged:
        return
    place = data.draw(st.sampled_from(judged))
    grown = [record if index != place else _grown(record) for index, record in enumerate(base.records)]

    code = compare(base, Side("y", tuple(grown), specs=base.specs)).exit_code

    higher_is_better = spec.better is None and base.records[place].at.get("score") == "psnr"
    assert higher_is_better or code is not ExitCode.OK


def _grown(record: Record) -> Record:
    return replace(record, values=(9.0,), started="2026-11-21T10:15:00Z")


@pytest.mark.parametrize("key", [*KEYS, "name", "features", "recipe", "against", "probe", "cut", "method", "used"])
def test_all_of_at_is_the_address_of_a_number_whose_metric_declares_nothing(key: str) -> None:
    spec = MetricSpec("mine", "1", "lower", "exact")

    assert spec.address({key: 1, "b": 2}) == {key: 1, "b": 2}
    assert not spec.stands_beside({key: "anything"})


def test_what_a_metric_declares_is_no_address() -> None:
    spec = metric_spec("frechet")

    assert spec.address({"statistic": "value", "n": 1000, "features": "inception"}) == {"statistic": "value"}
    assert spec.stands_beside({"statistic": "floor"}) and not spec.stands_beside({"n": 1000})


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 2}, {"a": 2.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": None}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": None}, {}, False),
    ],
)
def test_addresses_are_equal_as_values_are(one: dict[str, Scalar], other: dict[str, Scalar], equal: bool) -> None:
    assert (address_key(one) == address_key(other)) is equal


def test_replicates_are_in_the_line_of_their_number_whoever_made_them(record: MakeRecord) -> None:
    spec = MetricSpec("mine", "1", "lower", "quality")
    both = [
        record(metric="mine", unit="1", at={"statistic": name, "stage": 1}, siblings=2)
        for name in ("value", "replicates")
    ]

    (line,) = lines(both, both, spec)

    assert line.replicates == (both[1], both[1])


def test_replicates_without_their_number_are_a_number(record: MakeRecord) -> None:
    spec = MetricSpec("mine", "1", "lower", "quality")
    alone = record(metric="mine", unit="1", at={"statistic": "replicates"})

    (line,) = lines([alone], [alone], spec)

    assert (line.base, line.new) == ((alone,), (alone,))


def test_two_recipes_on_both_sides_are_compared_each_with_its_own(record: MakeRecord) -> None:
    """Of one visit, as no program of ours writes them."""

    def side(small: float, large: float) -> list[Record]:
        return [
            record(metric="frechet", unit="1", at={"statistic": "value", "n": n}, values=(value,), siblings=2)
            for n, value in ((500, small), (1000, large))
        ]

    verdicts = compare(side_of(side(5.0, 4.0)), side_of(side(5.0, 36.0))).verdicts

    assert [(each.outcome, each.at["n"]) for each in verdicts] == [(Outcome.UNCHANGED, 500), (Outcome.REGRESSED, 1000)]


def several(record: MakeRecord, metric: str, unit: str, found: Sequence[float], part: str = "") -> list[Record]:
    return [record(metric=metric, unit=unit, part=part, values=(value,), siblings=len(found)) for value in found]


@pytest.mark.parametrize(("metric", "unit"), [("nfe", "calls"), ("frechet", "1"), ("peak_memory", "bytes")])
@pytest.mark.parametrize(
    ("base", "new", "outcome"),
    [
        ((1.0, 2.0), (1.0, 2.0), Outcome.UNCHANGED),
        ((1.0, 2.0), (9.0, 2.0), Outcome.UNDECIDED),
        ((1.0, 2.0), (2.0, 1.0), Outcome.UNDECIDED),
        ((1.0, 2.0), (2.0,), Outcome.UNDECIDED),
        ((1.0,), (9.0, 1.0), Outcome.UNDECIDED),
        ((1.0, 1.0), (1.0,), Outcome.UNCHANGED),
        ((1.0, 1.0), (9e9, 9e9), Outcome.REGRESSED),
    ],
)
def test_several_numbers_of_one_name_are_told_apart_or_undecided(
    record: MakeRecord,
    metric: str,
    unit: str,
    base: tuple[float, ...],
    new: tuple[float, ...],
    outcome: Outcome,
) -> None:
    (verdict,) = compare(*(side_of(several(record, metric, unit, each)) for each in (base, new))).verdicts

    if unit == "bytes":  # which are of a machine, and these sides do not say of which
        assert verdict.outcome is Outcome.INCOMPARABLE
    else:
        assert verdict.outcome is outcome


def test_two_times_of_one_visit_are_not_mixed(record: MakeRecord) -> None:
    spec = MetricSpec("mine", "s", "lower", "timing")

    def side(first: float) -> Side:
        records = [
            each
            for index in range(10)
            for each in several(record, "mine", "s", (first * (1 + 0.001 * index), 1.0), f"p{index % 2}r{index // 2}")
        ]
        return side_of(records)

    def verdict(one: Side, other: Side) -> Verdict:
        specs = {"mine": spec}
        sides = [Side(each.name, each.records, specs=specs) for each in (one, other)]
        (found,) = compare(*sides, Rules(Tolerances(), across=("machine",))).verdicts
        return found

    assert verdict(side(1.0), side(9.0)).outcome is Outcome.UNDECIDED
    assert verdict(side(1.0), side(1.0)).outcome is Outcome.UNCHANGED


def test_other_visits_of_a_number_that_is_not_timed_count_too(record: MakeRecord) -> None:
    base, new = (
        [record(metric="nfe", unit="calls", part=f"p{index}r0", values=(v,)) for index, v in enumerate(found)]
        for found in ((1.0, 1.0), (9.0, 1.0))
    )

    (verdict,) = compare(side_of(base), side_of(new)).verdicts

    assert verdict.outcome is Outcome.UNDECIDED


def test_a_base_of_which_some_visits_failed_is_compared_by_the_others(record: MakeRecord) -> None:
    base = [record(metric="nfe", unit="calls", values=(1.0,), part="p0r0")]
    base.append(record(metric="nfe", unit="calls", part="p0r1", status=Status.FAILED, reason="out of memory"))
    new = [record(metric="nfe", unit="calls", values=(9.0,), part="p0r0")]

    (verdict,) = compare(side_of(base), side_of(new)).verdicts

    assert verdict.outcome is Outcome.REGRESSED
    assert verdict.sentence.endswith("some visits of BASE gave no number: failed: out of memory")


def test_records_of_one_cell_under_two_conditions_are_not_compared_by_the_first_alone(record: MakeRecord) -> None:
    base = [record(metric="nfe", unit="calls", part=part) for part in ("p0r0", "p1r0")]
    new = [base[0], replace(base[1], conditions={"device": "cuda", "threads": 1})]

    (verdict,) = compare(side_of(base), side_of(new)).verdicts

    assert (verdict.outcome, verdict.differs) == (Outcome.INCOMPARABLE, "conditions.device")


@pytest.mark.parametrize(
    ("was", "now", "outcome"),
    [
        ((100, 10), (99, 1000), Outcome.REGRESSED),
        ((100, 10), (101, 9), Outcome.REGRESSED),
        ((100, 10), (99, 9), Outcome.IMPROVED),
        ((100, 10), (100, 9), Outcome.IMPROVED),
        ((100, 10), (100, 11), Outcome.REGRESSED),
    ],
)
def test_a_number_and_how_often_it_is_called_end_in_the_worse_of_both(
    record: MakeRecord, was: tuple[int, int], now: tuple[int, int], outcome: Outcome
) -> None:
    base, new = (
        [record(metric="macs", unit="MAC", at={"stage": 0, "calls": calls}, values=(float(value),))]
        for value, calls in (was, now)
    )

    (verdict,) = compare(side_of(base), side_of(new)).verdicts

    assert verdict.outcome is outcome
    assert "calls of it in a walk became" in verdict.sentence


def test_several_numbers_of_one_name_are_all_exported(record: MakeRecord) -> None:
    found = values(side_of(several(record, "nfe", "calls", (1.0, 2.0))))

    assert [(each.name, each.value) for each in found] == [("nfe (number = 1)", 1.0), ("nfe (number = 2)", 2.0)]
