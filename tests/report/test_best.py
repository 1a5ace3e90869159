"""Bold is earned: which number of a column is significantly the best."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.analysis.results import Point, Results
from bench.report.best import direction, significantly_best, with_best
from bench.report.document import Entry, Line, Row, Table
from bench.report.latex import render_latex
from bench.report.markdown import render_table
from bench.suite.schema import Companion, Quantity, TableSpec
from bench.verdict.decide import Better


def between(low: float, high: float, cell: str = "") -> Entry:
    return Entry("n", value=(low + high) / 2, low=low, high=high, cells=(cell,) if cell else ())


def exactly(value: float, cell: str = "") -> Entry:
    return Entry("n", value=value, exact=True, cells=(cell,) if cell else ())


@pytest.mark.parametrize(
    ("entries", "better", "winner"),
    [
        ([between(1, 2), between(3, 4)], "lower", 0),
        ([between(1, 2), between(3, 4)], "higher", 1),
        ([between(1, 3), between(2, 4)], "lower", None),
        ([between(1, 2), between(2, 3)], "lower", None),
        ([between(1, 2), between(3, 9), between(4, 5)], "higher", None),
        ([between(1, 2), exactly(3)], "lower", 0),
        ([exactly(1), exactly(2), exactly(2)], "lower", 0),
        ([exactly(1), exactly(1), exactly(2)], "lower", None),
        ([between(1, 2), Entry("n", value=5.0)], "lower", None),
        ([between(1, 2)], "lower", None),
        ([], "lower", None),
        ([between(1, 2), between(3, 4)], None, None),
        ([between(-4, -3), between(-2, -1)], "higher", 1),
    ],
)
def test_the_best_is_bold_when_its_interval_reaches_no_other(
    entries: list[Entry], better: Better, winner: int | None
) -> None:
    assert significantly_best(entries, better) == winner


@pytest.mark.parametrize(
    ("quantity", "better"),
    [
        (Quantity(metric="latency"), "lower"),
        (Quantity(metric="latency", relative="ratio", to={}), "lower"),
        (Quantity(metric="latency", relative="difference", to={}), "lower"),
        (Quantity(metric="latency", relative="time_saved", to={}), "higher"),
        (Quantity(metric="latency", relative="speedup", to={}), "higher"),
        (Quantity(metric="precision_recall"), "higher"),
        (Quantity(metric="stages"), None),
        (Quantity(metric="unheard-of"), None),
        (Quantity(metric="denoising", at={"score": "ssim", "which": "chosen"}), "higher"),
        (Quantity(metric="denoising", at={"score": "lpips[alex]", "which": "final"}), "lower"),
        (Quantity(metric="denoising", at={"score": "ssim", "which": "chosen_step"}), None),
        (Quantity(metric="step_time", times=Companion(metric="nfe")), "lower"),
        (Quantity(metric="step_time", times=Companion(metric="precision_recall")), None),
    ],
)
def test_the_better_side_is_that_of_the_metric_and_of_its_relation(quantity: Quantity, better: Better) -> None:
    assert direction(quantity) == better


def listed(*entries: Entry) -> Table:
    rows = tuple(
        Row((str(number),), (Line("paper", "paper", (exactly(0.1),)), Line("ours", "ours", (entry,))))
        for number, entry in enumerate(entries)
    )
    return Table("t", "C", ("model",), "", ("latency",), rows)


def results(**data: str) -> Results:
    points = (Point(cell, {"model": cell, "data": name}, {"device": "cpu"}, 0, ()) for cell, name in data.items())
    return Results(tuple(points), {})


SPEC = TableSpec(id="t", caption="C", rows="model", values=(Quantity(metric="latency"),))


def test_only_our_numbers_compete_and_the_table_says_what_bold_means() -> None:
    table = with_best(listed(exactly(1, "a"), exactly(2, "b")), SPEC, results(a="digits", b="digits"))

    assert [[line.entries[0].best for line in row.lines] for row in table.rows] == [[False, True], [False, False]]
    assert table.footnotes[0].text.startswith("Bold: the best of its column")
    assert r"\textbf{n}" in render_latex(table)
    assert render_table(table).count("**n**") == 1


def test_cells_with_other_data_do_not_compete() -> None:
    table = listed(exactly(1, "a"), exactly(2, "b"), exactly(3, "c"))

    found = with_best(table, SPEC, results(a="digits", b="photos", c="photos"))

    assert [row.lines[1].entries[0].best for row in found.rows] == [False, True, False]
    assert with_best(table, SPEC, results(a="digits", b="photos", c="more")) == table


@pytest.mark.parametrize(
    ("status", "best"), [("failed", False), ("not measured", False), ("unsupported", True), ("skipped", True)]
)
def test_a_number_that_should_be_there_stands_in_the_way_but_not_one_that_cannot_be(status: str, best: bool) -> None:
    gone = replace(Entry(status, mark="missing"), cells=("b",))
    table = with_best(listed(exactly(1, "a"), gone, exactly(3, "c")), SPEC, results(a="d", b="d", c="d"))

    assert [row.lines[1].entries[0].best for row in table.rows] == [best, False, False]
