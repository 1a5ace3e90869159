"""Sentences about the rows of a table: the best, those level with it, and where a difference is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.analysis.separation import Ranking
from bench.report.grids import Measured
from bench.report.rankings import ranking_findings, said
from bench.report.tables import build_table
from bench.suite.schema import Quantity, TableSpec

MakeMeasured = Callable[..., Measured]


def table(*values: Quantity, rows: str = "model.skip_exponent", skip: str = "zero", **fields: object) -> TableSpec:
    made = TableSpec(id="t", caption="C", rows=rows, where={"model.skip": skip}, values=values)
    return made.model_copy(update=fields)


def test_a_column_names_its_best_row_and_those_behind_it(measured: MakeMeasured) -> None:
    spec = table(Quantity(metric="latency", label="time"), ranking="rows")
    (sentence,) = ranking_findings(spec, measured())

    # Times fall with the exponent c, by more than they spread.
    assert sentence.startswith("time: best is 5; ")
    assert "behind it: " in sentence and sentence.endswith("(pairs, 95 %, Holm over 4).")
    assert sentence in build_table(spec, measured()).findings


def test_nothing_is_said_unless_it_is_asked_for(measured: MakeMeasured) -> None:
    spec = table(Quantity(metric="latency", label="time"))

    assert ranking_findings(spec, measured()) == ()
    assert ranking_findings(table(Quantity(metric="stages"), ranking="rows"), measured()) == ()


def test_differences_say_where_they_are_better_and_where_worse(measured: MakeMeasured) -> None:
    slower = Quantity(
        metric="latency", relative="difference", to={"model.skip_exponent": 2}, label="time against c = 2"
    )
    (sentence,) = ranking_findings(table(slower, ranking="differences"), measured())

    assert sentence.startswith("time against c = 2: better at 3 and 5; worse at 0 and 1")
    assert sentence.endswith("(95 % interval of each row by itself).")
    assert ranking_findings(table(slower, ranking="rows"), measured()) == ()


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Ranking("a", (), ("b",), ()), "best is a; not separated from it: b (pairs, 95 %, Holm over 1)."),
        (Ranking("a", ("c", "d"), ("b",), ()), "best is a; not separated from it: b; behind it: c and d (pairs, "),
        (Ranking("a", (), (), ("b",)), "best is a; not comparable pair by pair: b."),
    ],
)
def test_a_ranking_in_words(found: Ranking, sentence: str) -> None:
    assert said(found).startswith(sentence)
