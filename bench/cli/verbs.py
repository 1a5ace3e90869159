"""What each verb does: call the rooms, print the answer. One function a verb; each returns the exit code."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.explaining import diff, why
from bench.cli.gating import gate
from bench.cli.loading import load_registry
from bench.cli.text import print_json, print_line, print_lines, print_table
from bench.cli.verdicts import check, compare
from bench.contracts import Denoiser, Range, Restorer, Value
from bench.errors import ExitCode, UserError
from bench.files import own_folder
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, Registry, check_params

if TYPE_CHECKING:
    from bench.suite.schema import Cell, Suite


def plan(options: argparse.Namespace) -> int:
    """Every cell of a suite, without measuring anything; what is missing, and how much there is to compute."""
    from bench.cli.planning import outlook, outlook_json, outlook_lines
    from bench.suite.plan import plan_counts, plan_rows

    suite, cells = _suite_and_cells(options, whole=True)
    rows, counts = plan_rows(cells), plan_counts(cells)
    ahead = outlook(cells, options.results)
    if options.json:
        told = {**asdict(counts), **outlook_json(ahead), "rows": [asdict(row) for row in rows]}
        print_json({"suite": suite.suite, "title": suite.title, **told})
        return ExitCode.OK
    print_line(f"{suite.suite}: {suite.title}")
    print_table(("cell", "metrics"), [(row.cell, ", ".join(row.metrics)) for row in rows])
    print_line(f"{counts.cells} cells, {counts.measurements} numbers, {counts.timed_calls:,} timed calls")
    for line in outlook_lines(ahead):
        print_line(line)
    print_line(f"measure them with `bench run {options.suite}`")
    return ExitCode.OK


def run(options: argparse.Namespace) -> int:
    """Measure, store, report."""
    from bench.run.isolated import IsolatedExecutor
    from bench.run.progress import progress_for
    from bench.run.runner import run_suite

    suite, cells = _suite_and_cells(options)
    outcome = run_suite(
        suite,
        cells,
        results=options.results,
        plugins=tuple(options.plugin),
        executor=IsolatedExecutor(cell_timeout_s=options.cell_timeout),
        progress=progress_for(sys.stderr, quiet=options.quiet or options.json),
        resume=not options.new,
        command=_command(),
    )
    written: tuple[Path, ...] = ()
    if not options.no_report:
        written = _report_of(outcome.path, suite.suite)
    if options.json:
        counts = {name: getattr(outcome, name) for name in ("ok", "failed", "skipped", "unsupported", "measured")}
        print_json({"run": str(outcome.path), **counts, "report": [str(path) for path in written]})
    else:
        if options.quiet:  # otherwise the progress has just said it
            print_line(outcome.summary)
        for path in written:
            print_line(f"report: {path}")
    return outcome.exit_code


def report(options: argparse.Namespace) -> int:
    """Results that were measured before, as pages."""
    from bench.report.gather import gather
    from bench.report.page import render_report

    load_registry()
    runs = gather(options.results, everything=options.all)
    written = render_report(
        runs,
        options.out or _report_folder(runs, options.results),
        tuple(options.format.split(",")),
        title=options.title or "",
    )
    if options.json:
        print_json({"written": [str(path) for path in written]})
    for path in () if options.json else written:
        print_line(str(path))
    return ExitCode.OK


def list_names(options: argparse.Namespace) -> int:
    """Names and what they take."""
    from bench.suite.read import builtin_suites

    load_registry(options.plugin)
    registries: Mapping[str, Registry[Any]] = {
        "models": MODELS, "data": DATASETS, "samplers": SAMPLERS, "metrics": METRICS
    }  # fmt: skip
    kinds = [options.kind] if options.kind else [*registries, "suites"]
    found = {kind: _entries(registries[kind]) for kind in kinds if kind in registries}
    suites = list(builtin_suites()) if "suites" in kinds else []
    if options.json:
        print_json({**found, **({"suites": suites} if "suites" in kinds else {})})
        return ExitCode.OK
    for kind, entries in found.items():
        print_line(f"{kind}:")
        print_table((), [(f"  {each['name']}", each["summary"]) for each in entries])
    if "suites" in kinds:
        print_line("suites:")
        for name in suites:
            print_line(f"  {name}")
    return ExitCode.OK


def inspect(options: argparse.Namespace) -> int:
    """One model, built and counted."""
    from bench.suite.yaml12 import scalar

    load_registry(options.plugin)
    entry = MODELS.get(options.model)
    given: dict[str, Value] = {}
    for text in options.params:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{text!r}: expected KEY=VALUE, such as skip=zero")
        try:
            given[name] = scalar(value)
        except ValueError as error:
            raise UserError(f"{name}: {error}, got {value[:80]}") from error
    params = check_params(entry, given)
    shape = _shape(options.shape) if options.shape else None
    from bench.diffusion.restoring import as_denoiser
    from bench.measure.inspect import inspect_denoiser

    model = entry.factory(**params)
    if not isinstance(model, Denoiser | Restorer):
        raise UserError(f"{entry.name!r}: its factory gave a {type(model).__name__}, expected a Denoiser or a Restorer")
    facts = inspect_denoiser(as_denoiser(model, shape), shape)
    if options.json:
        print_json({"model": entry.name, "params": params, **facts.as_json()})
        return ExitCode.OK
    said = ", ".join(f"{name}={value}" for name, value in params.items())
    print_line(f"{entry.name} ({said})" if said else entry.name)
    print_table((), [(f"  {name}", value) for name, value in facts.lines()])
    return ExitCode.OK


def train(options: argparse.Namespace) -> int:
    """A recipe to a checkpoint, its passport and its picture."""
    from bench.quality.classifier_recipe import is_classifier
    from bench.suite.documents import recipe_text
    from bench.train.reading import parse_recipe

    load_registry(options.plugin)
    name, text = recipe_text(options.recipe)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    from bench.cli.training import TrainingProgress, train_classifier

    if is_classifier(text):
        return train_classifier(text, name, options)
    recipe = parse_recipe(text, name)
    from bench.train.command import default_folder, draw_gallery, run_recipe

    with TrainingProgress(recipe.recipe, quiet=options.json) as progress:
        weights = run_recipe(
            recipe,
            recipe_name=Path(name).name,
            out_dir=options.out or default_folder(),
            device=options.device,
            threads=options.threads,
            on_step=progress.step,
        )
    picture = None if options.no_samples else draw_gallery(recipe, weights)
    if options.json:
        print_json({"weights": str(weights), "samples": str(picture) if picture else None})
        return ExitCode.OK
    print_line(f"weights: {weights}")
    if picture:
        print_line(f"samples: {picture}")
    return ExitCode.OK


def fid(options: argparse.Namespace) -> int:
    """Two sets of images, one number, and what it is."""
    from bench.quality.folders import fid_between

    found = fid_between(options.images, options.reference, recipe=options.recipe, features=options.features)
    if options.json:
        facts = {"images": list(found.images), "features": found.features, "recipe": dict(found.recipe)}
        print_json({"name": found.name, "value": found.value, **facts, "warnings": list(found.warnings)})
        return ExitCode.OK
    of, against = ("unknown" if count is None else f"{count:,}" for count in found.images)
    print_line(f"{found.name}: {found.value:.6g}")
    print_line(f"{of} images against {against}; recipe {options.recipe}, {found.recipe['fingerprint']}")
    for warning in found.warnings:
        print_line(f"note: {warning}")
    return ExitCode.OK


def fetch(options: argparse.Namespace) -> int:
    """Public files into the data folder, never during a run."""
    from bench.cli.downloading import DownloadProgress
    from bench.downloads import DOWNLOADS, data_root, fetched_path
    from bench.fetch import fetch

    root = data_root()
    if options.name is None:
        rows = [(name, each.what, fetched_path(name, root)) for name, each in sorted(DOWNLOADS.items())]
        if options.json:
            print_json({name: {"what": what, "path": str(path), "there": path.exists()} for name, what, path in rows})
            return ExitCode.OK
        print_table((), [(name, what, "there" if path.exists() else "not there") for name, what, path in rows])
        print_line(f"they go under {root}; choose another folder with --data or BENCH_DATA")
        return ExitCode.OK
    with DownloadProgress(quiet=options.json) as progress:
        path = fetch(options.name, root, mirror=options.mirror, on_bytes=progress.update)
    if options.json:
        print_json({"path": str(path)})
    else:
        print_line(str(path))
    return ExitCode.OK


def schema(options: argparse.Namespace) -> int:
    """The suite format, for editors or for people."""
    from bench.suite.reference import editor_schema, markdown_reference

    if options.markdown:
        print_lines(markdown_reference().splitlines())
    else:
        print_json(editor_schema())
    return ExitCode.OK


VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "plan": plan,
    "run": run,
    "report": report,
    "compare": compare,
    "check": check,
    "gate": gate,
    "diff": diff,
    "why": why,
    "list": list_names,
    "inspect": inspect,
    "train": train,
    "fid": fid,
    "fetch": fetch,
    "schema": schema,
}


def _suite_and_cells(options: argparse.Namespace, *, whole: bool = False) -> tuple[Suite, tuple[Cell, ...]]:
    """The suite and the cells that were asked for. Raises SuiteError with every mistake that is known.

    whole: look also at what only a plan has the time for, such as the headers of checkpoints.
    """
    from bench.report.check import report_problems
    from bench.suite.expand import survey
    from bench.suite.fits import fit_problems
    from bench.suite.read import read_suite
    from bench.suite.select import select
    from bench.suite.source import suite_error

    load_registry(options.plugin)
    suite = read_suite(options.suite)
    expansion = survey(suite)
    problems = [*expansion.problems, *report_problems(suite)]
    cells = expansion.cells if problems else select(expansion.cells, options.select)
    if whole:
        problems += fit_problems(suite, expansion, cells)
    if problems:
        raise suite_error(suite.source.name, problems)
    return suite, cells


def _report_folder(runs: Sequence[Path], paths: Sequence[Path]) -> Path:
    """Where a report goes that was not told where: into its run's folder, or into `reports` when it is of several.

    paths: as they were typed. A folder that was typed may be a link, one that was found may not. Raises SaveError.
    """
    if len(runs) > 1:
        return own_folder(Path(), "reports")
    typed = next(path for path in paths if runs[0].is_relative_to(path))
    return own_folder(typed, *runs[0].relative_to(typed).parts)


def _report_of(run: Path, suite: str) -> tuple[Path, ...]:
    """The pages of a run, written only when something about them can have changed."""
    from bench.report.freshness import is_current

    pages = tuple(run / f"{suite}.{ending}" for ending in ("md", "html"))
    if is_current(run, pages):
        return pages
    from bench.report.page import render_report

    return tuple(path for path in render_report([run], run, ("md", "html")) if path in pages)


def _entries(registry: Registry[Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.name,
            "summary": entry.summary,
            "origin": entry.origin,
            "parameters": {
                name: None if parameter.required else parameter.default
                for name, parameter in entry.parameters().items()
            },
        }
        for entry in registry
    ]


def _shape(text: str) -> tuple[int, int, int]:
    parts = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})x([0-9]{1,5})", text.lower())
    sizes = tuple(map(int, parts.groups())) if parts else (0, 0, 0)
    if not all(size in Range(1, most) for size, most in zip(sizes, (64, 4096, 4096), strict=True)):
        raise UserError(f"--shape {text}: expected CxHxW, such as 3x64x64, of at most 64x4096x4096")
    channels, height, width = sizes
    return channels, height, width


def _command() -> str:
    """The command as it was typed, without the path of the interpreter; what a shell would read is quoted."""
    return shlex.join(["bench", *sys.argv[1:]])
