"""Figures of whole rows of values, such as the loss over a training: a line for each different row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench import units
from bench.analysis.reduce import Estimate, reduce
from bench.analysis.results import Point, varying
from bench.analysis.samples import Missing, at_text, chosen_records
from bench.contracts import Scalar
from bench.report import words
from bench.report.document import Figure, Panel, Series, Vertical
from bench.report.grids import Measured, shown
from bench.report.panels import y_range
from bench.report.plain import clean, factor_text, label, listing
from bench.suite.schema import FigureSpec, Quantity
from bench.units import Scale

Row = tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """The values of one cell, as they were recorded."""

    point: Point
    """The first of the cells that have these values."""
    x: Row
    y: Row


def curves_figure(spec: FigureSpec, measured: Measured) -> Figure:
    """Kind `curves`: the values of `value` against those of `x_value`, or against their number; equal ones once."""
    assert spec.value is not None  # the reader checked it
    cells = shown(measured.results.points, spec.where)
    found = {point.id: _curve(spec, measured, point) for point in cells}
    lines = _different(found[point.id] for point in cells)
    unit = _unit(measured, spec.value, lines)
    scale = units.choose_scale([y for line in lines for y in line.y], unit, spec.value.format)
    groups: Sequence[Scalar] = (None,) if spec.panels is None else measured.results.values(spec.panels, cells)
    panels = []
    for group in groups:
        members = cells if spec.panels is None else shown(cells, {spec.panels: group})
        title = "" if spec.panels is None else factor_text(spec.panels, group)
        own = _different(found[point.id] for point in members)
        names = _names(own, spec.series, varying(line.point for line in own))
        series = tuple(_series(line, name, scale, _x_name(spec)) for line, name in zip(own, names, strict=True))
        marks = [mark for line, name in zip(own, names, strict=True) for mark in _marks(spec, measured, line, name)]
        panels.append(Panel(title, "lines", series, verticals=tuple(marks)))
    panels = [panel for panel in panels if panel.series]
    return Figure(
        clean(spec.id, 200),
        clean(spec.caption),
        _x_name(spec),
        " ".join(filter(None, (words.name_of(spec.value), f"({scale.symbol})" if scale.symbol else ""))),
        tuple(panels),
        # Panels of their own are read by themselves, each on its own axis.
        y_range=y_range(panels, zero=True) if spec.panels is None else None,
        notes=(
            *(_ends(lines, _x_name(spec)) if spec.panels is None else ()),
            *_marked(spec),
            *_missing([each for each in found.values() if isinstance(each, Missing)]),
        ),
    )


def _different(found: Iterable[Curve | Missing]) -> tuple[Curve, ...]:
    """The curves, equal ones once."""
    curves: dict[tuple[Row, Row], Curve] = {}
    for each in found:
        if isinstance(each, Curve):
            curves.setdefault((each.x, each.y), each)
    return tuple(curves.values())


def _marks(spec: FigureSpec, measured: Measured, line: Curve, name: str) -> list[Vertical]:
    """The places of a line's cell that the figure marks."""
    found = [(each, reduce(measured.results, line.point, each)) for each in spec.beside]
    return [
        Vertical(
            place.value,
            clean(name, 200),
            clean(f"{name}, {words.name_of(quantity)}: {units.write_unsure(place.value, units.choose_scale([], ''))}"),
        )
        for quantity, place in found
        if isinstance(place, Estimate)
    ]


def _marked(spec: FigureSpec) -> tuple[str, ...]:
    if not spec.beside:
        return ()
    return (clean(f"Dashed: {listing(words.name_of(each) for each in spec.beside)}, in the colour of its line."),)


def _curve(spec: FigureSpec, measured: Measured, point: Point) -> Curve | Missing:
    assert spec.value is not None  # the reader checked it
    y = _values(measured, point, spec.value)
    if isinstance(y, Missing):
        return y
    x = tuple(float(1 + i) for i in range(len(y))) if spec.x_value is None else _values(measured, point, spec.x_value)
    if isinstance(x, Missing):
        return x
    if len(x) != len(y):
        return Missing("unclear", f"there are {len(y)} values over {len(x)} places", (point.id,))
    return Curve(point, x, y)


def _values(measured: Measured, point: Point, quantity: Quantity) -> Row | Missing:
    """The raw values of one record of one cell."""
    records = chosen_records(measured.results, point, quantity)
    if isinstance(records, Missing):
        return records
    if len(records) > 1:
        kinds = dict.fromkeys(at_text(record.at) for record in records)
        reason = f"{quantity.metric} has {len(records)} rows of values; choose one with `at`: {listing(kinds)}"
        return Missing("unclear", reason, (point.id,))
    return records[0].values


def _unit(measured: Measured, quantity: Quantity, lines: Sequence[Curve]) -> str:
    return measured.results.records(lines[0].point.id, quantity.metric)[0].unit if lines else ""


def _names(lines: Sequence[Curve], series: str | None, varied: Sequence[str]) -> list[str]:
    """What tells each line from the others: the value of `series` where that is enough."""
    if series is not None and all(line.point.has(series) for line in lines):
        names = [label(line.point.value(series)) for line in lines]
        if len(set(names)) == len(names):
            return names
    told = [[factor_text(name, line.point.value(name)) for name in varied if line.point.has(name)] for line in lines]
    return [clean(", ".join(words) or line.point.id) for words, line in zip(told, lines, strict=True)]


def _series(line: Curve, name: str, scale: Scale, x_name: str) -> Series:
    return Series(
        name,
        "ours",
        line.x,
        tuple(y / scale.divisor for y in line.y),
        texts=tuple(
            clean(f"{name}, {x_name} {x:,.6g}: {units.write_unsure(y, scale)}")
            for x, y in zip(line.x, line.y, strict=True)
        ),
    )


def _x_name(spec: FigureSpec) -> str:
    return "place in the row" if spec.x_value is None else words.name_of(spec.x_value)


def _ends(lines: Sequence[Curve], x_name: str) -> tuple[str, ...]:
    """Whether all lines go equally far, which for trainings is whether their budgets were equal."""
    ends = {line.x[-1] for line in lines}
    if len(lines) < 2:
        return ()
    if len(ends) == 1:
        return (clean(f"All {len(lines)} lines end at {x_name} = {ends.pop():,.6g}."),)
    return (clean(f"The lines end at {x_name} = {min(ends):,.6g} to {max(ends):,.6g}: they are not equally long."),)


def _missing(found: Sequence[Missing]) -> tuple[str, ...]:
    reasons = [f"{each.status}: {each.reason}" for each in found]
    return tuple(
        clean(f"{units.plural(reasons.count(reason), 'line')} not shown; {reason}") for reason in dict.fromkeys(reasons)
    )
