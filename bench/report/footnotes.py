"""What a reader must know to use a number: the sentences under a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.analysis.published import Published, PublishedTable
from bench.report import provenance, words
from bench.report.document import Footnote
from bench.report.grids import Grid, Measured
from bench.report.plain import clean, listing
from bench.suite.schema import TableSpec


@dataclass
class Notes:
    """Footnotes with marks; the same sentence gets the same mark."""

    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, sentence: str) -> str:
        """The mark of a sentence: a, b, ... z, aa, ab, ..."""
        sentence = clean(sentence)
        if sentence not in self.marks:
            number, letters = len(self.marks), ""
            while number >= 0:
                number, rest = number // 26 - 1, number % 26
                letters = chr(ord("a") + rest) + letters
            self.marks[sentence] = letters
        return self.marks[sentence]

    @property
    def footnotes(self) -> tuple[Footnote, ...]:
        return tuple(Footnote(sentence, mark) for sentence, mark in self.marks.items())


def common_note(grid: Grid) -> str | None:
    """The note that every number of a quantity carries, so that it is said once."""
    notes = {each.note for each in grid.estimates if not each.is_reference and not each.exact}
    return notes.pop() if len(notes) == 1 else None


def table_footnotes(
    spec: TableSpec, measured: Measured, grids: Sequence[Grid], paper: tuple[Published, PublishedTable] | None
) -> tuple[Footnote, ...]:
    """What a reader must know to use any number of the table."""
    estimates = [each for grid in grids for each in grid.estimates]
    used = {cell for each in estimates for cell in each.cells}
    points = [point for point in measured.results.points if point.id in used]
    conditions: list[str | None] = [provenance.conditions_sentence(measured.info, points) if points else None]
    conditions.append(provenance.repeats_sentence(grids[0].estimates if spec.columns else estimates))
    conditions.append(provenance.interval_sentence(estimates))
    conditions += [f"{meaning}." for meaning in dict.fromkeys(grid.scale.meaning for grid in grids) if meaning]
    texts: list[str] = []
    for index, grid in enumerate(grids):
        unnamed = spec.columns is not None and index == 0 and grid.quantity.label is None
        name = "ours" if unnamed else words.name_of(grid.quantity)
        texts.append(f"{name}: {words.meaning(grid.quantity)}.")
        if note := common_note(grid):
            texts.append(f"{name}: {note}.")
    if spread := provenance.spread_sentence(estimates):
        texts.append(spread)
    records = [record for record in measured.records if record.cell in used]
    facts = provenance.subject_facts(measured.results, records).items
    texts += [f"Weights: {fact.value}." for fact in facts if fact.label == "Weights"]
    warned = [(each.cells[0], warning) for each in estimates for warning in each.warnings]
    groups = provenance.collapsed(warned, len(points))
    texts += spec.notes
    return (
        Footnote(clean(" ".join(filter(None, conditions))), about="conditions"),
        *(
            Footnote(sentence, about="warning")
            for sentence, members in groups
            if provenance.is_widespread(members, len(points))
        ),
        *(Footnote(clean(text)) for text in texts),
        *_paper_footnotes(paper),
    )


def _paper_footnotes(paper: tuple[Published, PublishedTable] | None) -> tuple[Footnote, ...]:
    if paper is None:
        return ()
    work, table = paper
    page = f", page {table.page}" if table.page else ""
    stated = f" It states: {listing(table.stated, 20)}." if table.stated else ""
    missing = f" It does not state: {listing(table.not_stated, 20)}." if table.not_stated else ""
    return (
        Footnote(clean(f"{work.cite}, {work.title}, {table.name}{page}.{stated}{missing}"), about="paper"),
        *(Footnote(clean(caveat), about="paper") for caveat in table.general_caveats),
    )
