"""From the claims of a suite to what a page says of them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.reduce import Estimate
from bench.analysis.results import Results
from bench.report import words
from bench.report.document import Claim, ClaimLine, Entry
from bench.report.origins import measured_origin
from bench.report.plain import clean, factor_text, listing
from bench.suite.schema import ClaimSpec
from bench.units import Scale
from bench.verdict.claims import ClaimResult, Evidence, evaluate
from bench.verdict.numbers import written


def build_claims(specs: Sequence[ClaimSpec], results: Results) -> tuple[Claim, ...]:
    """Every claim with its verdict and the numbers behind it, in the suite's order."""
    return tuple(_claim(each) for each in evaluate(specs, results))


def _claim(result: ClaimResult) -> Claim:
    return Claim(
        clean(result.spec.id, 200),
        clean(result.spec.sentence),
        str(result.held),
        clean(result.sentence),
        tuple(_line(each, result) for each in result.evidence),
    )


def _line(evidence: Evidence, result: ClaimResult) -> ClaimLine:
    spec, scale = result.spec, result.scale
    wanted = ""
    if spec.than is not None:
        wanted = f"{spec.holds} {written(spec.than, scale, exact=True)}"
    elif evidence.other is not None:
        of = listing(factor_text(name, value) for name, value in (spec.than_where or {}).items())
        wanted = f"{spec.holds} {_number(evidence.other, scale)} of {of}"
    return ClaimLine(
        clean(", ".join(factor_text(name, value) for name, value in evidence.about.items())),
        _entry(evidence, result),
        clean(wanted),
        "" if evidence.difference is None else clean(_number(evidence.difference, scale)),
        str(evidence.held),
        clean(evidence.sentence),
    )


def _entry(evidence: Evidence, result: ClaimResult) -> Entry:
    found, quantity = evidence.value, result.spec.value
    if found is None:
        return Entry(str(evidence.held), mark="missing", cells=evidence.cells)
    text, bracket, ends = _number(found, result.scale).partition(" [")
    return Entry(
        text,
        found.unit,
        bracket.strip() + ends,
        found.value,
        found.low,
        found.high,
        cells=evidence.cells,
        exact=found.exact,
        origin=measured_origin(found, words.name_of(quantity), words.meaning(quantity)),
    )


def _number(found: Estimate, scale: Scale) -> str:
    return written(found.value, scale, found.low, found.high, exact=found.exact)
