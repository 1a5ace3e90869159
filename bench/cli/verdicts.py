"""The verbs that give verdicts: compare and check."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.loading import load_registry
from bench.cli.streams import say_lines
from bench.cli.text import print_json, print_line, print_lines
from bench.errors import ExitCode, SuiteError, UserError
from bench.files import write_whole

if TYPE_CHECKING:
    from bench.verdict.claims import ClaimResult
    from bench.verdict.outcome import Comparison
    from bench.verdict.sides import Side


def compare(options: argparse.Namespace) -> int:
    """Two sets of results, and what changed from the one to the other."""
    from bench.verdict.sides import load_side

    load_registry(options.plugin)
    base, new = load_side(options.base), load_side(options.new)
    comparison = _compared(base, new, options)
    if options.base.resolve() == options.new.resolve():
        comparison = replace(comparison, notes=(*comparison.notes, "BASE and NEW are the same results"))
    tell(comparison, options, "bench compare")
    _export(new, options)
    return exit_code(comparison)


def check(options: argparse.Namespace) -> int:
    """A run against a baseline, and against the claims of its own suite."""
    from bench.verdict.outcome import Comparison
    from bench.verdict.sides import load_side

    load_registry(options.plugin)
    run = load_side(options.run)
    claims, problems = _claims(run)
    if options.save_baseline is not None:
        _save_baseline(run, options)
    if options.baseline is None and not claims:
        if options.save_baseline is not None:
            return ExitCode.OK
        why = f"{problems[0]}" if problems else "its suite has no claims"
        raise UserError(f"{options.run}: nothing to check: {why}; give a --baseline to compare with")
    comparison = (
        Comparison("", run.name, ())
        if options.baseline is None
        else _compared(load_side(options.baseline), run, options)
    )
    comparison = replace(comparison, claims=claims, left_open=(*comparison.left_open, *problems))
    tell(comparison, options, "bench check")
    _export(run, options)
    return exit_code(comparison)


def exit_code(comparison: Comparison) -> ExitCode:
    """What a comparison that was told ends in. Raises UserError when it compared nothing and nothing else failed."""
    code = comparison.exit_code
    if code is ExitCode.BAD_INPUT and comparison.compared_nothing is not None:
        raise UserError(comparison.compared_nothing)
    return code


def tell(comparison: Comparison, options: argparse.Namespace, title: str) -> None:
    """Print a comparison, and write it wherever it was asked for: JUnit XML, annotations, the job's summary."""
    from bench.report.ci import add_to_summary, as_json, junit, workflow_commands
    from bench.report.verdicts import markdown, text_lines

    if options.json:
        print_json(as_json(comparison))
    else:
        for line in text_lines(comparison, everything=options.all):
            print_line(line)
    if options.junit:
        write_whole(options.junit, junit(comparison, title))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # Both streams are read for commands; standard output must stay one JSON document.
        say_lines(workflow_commands(comparison)) if options.json else print_lines(workflow_commands(comparison))
    add_to_summary(markdown(comparison, title))


def _compared(base: Side, new: Side, options: argparse.Namespace) -> Comparison:
    from bench.verdict.compare import Rules, compare
    from bench.verdict.directions import score_of
    from bench.verdict.sides import measured
    from bench.verdict.tolerances import check_known, read_tolerances

    base, new = measured(base), measured(new)
    tolerances = read_tolerances(options.tolerance)
    records = (*base.records, *new.records)
    check_known(
        tolerances, [*(each.metric for each in records), *filter(None, (score_of(each.at) for each in records))]
    )
    return compare(base, new, Rules(tolerances, tuple(options.across)))


def _claims(side: Side) -> tuple[tuple[ClaimResult, ...], tuple[str, ...]]:
    """The claims of every run's suite, and what stood in the way of reading them."""
    from bench.analysis.results import collect
    from bench.store.files import load_run
    from bench.suite.expand import expand
    from bench.suite.read import parse_suite
    from bench.verdict.claims import evaluate

    found: list[ClaimResult] = []
    problems: list[str] = []
    for folder in side.folders:
        run = load_run(folder)
        try:
            suite = parse_suite(run.info.suite_text, run.info.suite_path or run.info.suite)
        except SuiteError as error:
            problems.append(f"the suite kept with {folder} cannot be read, so its claims are not checked: {error}")
            continue
        try:
            planned = expand(suite)
        except UserError as error:
            planned = ()  # the records say which cells there are, and not which were never measured
            if suite.claims:
                problems.append(
                    f"the cells of the suite kept with {folder} are not known here ({error}), so its claims are held "
                    "against those that were measured; load what registers them with --plugin"
                )
        found += evaluate(suite.claims, collect(run.records, planned))
    return tuple(found), tuple(problems)


def _save_baseline(run: Side, options: argparse.Namespace) -> None:
    from bench.verdict.baselines import baseline, portable

    count = len(portable(run))
    if not count:
        raise UserError(f"{options.run}: no counts and no scores in there; a baseline of times is the run's own folder")
    write_whole(options.save_baseline, baseline(run))
    if not options.json:
        print_line(f"baseline: {options.save_baseline} ({count} records)")


def _export(side: Side, options: argparse.Namespace) -> None:
    """The numbers of one side for other services."""
    from bench.report.exports import FORMATS, files
    from bench.verdict.values import values

    for name, target in options.export:
        if name not in FORMATS:
            raise UserError(f"--export {name}: unknown format (known: {', '.join(FORMATS)})")
        if not target.strip():
            raise UserError(f"--export {name}: the file's name is empty; is a variable unset?")
        written: Mapping[Path, str] = files(name, Path(target), values(side))
        for path, text in written.items():
            write_whole(path, text)
            if not options.json:
                print_line(f"export: {path}")
