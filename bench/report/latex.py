"""Tables as LaTeX for a paper: booktabs, one file a table, to be \\input."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.report.document import Entry, Report, Table
from bench.report.markdown import file_stem

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MICRO SIGN}": r"\textmu{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{EN DASH}": "--",
    "[": "{[}",
    "]": "{]}",
}
_ANY = re.compile("|".join(map(re.escape, _SPECIAL)))


def latex_files(report: Report, stem: str) -> Mapping[str, str]:
    """`<stem>-<table>.tex` for every table; the suite's name is in it when there are several."""
    several = len(report.sections) > 1
    return {
        f"{stem}-{f'{section.id}-' if several else ''}{file_stem(table.id)}.tex": render_latex(table)
        for section in report.sections
        for table in section.tables
    }


def escape(text: str) -> str:
    """The text as LaTeX that prints exactly it."""
    return _ANY.sub(lambda match: _SPECIAL[match[0]], text)


def render_latex(table: Table) -> str:
    """A floating table; needs the packages booktabs and textcomp. Footnotes follow in small type."""
    labelled = table.labelled
    heads = [*table.row_titles, *([""] if labelled else [])]
    lines = [
        f"% {escape(table.caption)}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{file_stem(table.id)}}}",
        rf"\begin{{tabular}}{{{'l' * len(heads)}{'r' * len(table.columns)}}}",
        r"\toprule",
        _row([*map(escape, heads), *map(escape, table.columns)]),
        r"\midrule",
    ]
    for number, row in enumerate(table.rows):
        if number and labelled:
            lines.append(r"\addlinespace")
        for index, line in enumerate(row.lines):
            names = [escape(head) if index == 0 else "" for head in row.heads]
            label = [escape(line.label)] if labelled else []
            lines.append(_row([*names, *label, *map(_entry, line.entries)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.footnotes:
        lines += ["", r"\medskip", r"\begin{minipage}{\linewidth}\footnotesize"]
        for note in table.footnotes:
            mark = rf"\textsuperscript{{{escape(note.mark)}}} " if note.mark else ""
            lines.append(rf"{mark}{escape(note.text)}\par")
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _entry(entry: Entry) -> str:
    marks = rf"\textsuperscript{{{escape(','.join(entry.notes))}}}" if entry.notes else ""
    interval = rf" {{\scriptsize {escape(entry.interval)}}}" if entry.interval else ""
    return f"{escape(entry.text)}{interval}{marks}"


def _row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
