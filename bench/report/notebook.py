"""Tables, figures, claims and comparisons as objects that a notebook shows by itself, with every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Generic, TypeVar

from bench.report.csv import render_csv
from bench.report.document import Claim, Entry, Figure, Table
from bench.report.latex import render_latex
from bench.report.markdown import escape as escape_markdown
from bench.report.markdown import render_claim, render_table
from bench.report.verdicts import findings, markdown, text_lines
from bench.verdict.outcome import Comparison

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True)
class ShownTable:
    """A table of a report."""

    table: Table

    def to_frame(self) -> pd.DataFrame:
        """One row per number: the row factors, `line`, `column`, `value`, `low`, `high`, `unit`, `paper`, `text`.

        Numbers are in SI base units; a missing one is NaN, and `text` says why.
        """
        import pandas as pd

        rows = [
            {
                **dict(zip(self.table.row_titles, row.heads, strict=True)),
                "line": line.label,
                "column": column,
                **{name: getattr(entry, name) for name in ("value", "low", "high", "unit", "paper")},
                "text": _text(entry),
            }
            for row in self.table.rows
            for line in row.lines
            for column, entry in zip(self.table.columns, line.entries, strict=True)
        ]
        names = [*self.table.row_titles, "line", "column", "value", "low", "high", "unit", "paper", "text"]
        frame = pd.DataFrame(rows, columns=names)
        return frame.astype(dict.fromkeys(("value", "low", "high", "paper"), "float64"))

    def to_latex(self) -> str:
        """booktabs."""
        return render_latex(self.table)

    def to_csv(self) -> str:
        """One line per number, every digit."""
        return render_csv(self.table)

    def _repr_html_(self) -> str:
        table, labelled = self.table, self.table.labelled
        heads = [*table.row_titles, *([""] if labelled else []), *table.columns]
        rows = []
        for row in table.rows:
            for index, line in enumerate(row.lines):
                cells = [f"<th>{escape(head) if index == 0 else ''}</th>" for head in row.heads]
                cells += [f"<th>{escape(line.label)}</th>"] if labelled else []
                cells += [f'<td style="text-align:right">{escape(_text(entry))}</td>' for entry in line.entries]
                rows.append(f"<tr>{''.join(cells)}</tr>")
        head = "".join(f"<th>{escape(each)}</th>" for each in heads)
        notes = "".join(f"<p><small>{escape(text)}</small></p>" for text in self._notes())
        caption = f'<caption style="text-align:left">{escape(table.caption)}</caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{notes}"

    def _repr_markdown_(self) -> str:
        notes = "".join(f"\n\n{escape_markdown(text)}" for text in self._notes())
        return f"**{escape_markdown(self.table.caption)}**\n\n{render_table(self.table)}{notes}\n"

    def _notes(self) -> Iterator[str]:
        """What no reader of a number may miss: findings, conditions, warnings, and the marked footnotes."""
        yield from self.table.findings
        for note in self.table.footnotes:
            if note.mark:
                yield f"({note.mark}) {note.text}"
            elif note.about in ("conditions", "warning"):
                yield note.text

    def __str__(self) -> str:
        return self._repr_markdown_()

    def __repr__(self) -> str:
        return f"<table {self.table.id!r}: {len(self.table.rows)} rows, {len(self.table.columns)} columns>"


def _text(entry: Entry) -> str:
    marks = f"({', '.join(entry.notes)})" if entry.notes else ""
    return " ".join(filter(None, (entry.text, entry.interval, marks)))


@dataclass(frozen=True)
class ShownFigure:
    """A figure of a report."""

    figure: Figure

    @property
    def images(self) -> tuple[tuple[str, bytes], ...]:
        """Every picture as its media type and its bytes: one SVG, or the PNG files that records name."""
        if self.figure.svg:
            return (("image/svg+xml", self.figure.svg.encode()),)
        return tuple(("image/png", each.content) for each in self.figure.pictures if each.content)

    def _repr_html_(self) -> str:
        """Pictures as data addresses, so that styles and ids of several figures cannot meet."""
        caption = escape(self.figure.caption)
        pictures = "".join(f'<img alt="{caption}" src="{_address(*image)}">' for image in self.images)
        notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in self._notes())
        return f"<figure>{pictures}<figcaption>{caption}</figcaption>{notes}</figure>"

    def _repr_markdown_(self) -> str:
        caption = escape_markdown(self.figure.caption)
        pictures = "\n\n".join(f"![{caption}]({_address(*image)})" for image in self.images)
        notes = "".join(f"\n\n{escape_markdown(note)}" for note in self._notes())
        return f"{pictures}\n\n*{caption}*{notes}\n"

    def _notes(self) -> Iterator[str]:
        yield from self.figure.notes
        yield from (f"{each.status}: {each.reason}" for each in self.figure.pictures if each.status)

    def __repr__(self) -> str:
        return f"<figure {self.figure.id!r}: {self.figure.caption}>"


def _address(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class ShownClaims:
    """The claims of a suite, each with its verdict."""

    claims: tuple[Claim, ...]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.claims)

    def __len__(self) -> int:
        return len(self.claims)

    def __getitem__(self, name: str) -> Claim:
        """The claim with an id. Raises KeyError."""
        return {claim.id: claim for claim in self.claims}[name]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(each.verdict)}</td><td>{escape(each.sentence)}</td><td>{escape(each.finding)}</td></tr>"
            for each in self.claims
        )
        head = "<tr><th>verdict</th><th>claim</th><th>finding</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def _repr_markdown_(self) -> str:
        return "\n\n".join(block for claim in self.claims for block in render_claim(claim)) + "\n"


@dataclass(frozen=True)
class ShownComparison:
    """What changed between two sets of results."""

    comparison: Comparison

    def _repr_markdown_(self) -> str:
        return markdown(self.comparison, "Comparison")

    def _repr_html_(self) -> str:
        found = [(each.outcome, each.about, each.number, each.sentence) for each in findings(self.comparison)]
        rows = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in each)}</tr>" for each in found)
        head = "<tr><th>verdict</th><th>cell</th><th>number</th><th>what</th></tr>"
        summary = f"<p><b>{escape(self.comparison.summary)}</b></p>"
        return f"{summary}<table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def __str__(self) -> str:
        return "\n".join(text_lines(self.comparison))


class Shelf(Mapping[str, T], Generic[T]):
    """Things by their ids, shown one after another."""

    def __init__(self, things: Iterable[tuple[str, T]]) -> None:
        self._things = dict(things)

    def __getitem__(self, name: str) -> T:
        try:
            return self._things[name]
        except KeyError:
            raise KeyError(f"{name!r}; known: {', '.join(self._things) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def _repr_html_(self) -> str:
        return "".join(thing._repr_html_() for thing in self._things.values() if hasattr(thing, "_repr_html_"))

    def _repr_markdown_(self) -> str:
        shown = [thing._repr_markdown_() for thing in self._things.values() if hasattr(thing, "_repr_markdown_")]
        return "\n".join(shown)

    def __repr__(self) -> str:
        return f"<{', '.join(map(repr, self._things)) or 'nothing'}>"
