"""From a table of the suite to a table of the report: every number decided, formatted and footnoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench import units
from bench.analysis import stats
from bench.analysis.published import Printed, Published, PublishedTable
from bench.analysis.reduce import Estimate
from bench.analysis.resolution import resolutions
from bench.analysis.results import MAYBE, same
from bench.analysis.samples import Missing
from bench.contracts import Scalar
from bench.report import provenance, words
from bench.report.document import Entry, Footnote, Line, Mark, Row, Table
from bench.report.footnotes import Notes, common_note, table_footnotes
from bench.report.grids import Grid, Measured, Outcome, make_grid, outcome, row_groups, shown, written
from bench.report.origins import origin_of, printed_origin
from bench.report.plain import clean, factor_text, short
from bench.report.printed import find_printed, find_published, is_of_another_kind, printed_for, printed_metric
from bench.report.rankings import ranking_findings
from bench.suite.schema import TableSpec

NOTHING = Entry("\N{EN DASH}", mark="missing")
"""No such cell is in the suite."""


FEW_PAIRS = 5
"""Pairs below which an order is luck."""


def build_table(spec: TableSpec, measured: Measured) -> Table:
    """The table, with a reason in every place where there is no number."""
    names = (spec.rows,) if isinstance(spec.rows, str) else spec.rows
    paper, print_problem = find_published(spec.published)
    table = _pivot(spec, measured, names, paper) if spec.columns is not None else _list(spec, measured, names, paper)
    problem = (Footnote(print_problem),) if print_problem else ()
    return replace(
        table,
        findings=(
            *ranking_findings(spec, measured),
            *table.findings,
            *(_resolved(spec, measured, paper[1]) if paper else ()),
        ),
        footnotes=(*table.footnotes, *problem),
    )


def _resolved(spec: TableSpec, measured: Measured, printed: PublishedTable) -> tuple[str, ...]:
    """Which of our exact numbers the printed ones are, where there are several candidates."""
    points = tuple(point for point in measured.results.points if point.matches(spec.where))
    varied = [name for name in measured.results.factor_names() if len(measured.results.values(name, points)) > 1]
    return tuple(clean(each.sentence) for each in resolutions(printed, measured.results, points, varied))


def _pivot(
    spec: TableSpec, measured: Measured, names: Sequence[str], paper: tuple[Published, PublishedTable] | None
) -> Table:
    """One quantity over two factors; further quantities on lines of their own."""
    assert spec.columns is not None and spec.value is not None  # the reader checked the two forms of a table
    results = measured.results
    points = shown(results.points, spec.where)
    groups, values = row_groups(points, names), results.values(spec.columns, points)
    places = [[shown(members, {spec.columns: value}) for value in values] for _, members in groups]
    grids = [
        make_grid(quantity, [[outcome(measured, points, quantity) for points in row] for row in places])
        for quantity in (spec.value, *spec.beside)
    ]
    prints: list[list[Printed | None]] = [[None] * len(values) for _ in groups]
    if paper is not None:
        prints = [[printed_for(paper[1], points, spec.value) for points in row] for row in places]
    notes = Notes()
    papers = _paper_lines(prints, notes, paper)
    lines = [_lines(grid, prints if index == 0 else None, notes) for index, grid in enumerate(grids)]
    rows = []
    for index, (heads, _) in enumerate(groups):
        stack = [Line("paper", "paper", papers[index])] if any(prints[index]) else []
        stack.append(
            Line("ours" if spec.value.label is None else clean(spec.value.label, 200), "ours", lines[0][index])
        )
        stack += [
            Line(words.name_of(grid.quantity), "beside", rest[index])
            for grid, rest in zip(grids[1:], lines[1:], strict=True)
        ]
        rows.append(Row(heads, tuple(stack)))
    columns = tuple(_column_label(spec.columns, value, paper) for value in values)
    return Table(
        clean(spec.id, 200),
        clean(spec.caption),
        tuple(short(name.removesuffix(MAYBE)) for name in names),
        short(spec.columns),
        columns,
        tuple(rows),
        findings(prints, lines[0]),
        (*notes.footnotes, *table_footnotes(spec, measured, grids, paper)),
    )


def _list(
    spec: TableSpec, measured: Measured, names: Sequence[str], paper: tuple[Published, PublishedTable] | None
) -> Table:
    """One row for each combination of the row factors, one column for each quantity."""
    groups = row_groups(shown(measured.results.points, spec.where), names)
    places = [members for _, members in groups]
    quantities = spec.values
    grids = [
        make_grid(quantity, [[outcome(measured, points, quantity)] for points in places]) for quantity in quantities
    ]
    prints: list[list[Printed | None]] = [
        [
            find_printed(paper[1], shown(points, each.where), printed_metric(each), each.relative, each.at)
            if paper
            else None
            for each in quantities
        ]
        for points in places
    ]
    notes = Notes()
    papers = _paper_lines(prints, notes, paper)
    columns = [_lines(grid, [[row[i]] for row in prints], notes) for i, grid in enumerate(grids)]
    rows = []
    for index, (heads, _) in enumerate(groups):
        entries = tuple(column[index][0] for column in columns)
        stack = [Line("paper", "paper", papers[index])] if any(prints[index]) else []
        rows.append(Row(heads, (*stack, Line("ours", "ours", entries))))
    return Table(
        clean(spec.id, 200),
        clean(spec.caption),
        tuple(short(name.removesuffix(MAYBE)) for name in names),
        "",
        tuple(words.name_of(quantity) for quantity in quantities),
        tuple(rows),
        findings(prints, [row.lines[-1].entries for row in rows]),
        (*notes.footnotes, *table_footnotes(spec, measured, grids, paper)),
    )


def _paper_lines(
    prints: Sequence[Sequence[Printed | None]], notes: Notes, paper: tuple[Published, PublishedTable] | None
) -> list[tuple[Entry, ...]]:
    return [
        tuple(
            Entry(
                units.write_printed(each.text, each.unit),
                value=each.value,
                unit=each.stored_unit,
                paper=each.value,
                notes=tuple(notes.mark(f"paper: {caveat}") for caveat in each.caveats),
                origin=printed_origin(each, paper) if paper else None,
            )
            if each
            else NOTHING
            for each in row
        )
        for row in prints
    ]


def _lines(grid: Grid, prints: Sequence[Sequence[Printed | None]] | None, notes: Notes) -> list[tuple[Entry, ...]]:
    """The entries of one quantity, row by row."""
    common = common_note(grid)
    cells = {each.cells[0] for each in grid.estimates}
    warned = [(each.cells[0], warning) for each in grid.estimates for warning in each.warnings]
    collapsed = provenance.collapsed(warned, len(cells))
    groups = [group for group in collapsed if not provenance.is_widespread(group[1], len(cells))]
    rows = []
    for index, row in enumerate(grid.outcomes):
        entries = []
        for column, each in enumerate(row):
            printed = prints[index][column] if prints else None
            entries.append(_entry(each, grid, printed, common, groups, notes))
        rows.append(tuple(entries))
    return rows


def _entry(
    each: Outcome,
    grid: Grid,
    printed: Printed | None,
    common: str | None,
    groups: Sequence[tuple[str, frozenset[str]]],
    notes: Notes,
) -> Entry:
    paper = printed.value if printed else None
    if each is None:
        return NOTHING
    if isinstance(each, Missing):
        return Entry(
            each.status,
            paper=paper,
            mark="missing",
            notes=(notes.mark(f"{each.status}: {each.reason}"),),
            cells=each.cells,
            origin=origin_of(each, grid, printed),
        )
    text, interval = written(each, grid)
    comparable = printed is not None and not is_of_another_kind(each, printed, grid.quantity)
    own = [notes.mark(each.note)] if each.note and each.note != common else []
    own += [notes.mark(sentence) for sentence, members in groups if each.cells[0] in members]
    return Entry(
        text,
        each.unit,
        interval,
        each.value,
        each.low,
        each.high,
        paper,
        each.value / paper if paper and comparable else None,
        _mark(each, printed if comparable else None),
        tuple(own),
        each.cells,
        comparable or printed is None,
        exact=each.exact,
        origin=origin_of(each, grid, printed),
    )


def _mark(each: Estimate, printed: Printed | None) -> Mark:
    """Where our interval lies to the printed number, whose last digit is rounded."""
    if each.is_reference:
        return "reference"
    if printed is None or (each.low is None and not each.exact):
        return ""
    low = each.value if each.low is None else each.low
    high = each.value if each.high is None else each.high
    if high < printed.value - printed.tolerance:
        return "below"
    return "above" if low > printed.value + printed.tolerance else "within"


def findings(prints: Sequence[Sequence[Printed | None]], lines: Sequence[Sequence[Entry]]) -> tuple[str, ...]:
    """What the comparison with the printed numbers says as a whole."""
    pairs = [
        (each, entry)
        for printed, entries in zip(prints, lines, strict=True)
        for each, entry in zip(printed, entries, strict=True)
        if each is not None and entry.value is not None
    ]
    said = []
    marks = [entry.mark for _, entry in pairs if entry.mark in ("within", "below", "above")]
    if marks:
        within = marks.count("within")
        verb = "agree" if within > 1 else "agrees"
        said.append(
            f"{within or 'None'} of {units.plural(len(marks), 'entry', 'entries')} {verb} with "
            f"the printed number within our {100 * stats.CONFIDENCE:.0f} % interval; the printed number is higher in "
            f"{marks.count('below')} and lower in {marks.count('above')}."
        )
    other = [(each, entry) for each, entry in pairs if not entry.comparable]
    if len(other) >= FEW_PAIRS:
        agreement = stats.rank_correlation(
            [each.value for each, _ in other], [entry.value or 0.0 for _, entry in other]
        )
        said.append(
            f"The printed numbers are of something else than ours, so only their order can be compared: the rank "
            f"correlation over {len(other)} entries is {agreement:.2f}."
        )
    return tuple(said)


def _column_label(name: str, value: Scalar, paper: tuple[Published, PublishedTable] | None) -> str:
    """The paper's own heading where it has one for exactly this value, else `skip_exponent = 2`."""
    if paper is not None:
        for column in paper[1].columns:
            wanted = column.factors.get(name, ())
            if len(column.factors) == 1 and not isinstance(wanted, tuple) and same(wanted, value):
                return clean(column.label, 200)
    return factor_text(name, value)
