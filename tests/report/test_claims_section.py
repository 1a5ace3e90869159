"""The claims of a suite on its page: the sentence, the number, its interval and the verdict."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from bench.report.csv import csv_files, render_claims
from bench.report.document import Claim, Report
from bench.report.html import render_html
from bench.report.markdown import render_markdown
from bench.report.page import build_section
from bench.store.files import load_run
from bench.suite.schema import ClaimSpec, Quantity

SAVED = Quantity(metric="latency", relative="time_saved", to={"model.skip_exponent": 0})
CLAIMS = (
    ClaimSpec(
        id="saved",
        sentence="Skipping with c = 5 saves at least 40 % of the time.",
        value=SAVED,
        where={"model.skip_exponent": 5, "model.skip": "zero"},
        holds=">=",
        than=0.4,
    ),
    ClaimSpec(
        id="every",
        sentence="Every skip saves more than 90 %.",
        value=SAVED,
        where={"model.skip_exponent": 5},
        holds=">",
        than=0.9,
    ),
    ClaimSpec(
        id="faster",
        sentence="Zero is faster than interpolate.",
        value=Quantity(metric="latency"),
        where={"model.skip": "zero", "model.skip_exponent": (2, 3, 5)},
        holds="<",
        than_where={"model.skip": "interpolate"},
    ),
)


@pytest.fixture
def report(speedup) -> Report:  # type: ignore[no-untyped-def]
    suite = speedup.suite.model_copy(update={"claims": CLAIMS})
    section = build_section(load_run(speedup.path), suite, speedup.cells, "results/speedup/RUN")
    return Report(section.title, (section,), "bench 0.1.0")


def claims(report: Report) -> dict[str, Claim]:
    return {claim.id: claim for claim in report.sections[0].claims}


def test_a_claim_has_its_verdict_its_number_and_what_was_wanted(report: Report) -> None:
    claim = claims(report)["saved"]
    (line,) = claim.lines

    assert (claim.verdict, line.verdict, line.wanted) == ("holds", "holds", ">= 40.00 %")
    assert line.value.value is not None and line.value.low is not None and line.value.low > 0.4
    assert line.value.text.endswith(" %") and line.value.interval.startswith("[")
    assert len(line.value.cells) == 2


def test_the_cells_of_a_claim_are_told_apart(report: Report) -> None:
    claim = claims(report)["every"]

    assert claim.verdict == "fails"
    assert [line.about for line in claim.lines] == ["skip = zero", "skip = duplicate", "skip = interpolate"]
    assert claim.finding.startswith("fails in 3 of 3 cells: skip = zero: ")


def test_a_comparison_of_cells_shows_both_numbers_and_their_difference(report: Report) -> None:
    claim = claims(report)["faster"]

    assert claim.verdict == "holds"
    assert [line.about for line in claim.lines] == [f"skip_exponent = {c}" for c in (2, 3, 5)]
    assert all(
        line.wanted.endswith("of skip = interpolate") and line.difference.startswith("-") for line in claim.lines
    )


def test_claims_stand_on_the_page_in_every_format(report: Report) -> None:
    markdown, html = render_markdown(report, "speedup"), render_html(report)

    assert "## Claims\n\n**holds**: Skipping with c = 5 saves at least 40 % of the time. (" in markdown
    assert "| cell | value | wanted | difference | verdict |" in markdown
    for sentence in ("Every skip saves more than 90 %.", "Zero is faster than interpolate."):
        assert sentence in html
    assert '<span class="badge fails">fails</span>' in html


def test_claims_are_a_file_of_their_own_in_csv(report: Report) -> None:
    files = csv_files(report, "speedup")
    rows = list(csv.DictReader(io.StringIO(files["speedup-claims.csv"])))

    assert [row["claim"] for row in rows] == ["saved", "every", "every", "every", "faster", "faster", "faster"]
    assert [row["verdict"] for row in rows] == ["holds", "fails", "fails", "fails", "holds", "holds", "holds"]
    assert float(rows[0]["low"]) > 0.4


def test_a_table_called_claims_keeps_its_file(report: Report) -> None:
    section = report.sections[0]
    table = replace(section.tables[0], id="claims")
    files = csv_files(replace(report, sections=(replace(section, tables=(table,)),)), "s")

    assert files["s-claims-verdicts.csv"] == render_claims(section.claims)
    assert files["s-claims.csv"].startswith("skip,")


def test_a_report_without_claims_says_nothing_of_them(report: Report) -> None:
    silent = replace(report, sections=(replace(report.sections[0], claims=()),))

    assert "Claims" not in render_markdown(silent, "speedup")
    assert list(csv_files(silent, "s")) == ["s-table2.csv", "s-seconds.csv"]
