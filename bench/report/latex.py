"""Tables as LaTeX for a paper: booktabs, one file a table, to be \\input; and one document of the whole report.

A number is bold where it is significantly the best of its column: its interval does not reach that of any other (see
`bench.report.best`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bench.report.document import Claim, Entry, Figure, Report, Section, Table
from bench.report.markdown import file_stem, picture_name

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
    "\N{EM DASH}": "---",
    "\N{MIDDLE DOT}": r"\textperiodcentered{}",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MINUS SIGN}": "$-$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{GREEK SMALL LETTER EPSILON}": r"$\varepsilon$",
    "\N{GREEK SMALL LETTER ETA}": r"$\eta$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "[": "{[}",
    "]": "{]}",
}
UNSET = frozenset("\u0126\u0127\u0138\u013f\u0140\u0149\u0166\u0167\u017f")
"""Latin letters that the T1 fonts lack."""
LONGEST_TABLE = 45
"""Lines of a table that still fits a page; of more it is broken over pages."""
PREAMBLE = r"""\documentclass[a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=18mm]{geometry}
\usepackage{booktabs,graphicx,longtable,textcomp}
\newcommand{\fitted}[1]{\sbox0{#1}\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi}
\AddToHook{env/table/begin}{\footnotesize}
\setlength{\emergencystretch}{3em}
"""
_ANY = re.compile("|".join(map(re.escape, [*_SPECIAL, *sorted(UNSET)])) + "|[^\x20-\x7e\u00a0-\u017f]")


def latex_files(report: Report, stem: str) -> Mapping[str, str | bytes]:
    """`<stem>-<table>.tex` for every table, its suite's name in it when there are several, and `<stem>.tex` with all.

    The figures of that document lie in `<stem>-figures/`: a PDF for each panel and its legend, and PNG pictures.
    """
    from bench.report.pdf import legend_pdf, panel_pdfs

    files: dict[str, str | bytes] = {f"{stem}.tex": render_document(report, stem)}
    for section in report.sections:
        for table in section.tables:
            files[f"{_table_name(report, section, table, stem)}.tex"] = render_latex(table)
        for figure in section.figures:
            base = f"{stem}-figures/{section.id}-{file_stem(figure.id)}"
            for number, content in enumerate(panel_pdfs(figure), start=1):
                files[f"{base}-{number:02d}.pdf"] = content
            if figure.legend and figure.panels:
                files[f"{base}-legend.pdf"] = legend_pdf(figure)
            for number, picture in enumerate(figure.pictures, start=1):
                if picture.content:
                    files[f"{stem}-figures/{picture_name(section, figure, number)}"] = picture.content
    return files


def _table_name(report: Report, section: Section, table: Table, stem: str) -> str:
    return f"{stem}-{f'{section.id}-' if len(report.sections) > 1 else ''}{file_stem(table.id)}"


def escape(text: str) -> str:
    """The text as LaTeX that prints exactly it; a character that the usual fonts lack is named: U+6F22."""
    return _ANY.sub(lambda match: _SPECIAL.get(match[0]) or _named(match[0]), text)


def _named(character: str) -> str:
    return rf"\texttt{{U+{ord(character):04X}}}"


def render_latex(table: Table) -> str:
    """A floating table, or a long one broken over pages. Needs booktabs and textcomp. Footnotes follow."""
    labelled = table.labelled
    long = sum(len(row.lines) for row in table.rows) > LONGEST_TABLE
    heads = [*table.row_titles, *([""] if labelled else [])]
    columns = f"{'l' * len(heads)}{'r' * len(table.columns)}"
    caption = [rf"\caption{{{escape(table.caption)}}}", rf"\label{{tab:{file_stem(table.id)}}}"]
    head = [r"\toprule", _row([*map(escape, heads), *map(escape, table.columns)]), r"\midrule"]
    if long:
        before = [rf"\begin{{longtable}}{{{columns}}}", *caption, r"\\", *head, r"\endhead"]
        after = [r"\bottomrule", r"\end{longtable}"]
    else:
        before = [r"\begin{table}[htbp]", r"\centering", *caption, r"\providecommand{\fitted}[1]{#1}", r"\fitted{%"]
        before += [rf"\begin{{tabular}}{{{columns}}}", *head]
        after = [r"\bottomrule", r"\end{tabular}}"]
    lines = [f"% {escape(table.caption)}", *before, *_lines(table), *after]
    if table.footnotes:
        lines += ["", r"\medskip", r"\begin{minipage}{\linewidth}\footnotesize"]
        for note in table.footnotes:
            mark = rf"\textsuperscript{{{escape(note.mark)}}} " if note.mark else ""
            lines.append(rf"{mark}{escape(note.text)}\par")
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, *([] if long else [r"\end{table}"])]) + "\n"


def _lines(table: Table) -> Iterator[str]:
    for number, row in enumerate(table.rows):
        if number and table.labelled:
            yield r"\addlinespace"
        for index, line in enumerate(row.lines):
            names = [escape(head) if index == 0 else "" for head in row.heads]
            label = [escape(line.label)] if table.labelled else []
            yield _row([*names, *label, *map(_entry, line.entries)])


def _entry(entry: Entry) -> str:
    marks = rf"\textsuperscript{{{escape(','.join(entry.notes))}}}" if entry.notes else ""
    interval = rf" {{\scriptsize {escape(entry.interval)}}}" if entry.interval else ""
    text = rf"\textbf{{{escape(entry.text)}}}" if entry.best else escape(entry.text)
    return f"{text}{interval}{marks}"


def _row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def render_document(report: Report, stem: str) -> str:
    """A document that holds every table and figure; `pdflatex` makes pages of it."""
    lines = [
        PREAMBLE + rf"\title{{{escape(report.title)}}}",
        r"\author{}",
        rf"\date{{Made by {escape(report.made_by)}}}",
    ]
    lines += [r"\begin{document}", r"\maketitle"]
    if len(report.sections) > 1:
        lines += [r"\tableofcontents", r"\listoftables", r"\listoffigures"]
    for section in report.sections:
        lines += ["", rf"\section{{{escape(section.title)}}}", rf"{escape(section.subtitle)}\par"]
        lines += [rf"\noindent\textbf{{Note:}} {escape(each)}\par" for each in section.warnings]
        lines += list(_claims(section.claims))
        lines += [rf"\input{{{_table_name(report, section, table, stem)}}}" for table in section.tables]
        for figure in section.figures:
            lines += _figure(figure, section, stem)
        if section.notes:
            lines += [r"\begin{itemize}", *(rf"\item {escape(note)}" for note in section.notes), r"\end{itemize}"]
        lines.append(r"\clearpage")
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def _claims(claims: tuple[Claim, ...]) -> Iterator[str]:
    if claims:
        yield r"\subsection*{Claims}"
        yield r"\begin{itemize}"
        for claim in claims:
            yield rf"\item \textbf{{{escape(claim.verdict)}}}: {escape(claim.sentence)} ({escape(claim.finding)})"
        yield r"\end{itemize}"


def _figure(figure: Figure, section: Section, stem: str) -> Iterator[str]:
    base = f"{stem}-figures/{section.id}-{file_stem(figure.id)}"
    shown = [f"{base}-{number:02d}.pdf" for number in range(1, len(figure.panels) + 1)]
    shown += [
        f"{stem}-figures/{picture_name(section, figure, number)}"
        for number, picture in enumerate(figure.pictures, start=1)
        if picture.content
    ]
    wide = len(shown) == 1 or figure.wide
    size = "0.48" if not wide else "0.6" if figure.panels else ""
    yield r"\begin{figure}[htbp]"
    yield r"\centering"
    for name in shown:
        yield rf"\includegraphics[width={size}\linewidth]{{{name}}}"
    if figure.legend and figure.panels:
        yield rf"\\ \includegraphics[width=0.9\linewidth]{{{base}-legend.pdf}}"
    said = [f"{each.title}: {each.status}, {each.reason}" for each in figure.pictures if not each.content]
    yield rf"\caption{{{escape(figure.caption)}}}"
    yield rf"\label{{fig:{file_stem(figure.id)}}}"
    yield from (rf"\par\footnotesize {escape(note)}" for note in (*said, *figure.notes))
    yield r"\end{figure}"
