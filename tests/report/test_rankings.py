"""Sentences about the rows of a table: the best, those level with it, and where a difference is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.analysis.published import read_published
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point
from bench.analysis.separation import Ranking
from bench.report.grids import Measured
from bench.report.printed import find_printed, is_of_another_kind, printed_metric
from bench.report.rankings import ranking_findings, said
from bench.report.tables import build_table
from bench.suite.schema import Companion, Quantity, TableSpec

MakeMeasured = Callable[..., Measured]
OURS = "perceptual[digits-cnn]"


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


def test_a_printed_lpips_is_not_the_number_of_other_features() -> None:
    lpips = read_published("missing-u").table("2").entry("t = 50", "LPIPS U-Net")
    estimate = Estimate(0.01, "1", ("cell",))
    ours, theirs = (Quantity(metric="denoising", at={"score": name}) for name in (OURS, "lpips[alex]"))

    assert lpips.metric == "lpips"
    assert is_of_another_kind(estimate, lpips, ours)
    assert not is_of_another_kind(estimate, lpips, theirs)


@pytest.mark.parametrize(
    ("score", "which", "text"),
    [("ssim", "best", ".88"), ("lpips[alex]", "best", ".025"), (OURS, "best", ".025"), ("gmsd", "best", None)],
)
def test_the_printed_numbers_of_the_denoising_tables_are_found_by_score_level_and_model(
    score: str, which: str, text: str | None
) -> None:
    point = Point("x", {"model": "lucid-unet", "sampler": "chain", "sampler.t_start": 50}, {}, 0, ("denoising",))
    table = read_published("missing-u").table("2")
    found = find_printed(table, (point,), "denoising", None, {"score": score, "iterate": "x_t", "which": which})

    assert (found and found.text) == text
    assert find_printed(table, (point,), "denoising", "difference", {"score": score, "which": which}) is None


def test_the_printed_seconds_are_of_the_product_of_steps_and_step_time() -> None:
    point = Point("x", {"model": "cunet", "sampler.t_start": 100}, {}, 0, ("denoising",))
    seconds = Quantity(metric="denoising", times=Companion(metric="step_time"))
    at = {"score": "ssim", "which": "best_step"}
    found = [
        find_printed(read_published("missing-u").table("3"), (point,), metric, None, at)
        for metric in ("denoising", printed_metric(seconds))
    ]

    assert [(each.text, each.unit) for each in found if each] == [("73", ""), ("9.89", "s")]


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
