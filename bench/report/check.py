"""What a suite asks of its report and cannot get, known before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.published import read_published
from bench.errors import UserError
from bench.suite.schema import PublishedRef, Suite
from bench.suite.source import KeyPath, Problem, suite_error


def check_report(suite: Suite) -> None:
    """Raises SuiteError naming, with file:line:column, every printed table that cannot be shown."""
    problems = list(report_problems(suite))
    if problems:
        raise suite_error(suite.source.name, problems)


def report_problems(suite: Suite) -> Iterator[Problem]:
    """The same as problems: every printed table that cannot be shown."""
    for index, figure in enumerate(suite.figures):
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
