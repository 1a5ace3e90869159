"""From run folders to pages: read, collect, build, render, write. The one entry point is `render_report`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import units
from bench.analysis.derived import findings
from bench.analysis.published import read_published
from bench.analysis.results import Point, Results, collect
from bench.errors import SaveError, SuiteError, UserError, did_you_mean
from bench.report import provenance, words
from bench.report.best import with_best
from bench.report.cells import cell_facts, entries_of, reproductions, run_facts
from bench.report.claims import build_claims
from bench.report.csv import csv_files
from bench.report.document import Fact, Facts, Failure, Report, Section
from bench.report.figures import build_figure, figure_quantities
from bench.report.grids import Measured
from bench.report.html import html_files
from bench.report.latex import latex_files
from bench.report.markdown import file_stem, markdown_files
from bench.report.plain import clean, listing
from bench.report.steadiness import unsteady
from bench.report.svg import drawn
from bench.report.tables import build_table
from bench.store.attempts import attempts
from bench.store.files import Run, load_run
from bench.store.record import Record, Status
from bench.suite.expand import expand
from bench.suite.read import parse_suite
from bench.suite.schema import Cell, Quantity, Suite
from bench.version import __version__

Files = Mapping[str, str | bytes]
"""File name -> content."""

RENDERERS: Mapping[str, Callable[[Report, str], Files]] = {
    "md": markdown_files,
    "html": html_files,
    "csv": csv_files,
    "tex": latex_files,
}
"""Format -> (report, stem of the file names) -> files."""


def render_report(
    run_dirs: Sequence[Path], out_dir: Path, formats: Sequence[str] = ("md", "html"), *, title: str = ""
) -> tuple[Path, ...]:
    """Write one report of all these runs, in every format; returns the files that were written, the pages first.

    The page is called after its suite, or `report` when it is of several. title: its heading, where that should be
    another than the suite's. Raises UserError for an unknown format, StoreError for a folder that is not a run, and
    SaveError when nothing can be written.
    """
    unknown = [name for name in formats if name not in RENDERERS]
    if unknown or not formats:
        hint = did_you_mean(unknown[0], RENDERERS) if unknown else ""
        raise UserError(
            f"unknown report format {', '.join(map(repr, unknown)) or 'none'}{hint} (known: {', '.join(RENDERERS)})"
        )
    words.load_builtins_quietly()
    report = build_report([(load_run(path), path) for path in run_dirs], title)
    stem = report.sections[0].id if len(report.sections) == 1 else "report"
    files: dict[str, str | bytes] = {}
    for name in dict.fromkeys(formats):
        files.update(RENDERERS[name](report, stem))
    return _write(out_dir, files)


def build_report(runs: Sequence[tuple[Run, Path]], title: str = "") -> Report:
    """The report of some runs. The path of each is shown as it was given. title: empty for the suite's own."""
    sections = []
    for run, path in runs:
        suite, planned, problem = _plan(run)
        sections.append(build_section(run, suite, planned, str(path), (problem,) if problem else ()))
    own = sections[0].title if len(sections) == 1 else "Benchmark report"
    return Report(clean(title, 300) or own, _with_own_ids(sections), f"bench {__version__}")


def _plan(run: Run) -> tuple[Suite | None, tuple[Cell, ...], str]:
    """The suite of a run and its cells, as far as they can be known here, and what stood in the way."""
    name = run.info.suite_path or "the suite"
    try:
        suite = parse_suite(run.info.suite_text, name)
    except SuiteError as error:
        return None, (), clean(f"The suite kept with this run cannot be read, so its tables are not shown: {error}")
    try:
        return suite, expand(suite), ""
    except UserError as error:
        return suite, (), clean(f"Cells that were never measured are not known here, because {error}")


def _with_own_ids(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Sections whose ids differ: a suite's name, with a number where a suite is there twice."""
    seen: dict[str, int] = {}
    found = []
    for section in sections:
        seen[section.id] = number = seen.get(section.id, 0) + 1
        found.append(section if number == 1 else replace(section, id=f"{section.id}-{number}"))
    return tuple(found)


def build_section(
    run: Run, suite: Suite | None, planned: Sequence[Cell], path: str, problems: Sequence[str] = ()
) -> Section:
    """Everything a page says about one run. planned: its cells; empty when they are not known."""
    results = collect(run.records, planned)
    measured = Measured(results, run.info, run.records, unsteady(results), run.path)
    tables = tuple(with_best(build_table(spec, measured), spec, results) for spec in suite.tables) if suite else ()
    figures = tuple(drawn(build_figure(spec, measured)) for spec in suite.figures) if suite else ()
    claims = build_claims(suite.claims, results) if suite else ()
    quantities = _quantities(suite, results)
    behind = dict.fromkeys(entry.cells for entry in entries_of(tables, figures, claims))
    return Section(
        id=file_stem(run.info.suite, "run"),
        title=clean(suite.title if suite else run.info.suite, 300),
        subtitle=_subtitle(run, suite),
        highlights=_highlights(run, results),
        tables=tables,
        figures=figures,
        failures=failures(results),
        warnings=(*problems, *_run_warnings(run, results, planned)),
        notes=tuple(map(clean, suite.notes)) if suite else (),
        paper=_paper(suite),
        definitions=words.definitions(quantities),
        provenance=(
            provenance.machine_facts(run.info),
            provenance.subject_facts(results, run.records),
            Facts("The same in every cell", provenance.common_factors(results)),
            provenance.software_facts(run.info),
        ),
        claims=claims,
        cells=cell_facts(results, (cell for cells in behind for cell in cells)),
        reproduce=reproductions(run.info, planned, behind),
        run=run_facts(run.info, results.points),
        commands=(
            Fact("Measure again (continues what is unfinished)", clean(run.info.command)),
            Fact("Make a page of this run", clean(f"bench report {path}")),
        ),
    )


def _subtitle(run: Run, suite: Suite | None) -> str:
    started = re.sub(r"T(\d\d:\d\d).*", r" \1 UTC", run.info.started)
    parts = [f"Suite {run.info.suite}", f"run {run.info.id}", started]
    if suite and suite.reproduces:
        try:
            cite = read_published(suite.reproduces.paper).cite
        except UserError:
            cite = suite.reproduces.paper
        number = suite.reproduces.table if suite.reproduces.table is not None else suite.reproduces.figure
        kind = "table" if suite.reproduces.table is not None else "figure"
        parts.append(f"after {cite}" + (f", {kind} {number}" if number is not None else ""))
    return clean(" · ".join(parts), 400)


def _highlights(run: Run, results: Results) -> tuple[Fact, ...]:
    """What to see first."""
    wanted = [(point, metric) for point in results.points for metric in point.metrics]
    done = sum(_has_number(results, point, metric) for point, metric in wanted)
    cells = sum(all(_has_number(results, point, metric) for metric in point.metrics) for point in results.points)
    seconds = sum(attempt.records[0].duration_s for attempt in attempts(run.records))
    return (
        Fact("Cells measured", f"{cells:,} of {len(results.points):,}"),
        Fact("Numbers", f"{done:,} of {len(wanted):,}"),
        Fact("Time spent measuring", units.duration(seconds)),
        Fact("Machine", provenance.machine_name(run.info, results.points)),
    )


def _has_number(results: Results, point: Point, metric: str) -> bool:
    return any(record.status is Status.OK for record in results.records(point.id, metric))


def failures(results: Results) -> tuple[Failure, ...]:
    """Every planned number that is not there, cells with one reason together."""
    groups: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for point in results.points:
        for metric in point.metrics:
            for status, reason in _missed(results.records(point.id, metric)):
                metrics, cells = groups.setdefault((status, reason), ({}, {}))
                metrics[metric] = None
                cells[point.id] = None
    return tuple(
        Failure(
            status,
            tuple(clean(name, 200) for name in metrics),
            tuple(clean(name, 300) for name in cells),
            clean(reason),
        )
        for (status, reason), (metrics, cells) in groups.items()
    )


def _missed(records: Sequence[Record]) -> Iterable[tuple[str, str]]:
    """(status, reason) of what a metric of a cell should have given and did not."""
    if not records:
        return [("not measured", "the run ended before; the same command continues it")]
    return dict.fromkeys((str(r.status), r.reason or "") for r in records if r.status is not Status.OK)


def _run_warnings(run: Run, results: Results, planned: Sequence[Cell]) -> tuple[str, ...]:
    """What is odd about the whole run."""
    found = []
    if run.damaged:
        lines = listing((str(line.number) for line in run.damaged), 8)
        found.append(
            f"{units.plural(len(run.damaged), 'line')} of the results file could not be read and count as not measured "
            f"(line {lines}: {run.damaged[0].reason})."
        )
    known = {cell.id for cell in planned}
    strays = [point.id for point in results.points if planned and point.id not in known]
    if strays:
        found.append(f"{units.plural(len(strays), 'cell')} in the results are not in the suite: {listing(strays, 4)}.")
    reused = {record.reused for record in run.records if record.reused}
    if reused:
        count = sum(record.reused is not None for record in run.records)
        found.append(
            f"{units.plural(count, 'record')} were carried over unchanged from run {listing(sorted(reused), 4)}."
        )
    return tuple(map(clean, found))


def _paper(suite: Suite | None) -> tuple[Fact, ...]:
    """What is known against the printed numbers: what they say about each other, and what the paper leaves out."""
    if suite is None:
        return ()
    shown: dict[str, set[str]] = {}
    if suite.reproduces:
        number = suite.reproduces.table if suite.reproduces.table is not None else suite.reproduces.figure
        shown.setdefault(suite.reproduces.paper, set()).add(str(number))
    for ref in (*(table.published for table in suite.tables), *(figure.published for figure in suite.figures)):
        if ref:
            shown.setdefault(ref.paper, set()).add(ref.table)
    facts: list[Fact] = []
    for name, tables in shown.items():
        try:
            paper = read_published(name)
        except UserError:
            continue  # the table that names it says so
        facts += [
            Fact(clean(f"{paper.cite}:"), clean(each.sentence)) for each in findings(paper) if tables & set(each.tables)
        ]
        facts += [
            Fact(clean(f"{each.text} ({each.where})"), clean(" ".join(each.caveats))) for each in paper.statements
        ]
        facts += [Fact("", clean(caveat.text)) for caveat in paper.caveats]
        if paper.not_stated:
            facts.append(Fact("Not stated anywhere:", clean("; ".join(paper.not_stated))))
    return tuple(facts)


def _quantities(suite: Suite | None, results: Results) -> tuple[Quantity, ...]:
    """Every quantity a page shows or a run measured, for the definitions."""
    shown: list[Quantity] = []
    if suite:
        for table in suite.tables:
            shown += [*filter(None, (table.value,)), *table.beside, *table.values]
        shown += [quantity for figure in suite.figures for quantity in figure_quantities(figure)]
        shown += [claim.value for claim in suite.claims]
    shown += [Quantity(metric=name) for name in dict.fromkeys(metric for _, metric in results.by_metric)]
    return tuple(shown)


def _write(folder: Path, files: Files) -> tuple[Path, ...]:
    """Write every file whole or not at all. Raises SaveError."""
    written = []
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.partial")
            partial.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
            partial.replace(path)
            written.append(path)
    except OSError as error:
        raise SaveError(
            f"{folder}: the report cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    return tuple(written)
