"""Figures of networks whose computation depends on the timestep: which stage runs when, and what each one costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from bench import units
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point, same
from bench.contracts import Scalar
from bench.report.document import Figure, Panel, Series
from bench.report.grids import Grid, Measured, make_grid, outcome
from bench.report.panels import grid_series, interval_note, y_range
from bench.report.plain import clean, factor_text, label, listing, short
from bench.store.record import Status
from bench.suite.schema import FigureSpec, Quantity


def stages_figure(spec: FigureSpec, measured: Measured) -> Figure:
    """A panel for each different course of stages, in the order of the cells."""
    name = spec.series or spec.x
    courses: dict[tuple[float, ...], list[Point]] = {}
    notes = []
    for point in measured.results.points:
        found = measured.results.records(point.id, "stages")
        good = [record for record in found if record.status is Status.OK]
        if good:
            courses.setdefault(good[-1].values, []).append(point)
        else:
            notes.append((found[-1].reason if found else None) or "The stages of some cells were not measured.")
    panels = []
    for values, points in courses.items():
        heads = dict.fromkeys(label(point.value(name)) for point in points if name and point.has(name))
        title = f"{short(name)} = {listing(heads)}" if name and heads else units.plural(len(points), "cell")
        if len(set(values)) == 1:
            notes.append(f"{title}: stage {values[0]:g} at every timestep, so no panel is drawn.")
        else:
            panels.append(_course(title, values))
    return Figure(
        clean(spec.id, 200),
        clean(spec.caption),
        "timestep t / T (noise on the right)",
        "stage",
        tuple(panels),
        x_range=(0.0, 1.0),
        y_range=(0.0, max((y for panel in panels for y in panel.series[0].y if y is not None), default=1.0)),
        notes=tuple(map(clean, dict.fromkeys(notes))),
    )


def _course(title: str, values: Sequence[float]) -> Panel:
    """k(t) as steps, and how large a share of the timesteps each stage has."""
    total = len(values)
    starts = [0, *(t for t in range(1, total) if values[t] != values[t - 1]), total]
    x, y, texts = [], [], []
    for start, end in pairwise(starts):
        x += [start / total, end / total]
        y += [values[start]] * 2
        texts += [f"stage {values[start]:g} from t = {start} to {end - 1} ({100 * (end - start) / total:.1f} %)"] * 2
    shares = {stage: 100 * sum(value == stage for value in values) / total for stage in sorted(set(values))}
    subtitle = ", ".join(f"{stage:g}: {share:.0f} %" for stage, share in shares.items())
    series = Series("stage", "ours", tuple(x), tuple(y), texts=tuple(texts))
    return Panel(clean(title, 200), "steps", (series,), subtitle=f"share of timesteps: {subtitle}")


def stage_times_figure(spec: FigureSpec, measured: Measured) -> Figure:
    """Time of one step at each stage, and the time it would take if time followed the multiply-accumulates."""
    name = spec.series or spec.x
    groups: Sequence[Scalar] = measured.results.values(name) if name else (None,)
    chosen = [(group, point) for group in groups if (point := _most_stages(measured, name, group))]
    times = [_by_stage(measured, point, Quantity(metric="step_time")) for _, point in chosen]
    macs = [_by_stage(measured, point, Quantity(metric="macs", reduce="value")) for _, point in chosen]
    grid = make_grid(Quantity(metric="step_time"), [list(row.values()) for row in times])
    titles = [factor_text(name, group) if name else "" for group, _ in chosen]
    panels = [
        _stage_panel(title, replace(grid, outcomes=(tuple(row.values()),)), row, counts)
        for title, row, counts in zip(titles, times, macs, strict=True)
    ]
    missing = () if panels else ("No cell has the step times of its stages.",)
    return Figure(
        clean(spec.id, 200),
        clean(spec.caption),
        "stage",
        f"one step ({grid.scale.symbol})",
        tuple(panels),
        y_range=y_range(panels, zero=True),
        notes=tuple(filter(None, (*missing, interval_note(panels)))),
    )


def _stage_panel(title: str, grid: Grid, times: dict[Scalar, Estimate], macs: dict[Scalar, Estimate]) -> Panel:
    """Bars of measured time, and across each bar the time that its share of the MACs would take."""
    stages = tuple(times)
    told = [f"{title}, stage {label(stage)}" if title else f"stage {label(stage)}" for stage in stages]
    positions = tuple(float(index) for index in range(len(stages)))
    stack = [grid_series(grid, 0, positions, "one step, measured", "ours", told)]
    full = macs.get(stages[0])
    if full is not None and full.value:
        shares = [macs[stage].value / full.value if stage in macs else None for stage in stages]
        whole = times[stages[0]].value / grid.scale.divisor
        texts = (
            f"{where}: {100 * share:.1f} % of the MACs of stage {label(stages[0])}" if share is not None else ""
            for where, share in zip(told, shares, strict=True)
        )
        heights = tuple(None if share is None else share * whole for share in shares)
        stack.append(Series("if time followed MACs", "beside", positions, heights, texts=tuple(map(clean, texts))))
    return Panel(title, "bars", tuple(stack), tuple(map(label, stages)))


def _most_stages(measured: Measured, name: str | None, group: Scalar) -> Point | None:
    """The first cell of a group that visits the most stages."""
    points = [
        point for point in measured.results.points if not name or (point.has(name) and same(point.value(name), group))
    ]
    best = max(points, key=lambda point: len(_stages(measured, point)), default=None)
    return best if best is not None and _stages(measured, best) else None


def _stages(measured: Measured, point: Point) -> tuple[Scalar, ...]:
    """The stages of a cell that have step times, in the order of its records."""
    records = measured.results.records(point.id, "step_time")
    return tuple(dict.fromkeys(r.at["stage"] for r in records if r.status is Status.OK and "stage" in r.at))


def _by_stage(measured: Measured, point: Point, quantity: Quantity) -> dict[Scalar, Estimate]:
    """The quantity at each stage of a cell, where there is one."""
    found = {
        stage: outcome(measured, [point], quantity.model_copy(update={"at": {"stage": stage}}))
        for stage in _stages(measured, point)
    }
    return {stage: each for stage, each in found.items() if isinstance(each, Estimate)}
