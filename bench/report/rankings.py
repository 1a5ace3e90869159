"""What a table says about its rows: which is best in each column, and which cannot be told from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.reduce import Estimate
from bench.analysis.results import Point
from bench.analysis.separation import Ranking, ranking
from bench.report import words
from bench.report.best import direction
from bench.report.grids import Measured, outcome, row_groups, shown
from bench.report.plain import clean, listing
from bench.suite.schema import Quantity, TableSpec


def ranking_findings(spec: TableSpec, measured: Measured) -> tuple[str, ...]:
    """One sentence for each column of a list in which one way is better, as `ranking` of the suite asks for them."""
    if spec.ranking is None:
        return ()
    names = (spec.rows,) if isinstance(spec.rows, str) else spec.rows
    groups = row_groups(shown(measured.results.points, spec.where), names)
    rows = {" ".join(each for each in heads if each != "\N{EN DASH}") or "-": points for heads, points in groups}
    say = _ranked if spec.ranking == "rows" else _differences
    return tuple(clean(sentence) for quantity in spec.values for sentence in say(rows, quantity, measured))


def _ranked(rows: Mapping[str, Sequence[Point]], quantity: Quantity, measured: Measured) -> Iterator[str]:
    """The best row of a column and its neighbours."""
    better = direction(quantity)
    found = None if better is None else ranking(measured.results, rows, quantity, better)
    if found is not None:
        yield f"{words.name_of(quantity)}: {said(found)}"


def said(found: Ranking) -> str:
    """`best is cunet; not separated from it: lucid-unet; behind it: bm3d and dncnn (paired, ...).`"""
    parts = [f"best is {found.best}"]
    if found.level:
        parts.append(f"not separated from it: {listing(found.level)}")
    if found.behind:
        parts.append(f"behind it: {listing(found.behind)}")
    if found.unpaired:
        parts.append(f"not comparable pair by pair: {listing(found.unpaired)}")
    how = f" (pairs, 95 %, Holm over {found.comparisons})" if found.comparisons else ""
    return "; ".join(parts) + how + "."


def _differences(rows: Mapping[str, Sequence[Point]], quantity: Quantity, measured: Measured) -> Iterator[str]:
    """Where a difference is surely on one side of zero."""
    better = direction(quantity)
    if quantity.relative != "difference" or better is None:
        return
    sides: dict[str, list[str]] = {"better": [], "worse": [], "not separated": []}
    for row, points in rows.items():
        found = outcome(measured, points, quantity)
        if not isinstance(found, Estimate) or found.low is None or found.high is None or found.is_reference:
            continue
        below, above = found.high < 0, found.low > 0
        side = "not separated" if not (below or above) else "better" if below == (better == "lower") else "worse"
        sides[side].append(row)
    if any(sides.values()):
        told = (f"{side} at {listing(members)}" for side, members in sides.items() if members)
        yield f"{words.name_of(quantity)}: {'; '.join(told)} (95 % interval of each row by itself)."
