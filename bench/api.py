"""The same as the command line, as functions: measure, load, compare. Torch-free; only workers import torch.

import bench

found = bench.run("speedup")            # measures what is not measured yet; or bench.load("results/speedup")
found.to_frame()                        # every raw value as a tidy pandas table
found.tables["table2"]                  # shown by a notebook; .to_frame(), .to_latex(), .to_csv()
found.figures["time_saved"]
found.claims
bench.compare("results/a", found.path)  # what changed, with a sentence each
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.registry import load_plugins

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.document import Report
    from bench.report.notebook import Shelf, ShownClaims, ShownComparison, ShownFigure, ShownTable
    from bench.run.executor import Executor
    from bench.store.files import Run
    from bench.store.record import Record
    from bench.suite.schema import Suite


@dataclass(frozen=True, eq=False)
class Loaded:
    """One or more runs, as they lie on disk."""

    runs: tuple[Run, ...]

    @property
    def path(self) -> Path:
        """The folder of the first run."""
        return self.runs[0].path

    @property
    def records(self) -> tuple[Record, ...]:
        """Every record that counts, of every status."""
        return tuple(record for run in self.runs for record in run.records)

    def to_frame(self) -> pd.DataFrame:
        """One row per raw value, one column per thing that was varied; see `bench.store.frame`."""
        from bench.store.frame import frame

        return frame(self.records)

    @cached_property
    def report(self) -> Report:
        """Everything a report page says, as data."""
        from bench.report.page import build_report

        return build_report([(run, run.path) for run in self.runs])

    @cached_property
    def tables(self) -> Shelf[ShownTable]:
        """The suite's tables by their ids; with the suite in front, `speedup/table2`, where there are several."""
        from bench.report.notebook import Shelf, ShownTable

        return Shelf((self._name(s.id, t.id), ShownTable(t)) for s in self.report.sections for t in s.tables)

    @cached_property
    def figures(self) -> Shelf[ShownFigure]:
        """The suite's figures by their ids, named as tables are."""
        from bench.report.notebook import Shelf, ShownFigure

        return Shelf((self._name(s.id, f.id), ShownFigure(f)) for s in self.report.sections for f in s.figures)

    @cached_property
    def claims(self) -> ShownClaims:
        """The suite's claims, held against the results."""
        from bench.report.notebook import ShownClaims

        return ShownClaims(tuple(claim for section in self.report.sections for claim in section.claims))

    def write_report(self, out: str | Path, formats: Sequence[str] = ("md", "html")) -> tuple[Path, ...]:
        """The pages, as `bench report` writes them; returns their paths."""
        from bench.report.page import render_report

        return render_report([run.path for run in self.runs], Path(out), formats)

    def _name(self, suite: str, name: str) -> str:
        return name if len(self.runs) == 1 else f"{suite}/{name}"

    def _repr_html_(self) -> str:
        return (
            f"{self.tables._repr_html_()}{self.figures._repr_html_()}{self.claims._repr_html_() if self.claims else ''}"
        )

    def _repr_markdown_(self) -> str:
        claims = self.claims._repr_markdown_() if self.claims else ""
        return "\n".join(filter(None, (self.tables._repr_markdown_(), self.figures._repr_markdown_(), claims)))

    def __repr__(self) -> str:
        names = ", ".join(f"{run.info.suite} {run.info.id}" for run in self.runs)
        return f"<results of {names}: {len(self.records):,} records>"


def load(results: str | Path = "results", *, plugins: Iterable[str] = ()) -> Loaded:
    """A run's folder, a suite's folder (its latest run), or a results folder (the latest run of every suite).

    plugins: files or modules that register models or metrics of yours. Raises UserError or StoreError when there is
    no run.
    """
    from bench.store.files import load_run
    from bench.verdict.sides import runs_in

    load_plugins(plugins)
    return Loaded(tuple(load_run(path) for path in runs_in(Path(results))))


def run(
    suite: str | Path | Suite,
    *,
    results: str | Path = "results",
    select: Iterable[str] = (),
    plugins: Iterable[str] = (),
    new: bool = False,
    quiet: bool = False,
    executor: Executor | None = None,
) -> Loaded:
    """Measure what is not measured yet, as `bench run` does, and load it.

    suite: a file, the name of a built-in suite, or a `Suite`. select: as with -k, `skip=zero`. new: measure everything
    anew. A cell that fails is a record with its reason, not an exception. Raises SuiteError for a wrong suite, and
    SaveError when results cannot be written.
    """
    from bench.run.progress import progress_for
    from bench.run.runner import run_suite
    from bench.store.files import load_run
    from bench.suite.expand import expand
    from bench.suite.read import read_suite
    from bench.suite.schema import Suite
    from bench.suite.select import select as chosen

    files = tuple(plugins)
    load_plugins(files)
    found = suite if isinstance(suite, Suite) else read_suite(suite)
    outcome = run_suite(
        found,
        chosen(expand(found), tuple(select)),
        results=Path(results),
        plugins=files,
        executor=executor,
        progress=progress_for(sys.stderr, quiet=quiet),
        resume=not new,
        command=f"bench.run({str(found.source.name or found.suite)!r})",
    )
    return Loaded((load_run(outcome.path),))


def compare(
    base: str | Path | Loaded, new: str | Path | Loaded, *, tolerance: Iterable[str] = (), across: Iterable[str] = ()
) -> ShownComparison:
    """What changed from base to new, as `bench compare` says it. tolerance, across: as its options.

    A side is a path, or results that were loaded before. Raises StoreError for a side without a record.
    """
    from bench.report.notebook import ShownComparison
    from bench.verdict import compare as comparing
    from bench.verdict.sides import Side, load_side, measured, of_runs
    from bench.verdict.tolerances import read_tolerances

    load_plugins()

    def side(given: str | Path | Loaded) -> Side:
        if isinstance(given, Loaded):
            return measured(of_runs(given.path, given.runs))
        return measured(load_side(Path(given)))

    rules = comparing.Rules(read_tolerances(tolerance), tuple(across))
    return ShownComparison(comparing.compare(side(base), side(new), rules))
