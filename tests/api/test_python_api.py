"""The functions a notebook calls, and how the things they give show themselves."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

import bench
from bench.api import Loaded, run
from bench.errors import UserError
from bench.report.document import Claim, ClaimLine, Entry, Figure, Footnote, Line, Picture, Row, Table
from bench.report.notebook import Shelf, ShownClaims, ShownComparison, ShownFigure, ShownTable
from bench.run.inline import InlineExecutor
from bench.suite.read import parse_suite
from bench.verdict.outcome import Comparison, Outcome, Verdict

SUITE = """\
schema: 1
suite: tiny
title: Two small cells
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
grid: [{model: {name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}}]
metrics: [parameters, stages]
tables:
  - id: size
    caption: Parameters
    rows: model.skip_exponent
    values: [{metric: parameters, at: {which: total}, reduce: value, label: parameters}]
figures:
  - {id: skipped, caption: Levels skipped, kind: stages, series: model.skip_exponent}
claims:
  - id: small
    sentence: It is small.
    value: {metric: parameters, at: {which: total}, reduce: value}
    holds: "<"
    than: 1000000
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Two cells, measured in this process."""
    folder = tmp_path_factory.mktemp("api")
    path = folder / "tiny.yaml"
    path.write_text(SUITE)
    return run(path, results=folder / "results", quiet=True, executor=InlineExecutor())


def test_importing_bench_is_light_and_gives_the_functions_when_they_are_asked_for() -> None:
    code = (
        "import sys, bench; light = not {'torch', 'pandas', 'numpy', 'yaml'} & set(sys.modules); "
        "print(light, callable(bench.run), callable(bench.load), callable(bench.compare), 'torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "True", "True", "True", "False"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'nonsense'"):
        bench.nonsense  # noqa: B018


def test_the_room_run_can_be_called_and_imported_from(tmp_path: Path) -> None:
    from bench.run.runner import run_suite

    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)

    found = bench.run(path, results=tmp_path, select=["skip_exponent=2"], quiet=True, executor=InlineExecutor())

    assert callable(run_suite)
    assert {record.factors["model.skip_exponent"] for record in found.records} == {2.0}


def test_a_suite_made_in_code_can_be_run(tmp_path: Path) -> None:
    suite = parse_suite(SUITE, "made.yaml")

    found = bench.run(suite, results=tmp_path, select=["skip_exponent=0"], quiet=True, executor=InlineExecutor())

    assert found.runs[0].info.command == "bench.run('made.yaml')"


def test_running_again_measures_nothing_and_loading_gives_the_same(loaded: Loaded) -> None:
    root = loaded.path.parents[1]

    again = bench.load(root)

    assert again.path == loaded.path
    assert again.records == loaded.records
    assert repr(again).startswith("<results of tiny ")


def test_a_frame_has_a_row_for_each_raw_value(loaded: Loaded) -> None:
    frame = loaded.to_frame()

    assert set(frame["metric"]) == {"parameters", "stages"}
    assert len(frame[frame["metric"] == "stages"]) == 2000


def test_tables_figures_and_claims_are_found_by_their_ids(loaded: Loaded) -> None:
    assert list(loaded.tables) == ["size"]
    assert list(loaded.figures) == ["skipped"]
    assert loaded.claims["small"].verdict == "holds"
    with pytest.raises(KeyError, match="known: size"):
        loaded.tables["sise"]


def test_a_table_is_a_frame_markdown_html_latex_and_csv(loaded: Loaded) -> None:
    table = loaded.tables["size"]

    assert table.to_frame()["value"].tolist() == [564737.0, 564737.0]
    assert "| skip\\_exponent | parameters |" in str(table) or "| skip_exponent | parameters |" in str(table)
    assert '<td style="text-align:right">564,737</td>' in table._repr_html_()
    assert "\\toprule" in table.to_latex()
    assert table.to_csv().startswith("skip_exponent,line,column")


def test_a_figure_shows_its_picture_as_a_data_address(loaded: Loaded) -> None:
    html = loaded.figures["skipped"]._repr_html_()

    address = html.partition('src="data:image/svg+xml;base64,')[2].partition('"')[0]
    assert base64.b64decode(address).lstrip().startswith(b"<")
    assert "http://" not in html and "<script" not in html


def test_everything_together_is_shown_too(loaded: Loaded) -> None:
    assert "Parameters" in loaded._repr_html_() and "It is small." in loaded._repr_html_()
    assert "**holds**" in loaded._repr_markdown_()


def test_the_pages_can_be_written(loaded: Loaded, tmp_path: Path) -> None:
    written = loaded.write_report(tmp_path, ("md",))

    assert next(path.name for path in written) == "tiny.md"


def test_results_are_compared_with_a_sentence_each(loaded: Loaded) -> None:
    found = bench.compare(loaded, loaded.path)

    assert isinstance(found, ShownComparison)
    assert {each.outcome for each in found.comparison.verdicts} == {Outcome.UNCHANGED}
    assert str(found).endswith("unchanged")


def test_a_folder_without_results_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in there"):
        bench.load(tmp_path)


HOSTILE = "<script>alert(1)</script>&\"'|`x`"


def test_no_text_of_a_stranger_becomes_markup_in_a_notebook() -> None:
    entry = Entry(HOSTILE, "s", "[0.9, 1.1]", 1.0, notes=("a",))
    row = Row((HOSTILE,), (Line(HOSTILE, "ours", (entry,)), Line(HOSTILE, "beside", (entry,))))
    table = Table("t", HOSTILE, (HOSTILE,), "", (HOSTILE,), (row,), (HOSTILE,), (Footnote(HOSTILE, "a"),))
    figure = Figure(
        "f", HOSTILE, "", "", (), notes=(HOSTILE,), pictures=(Picture("", "", status=HOSTILE, reason=HOSTILE),)
    )
    line = ClaimLine(HOSTILE, entry, HOSTILE, "", "holds", HOSTILE)
    claims = ShownClaims((Claim("c", HOSTILE, "holds", HOSTILE, (line, line)),))
    verdict = Verdict(Outcome.REGRESSED, HOSTILE, HOSTILE, "timing", "s", HOSTILE)
    comparison = ShownComparison(Comparison(HOSTILE, HOSTILE, (verdict,), (HOSTILE,)))

    for shown in (ShownTable(table), ShownFigure(figure), claims, comparison, Shelf([("t", ShownTable(table))])):
        assert "<script" not in shown._repr_html_()
        tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(shown._repr_markdown_())
        kinds = {each.type for token in tokens for each in (token, *(token.children or ()))}
        assert not {"html_block", "html_inline", "link_open"} & kinds


def test_missing_numbers_are_nan_in_a_frame_and_say_why() -> None:
    row = Row(("a",), (Line("ours", "ours", (Entry("failed", mark="missing", notes=("a",)),)),))

    frame = ShownTable(Table("t", "C", ("x",), "", ("y",), (row,))).to_frame()

    assert np.isnan(frame["value"][0])
    assert frame["text"][0] == "failed (a)"


def test_a_picture_that_is_not_there_says_why() -> None:
    figure = Figure("f", "C", "", "", (), pictures=(Picture("", "", status="missing", reason="no record names it"),))

    assert "missing: no record names it" in ShownFigure(figure)._repr_html_()
    png = Figure("f", "C", "", "", (), pictures=(Picture("", "", content=b"\x89PNG"),))
    assert "data:image/png;base64,iVBORw==" in ShownFigure(png)._repr_markdown_()
