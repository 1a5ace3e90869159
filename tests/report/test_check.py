"""What a report could not show is refused before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import SuiteError
from bench.report.check import check_report
from bench.suite.read import parse_suite, read_suite

SUITE = """\
schema: 1
suite: s
title: T
reproduces: {paper: adaptive-skip, table: 2}
grid: [{model: skip-unet}]
metrics: [latency]
tables:
  - id: t
    caption: C
    rows: model
    values: [{metric: latency}]
    published: {paper: adaptive-skip, table: "2"}
figures:
  - {id: f, caption: C, kind: bars, value: {metric: latency}, x: model}
"""


def test_a_suite_whose_report_can_be_made_is_accepted() -> None:
    check_report(parse_suite(SUITE, "s.yaml"))


def test_every_suite_that_ships_can_be_reported() -> None:
    suites = sorted((Path(__file__).parents[2] / "suites").glob("**/*.yaml"))
    found = [path for path in suites if path.parent.name != "published"]

    assert found
    for path in found:
        check_report(read_suite(path))


def test_everything_that_cannot_be_shown_is_named_with_its_place() -> None:
    wrong = (
        SUITE.replace("paper: adaptive-skip, table: 2}", "paper: adaptive-skp, table: 2}")
        .replace('table: "2"', 'table: "9"')
        .replace("x: model}", "x: model, published: {paper: nobody, table: x}}")
    )

    with pytest.raises(SuiteError) as caught:
        check_report(parse_suite(wrong, "s.yaml"))

    assert [problem.partition(" (known")[0] for problem in caught.value.problems] == [
        "s.yaml:4:21: reproduces.paper: no published tables called 'adaptive-skp'; did you mean 'adaptive-skip'?",
        "s.yaml:12:46: tables[0].published.table: adaptive-skip has no table '9'",
        "s.yaml:14:92: figures[0].published.paper: no published tables called 'nobody'",
    ]
