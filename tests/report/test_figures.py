"""Figures as numbers, before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from bench.report.document import Figure, Series
from bench.report.figures import build_figure, figure_quantities
from bench.report.geometry import apart
from bench.report.grids import Measured
from bench.report.svg import drawn
from bench.store.record import Record, Status
from bench.suite.schema import FigureSpec, PublishedRef, Quantity

MakeMeasured = Callable[..., Measured]
SAVED = Quantity(metric="latency", relative="time_saved", to={"model.skip_exponent": 0})
LIMIT = SAVED.model_copy(update={"metric": "macs", "reduce": "total", "label": "MAC limit"})


def spec(kind: str, **fields: object) -> FigureSpec:
    return FigureSpec(id="f", caption="C", kind="bars").model_copy(update={"kind": kind, **fields})


def bars(**fields: object) -> FigureSpec:
    return spec("bars", value=SAVED, x="model.skip_exponent", series="model.skip", **fields)


def series(figure: Figure, panel: int, label: str) -> Series:
    (found,) = [each for each in figure.panels[panel].series if each.label == label]
    return found


def test_bars_stand_beside_the_papers_in_a_panel_for_each_series(measured: MakeMeasured) -> None:
    published = PublishedRef(paper="adaptive-skip", table="2")
    figure = build_figure(bars(beside=(LIMIT,), published=published), measured())

    assert [panel.title for panel in figure.panels] == ["skip = zero", "skip = duplicate", "skip = interpolate"]
    assert [(each.label, each.role) for each in figure.panels[0].series] == [
        ("paper", "paper"),
        ("ours", "ours"),
        ("MAC limit", "beside"),
    ]
    assert figure.panels[0].ticks == ("0", "1", "2", "3", "5")
    assert series(figure, 0, "paper").y == (0.0, 30.59, 47.52, 51.44, 57.46)
    assert series(figure, 0, "MAC limit").y == pytest.approx((0.0, 20.58, 35.61, 43.07, 50.35), abs=0.005)
    assert figure.y_label == "latency, time saved (%)"
    assert figure.notes == ("Error bars: 95 % interval.",)


def test_every_bar_says_what_it_is(measured: MakeMeasured) -> None:
    ours = series(build_figure(bars(), measured()), 0, "zero")

    assert ours.texts[2].startswith("skip = zero, skip_exponent = 2, ours: 40")
    assert "[" in ours.texts[2]


def test_series_without_a_paper_share_one_panel(measured: MakeMeasured) -> None:
    figure = build_figure(bars(), measured())

    assert [each.label for each in figure.panels[0].series] == ["zero", "duplicate", "interpolate"]
    assert len(figure.panels) == 1
    assert [each.label for each in figure.legend] == ["zero", "duplicate", "interpolate"]


def test_all_panels_have_one_scale_that_holds_every_error_bar(measured: MakeMeasured) -> None:
    figure = build_figure(bars(beside=(LIMIT,)), measured())
    highest = max(high for panel in figure.panels for each in panel.series for high in each.high if high is not None)

    assert figure.y_range is not None
    assert figure.y_range[0] == 0.0
    assert figure.y_range[1] > highest


def test_lines_stand_at_their_numbers_and_not_at_ranks(measured: MakeMeasured) -> None:
    figure = build_figure(spec("lines", value=SAVED, x="model.skip_exponent", series="model.skip"), measured())

    assert figure.panels[0].look == "lines"
    assert figure.panels[0].ticks == ()
    assert figure.panels[0].series[0].x == (0.0, 1.0, 2.0, 3.0, 5.0)


def test_what_a_figure_cannot_show_is_said(measured: MakeMeasured) -> None:
    def fail(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            if record.metric == "latency" and "zero,skip_exponent=5-" in record.cell:
                record = replace(record, status=Status.FAILED, values=(), reason="the worker died", nfe=None)
            yield record

    figure = build_figure(bars(), measured(fail))

    assert series(figure, 0, "zero").y[4] is None
    assert "1 number not shown; failed: the worker died" in figure.notes


def test_stages_have_a_panel_for_each_course_at_the_papers_boundaries(measured: MakeMeasured) -> None:
    """Figures 6 to 9 of paper A: first timestep with k >= 1, 2, 3 at c = 1, 2, 3, 5."""
    figure = build_figure(spec("stages", series="model.skip_exponent"), measured())
    boundaries = [tuple(round(1000 * x) for x in panel.series[0].x[2::2]) for panel in figure.panels]

    assert [panel.title for panel in figure.panels] == [f"skip_exponent = {c}" for c in (1, 2, 3, 5)]
    assert boundaries == [(250, 500, 750), (134, 293, 500), (92, 207, 371), (56, 130, 243)]
    assert figure.panels[1].series[0].y == (0, 0, 1, 1, 2, 2, 3, 3)
    assert figure.panels[1].subtitle == "share of timesteps: 0: 13 %, 1: 16 %, 2: 21 %, 3: 50 %"
    assert figure.notes == ("skip_exponent = 0: stage 0 at every timestep, so no panel is drawn.",)
    assert figure.legend == ()


def test_cells_with_one_course_share_a_panel_that_names_them_all(measured: MakeMeasured) -> None:
    figure = build_figure(spec("stages", series="model.skip"), measured())

    assert figure.panels[0].title == "skip = zero, duplicate and interpolate"


def test_stages_that_were_not_measured_are_said(measured: MakeMeasured) -> None:
    figure = build_figure(spec("stages"), measured(lambda records: (r for r in records if r.metric != "stages")))

    assert figure.panels == ()
    assert figure.notes == ("The stages of some cells were not measured.",)


def test_stage_times_show_each_stage_beside_its_share_of_the_arithmetic(measured: MakeMeasured) -> None:
    figure = build_figure(spec("stage_times", series="model.skip"), measured())
    times, arithmetic = figure.panels[0].series

    assert [panel.title for panel in figure.panels] == ["skip = zero", "skip = duplicate", "skip = interpolate"]
    assert figure.panels[0].ticks == ("0", "1", "2", "3")
    assert figure.y_label == "one step (ms)"
    assert times.y == pytest.approx((2.43, 2.15, 1.68, 0.87), rel=0.03)
    assert all(low is not None for low in times.low)
    assert [y / arithmetic.y[0] for y in arithmetic.y] == pytest.approx([1, 0.9648, 0.8516, 0.3605], abs=1e-4)  # type: ignore[operator]
    assert "36.0 % of the MACs of stage 0" in arithmetic.texts[3]


def test_stage_times_without_macs_or_without_times_still_stand(measured: MakeMeasured) -> None:
    only_times = measured(lambda records: (r for r in records if r.metric != "macs"))
    nothing = measured(lambda records: (r for r in records if r.metric == "stages"))

    assert [each.label for each in build_figure(spec("stage_times"), only_times).panels[0].series] == [
        "one step, measured"
    ]
    assert build_figure(spec("stage_times"), nothing).notes == ("No cell has the step times of its stages.",)


def test_a_pareto_figure_has_a_point_for_each_cell(measured: MakeMeasured) -> None:
    figure = build_figure(
        spec(
            "pareto",
            value=Quantity(metric="latency", label="time"),
            x_value=Quantity(metric="macs", reduce="total", label="MACs"),
            series="model.skip",
        ),
        measured(),
    )

    assert [(each.label, len(each.x)) for each in figure.panels[0].series] == [
        ("zero", 5),
        ("duplicate", 5),
        ("interpolate", 5),
    ]
    assert (figure.x_label, figure.y_label) == ("MACs (T)", "time (s)")
    assert figure.panels[0].series[0].texts[2].startswith("skip = zero, skip_exponent = 2: 4.017 T, 1.4")


def test_a_plane_has_its_hull_and_names_its_points_by_what_tells_the_models_apart(measured: MakeMeasured) -> None:
    figure = drawn(
        build_figure(
            spec(
                "plane",
                value=Quantity(metric="latency", label="time"),
                x_value=Quantity(metric="macs", reduce="total", label="MACs"),
                panels="model.skip",
            ),
            measured(),
        )
    )

    assert [(panel.title, panel.look) for panel in figure.panels] == [
        ("skip = zero", "plane"),
        ("skip = duplicate", "plane"),
        ("skip = interpolate", "plane"),
    ]
    texts = figure.panels[0].series[0].texts
    assert len(texts) == 5
    assert texts[2].startswith("2: 4.017 T, 1.4")
    assert "2: 4.017 T" in figure.svg


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
        ([0.5, 0.5, 0.5], [0.25, 0.5, 0.75]),
        ([0.9, 0.95, 1.0], [0.5, 0.75, 1.0]),
        ([-0.2, 0.0], [0.0, 0.25]),
        ([0.0] * 9, [index / 8 for index in range(9)]),
        ([], []),
    ],
)
def test_names_beside_a_plane_stand_apart(wanted: list[float], places: list[float]) -> None:
    assert apart(wanted, 0.25) == pytest.approx(places)


def test_the_quantities_of_a_figure_include_those_its_kind_implies() -> None:
    assert [each.metric for each in figure_quantities(bars(beside=(LIMIT,)))] == ["latency", "macs"]
    assert [each.metric for each in figure_quantities(spec("stage_times"))] == ["step_time", "macs"]
    assert [each.metric for each in figure_quantities(spec("stages"))] == ["stages"]
