"""Tables as CSV for programs: one line per number, with its value in base units and everything that names it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from bench.report.document import Claim, Entry, Picture, Report, Table
from bench.report.markdown import file_stem

COLUMNS = ("line", "column", "text", "value", "low", "high", "unit", "paper", "ratio_to_paper", "mark", "cells")
TRIGGERS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a field that begins with one of these for a formula."""
CLAIMS = (
    "claim",
    "sentence",
    "verdict",
    "cell",
    "text",
    "value",
    "low",
    "high",
    "unit",
    "wanted",
    "difference",
    "cells",
)
PICTURES = ("panel", "file", "width", "height", "sha256", "status", "reason")


def csv_files(report: Report, stem: str) -> Mapping[str, str]:
    """`<stem>-<table>.csv` for every table, `<stem>-claims.csv`, and `<stem>-<figure>-pictures.csv`.

    The suite's name is in it when there are several.
    """
    several = len(report.sections) > 1
    files = {
        f"{stem}-{f'{section.id}-' if several else ''}{file_stem(table.id)}.csv": render_csv(table)
        for section in report.sections
        for table in section.tables
    }
    for section in report.sections:
        if section.claims:
            name = f"{stem}-{f'{section.id}-' if several else ''}claims"
            files[f"{name}{'-verdicts' if f'{name}.csv' in files else ''}.csv"] = render_claims(section.claims)
        for figure in section.figures:
            if figure.pictures:
                name = f"{stem}-{f'{section.id}-' if several else ''}{file_stem(figure.id)}-pictures"
                files[f"{name}{'-list' if f'{name}.csv' in files else ''}.csv"] = render_pictures(figure.pictures)
    return files


def render_csv(table: Table) -> str:
    """The table in long form: the row factors, then `COLUMNS`. Missing numbers have an empty value and a mark."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow([*map(_text, table.row_titles), *COLUMNS])
    for row in table.rows:
        for line in row.lines:
            for name, entry in zip(table.columns, line.entries, strict=True):
                writer.writerow([*map(_text, row.heads), _text(line.label), _text(name), *_numbers(entry)])
    return target.getvalue()


def render_claims(claims: Iterable[Claim]) -> str:
    """One line for every cell of every claim."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow(CLAIMS)
    for claim in claims:
        for line in claim.lines:
            text, value, low, high, unit, *_ = _numbers(line.value)
            names = (claim.id, claim.sentence, line.verdict, line.about)
            after = (line.wanted, line.difference, " ".join(line.value.cells))
            writer.writerow([*map(_text, names), text, value, low, high, unit, *map(_text, after)])
    return target.getvalue()


def render_pictures(pictures: Iterable[Picture]) -> str:
    """One line for every panel: the file in the run's folder and its SHA-256, or why there is none."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow(PICTURES)
    for each in pictures:
        size = (each.width, each.height) if each.content else ("", "")
        writer.writerow([*map(_text, (each.title, each.name)), *size, each.sha256, each.status, _text(each.reason)])
    return target.getvalue()


def _numbers(entry: Entry) -> list[str]:
    text = " ".join(filter(None, (entry.text, entry.interval)))
    numbers = (_number(entry.value), _number(entry.low), _number(entry.high))
    against = (_number(entry.paper), _number(entry.ratio))
    return [_text(text), *numbers, _text(entry.unit), *against, entry.mark, _text(" ".join(entry.cells))]


def _number(value: float | None) -> str:
    """Every digit, as a number; nothing for a number that is not there."""
    return "" if value is None else repr(value)


def _text(text: str) -> str:
    """A text that no spreadsheet takes for a formula. Numbers are written without this, so -1.5 stays a number."""
    return f"'{text}" if text.startswith(TRIGGERS) else text
