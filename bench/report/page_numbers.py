"""The numbers of a page as data for its script: what the dialog of each one says, and by what tables are sorted.

The same texts come again and again, so each is there once and everything else refers to it by its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from bench.report.document import Entry, Fact, Report, Section

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""Nothing in a text can end the element that holds it."""

COLUMNS: Sequence[str] = ("value", "section", "name", "meaning", "facts", "warnings", "cells", "command")
"""What is kept of each number; all but the value by the places of texts."""


class PageNumbers:
    """Numbers in the order in which the page shows them."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._texts: dict[str, int] = {}
        self._cells: dict[tuple[int, str], int] = {}
        self._cell_data: list[list[object]] = []
        self._known = [{cell.id: cell for cell in section.cells} for section in report.sections]
        self._columns: dict[str, list[object]] = {name: [] for name in COLUMNS}

    def place(self, entry: Entry | None, section: int) -> int | None:
        """The place of a number of the section with this index, for the page to name it by; None for what is none."""
        if entry is None or entry.origin is None:
            return None
        origin, reproduce = entry.origin, self._report.sections[section].reproduce
        row: dict[str, object] = {
            "value": entry.value,
            "section": section,
            "name": self._text(origin.name),
            "meaning": self._text(origin.meaning),
            "facts": self._facts(origin.facts),
            "warnings": [self._text(each) for each in origin.warnings],
            "cells": [self._cell(section, each) for each in entry.cells if each in self._known[section]],
            "command": self._text(reproduce.get(entry.cells, "")),
        }
        for name, column in self._columns.items():
            column.append(row[name])
        return len(self._columns["value"]) - 1

    def script(self) -> str:
        """Everything that was placed, as JSON that can stand inside a script element."""
        runs = [self._run(section, number) for number, section in enumerate(self._report.sections, start=1)]
        data = {"numbers": self._columns, "cells": self._cell_data, "runs": runs, "texts": list(self._texts)}
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)

    def _run(self, section: Section, number: int) -> dict[str, object]:
        return {"title": self._text(section.title), "origin": f"s{number}-origin", "facts": self._facts(section.run)}

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _facts(self, facts: Iterable[Fact]) -> list[int]:
        """Labels and values in turn."""
        return [self._text(text) for fact in facts for text in (fact.label, fact.value)]

    def _cell(self, section: int, cell: str) -> int:
        key = (section, cell)
        if key not in self._cells:
            self._cells[key] = len(self._cell_data)
            found = self._known[section][cell]
            self._cell_data.append([self._text(found.name), self._facts(found.factors), self._facts(found.facts)])
        return self._cells[key]
