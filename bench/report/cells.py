"""The cells behind the numbers of a page: what each one is, and the command that measures it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise

from bench.analysis.results import Point, Results, varying
from bench.contracts import Scalar
from bench.report import provenance
from bench.report.document import CellFacts, Claim, Entry, Fact, Figure, Table
from bench.report.plain import clean, label, listing
from bench.store.record import Record, RunInfo
from bench.suite.expressions import Expressions
from bench.suite.schema import Cell

CARRIED = ("--plugin", "--data")
"""Options of the run without which the same cells cannot be built."""


def entries_of(tables: Iterable[Table], figures: Iterable[Figure], claims: Iterable[Claim]) -> Iterable[Entry]:
    """Every number that a section shows."""
    for table in tables:
        for row in table.rows:
            yield from chain.from_iterable(line.entries for line in row.lines)
    for figure in figures:
        for panel in figure.panels:
            for series in panel.series:
                yield from filter(None, series.entries)
    for claim in claims:
        yield from (line.value for line in claim.lines)


def cell_facts(results: Results, ids: Iterable[str]) -> tuple[CellFacts, ...]:
    """What is known of these cells besides their numbers, in the order of the suite."""
    wanted = set(ids)
    telling = varying(results.points)
    records: dict[str, list[Record]] = {}
    for (cell, _), found in results.by_metric.items():
        if cell in wanted:
            records.setdefault(cell, []).extend(found)
    return tuple(
        CellFacts(point.id, clean(point.id, 300), _factors(point, telling), _facts(point, records.get(point.id, ())))
        for point in results.points
        if point.id in wanted
    )


def _factors(point: Point, telling: Sequence[str]) -> tuple[Fact, ...]:
    names = dict.fromkeys((*(name for name in telling if name in point.factors), *point.factors))
    return tuple(Fact(clean(name, 200), label(point.factors[name])) for name in names)


def _facts(point: Point, records: Sequence[Record]) -> tuple[Fact, ...]:
    conditions = ", ".join(f"{clean(name, 100)} = {label(value)}" for name, value in point.conditions.items())
    facts = [Fact("Conditions", conditions)]
    subject: Mapping[str, Scalar] = next((record.subject for record in records if record.subject), {})
    facts += [
        Fact(name, text)
        for name, text in (
            ("Weights", provenance.weights_text(subject)),
            ("Data", provenance.data_text(subject)),
            (
                "First noise",
                clean(f"sha256 {subject['first_noise.sha256']}", 200) if "first_noise.sha256" in subject else "",
            ),
        )
        if text
    ]
    facts.append(Fact("Seed", str(point.seed)))
    if records:
        first, last = min(record.started for record in records), max(record.started for record in records)
        facts.append(Fact("Measured", clean(first if first == last else f"{first} to {last}", 200)))
        efforts = dict.fromkeys(", ".join(f"{k} {v}" for k, v in record.effort.items()) for record in records)
        facts.append(Fact("Effort", clean("; ".join(efforts))))
        files = dict.fromkeys(
            f"{each.path.rpartition('/')[2]} (sha256 {each.sha256[:12]})" for r in records for each in r.inputs
        )
        if files:
            facts.append(Fact("Read from", clean(listing(files))))
    return tuple(facts)


def reproductions(
    info: RunInfo, planned: Sequence[Cell], wanted: Iterable[tuple[str, ...]]
) -> Mapping[tuple[str, ...], str]:
    """Cells of a number -> the command that measures exactly them. Cells that the suite does not plan have none."""
    known = {cell.id for cell in planned}
    expressions = Expressions(planned)
    before, after = ["bench", "run", info.suite_path or info.suite], _carried(info.command)
    return {
        cells: clean(shlex.join([*before, *_options(expressions.selecting(cells)), *after]), 4_000)
        for cells in dict.fromkeys(wanted)
        if cells and known.issuperset(cells)
    }


def _options(expressions: Iterable[str]) -> Iterable[str]:
    return chain.from_iterable(("-k", each) for each in expressions)


def _carried(command: str) -> list[str]:
    """The options of the run's own command that its cells need."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is not closed: the command was not written by this program
        return []
    found: list[str] = []
    for word, following in pairwise([*words, ""]):
        if word in CARRIED and following:
            found += [word, following]
        elif word.startswith(tuple(f"{each}=" for each in CARRIED)):
            found.append(word)
    return found


def run_facts(info: RunInfo, points: Sequence[Point]) -> tuple[Fact, ...]:
    """What is the same for every number of a run."""
    code = [f"bench {info.bench_version}", f"code sha256 {info.code_sha256[:12]}"]
    if info.git_commit:
        code.append(f"commit {info.git_commit[:12]}{' with uncommitted changes' if info.git_dirty else ''}")
    versions = [f"{name} {info.packages[name]}" for name in ("python", "torch") if name in info.packages]
    return (
        Fact("Machine", provenance.machine_name(info, points)),
        Fact("Run", clean(f"{info.id}, begun {info.started}", 300)),
        Fact("Suite", clean(f"{info.suite_path or info.suite} (sha256 {info.suite_sha256[:12]})", 500)),
        Fact("Code", clean(", ".join([*code, *versions]))),
    )
