"""From a table of the suite to a table of the report: every number decided, formatted and footnoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench import units
from bench.analysis import stats
from bench.analysis.published import Printed, Published, PublishedTable, read_published
from bench.analysis.reduce import Estimate, Missing, reduce
from bench.analysis.results import Key, Point, Results, as_key, same
from bench.contracts import Scalar
from bench.errors import UserError
from bench.report import provenance, words
from bench.report.document import Entry, Footnote, Line, Mark, Row, Table
from bench.report.plain import clean, factor_text, label, listing, short
from bench.report.steadiness import Unsteady
from bench.store.record import Record, RunInfo
from bench.suite.schema import PublishedRef, Quantity, Relative, TableSpec

NOTHING = Entry("\N{EN DASH}", mark="missing")
"""No such cell is in the suite."""


@dataclass(frozen=True)
class Measured:
    """Everything a table or a figure is made from."""

    results: Results
    info: RunInfo
    records: tuple[Record, ...]
    unsteady: Unsteady
    """What all visits together say against a timing."""


Outcome = Estimate | Missing | None


@dataclass(frozen=True)
class Grid:
    """Outcomes of one quantity: [rows][columns]; None where the suite has no cell."""

    quantity: Quantity
    outcomes: tuple[tuple[Outcome, ...], ...]
    scale: units.Scale
    decimals: int
    """Usual for this quantity, so that a row of numbers is even."""

    @property
    def estimates(self) -> list[Estimate]:
        return [each for row in self.outcomes for each in row if isinstance(each, Estimate)]


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


def build_table(spec: TableSpec, measured: Measured) -> Table:
    """The table, with a reason in every place where there is no number."""
    names = (spec.rows,) if isinstance(spec.rows, str) else spec.rows
    paper, print_problem = find_published(spec.published)
    table = _pivot(spec, measured, names, paper) if spec.columns is not None else _list(spec, measured, names, paper)
    problem = (Footnote(print_problem),) if print_problem else ()
    return replace(table, footnotes=(*table.footnotes, *problem))


def find_published(ref: PublishedRef | None) -> tuple[tuple[Published, PublishedTable] | None, str]:
    """The printed table a suite names, or a sentence saying why it cannot be shown."""
    if ref is None:
        return None, ""
    try:
        paper = read_published(ref.paper)
        return (paper, paper.table(ref.table)), ""
    except UserError as error:
        return None, clean(f"The printed table cannot be shown: {error}")


def row_keys(results: Results, names: Sequence[str]) -> tuple[tuple[Scalar, ...], ...]:
    """The combinations of the row factors that some cell has, in order of first appearance."""
    found: dict[Key, tuple[Scalar, ...]] = {}
    for point in results.points:
        if all(map(point.has, names)):
            values = tuple(point.value(name) for name in names)
            found.setdefault(as_key(values), values)
    return tuple(found.values())


def outcome(measured: Measured, points: Sequence[Point], quantity: Quantity) -> Outcome:
    """The number in one place of a table; a place that several cells claim says what tells them apart."""
    results = measured.results
    if not points:
        return None
    if len(points) == 1:
        found = reduce(results, points[0], quantity)
        more = measured.unsteady.get((points[0].id, quantity.metric), ())
        return replace(found, warnings=(*found.warnings, *more)) if isinstance(found, Estimate) and more else found
    differ = [name for name in results.factor_names() if len(results.values(name, points)) > 1]
    return Missing(
        "unclear",
        f"{len(points)} cells belong here, which differ in {listing(differ) or 'nothing that has a name'}; "
        "add it to the rows or the columns of this table",
        tuple(point.id for point in points),
    )


def make_grid(quantity: Quantity, outcomes: Iterable[Iterable[Outcome]]) -> Grid:
    """Outcomes with the scale they are written in."""
    rows = tuple(tuple(row) for row in outcomes)
    estimates = [each for row in rows for each in row if isinstance(each, Estimate)]
    scale = scale_for(quantity, estimates)
    supported = sorted(
        units.supported_decimals(each.value, scale, each.low, each.high) for each in estimates if each.low is not None
    )
    return Grid(quantity, rows, scale, supported[(len(supported) - 1) // 2] if supported else 6)


def scale_for(quantity: Quantity, estimates: Sequence[Estimate]) -> units.Scale:
    """How numbers of this quantity are written."""
    style = quantity.format
    if style == "auto" and quantity.relative == "time_saved":
        style = "percent"
    return units.choose_scale([each.value for each in estimates], estimates[0].unit if estimates else "", style)


def written(estimate: Estimate, grid: Grid) -> tuple[str, str]:
    """The number and its interval: (`47.5 %`, `[46.9, 48.1]`)."""
    if estimate.is_reference:
        return units.write(estimate.value, grid.scale, decimals=0), ""
    if estimate.low is None:
        return (units.write if estimate.exact else units.write_unsure)(estimate.value, grid.scale), ""
    own = units.supported_decimals(estimate.value, grid.scale, estimate.low, estimate.high)
    decimals = units.even_decimals(own, grid.decimals)
    text, bracket, ends = units.write(estimate.value, grid.scale, estimate.low, estimate.high, decimals).partition(" [")
    return text, bracket.strip() + ends


def _pivot(
    spec: TableSpec, measured: Measured, names: Sequence[str], paper: tuple[Published, PublishedTable] | None
) -> Table:
    """One quantity over two factors; further quantities on lines of their own."""
    assert spec.columns is not None and spec.value is not None  # the reader checked the two forms of a table
    results = measured.results
    keys, values = row_keys(results, names), results.values(spec.columns)
    places = [
        [results.find({**dict(zip(names, key, strict=True)), spec.columns: value}) for value in values] for key in keys
    ]
    grids = [
        make_grid(quantity, [[outcome(measured, points, quantity) for points in row] for row in places])
        for quantity in (spec.value, *spec.beside)
    ]
    prints: list[list[Printed | None]] = [[None] * len(values) for _ in keys]
    if paper is not None:
        prints = [[printed_for(paper[1], points, spec.value) for points in row] for row in places]
    notes = Notes()
    papers = _paper_lines(prints, notes)
    lines = [_lines(grid, prints if index == 0 else None, notes) for index, grid in enumerate(grids)]
    rows = []
    for index, key in enumerate(keys):
        stack = [Line("paper", "paper", papers[index])] if any(prints[index]) else []
        stack.append(
            Line("ours" if spec.value.label is None else clean(spec.value.label, 200), "ours", lines[0][index])
        )
        stack += [
            Line(words.name_of(grid.quantity), "beside", rest[index])
            for grid, rest in zip(grids[1:], lines[1:], strict=True)
        ]
        rows.append(Row(tuple(map(label, key)), tuple(stack)))
    columns = tuple(_column_label(spec.columns, value, paper) for value in values)
    return Table(
        clean(spec.id, 200),
        clean(spec.caption),
        tuple(short(name) for name in names),
        short(spec.columns),
        columns,
        tuple(rows),
        findings(prints, lines[0]),
        (*notes.footnotes, *_footnotes(spec, measured, grids, paper)),
    )


def _list(
    spec: TableSpec, measured: Measured, names: Sequence[str], paper: tuple[Published, PublishedTable] | None
) -> Table:
    """One row for each combination of the row factors, one column for each quantity."""
    results = measured.results
    keys = row_keys(results, names)
    places = [results.find(dict(zip(names, key, strict=True))) for key in keys]
    quantities = spec.values
    grids = [
        make_grid(quantity, [[outcome(measured, points, quantity)] for points in places]) for quantity in quantities
    ]
    prints: list[list[Printed | None]] = [
        [_find_printed(paper[1], points, each.metric, each.relative, each.at) if paper else None for each in quantities]
        for points in places
    ]
    notes = Notes()
    papers = _paper_lines(prints, notes)
    columns = [_lines(grid, [[row[i]] for row in prints], notes) for i, grid in enumerate(grids)]
    rows = []
    for index, key in enumerate(keys):
        entries = tuple(column[index][0] for column in columns)
        stack = [Line("paper", "paper", papers[index])] if any(prints[index]) else []
        rows.append(Row(tuple(map(label, key)), (*stack, Line("ours", "ours", entries))))
    return Table(
        clean(spec.id, 200),
        clean(spec.caption),
        tuple(short(name) for name in names),
        "",
        tuple(words.name_of(quantity) for quantity in quantities),
        tuple(rows),
        findings(prints, [row.lines[-1].entries for row in rows]),
        (*notes.footnotes, *_footnotes(spec, measured, grids, paper)),
    )


def printed_for(table: PublishedTable, points: Sequence[Point], quantity: Quantity) -> Printed | None:
    """The number printed for the one cell of a place of a pivot or a figure.

    A table of a single quantity is taken as it is: the suite asks for it by name, whatever we measure instead.
    """
    known = table.quantities
    metric, relative = known[0] if len(known) == 1 else (quantity.metric, quantity.relative)
    return _find_printed(table, points, metric, relative)


def _find_printed(
    table: PublishedTable,
    points: Sequence[Point],
    metric: str,
    relative: Relative | None,
    at: Mapping[str, Scalar] | None = None,
) -> Printed | None:
    if len(points) != 1:
        return None
    return table.find({**points[0].conditions, **points[0].factors, **(at or {})}, metric, relative)


def _paper_lines(prints: Sequence[Sequence[Printed | None]], notes: Notes) -> list[tuple[Entry, ...]]:
    return [
        tuple(
            Entry(
                units.write_printed(each.text, each.unit),
                value=each.value,
                unit=each.stored_unit,
                paper=each.value,
                notes=tuple(notes.mark(f"paper: {caveat}") for caveat in each.caveats),
            )
            if each
            else NOTHING
            for each in row
        )
        for row in prints
    ]


def _lines(grid: Grid, prints: Sequence[Sequence[Printed | None]] | None, notes: Notes) -> list[tuple[Entry, ...]]:
    """The entries of one quantity, row by row."""
    common = _common_note(grid)
    cells = {each.cells[0] for each in grid.estimates}
    warned = [(each.cells[0], warning) for each in grid.estimates for warning in each.warnings]
    groups = [group for group in provenance.collapsed(warned, len(cells)) if len(group[1]) < len(cells)]
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
        )
    text, interval = written(each, grid)
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
        each.value / paper if paper else None,
        _mark(each, printed),
        tuple(own),
        each.cells,
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


def _common_note(grid: Grid) -> str | None:
    """The note that every number of a quantity carries, so that it is said once."""
    notes = {each.note for each in grid.estimates if not each.is_reference and not each.exact}
    return notes.pop() if len(notes) == 1 else None


def findings(prints: Sequence[Sequence[Printed | None]], lines: Sequence[Sequence[Entry]]) -> tuple[str, ...]:
    """What the comparison with the printed numbers says as a whole."""
    marks = [
        entry.mark
        for printed, entries in zip(prints, lines, strict=True)
        for each, entry in zip(printed, entries, strict=True)
        if each is not None and entry.mark in ("within", "below", "above")
    ]
    if not marks:
        return ()
    within = marks.count("within")
    return (
        f"{within if within else 'None'} of {units.plural(len(marks), 'printed number')} "
        f"{'lie' if within > 1 else 'lies'} within our {100 * stats.CONFIDENCE:.0f} % interval; "
        f"{marks.count('below')} are higher than ours, {marks.count('above')} lower.",
    )


def _footnotes(
    spec: TableSpec, measured: Measured, grids: Sequence[Grid], paper: tuple[Published, PublishedTable] | None
) -> tuple[Footnote, ...]:
    """What a reader must know to use any number of the table."""
    estimates = [each for grid in grids for each in grid.estimates]
    used = {cell for each in estimates for cell in each.cells}
    points = [point for point in measured.results.points if point.id in used]
    conditions: list[str | None] = [provenance.conditions_sentence(measured.info, points) if points else None]
    conditions.append(provenance.repeats_sentence(grids[0].estimates if spec.columns else estimates))
    if any(each.low is not None for each in estimates):
        conditions.append(
            f"Brackets: {100 * stats.CONFIDENCE:.0f} % interval from {stats.RESAMPLES:,} bootstrap resamples of "
            "processes and of the rounds inside them."
        )
    conditions += [f"{meaning}." for meaning in dict.fromkeys(grid.scale.meaning for grid in grids) if meaning]
    texts: list[str] = []
    for index, grid in enumerate(grids):
        unnamed = spec.columns is not None and index == 0 and grid.quantity.label is None
        name = "ours" if unnamed else words.name_of(grid.quantity)
        texts.append(f"{name}: {words.meaning(grid.quantity)}.")
        if note := _common_note(grid):
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
        *(Footnote(sentence, about="warning") for sentence, members in groups if len(members) == len(points) > 0),
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


def _column_label(name: str, value: Scalar, paper: tuple[Published, PublishedTable] | None) -> str:
    """The paper's own heading where it has one for exactly this value, else `skip_exponent = 2`."""
    if paper is not None:
        for column in paper[1].columns:
            wanted = column.factors.get(name, ())
            if len(column.factors) == 1 and not isinstance(wanted, tuple) and same(wanted, value):
                return clean(column.label, 200)
    return factor_text(name, value)
