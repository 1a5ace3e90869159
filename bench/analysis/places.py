"""The number in one place of a table, where several cells may claim it: the one that is meant is chosen by a rule."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.reduce import Estimate, reduce, reduce_against
from bench.analysis.results import Point, Results, reference, varying
from bench.analysis.samples import Missing
from bench.suite.schema import Chosen, Quantity


def place(results: Results, points: Sequence[Point], quantity: Quantity) -> Estimate | Missing | None:
    """The quantity of these cells: of the only one, or of the chosen one; None where there is no cell.

    A reference is chosen by the same rule, among the references of all these cells.
    """
    points = [point for point in points if point.matches(quantity.where)]
    if not points:
        return None
    if quantity.chosen is None:
        if len(points) == 1:
            return reduce(results, points[0], quantity)
        return Missing(
            "unclear",
            f"{len(points)} cells belong here, which differ in {_listing(varying(points))}; "
            "add it to the rows or the columns of this table",
            _ids(points),
        )
    own = choose(results, points, quantity.chosen)
    if isinstance(own, Missing) or quantity.relative is None:
        return own if isinstance(own, Missing) else reduce_against(results, own, None, quantity)
    found = [reference(results, point, quantity.to or {}) for point in points]
    for each in found:
        if isinstance(each, str):
            return Missing("unclear", each, _ids(points))
    others = {each.id: each for each in found if isinstance(each, Point)}
    other = choose(results, tuple(others.values()), quantity.chosen)
    return other if isinstance(other, Missing) else reduce_against(results, own, other, quantity)


def choose(results: Results, points: Sequence[Point], chosen: Chosen) -> Point | Missing:
    """The one of these cells that the rule means; every one of them needs a number to be chosen by.

    Of equal ones the first is taken.
    """
    differ = [name for name in varying(points) if name != chosen.over]
    if differ:
        more = f"{len(points)} cells belong here, which differ in {_listing(differ)} besides {chosen.over}"
        return Missing("unclear", f"{more}; add it to the rows or the columns of this table", _ids(points))
    by = Quantity(metric=chosen.by.metric, at=chosen.by.at, reduce=chosen.by.reduce)
    values: list[float] = []
    for point in points:
        found = reduce(results, point, by)
        if isinstance(found, Missing):
            where = f"{chosen.over} = {point.value(chosen.over)}" if point.has(chosen.over) else point.id
            return Missing(found.status, f"cannot choose: {chosen.by.metric} at {where}: {found.reason}", (point.id,))
        values.append(found.value)
    if chosen.prefer is not None:
        return points[values.index(min(values) if chosen.prefer == "lower" else max(values))]
    assert chosen.at_most is not None  # the reader checked the two forms
    allowed = [value for value in values if value <= chosen.at_most]
    if not allowed:
        least = f"the least is {min(values):g}"
        return Missing(
            "unclear", f"no {chosen.over} has {chosen.by.metric} of at most {chosen.at_most:g}; {least}", _ids(points)
        )
    return points[values.index(max(allowed))]


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing that has a name"


def _ids(points: Sequence[Point]) -> tuple[str, ...]:
    return tuple(point.id for point in points)
