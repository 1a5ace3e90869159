"""A report as Markdown: readable as text, in a terminal and on code-hosting pages. Figures are files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from bench.report.document import Claim, Entry, Fact, Facts, Failure, Figure, Report, Section, Table
from bench.report.plain import listing

LONGEST_STEM = 80
"""Characters of a name in a file name, which often has two of them and may have 255 in all."""
SHOWN_CELLS = 8
"""Cell ids of one failure that are written out."""


def markdown_files(report: Report, stem: str) -> Mapping[str, str | bytes]:
    """`<stem>.md` and the figures it shows: `<stem>-figures/<id>.svg`, or a numbered PNG for each picture."""
    drawings = {
        f"{stem}-figures/{section.id}-{file_stem(figure.id)}.svg": figure.svg
        for section in report.sections
        for figure in section.figures
        if figure.svg
    }
    pictures = {
        f"{stem}-figures/{picture_name(section, figure, number)}": picture.content
        for section in report.sections
        for figure in section.figures
        for number, picture in enumerate(figure.pictures, start=1)
        if picture.content
    }
    return {f"{stem}.md": render_markdown(report, stem), **drawings, **pictures}


def picture_name(section: Section, figure: Figure, number: int) -> str:
    """The file of a figure's number-th picture, by names of ours alone."""
    return f"{section.id}-{file_stem(figure.id)}-{number:02d}.png"


def file_stem(name: str, otherwise: str = "figure") -> str:
    """A name as it can stand in a file name and in an address; a long one is cut and gets a hash, to stay its own."""
    text = re.sub(r"[^A-Za-z0-9._-]", "-", name) or otherwise
    if len(text) <= LONGEST_STEM:
        return text
    return f"{text[: LONGEST_STEM - 9]}-{sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def render_markdown(report: Report, stem: str) -> str:
    """The whole page. Figures are taken from `<stem>-figures/`."""
    blocks = [f"# {escape(report.title)}"]
    several = len(report.sections) > 1
    if several:
        blocks.append(_bullets(_contents(report)))
    for section, first in zip(report.sections, report.first_numbers, strict=True):
        if several:
            blocks.append(f"## {escape(section.title)}")
        blocks += _section(section, stem, "###" if several else "##", first)
    blocks.append(f"Made by {escape(report.made_by)}.")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _contents(report: Report) -> Iterable[str]:
    """A line for each section, with the tables and figures it has."""
    for section, (table, figure) in zip(report.sections, report.first_numbers, strict=True):
        spans = [_span("table", table, len(section.tables)), _span("figure", figure, len(section.figures))]
        found = "; ".join(filter(None, spans))
        yield f"{escape(section.title)}{f' ({found})' if found else ''}"


def _span(noun: str, first: int, count: int) -> str:
    """`tables 3 to 5`."""
    return "" if not count else f"{noun} {first}" if count == 1 else f"{noun}s {first} to {first + count - 1}"


def _section(section: Section, stem: str, level: str, first: tuple[int, int]) -> list[str]:
    """Everything about one run. first: the numbers of its first table and of its first figure."""
    blocks = [escape(section.subtitle), _facts_line(section.highlights)]
    if section.warnings:
        blocks.append(_bullets(f"**Note:** {escape(warning)}" for warning in section.warnings))
    if section.failures:
        blocks += [f"{level} Numbers that are missing", _bullets(map(_failure, section.failures))]
    if section.claims:
        blocks += [f"{level} Claims", *(block for claim in section.claims for block in render_claim(claim))]
    for number, table in enumerate(section.tables, start=first[0]):
        blocks += [f"{level} Table {number}: {escape(table.caption)}", render_table(table), *_under_table(table)]
    for number, figure in enumerate(section.figures, start=first[1]):
        blocks += [f"{level} Figure {number}: {escape(figure.caption)}", *_figure(figure, section, stem)]
    if section.notes:
        blocks += [f"{level} Notes", _bullets(map(escape, section.notes))]
    if section.paper:
        blocks += [f"{level} What is known about the printed numbers", _bullets(map(_said, section.paper))]
    if section.definitions:
        blocks += [f"{level} How each metric is taken", _bullets(map(_fact, section.definitions))]
    blocks.append(f"{level} Where the numbers come from")
    blocks += [_facts(facts) for facts in section.provenance if facts.items]
    blocks += [f"{fact.label}:\n\n{code_block(fact.value)}" for fact in section.commands]
    return blocks


def render_table(table: Table) -> str:
    """The table alone; several lines of one row stand under each other."""
    labelled = table.labelled
    heads = [*table.row_titles, *([""] if labelled else [])]
    lines = [_row([*map(escape, heads), *map(escape, table.columns)])]
    lines.append(_row([*("---" for _ in heads), *("---:" for _ in table.columns)]))
    for row in table.rows:
        for index, line in enumerate(row.lines):
            names = [escape(head) if index == 0 else "" for head in row.heads]
            label = [escape(line.label)] if labelled else []
            lines.append(_row([*names, *label, *map(_entry, line.entries)]))
    return "\n".join(lines)


def render_claim(claim: Claim) -> list[str]:
    """The sentence and its verdict; a table of its cells where they are several."""
    if len(claim.lines) < 2:
        said = claim.finding.partition(": ")[2] or claim.finding
        return [f"**{escape(claim.verdict)}**: {escape(claim.sentence)} ({escape(said)})"]
    against = any(line.difference for line in claim.lines)
    heads = ["cell", "value", "wanted", *(["difference"] if against else []), "verdict"]
    lines = [_row(heads), _row(["---", "---:", "---:", *(["---:"] if against else []), "---"])]
    for line in claim.lines:
        difference = [escape(line.difference)] if against else []
        lines.append(
            _row(
                [
                    escape(line.about),
                    _entry(line.value),
                    escape(line.wanted),
                    *difference,
                    escape(line.verdict),
                ]
            )
        )
    return [f"**{escape(claim.verdict)}**: {escape(claim.sentence)} ({escape(claim.finding)})", "\n".join(lines)]


def _entry(entry: Entry) -> str:
    text = f"**{escape(entry.text)}**" if entry.best else escape(entry.text)
    marks = f"({', '.join(entry.notes)})" if entry.notes else ""
    return " ".join(filter(None, (text, entry.interval, marks)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _under_table(table: Table) -> list[str]:
    blocks = [escape(finding) for finding in table.findings]
    blocks += [escape(note.text) for note in table.footnotes if note.about == "conditions"]
    blocks += [f"**Note:** {escape(note.text)}" for note in table.footnotes if note.about == "warning"]
    notes = [f"({note.mark}) {escape(note.text)}" for note in table.footnotes if note.mark]
    ours = [escape(note.text) for note in table.footnotes if not note.mark and note.about == "ours"]
    paper = [escape(note.text) for note in table.footnotes if not note.mark and note.about == "paper"]
    if notes:
        blocks.append(_bullets(notes))
    if ours:
        blocks += ["How these numbers were taken:", _bullets(ours)]
    if paper:
        blocks += ["About the printed table:", _bullets(paper)]
    return blocks


def _figure(figure: Figure, section: Section, stem: str) -> list[str]:
    blocks = []
    if figure.svg:
        address = f"{stem}-figures/{section.id}-{file_stem(figure.id)}.svg"
        blocks.append(f"![{escape(figure.caption)}]({address})")
    for number, picture in enumerate(figure.pictures, start=1):
        if picture.title:
            blocks.append(f"**{escape(picture.title)}**")
        if picture.content:
            blocks.append(f"![{escape(picture.alt)}]({stem}-figures/{picture_name(section, figure, number)})")
        else:
            blocks.append(f"{escape(picture.status)}: {escape(picture.reason)}")
    return [*blocks, *map(escape, figure.notes)]


def _failure(failure: Failure) -> str:
    cells = listing(map(code, failure.cells), SHOWN_CELLS)
    return f"**{escape(failure.status)}**: {escape(failure.reason)} ({escape(listing(failure.metrics))} of {cells})"


def _facts_line(facts: Sequence[Fact]) -> str:
    return " · ".join(f"{escape(fact.label)}: **{escape(fact.value)}**" for fact in facts)


def _facts(facts: Facts) -> str:
    return f"**{escape(facts.title)}**\n\n{_bullets(map(_fact, facts.items))}"


def _fact(fact: Fact) -> str:
    return f"{escape(fact.label)}: {escape(fact.value)}"


def _said(fact: Fact) -> str:
    return f"*{escape(fact.label)}* {escape(fact.value)}" if fact.label else escape(fact.value)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


_SPECIAL = re.compile(r"([\\`*\[\]<>|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|!(?=\\?\[)|:(?=//)|(?<=[Ww]{3})\.)")
_LEADING = re.compile(r"^(#+|[-+=]|>|\d+(?=[.)]))")


def escape(text: str) -> str:
    """The text as Markdown that shows exactly it: no markup, no link, no table bar, no mathematics."""
    shown = _SPECIAL.sub(r"\\\1", text)
    return _LEADING.sub(lambda match: f"\\{match[0]}" if not match[0].isdigit() else match[0], shown)


def code(text: str) -> str:
    """The text as a code span, fenced by more backticks than it holds; a bar is escaped for tables."""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def code_block(text: str) -> str:
    """The text as a fenced block."""
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{fence}sh\n{text}\n{fence}"
