"""The verbs that explain: why a cell would be measured again, and why two numbers differ."""

from __future__ import annotations

import argparse
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.loading import load_registry
from bench.cli.text import print_json, print_line, print_table
from bench.errors import ExitCode, SuiteError, UserError, did_you_mean

if TYPE_CHECKING:
    from bench.store.files import Run
    from bench.store.record import InputFile, RunInfo
    from bench.suite.schema import Cell, Suite
    from bench.verdict.sides import Side

MOST_MOVED = 5
"""Numbers that are shown of those that differ."""
MOST_SUSPECTS = 12


def diff(options: argparse.Namespace) -> int:
    """Two sets of results, and why their numbers differ."""
    from bench.verdict.suspects import explain

    load_registry(options.plugin)
    one, other = (_side(text, options) for text in (options.a, options.b))
    found = explain(one, other)
    if not found:
        raise UserError(
            "A and B have no metric in common; name cells with --cell, or look at both with `bench compare`"
        )
    if options.json:
        print_json(
            {
                each.kind: {
                    "pairs": each.pairs,
                    "conclusion": each.conclusion,
                    "moved": [{"cell": v.cell, "number": v.name, "sentence": v.sentence} for v in each.moved],
                    "suspects": [
                        {"field": s.difference.field, "a": s.difference.base, "b": s.difference.new, "reason": s.reason}
                        for s in each.suspects
                    ],
                }
                for each in found
            }
        )
        return ExitCode.OK
    for each in found:
        print_line(f"{each.kind}: {each.conclusion}")
        for verdict in each.moved[:MOST_MOVED]:
            print_line(f"  {verdict.cell}: {verdict.name}: {verdict.sentence}")
        if len(each.moved) > MOST_MOVED:
            print_line(f"  and {len(each.moved) - MOST_MOVED:,} more numbers that differ")
        for place, suspect in enumerate(each.suspects[:MOST_SUSPECTS] if each.moved else (), 1):
            of = f" in {suspect.pairs} of {each.pairs}" if suspect.pairs < each.pairs else ""
            print_line(f"  {place}. {suspect.difference.sentence}{of}: {suspect.reason}")
    return ExitCode.OK


def why(options: argparse.Namespace) -> int:
    """What one cell's numbers depend on, then and now."""
    from bench.run.code import all_code, code_of_cell
    from bench.run.environment import describe_run
    from bench.store.inputs import Inputs, located
    from bench.verdict.changes import changes, nearest

    load_registry(options.plugin)
    run, cell = _run_with(options.results, options.cell)
    suite, cells, problem = _suite_now(run, options.suite)
    text = run.info.suite_text if suite is None else suite.source.text
    now = replace(describe_run(run.info.suite, run.info.suite_path, text, "", ""), code_sha256=all_code())
    records = [record for record in run.records if record.cell == cell]
    planned = next((each for each in cells if each.id == cell), None)
    close = None if planned is not None else nearest(records[0].factors, cells)
    inputs = Inputs()

    def describe(path: str) -> InputFile | None:
        try:
            return inputs.describe(located(path))
        except OSError:
            return None

    code = {} if planned is None else {metric.name: code_of_cell(planned, metric.name) for metric in planned.metrics}
    found = changes(records, run.info, now, planned or close, describe, code)
    again = _again(planned, run, now, inputs)
    if options.json:
        print_json(
            {
                "cell": cell,
                "run": run.info.id,
                "started": run.info.started,
                "in_suite": planned is not None,
                "changes": [{"what": c.what, "then": c.then, "now": c.now, "changed": c.changed} for c in found],
                "again": again,
                "problem": problem,
            }
        )
        return ExitCode.OK
    print_line(f"{cell}: measured by run {run.info.id}")
    if problem:
        print_line(f"note: {problem}")
    if planned is None and suite is not None:
        print_line(f"today's suite has no such cell{f'; the nearest is {close.id}' if close else ''}")
    print_table((), [("  changed" if each.changed else "  same", each.sentence) for each in found])
    for line in again:
        print_line(line)
    return ExitCode.OK


def _again(planned: Cell | None, run: Run, now: RunInfo, inputs: object) -> list[str]:
    """What `bench run` would do about the cell, in its own words."""
    from bench.run.schedule import plan
    from bench.store.inputs import Inputs
    from bench.store.resume import differences, lacking

    if planned is None:
        return ["its numbers stand for a cell that the suite does not plan"]
    assert isinstance(inputs, Inputs)  # the caller made it
    visits = [visit for worker in plan([planned], planned.seed) for visit in worker.visits]
    elsewhere = differences(run.info, now)
    if elsewhere:
        return [f"`bench run` would measure all {len(visits)} visits again: {elsewhere[0]}" + _more(elsewhere)]
    attempts = run.found.attempts
    lacks = [lacking(visit.wanted, attempts.get(visit.key), inputs.unchanged) for visit in visits]
    reasons = Counter(lack.reason for lack in lacks if lack is not None)
    if not reasons:
        return [f"`bench run` would measure nothing again: all {len(visits)} visits stand"]
    return [
        f"`bench run` would measure {count} of {len(visits)} visits again: {reason}"
        for reason, count in reasons.items()
    ]


def _more(reasons: Sequence[str]) -> str:
    return f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""


def _suite_now(run: Run, given: str | None) -> tuple[Suite | None, tuple[Cell, ...], str]:
    """The suite as it is today: the file that was named, the one the run was made from, or the text kept with it."""
    from bench.suite.expand import expand
    from bench.suite.read import parse_suite, read_suite

    problem = ""
    try:
        # A pipe is a suite file only where the user names it: nobody writes into one that a stranger's run names.
        if not given and not _may_be_read(run.info.suite_path):
            raise SuiteError([f"{run.info.suite_path[:200]!r}: not a file"])
        suite = read_suite(given or run.info.suite_path)
    except SuiteError as error:
        if given:
            raise
        problem = f"the suite is not where it was ({error.problems[0]}); this is against the text kept with the run"
        suite = parse_suite(run.info.suite_text, run.info.suite_path or run.info.suite)
    try:
        return suite, expand(suite), problem
    except UserError as error:
        return suite, (), f"its cells are not known here: {error}"


def _may_be_read(path: str) -> bool:
    """Whether a path leads to a file or to nothing; a folder, a pipe and a device are neither."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - the path may be no path at all
    except FileNotFoundError:
        return True  # perhaps the name of a suite that ships
    except (OSError, ValueError):
        return False


def _run_with(results: Path, wanted: str) -> tuple[Run, str]:
    """The latest run that has a cell whose id holds a text, and the id. Raises UserError when none or several do."""
    from bench.store.files import load_run, run_ids

    suites = [wanted.partition("/")[0]] if "/" in wanted else _suites(results)
    known: dict[str, None] = {}
    for suite in suites:
        for run_id in reversed(run_ids(results, suite)):
            run = load_run(results / suite / run_id)
            cells = dict.fromkeys(record.cell for record in run.records)
            known |= cells
            found = [wanted] if wanted in cells else [cell for cell in cells if wanted in cell]
            if len(found) == 1:
                return run, found[0]
            if found:
                raise UserError(
                    f"{wanted!r} fits {len(found)} cells: {', '.join(found[:3])}, ...; write more of the id"
                )
    hint = did_you_mean(wanted, known)
    raise UserError(
        f"{results}: no run there has a cell {wanted!r}{hint}; `bench plan SUITE` lists the cells of a suite"
    )


def _suites(results: Path) -> list[str]:
    try:
        return sorted(each.name for each in results.iterdir() if each.is_dir())
    except OSError:
        return []


def _side(text: str, options: argparse.Namespace) -> Side:
    """`PATH`, `PATH#CELL`, or a cell in the results folder; narrowed to what was asked for."""
    from bench.verdict.sides import load_side
    from bench.verdict.suspects import narrowed

    path, mark, cell = text.partition("#")
    if not path.strip():
        raise UserError("A and B must name results; one of them is empty: is a variable unset?")
    if mark or Path(text).exists():
        side, wanted = load_side(Path(path)), cell or options.cell
    else:
        run, wanted = _run_with(options.results, text)
        side = load_side(run.path)
    found = narrowed(side, wanted, options.metric, _factors(options.select))
    if not found.records:
        raise UserError(f"{text}: nothing in there has all of {_described(options, wanted)}")
    return found


def _factors(expressions: Iterable[str]) -> list[tuple[str, str]]:
    found = []
    for expression in expressions:
        name, equals, value = (part.strip() for part in expression.partition("="))
        if not equals or not name:
            raise UserError(f"-k {expression!r}: expected factor=value, such as skip=zero")
        found.append((name, value))
    return found


def _described(options: argparse.Namespace, cell: str | None) -> str:
    parts = [f"cell {cell!r}"] if cell else []
    parts += [f"metric {options.metric!r}"] if options.metric else []
    return ", ".join([*parts, *options.select]) or "nothing"
