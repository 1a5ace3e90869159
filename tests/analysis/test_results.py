"""Finding records by cell, and the cell that another is compared with."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.results import Point, collect, reference
from bench.store.record import Record, Status
from bench.suite.schema import Cell, Conditions, Effort, Ref

Make = Callable[..., Record]


def test_a_later_attempt_replaces_a_failed_one(record: Make) -> None:
    records = [record(status=Status.FAILED, reason="it died"), record(values=(2.0,))]

    found = collect(records).records(records[0].cell, "latency")

    assert [each.values for each in found] == [(2.0,)]


def test_an_attempt_that_was_cut_short_does_not_count(record: Make) -> None:
    whole = [record(metric="macs", part="", at={"stage": k}, siblings=2) for k in (0, 1)]

    assert len(collect(whole).by_metric) == 1
    assert collect(whole[:1]).by_metric == {}


def test_planned_cells_come_first_and_are_there_without_records(record: Make) -> None:
    planned = Cell(
        id="planned",
        suite="s",
        model=Ref(name="skip-unet"),
        sampler=None,
        data=None,
        conditions=Conditions(),
        seed=0,
        factors={"model": "skip-unet"},
        metrics=(Ref(name="latency"),),
        effort=Effort(),
    )

    results = collect([record()], [planned])

    assert [point.id for point in results.points] == ["planned", record().cell]
    assert results.points[0].metrics == ("latency",)
    assert results.records("planned", "latency") == ()


def test_cells_are_found_by_factors_and_conditions(record: Make) -> None:
    results = collect([record("zero", 0.0), record("zero", 2.0), record("zero", 2.0, threads=2)])

    assert len(results.find({"model.skip_exponent": 2})) == 2
    assert len(results.find({"model.skip_exponent": 2, "conditions.threads": 2})) == 1
    assert len(results.find({"threads": 2})) == 1
    assert results.find({"model.skip_exponent": True}) == ()
    assert results.find({"model.width": 1}) == ()


def test_values_keep_their_first_order_and_merge_equal_numbers(record: Make) -> None:
    results = collect([record("zero", 5.0), record("zero", 0), record("duplicate", 5)])

    assert results.values("model.skip_exponent") == (5.0, 0)
    assert results.values("model.width") == ()


def test_a_cell_matches_when_it_has_one_of_the_values_of_every_factor(record: Make) -> None:
    (point,) = collect([record("zero", 2)]).points

    assert point.matches({"model.skip": ("duplicate", "zero"), "model.skip_exponent": 2, "threads": 1})
    assert not point.matches({"model.skip": ("duplicate", "interpolate")})
    assert not point.matches({"model.width": 8})


def test_a_factor_with_a_question_mark_may_be_lacking_but_not_other(record: Make) -> None:
    (point,) = collect([record("zero", 2)]).points

    assert point.matches({"model.width?": 8, "model.skip?": "zero"})
    assert not point.matches({"model.skip?": "duplicate"})


def test_the_reference_differs_in_nothing_but_what_is_named(record: Make) -> None:
    results = collect([record(skip, c) for skip in ("zero", "duplicate") for c in (0.0, 2.0)])
    point = results.find({"model.skip": "duplicate", "model.skip_exponent": 2})[0]

    found = reference(results, point, {"model.skip_exponent": 0})

    assert isinstance(found, Point)
    assert found.factors == {"model": "skip-unet", "model.skip": "duplicate", "model.skip_exponent": 0.0}


def test_a_reference_of_another_model_need_not_have_the_same_parameters(record: Make) -> None:
    plain = {"model": "ddpm-unet", "sampler": "ddim", "sampler.timesteps": 10}
    other = {**plain, "sampler.timesteps": 50}
    skipping = {"model": "skip-unet", "model.skip": "zero", "sampler": "ddim", "sampler.timesteps": 10}
    results = collect([record(factors=each) for each in (plain, other, skipping)])

    found = reference(results, results.points[2], {"model": "ddpm-unet"})

    assert isinstance(found, Point)
    assert found.factors == plain


def test_a_reference_among_conditions(record: Make) -> None:
    results = collect([record(threads=1), record(threads=2)])

    for name in ("threads", "conditions.threads"):
        found = reference(results, results.points[1], {name: 1})
        assert isinstance(found, Point)
        assert found.conditions["threads"] == 1


def test_a_reference_that_is_not_there_is_a_sentence(record: Make) -> None:
    results = collect([record("zero", 2.0)])

    assert reference(results, results.points[0], {"model.skip_exponent": 0}) == (
        "there is no cell with model.skip_exponent = 0 that is otherwise like this one"
    )


def test_two_possible_references_are_a_sentence(record: Make) -> None:
    first = {"model": "ddpm-unet", "model.width": 1}
    second = {"model": "ddpm-unet", "model.width": 2}
    results = collect([record(factors=each) for each in (first, second, {"model": "skip-unet"})])

    found = reference(results, results.points[2], {"model": "ddpm-unet"})

    assert found == "2 cells have model = ddpm-unet; name more factors in `to`"
