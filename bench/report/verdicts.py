"""A comparison for people: in a terminal and as Markdown for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.report.markdown import code, escape
from bench.report.plain import clean, listing
from bench.units import plural
from bench.verdict.claims import ClaimResult
from bench.verdict.outcome import Comparison, Outcome, Verdict

TOGETHER = frozenset({Outcome.INCOMPARABLE, Outcome.MISSING, Outcome.NEW})
"""Outcomes whose sentence many numbers share."""
MOST_ROWS = 200
"""Of a summary: a page that nobody reads helps nobody, and a CI system takes one mebibyte."""


@dataclass(frozen=True)
class Finding:
    """One verdict, or several that say the same."""

    outcome: Outcome
    about: str
    """The cell, or how many."""
    number: str
    """The metric and which of its numbers."""
    sentence: str


def findings(comparison: Comparison, *, everything: bool = False) -> tuple[Finding, ...]:
    """What to read, the worst first; numbers that did not change only when everything is asked for."""
    order = {outcome: place for place, outcome in enumerate(Outcome)}
    shown = [each for each in comparison.verdicts if everything or each.outcome is not Outcome.UNCHANGED]
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for each in sorted(shown, key=lambda verdict: order[verdict.outcome]):
        shared = (each.sentence,) if each.outcome in TOGETHER else (each.cell, each.name, each.sentence)
        groups.setdefault((each.outcome, *shared), []).append(each)
    return tuple(map(_finding, groups.values()))


def _finding(group: Sequence[Verdict]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return Finding(first.outcome, clean(first.cell, 300), clean(first.name, 300), clean(first.sentence))
    cells = list(dict.fromkeys(each.cell for each in group))
    metrics = listing(dict.fromkeys(clean(each.metric, 200) for each in group))
    about = clean(cells[0], 300) if len(cells) == 1 else plural(len(cells), "cell")
    return Finding(first.outcome, about, f"{plural(len(group), 'number')} ({metrics})", clean(first.sentence))


def text_lines(comparison: Comparison, *, everything: bool = False) -> Iterator[str]:
    """For a terminal: one finding after another, then notes, claims and the count."""
    for finding in findings(comparison, everything=everything):
        yield f"{finding.outcome:12}  {finding.about}: {finding.number}: {finding.sentence}"
    for claim in comparison.claims:
        yield f"claim {claim_text(claim)}"
    for sentence in comparison.left_open:
        yield f"left open: {clean(sentence)}"
    for note in comparison.notes:
        yield f"note: {clean(note)}"
    yield comparison.summary


def claim_text(claim: ClaimResult) -> str:
    """`smaller holds: "C = 2 saves a quarter." (40.00 % > 25.00 %)`."""
    head, _, why = claim.sentence.partition(": ")
    return clean(f'{claim.spec.id} {head}: "{claim.spec.sentence}"{f" ({why})" if why else ""}')


def markdown(comparison: Comparison, title: str) -> str:
    """A heading, the count, a table of what is not unchanged, the claims and the notes."""
    blocks = [f"## {escape(clean(title, 300))}", f"**{escape(comparison.summary)}**"]
    found = findings(comparison)
    if found:
        rows = ["| verdict | cell | number | what |", "| --- | --- | --- | --- |"]
        rows += [
            f"| {each.outcome} | {code(each.about)} | {escape(each.number)} | {escape(each.sentence)} |"
            for each in found[:MOST_ROWS]
        ]
        blocks.append("\n".join(rows))
    if len(found) > MOST_ROWS:
        blocks.append(f"and {plural(len(found) - MOST_ROWS, 'row')} more.")
    if comparison.claims:
        blocks.append("\n".join(f"- claim {escape(claim_text(claim))}" for claim in comparison.claims))
    if comparison.compared_nothing is not None:
        blocks.append(f"- {escape(clean(comparison.compared_nothing))}")
    if comparison.left_open:
        blocks.append("\n".join(f"- left open: {escape(clean(each))}" for each in comparison.left_open))
    if comparison.notes:
        blocks.append("\n".join(f"- {escape(clean(note))}" for note in comparison.notes))
    base = f"{code(clean(comparison.base, 300))} against " if comparison.base else ""
    blocks.append(f"{base}{code(clean(comparison.new, 300))}")
    return "\n\n".join(blocks) + "\n"
