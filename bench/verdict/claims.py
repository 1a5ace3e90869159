"""Sentences that are true or false of results: `time saved at c = 2 is at least 40 %`, each with its evidence.

A claim is about cells; every one of them must satisfy it. A number with an interval satisfies it when its whole
interval does, contradicts it when its whole interval does, and otherwise leaves it undecided.

    what is known of a cell                        | verdict
    -----------------------------------------------+-----------
    no number                                      | no number
    exact, or the whole interval satisfies         | holds
    exact, or the whole interval contradicts       | fails
    interval reaches both ways, or there is none   | undecided

The claim has the worst verdict of its cells: fails before no number, before undecided, before holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from bench.analysis.places import place
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point, Results, as_key, reference
from bench.analysis.samples import Missing
from bench.contracts import Scalar
from bench.suite.schema import ClaimSpec, Quantity
from bench.units import Scale
from bench.verdict.numbers import scale_of, written

OPPOSITE: Mapping[str, str] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class Held(StrEnum):
    """What became of a claim. The worst comes first."""

    FAILS = "fails"
    NO_NUMBER = "no number"
    UNDECIDED = "undecided"
    HOLDS = "holds"


@dataclass(frozen=True)
class Evidence:
    """What one cell, or one chosen from several, says about a claim."""

    about: Mapping[str, Scalar]
    """The factors that tell these cells from the others of the claim; empty when there are no others."""
    cells: tuple[str, ...]
    """Cell ids behind the number."""
    held: Held
    sentence: str
    """`49.7 % [47.5, 50.4] > 40.00 %`, or why there is no number."""
    value: Estimate | None = None
    other: Estimate | None = None
    """The counterpart's number, for a claim about two sets of cells."""
    difference: Estimate | None = None
    """Value less counterpart, paired where both were measured in the same rounds or on the same images."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what the results say of it."""

    spec: ClaimSpec
    held: Held
    evidence: tuple[Evidence, ...]
    scale: Scale
    """In which the numbers of the claim are written."""

    @property
    def sentence(self) -> str:
        """The verdict and the cell that decided it, in one sentence."""
        deciding = [each for each in self.evidence if each.held is self.held]
        if not deciding:
            return f"{self.held}: no cell has what the claim is about"
        first = deciding[0]
        where = ", ".join(f"{name.rpartition('.')[2]} = {value}" for name, value in first.about.items())
        of = f" in {len(deciding)} of {len(self.evidence)} cells" if len(self.evidence) > 1 else ""
        return f"{self.held}{of}: {f'{where}: ' if where else ''}{first.sentence}"


def evaluate(claims: Iterable[ClaimSpec], results: Results) -> tuple[ClaimResult, ...]:
    """Every claim against the results, in order."""
    return tuple(_claim(spec, results) for spec in claims)


def between(low: float, high: float, holds: str, than: float) -> Held:
    """Whether everything from low to high `holds` than, nothing of it, or some of it."""
    if _holds(low, holds, than) and _holds(high, holds, than):
        return Held.HOLDS
    return Held.UNDECIDED if _holds(low, holds, than) or _holds(high, holds, than) else Held.FAILS


def _holds(value: float, holds: str, than: float) -> bool:
    match holds:
        case "<":
            return value < than
        case "<=":
            return value <= than
        case ">":
            return value > than
        case _:
            return value >= than


def _claim(spec: ClaimSpec, results: Results) -> ClaimResult:
    groups = _groups(results, _cells(results, spec), spec.value)
    varied = _varied(results, groups)
    judge = _against_number if spec.than is not None else _against_cells
    made = [(group, *judge(results, group, spec)) for group in groups]
    numbers = [each for _, value, other, *_ in made for each in (value, other) if isinstance(each, Estimate)]
    scale = scale_of(
        [*(each.value for each in numbers), *(() if spec.than is None else (spec.than,))],
        numbers[0].unit if numbers else "",
        spec.value.format,
        spec.value.relative,
    )
    evidence = []
    for group, value, other, difference, held in made:
        if held is None:
            continue  # a cell is not compared with itself
        about = {name: group[0].value(name) for name in varied if group[0].has(name)}
        missing = next((each for each in (value, other, difference) if isinstance(each, Missing)), None)
        if missing is not None:
            evidence.append(Evidence(about, missing.cells, held, f"{missing.status}: {missing.reason}"))
            continue
        assert isinstance(value, Estimate)  # neither missing nor left out
        assert not isinstance(other, Missing) and not isinstance(difference, Missing)  # the same
        sentence = _sentence(spec, scale, held, value, other, difference)
        cells = tuple(dict.fromkeys((*value.cells, *(other.cells if other else ()))))
        evidence.append(Evidence(about, cells, held, sentence, value, other, difference))
    held = next((each for each in Held if any(one.held is each for one in evidence)), Held.NO_NUMBER)
    return ClaimResult(spec, held, tuple(evidence), scale)


Judged = tuple[Estimate | Missing, Estimate | Missing | None, Estimate | Missing | None, Held | None]
"""Value, counterpart, difference, and the verdict; no verdict where a cell is its own counterpart."""


def _against_number(results: Results, group: Sequence[Point], spec: ClaimSpec) -> Judged:
    assert spec.than is not None  # the caller looked
    found = _place(results, group, spec.value)
    if isinstance(found, Missing):
        return found, None, None, Held.NO_NUMBER
    return found, None, None, _decide(found, spec.holds, spec.than)


def _against_cells(results: Results, group: Sequence[Point], spec: ClaimSpec) -> Judged:
    """Each cell against its counterpart: by their difference where that has a meaning, else by both intervals."""
    assert spec.than_where is not None  # the reader checked the two forms of a claim
    others: dict[str, Point] = {}
    for point in group:
        found = reference(results, point, spec.than_where)
        if isinstance(found, str):
            return Missing("unclear", found, (point.id,)), None, None, Held.NO_NUMBER
        others[found.id] = found
    if others.keys() == {point.id for point in group}:
        return _place(results, group, spec.value), None, None, None
    value, other = _place(results, group, spec.value), _place(results, tuple(others.values()), spec.value)
    if isinstance(value, Missing) or isinstance(other, Missing):
        return value, other, None, Held.NO_NUMBER
    if value.recipe is not None and other.recipe is not None and value.recipe != other.recipe:
        differ = [name for name in value.recipe if value.recipe[name] != other.recipe.get(name)]
        reason = f"the two numbers were made by different recipes, which differ in {', '.join(differ) or 'something'}"
        return Missing("mixed", reason, (*value.cells, *other.cells)), other, None, Held.NO_NUMBER
    if spec.value.relative is None:
        paired = spec.value.model_copy(update={"relative": "difference", "to": spec.than_where})
        difference = _place(results, group, paired)
        if isinstance(difference, Missing):
            return value, other, difference, Held.NO_NUMBER
        return value, other, difference, _decide(difference, spec.holds, 0.0)
    return value, other, None, _by_intervals(value, other, spec.holds)


def _decide(found: Estimate, holds: str, than: float) -> Held:
    ends = _ends(found)
    return Held.UNDECIDED if ends is None else between(*ends, holds, than)


def _by_intervals(value: Estimate, other: Estimate, holds: str) -> Held:
    """Decided when every number of the one interval stands so to every number of the other."""
    own, against = _ends(value), _ends(other)
    if own is None or against is None:
        return Held.UNDECIDED
    found = {between(*own, holds, than) for than in against}
    return found.pop() if len(found) == 1 else Held.UNDECIDED


def _ends(found: Estimate) -> tuple[float, float] | None:
    """The interval of a number; the number twice when it is exact, None when its interval is not known."""
    if found.low is not None and found.high is not None:
        return found.low, found.high
    return (found.value, found.value) if found.exact else None


def _sentence(
    spec: ClaimSpec, scale: Scale, held: Held, value: Estimate, other: Estimate | None, difference: Estimate | None
) -> str:
    text = _text(value, scale)
    if other is None:
        assert spec.than is not None  # there is no counterpart
        wanted = written(spec.than, scale, exact=True)
    else:
        wanted = _text(other, scale)
    sign = spec.holds if held is Held.HOLDS else OPPOSITE[spec.holds] if held is Held.FAILS else f"{spec.holds}?"
    sentence = f"{text} {sign} {wanted}"
    if difference is not None and not difference.exact:
        sentence += f", difference {_text(difference, scale)}"
    decisive = difference or value
    if held is Held.UNDECIDED:
        why = decisive.note or "an interval reaches to both sides"
        sentence += f" ({why})" if decisive.low is None else " (the interval reaches to both sides)"
    return sentence


def _text(each: Estimate, scale: Scale) -> str:
    return written(each.value, scale, each.low, each.high, exact=each.exact)


def _place(results: Results, group: Sequence[Point], quantity: Quantity) -> Estimate | Missing:
    found = place(results, group, quantity)
    assert found is not None  # a group has a cell
    return found


def _cells(results: Results, spec: ClaimSpec) -> tuple[Point, ...]:
    """Every cell that has one of the values of each factor, in planned order."""
    choices = [value if isinstance(value, tuple) else (value,) for value in spec.where.values()]
    wanted = [dict(zip(spec.where, each, strict=True)) for each in product(*choices)]
    found = {point.id for each in wanted for point in (results.find(each) if each else results.points)}
    return tuple(point for point in results.points if point.id in found)


def _groups(results: Results, points: Sequence[Point], quantity: Quantity) -> list[tuple[Point, ...]]:
    """Cells that give one number: each by itself, or those among which one is chosen."""
    if quantity.chosen is None:
        return [(point,) for point in points]
    over = quantity.chosen.over
    names = [name for name in results.factor_names() if name not in (over, f"conditions.{over}")]
    found: dict[object, list[Point]] = {}
    for point in points:
        shared = [name for name in names if point.has(name)]
        found.setdefault((tuple(shared), as_key(point.value(name) for name in shared)), []).append(point)
    return [tuple(group) for group in found.values()]


def _varied(results: Results, groups: Sequence[Sequence[Point]]) -> list[str]:
    """The factors in which the groups differ from each other."""
    heads = [group[0] for group in groups]
    inside = {name for group in groups for name in results.factor_names() if len(results.values(name, group)) > 1}
    return [name for name in results.factor_names() if len(results.values(name, heads)) > 1 and name not in inside]
