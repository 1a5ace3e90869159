"""From a figure of the suite to a figure of the report: panels of numbers, ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench import units
from bench.analysis.published import Printed
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point, as_key, same, varying
from bench.contracts import Scalar
from bench.report import words
from bench.report.curve_figures import curves_figure
from bench.report.document import Figure, Panel, Series
from bench.report.grids import Grid, Measured, make_grid, outcome, shown, written
from bench.report.origins import number_entry
from bench.report.panels import axis_label, grid_series, interval_note, missing_notes, y_range
from bench.report.picture_figures import picture_figure
from bench.report.plain import clean, factor_text, label, short
from bench.report.printed import find_published, printed_for
from bench.report.stage_figures import stage_times_figure, stages_figure
from bench.suite.schema import FigureSpec, Quantity


def figure_quantities(spec: FigureSpec) -> tuple[Quantity, ...]:
    """Every quantity that a figure shows, those that its kind implies included."""
    implied = {"stages": ("stages",), "stage_times": ("step_time", "macs")}.get(spec.kind, ())
    return (
        *filter(None, (spec.value, spec.x_value)),
        *spec.beside,
        *(Quantity(metric=metric) for metric in implied),
    )


def build_figure(spec: FigureSpec, measured: Measured) -> Figure:
    """The figure; what it cannot show is said in its notes, never left out silently."""
    makers: Mapping[str, Callable[[FigureSpec, Measured], Figure]] = {
        "bars": _over_x,
        "lines": _over_x,
        "curves": curves_figure,
        "stages": stages_figure,
        "stage_times": stage_times_figure,
        "pareto": _pareto,
        "plane": _pareto,
        "images": picture_figure,
        "strip": picture_figure,
    }
    return makers[spec.kind](spec, measured)


def _over_x(spec: FigureSpec, measured: Measured) -> Figure:
    """A quantity over a factor: a panel for each series where a paper or a limit stands beside it, else one panel."""
    assert spec.value is not None and spec.x is not None  # the reader checked it
    results = measured.results
    cells = shown(results.points, spec.where)
    xs = [x for x in results.values(spec.x, cells) if x is not None]
    groups: Sequence[Scalar] = results.values(spec.series, cells) if spec.series else (None,)
    paper, problem = find_published(spec.published)
    places = [
        [shown(results.find({spec.x: x, **({spec.series: group} if spec.series else {})}), spec.where) for x in xs]
        for group in groups
    ]
    grids = [
        make_grid(each, [[outcome(measured, points, each) for points in row] for row in places])
        for each in (spec.value, *spec.beside)
    ]
    numeric = spec.kind == "lines" and all(isinstance(x, int | float) and not isinstance(x, bool) for x in xs)
    positions = tuple(float(x) if numeric else float(i) for i, x in enumerate(xs))
    panels, seen = [], []
    for index, group in enumerate(groups):
        name = factor_text(spec.series, group) if spec.series else ""
        prints = [printed_for(paper[1], points, spec.value) if paper else None for points in places[index]]
        told = [f"{name + ', ' if name else ''}{factor_text(spec.x, x)}" for x in xs]
        stack = [grid_series(grids[0], index, positions, "ours", "ours", told)]
        if any(prints):
            stack.insert(0, _printed_series(prints, positions, told))
        stack += [
            grid_series(grid, index, positions, words.name_of(grid.quantity), "beside", told) for grid in grids[1:]
        ]
        panels.append(Panel(name, "bars" if spec.kind == "bars" else "lines", tuple(stack)))
        seen += prints
    if len(panels) > 1 and not any(seen) and not spec.beside:
        panels = [_merged(panels, groups)]
    ticks = () if numeric else tuple(label(x) for x in xs)
    return Figure(
        clean(spec.id, 200),
        clean(spec.caption),
        short(spec.x),
        axis_label(grids[0]),
        tuple(replace(panel, ticks=ticks) for panel in panels),
        y_range=y_range(panels, zero=spec.kind == "bars"),
        notes=tuple(filter(None, (*missing_notes(grids), problem, interval_note(panels)))),
    )


def _merged(panels: Sequence[Panel], groups: Sequence[Scalar]) -> Panel:
    """Series of one kind that need no panels of their own."""
    series = [replace(panel.series[0], label=label(group)) for panel, group in zip(panels, groups, strict=True)]
    return Panel("", panels[0].look, tuple(series))


def _printed_series(prints: Sequence[Printed | None], positions: tuple[float, ...], told: Sequence[str]) -> Series:
    """What a paper prints, on the axis of ours: both are percent or both are not."""
    return Series(
        "paper",
        "paper",
        positions,
        tuple(float(each.text) if each else None for each in prints),
        texts=tuple(
            clean(f"{where}, paper: {units.write_printed(each.text, each.unit)}") if each else ""
            for where, each in zip(told, prints, strict=True)
        ),
    )


def _pareto(spec: FigureSpec, measured: Measured) -> Figure:
    """One quantity against another, a point for each cell: a pareto figure, or a plane."""
    assert spec.value is not None and spec.x_value is not None  # the reader checked it
    results, cells = measured.results, shown(measured.results.points, spec.where)
    grids = [
        make_grid(each, [[outcome(measured, [point], each)] for point in cells]) for each in (spec.x_value, spec.value)
    ]
    groups: Sequence[Scalar] = results.values(spec.panels, cells) if spec.panels else (None,)
    panels = [_pareto_panel(spec, measured, cells, grids, group) for group in groups]
    return Figure(
        clean(spec.id, 200),
        clean(spec.caption),
        axis_label(grids[0]),
        axis_label(grids[1]),
        tuple(panel for panel in panels if panel.series),
        notes=missing_notes(grids),
    )


def _pareto_panel(
    spec: FigureSpec, measured: Measured, cells: Sequence[Point], grids: Sequence[Grid], panel: Scalar
) -> Panel:
    """The points of one panel; of all cells where there is only one."""
    results = measured.results
    members = cells if spec.panels is None else shown(cells, {spec.panels: panel})
    groups: Sequence[Scalar] = results.values(spec.series, cells) if spec.series else (None,)
    varied = [name for name in results.factor_names() if len(results.values(name, members)) > 1]
    if spec.kind == "plane":
        varied = _of_the_model(varying(members), members)
    series = []
    for group in groups:
        chosen = [
            (x, y, point)
            for (x,), (y,), point in zip(grids[0].outcomes, grids[1].outcomes, cells, strict=True)
            if point in members
            and isinstance(x, Estimate)
            and isinstance(y, Estimate)
            and (spec.series is None or (point.has(spec.series) and same(point.value(spec.series), group)))
        ]
        divisors = [grid.scale.divisor for grid in grids]
        series.append(
            Series(
                label(group) if spec.series else "cells",
                "ours",
                tuple(x.value / divisors[0] for x, _, _ in chosen),
                tuple(y.value / divisors[1] for _, y, _ in chosen),
                tuple(y.low / divisors[1] if y.low is not None else None for _, y, _ in chosen),
                tuple(y.high / divisors[1] if y.high is not None else None for _, y, _ in chosen),
                tuple(
                    clean(f"{_name(point, varied, spec.kind)}: {_said(x, grids[0])}, {_said(y, grids[1])}")
                    for x, y, point in chosen
                ),
                tuple(number_entry(y, grids[1]) for _, y, _ in chosen),
            )
        )
    title = "" if spec.panels is None else factor_text(spec.panels, panel)
    return Panel(title, "plane" if spec.kind == "plane" else "points", tuple(each for each in series if each.x))


def _of_the_model(varied: Sequence[str], members: Sequence[Point]) -> list[str]:
    """The factors of the model alone, where they tell the cells apart: a name beside a point must be short."""
    own = [name for name in varied if name.partition(".")[0] == "model"]
    keys = {as_key(point.value(name) if point.has(name) else None for name in own) for point in members}
    return own if len(keys) == len(members) else list(varied)


def _name(point: Point, varied: Sequence[str], kind: str) -> str:
    """A cell by what tells it from the others; in a plane, where the names are drawn, by the values alone."""
    if kind == "plane":
        return " ".join(label(point.value(name)) for name in varied if point.has(name))
    return ", ".join(factor_text(name, point.value(name)) for name in varied if point.has(name))


def _said(estimate: Estimate, grid: Grid) -> str:
    return " ".join(filter(None, written(estimate, grid)))
