"""What a suite asks of its report and cannot get, known before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.published import read_published
from bench.errors import UserError
from bench.suite.schema import FigureSpec, PublishedRef, Suite
from bench.suite.source import KeyPath, Problem, suite_error

SUPPORTED = ("bars", "lines", "stages", "stage_times", "pareto")
"""Kinds of figures that can be drawn. Pictures of artifacts come with the artifacts."""


def check_report(suite: Suite) -> None:
    """Raises SuiteError naming, with file:line:column, every figure and printed table that cannot be shown."""
    problems = list(_problems(suite))
    if problems:
        raise suite_error(suite.source.name, problems)


def unsupported(spec: FigureSpec) -> str | None:
    """A sentence when this kind of figure cannot be drawn."""
    if spec.kind in SUPPORTED:
        return None
    return f"figures of kind {spec.kind!r} cannot be drawn yet (known: {', '.join(SUPPORTED)})"


def _problems(suite: Suite) -> Iterator[Problem]:
    for index, figure in enumerate(suite.figures):
        if sentence := unsupported(figure):
            yield suite.source.problem(("figures", index, "kind"), sentence)
        yield from _published(suite, figure.published, ("figures", index, "published"))
    for index, table in enumerate(suite.tables):
        yield from _published(suite, table.published, ("tables", index, "published"))
    if suite.reproduces:
        try:
            read_published(suite.reproduces.paper)
        except UserError as error:
            yield suite.source.problem(("reproduces", "paper"), str(error))


def _published(suite: Suite, ref: PublishedRef | None, path: KeyPath) -> Iterator[Problem]:
    if ref is None:
        return
    try:
        paper = read_published(ref.paper)
    except UserError as error:
        yield suite.source.problem((*path, "paper"), str(error))
        return
    try:
        paper.table(ref.table)
    except UserError as error:
        yield suite.source.problem((*path, "table"), str(error))
