"""Rows of values as lines: which line is whose, and what is not shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from bench.report.document import Figure
from bench.report.draw import MOST_FOUND
from bench.report.figures import build_figure
from bench.report.grids import Measured
from bench.report.svg import drawn
from bench.store.record import Record, Status
from bench.suite.schema import FigureSpec, Quantity

MakeMeasured = Callable[..., Measured]
STEPS = (100.0, 200.0, 300.0)
LOSSES = {"zero": (0.8, 0.4, 0.2), "duplicate": (0.9, 0.5, 0.3), "interpolate": (0.9, 0.5, 0.3)}


def spec(**fields: object) -> FigureSpec:
    found = FigureSpec(
        id="f",
        caption="C",
        kind="curves",
        value=Quantity(metric="training_loss", at={"of": "loss"}, label="loss"),
        x_value=Quantity(metric="training_loss", at={"of": "step"}, label="step"),
    )
    return found.model_copy(update=fields)


def trained(records: Iterable[Record]) -> Iterable[Record]:
    """The cells of the fixture with a training's curve each: two of the three kinds of skipping share theirs."""
    seen = set()
    for record in records:
        yield record
        if record.cell not in seen:
            seen.add(record.cell)
            skip = str(record.factors["model.skip"])
            made = replace(record, metric="training_loss", unit="1", part="", siblings=2)
            yield replace(made, at={"of": "loss"}, values=LOSSES[skip])
            yield replace(made, at={"of": "step"}, values=STEPS if skip == "zero" else (*STEPS[:2], 250.0))


def figure(
    measured: MakeMeasured, change: Callable[[Iterable[Record]], Iterable[Record]] = trained, **fields: object
) -> Figure:
    return build_figure(spec(**fields), measured(change))


def test_cells_with_the_same_values_are_one_line(measured: MakeMeasured) -> None:
    found = figure(measured, series="model.skip")

    (panel,) = found.panels
    assert [(line.label, line.x, line.y) for line in panel.series] == [
        ("zero", STEPS, LOSSES["zero"]),
        ("duplicate", (100.0, 200.0, 250.0), LOSSES["duplicate"]),
    ]
    assert (panel.look, found.x_label, found.y_label) == ("lines", "step", "loss")
    assert panel.series[0].texts[1] == "zero, step 200: 0.400"


def test_whether_budgets_were_equal_is_said(measured: MakeMeasured) -> None:
    unequal = figure(measured)
    equal = figure(measured, x_value=None)
    alone = figure(measured, where={"model.skip": "zero"})

    assert unequal.notes == ("The lines end at step = 250 to 300: they are not equally long.",)
    assert equal.notes == ("All 2 lines end at place in the row = 3.",)
    assert alone.notes == ()


def test_without_a_telling_factor_lines_are_named_by_all_that_differs(measured: MakeMeasured) -> None:
    assert [line.label for line in figure(measured).panels[0].series] == ["skip = zero", "skip = duplicate"]


def test_cells_without_a_curve_are_counted_with_the_reason(measured: MakeMeasured) -> None:
    def lacking(records: Iterable[Record]) -> Iterable[Record]:
        for record in trained(records):
            if record.metric != "training_loss" or record.factors["model.skip"] != "zero":
                yield record
            elif record.at["of"] == "loss":
                reason = "no training curve is known of these weights"
                yield replace(record, status=Status.UNSUPPORTED, values=(), reason=reason, at={}, siblings=1)

    found = figure(measured, lacking)

    assert len(found.panels[0].series) == 1
    assert found.notes == ("5 lines not shown; unsupported: no training curve is known of these weights",)


def test_rows_of_different_length_and_unchosen_rows_are_not_guessed_at(measured: MakeMeasured) -> None:
    def torn(records: Iterable[Record]) -> Iterable[Record]:
        for record in trained(records):
            shorter = record.metric == "training_loss" and record.at["of"] == "step"
            yield replace(record, values=record.values[:2]) if shorter else record

    lengths = figure(measured, torn)
    several = figure(measured, value=Quantity(metric="training_loss"))

    assert lengths.panels == several.panels == ()
    assert lengths.notes == ("15 lines not shown; unclear: there are 3 values over 2 places",)
    assert "training_loss has 2 rows of values; choose one with `at`: of = loss and of = step" in several.notes[0]


def test_values_are_scaled_like_any_other(measured: MakeMeasured) -> None:
    def timed(records: Iterable[Record]) -> Iterable[Record]:
        for record in trained(records):
            known = record.metric == "training_loss"
            yield replace(record, unit="s", values=tuple(v / 1000 for v in record.values)) if known else record

    found = figure(measured, timed, x_value=None)

    assert found.y_label == "loss (µs)"
    assert found.panels[0].series[0].y == pytest.approx((800, 400, 200))


def test_a_factor_may_have_panels_of_its_own_each_on_its_own_axis(measured: MakeMeasured) -> None:
    found = figure(measured, panels="model.skip", series="model.skip")

    assert [(panel.title, [line.label for line in panel.series]) for panel in found.panels] == [
        ("skip = zero", ["zero"]),
        ("skip = duplicate", ["duplicate"]),
        ("skip = interpolate", ["interpolate"]),
    ]
    assert found.y_range is None
    assert found.notes == ()


def test_a_further_quantity_of_the_same_cell_is_a_dashed_line_in_the_colour_of_its_curve(
    measured: MakeMeasured,
) -> None:
    best = Quantity(metric="macs", at={"stage": 0}, reduce="value", label="best step")
    found = figure(measured, series="model.skip", beside=(best,))
    (panel,) = found.panels

    assert [mark.label for mark in panel.verticals] == ["zero", "duplicate"]
    assert panel.verticals[0].x == 6.2390e9
    assert panel.verticals[0].text.startswith("zero, best step: 6")
    assert "Dashed: best step, in the colour of its line." in found.notes
    assert "zero, best step" in drawn(found).svg


def test_a_place_that_is_not_known_is_not_marked(measured: MakeMeasured) -> None:
    (panel,) = figure(measured, beside=(Quantity(metric="nowhere"),)).panels

    assert panel.verticals == ()


def test_a_long_row_is_a_line_without_a_mark_for_each_value(measured: MakeMeasured) -> None:
    def long(records: Iterable[Record]) -> Iterable[Record]:
        for record in trained(records):
            known = record.metric == "training_loss"
            yield replace(record, values=tuple(1 / (1 + i) for i in range(500))) if known else record

    found = figure(measured, long, x_value=None)
    svg = drawn(found).svg

    # Some of them can still be pointed at, unseen.
    assert 0 < svg.count("<title>") <= sum(len(panel.series) for panel in found.panels) * (MOST_FOUND + 2)
    assert len(svg) < 90_000
