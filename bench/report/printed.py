"""The printed number that stands beside one of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.published import Printed, Published, PublishedTable, read_published
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point, same
from bench.contracts import Scalar
from bench.errors import UserError
from bench.report.plain import clean
from bench.suite.schema import PublishedRef, Quantity, Relative

PRINTED_AS: Mapping[str, str] = {"frechet": "fid", "nfe": "best_step", "denoising": "lpips"}
"""What papers call a metric of ours, whatever features it was computed from, and however the step was chosen."""


def find_published(ref: PublishedRef | None) -> tuple[tuple[Published, PublishedTable] | None, str]:
    """The printed table a suite names, or a sentence saying why it cannot be shown."""
    if ref is None:
        return None, ""
    try:
        paper = read_published(ref.paper)
        return (paper, paper.table(ref.table)), ""
    except UserError as error:
        return None, clean(f"The printed table cannot be shown: {error}")


def printed_for(table: PublishedTable, points: Sequence[Point], quantity: Quantity) -> Printed | None:
    """The number printed for the one cell of a place of a pivot or a figure.

    A table of a single quantity is taken as it is: the suite asks for it by name, whatever we measure instead.
    """
    known = table.quantities
    metric, relative = known[0] if len(known) == 1 else (printed_metric(quantity), quantity.relative)
    return find_printed(table, points, metric, relative)


def printed_metric(quantity: Quantity) -> str:
    """What a published table calls a quantity: its metric, `denoising x step_time` for a product."""
    return quantity.metric if quantity.times is None else f"{quantity.metric} x {quantity.times.metric}"


def find_printed(
    table: PublishedTable,
    points: Sequence[Point],
    metric: str,
    relative: Relative | None,
    at: Mapping[str, Scalar] | None = None,
) -> Printed | None:
    """The number printed for a place; a metric of ours is looked for under the paper's name for it, too.

    Where several cells stand in one place and one of them is chosen, what they have in common says which number it is.
    """
    if not points:
        return None
    factors = {**_common(points), **(at or {})}
    found = table.find(factors, metric, relative)
    return table.find(factors, PRINTED_AS[metric], relative) if found is None and metric in PRINTED_AS else found


def _common(points: Sequence[Point]) -> Mapping[str, Scalar]:
    """The factors and conditions that all these cells have, with one value."""
    first, *others = points
    own = {**first.conditions, **first.factors}
    return {
        name: value
        for name, value in own.items()
        if all(each.has(name) and same(each.value(name), value) for each in others)
    }


def is_of_another_kind(estimate: Estimate, printed: Printed, quantity: Quantity) -> bool:
    """Whether the printed number measures something else under a like name: FID or LPIPS, where ours has other
    features."""
    if printed.metric == "lpips":
        return not str(quantity.at.get("score")).startswith("lpips")
    return printed.metric == "fid" and estimate.recipe is not None and estimate.recipe.get("name") != "FID"
