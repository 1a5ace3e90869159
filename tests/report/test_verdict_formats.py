"""A comparison in every format a CI system reads, with texts of strangers in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from bench.errors import SaveError
from bench.report.ci import add_to_summary, as_json, junit, workflow_commands
from bench.report.exports import bencher, files, github_action_benchmark
from bench.report.verdicts import MOST_ROWS, findings, markdown, text_lines
from bench.suite.schema import ClaimSpec, Quantity
from bench.units import Scale
from bench.verdict.claims import ClaimResult, Evidence, Held
from bench.verdict.outcome import Comparison, Outcome, Verdict
from bench.verdict.values import Number

HOSTILE = (
    "a | b",
    "a\nb",
    "::error::owned",
    "x\r\n::set-output name=a::b",
    "%0A::error::x",
    "]]><x/>",
    "<script>",
    "`code`",
    "\x1b[31m",
    "\u202e",
    "\ud800",
    "[x](javascript:alert(1))",
    "",
)


def verdict(
    outcome: Outcome = Outcome.REGRESSED, cell: str = "s/c=0", sentence: str = "worse", **more: object
) -> Verdict:
    return Verdict(outcome, cell, str(more.pop("metric", "latency")), "timing", "s", sentence, **more)  # type: ignore[arg-type]


def claim(held: Held, name: str = "c", sentence: str = "A sentence.") -> ClaimResult:
    spec = ClaimSpec(id=name, sentence=sentence, value=Quantity(metric="latency"), holds="<", than=1.0)
    return ClaimResult(spec, held, (Evidence({}, ("s/c=0",), held, "0.5 s < 1 s"),), Scale(1.0, "s"))


EVERYTHING = Comparison(
    "base",
    "new",
    tuple(verdict(outcome, f"s/{outcome}") for outcome in Outcome),
    ("a note",),
    tuple(claim(held, str(held)) for held in Held),
)


def test_junit_has_one_test_for_each_number_and_claim_with_its_fate() -> None:
    suite = ElementTree.fromstring(junit(EVERYTHING)).find("testsuite")
    assert suite is not None
    fates = {
        (case.get("classname"), case.get("name")): next((child.tag for child in case if child.tag != "system-out"), "")
        for case in suite.iter("testcase")
    }

    assert fates == {
        ("s/regressed", "latency"): "failure",
        ("s/missing", "latency"): "failure",
        ("s/incomparable", "latency"): "skipped",
        ("s/undecided", "latency"): "skipped",
        ("s/improved", "latency"): "",
        ("s/new", "latency"): "",
        ("s/unchanged", "latency"): "",
        ("claims", "fails"): "failure",
        ("claims", "no number"): "skipped",
        ("claims", "undecided"): "skipped",
        ("claims", "holds"): "",
    }
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("11", "3", "4")


def test_annotations_are_errors_and_warnings_and_one_notice() -> None:
    lines = list(workflow_commands(EVERYTHING))

    assert [line.split(" ")[0] for line in lines] == ["::error"] * 3 + ["::warning"] * 4 + ["::notice"]
    assert lines[0] == "::error title=regressed%3A latency::s/regressed: worse"
    assert lines[-1].startswith("::notice title=bench::1 regressed, 1 missing")


def test_no_more_annotations_than_are_shown() -> None:
    many = Comparison("a", "b", tuple(verdict(cell=f"s/{index}") for index in range(30)))

    assert sum(line.startswith("::error") for line in workflow_commands(many)) == 10


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_strangers_stay_texts(text: str) -> None:
    comparison = Comparison(
        text,
        text,
        (verdict(cell=f"s{text}", metric=f"m{text}", sentence=f"w{text}"),),
        (f"n{text}",),
        (claim(Held.FAILS, "c", f"s{text}"),),
    )

    lines = list(workflow_commands(comparison))
    assert [line[: line.index(" ")] for line in lines] == ["::error", "::error", "::notice"]
    assert not any("\n" in line or "\r" in line for line in lines)
    cases = list(ElementTree.fromstring(junit(comparison, text).encode()).iter())
    assert [each.tag for each in cases] == ["testsuites", "testsuite", "testcase", "failure", "testcase", "failure"]
    tokens = [token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown(comparison, "t"))]
    plain = Comparison("b", "n", (verdict(),), ("n",), (claim(Held.FAILS),))
    assert tokens == [token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown(plain, "t"))]
    for line in text_lines(comparison):
        assert not re.search("[\x00-\x1f\u202e]", line)
    json.dumps(as_json(comparison), allow_nan=False)


def test_numbers_with_one_sentence_stand_together() -> None:
    same = [verdict(Outcome.INCOMPARABLE, f"s/{index}", "machine.cpu was A and is B") for index in range(5)]
    found = findings(Comparison("a", "b", (*same, verdict())))

    assert [(each.outcome, each.about, each.number) for each in found] == [
        (Outcome.REGRESSED, "s/c=0", "latency"),
        (Outcome.INCOMPARABLE, "5 cells", "5 numbers (latency)"),
    ]


def test_what_is_unchanged_is_named_only_when_asked_for() -> None:
    comparison = Comparison("a", "b", (verdict(Outcome.UNCHANGED),))

    assert list(text_lines(comparison)) == ["1 unchanged"]
    assert len(list(text_lines(comparison, everything=True))) == 2


def test_a_summary_of_thousands_is_cut_and_says_so() -> None:
    many = Comparison("a", "b", tuple(verdict(cell=f"s/{index}") for index in range(MOST_ROWS + 7)))

    text = markdown(many, "t")

    assert text.count("| regressed |") == MOST_ROWS
    assert "and 7 rows more." in text


def test_json_holds_everything_a_program_wants() -> None:
    found = as_json(EVERYTHING)

    assert found["exit_code"] == 1
    assert found["counts"] == {str(outcome): 1 for outcome in Outcome}
    assert found["verdicts"][0]["sentence"] == "worse"
    assert [each["held"] for each in found["claims"]] == [str(held) for held in Held]


def test_the_job_summary_is_appended_to_where_there_is_one(tmp_path: Path) -> None:
    target = tmp_path / "summary.md"
    target.write_text("before\n")

    assert add_to_summary("text", {"GITHUB_STEP_SUMMARY": str(target)}) == target
    assert add_to_summary("text", {}) is None
    assert target.read_text() == "before\ntext\n"
    with pytest.raises(SaveError, match="the job summary cannot be written"):
        add_to_summary("text", {"GITHUB_STEP_SUMMARY": str(tmp_path)})


NUMBERS = (
    Number("s/c=0", "latency", "s", "timing", "lower", 0.002, 0.0019, 0.0022),
    Number("s/c=0", "macs", "MAC", "exact", "lower", 5e9, at={"stage": 0, "counter": "dispatch"}),
    Number("s/c=0", "precision_recall", "1", "quality", "higher", 0.8, at={"which": "recall"}),
)


def test_bencher_gets_cells_with_measures_and_times_in_nanoseconds() -> None:
    found = json.loads(bencher(NUMBERS))

    assert found == {
        "s/c=0": {
            "latency": {
                "value": pytest.approx(2e6),
                "lower_value": pytest.approx(1.9e6),
                "upper_value": pytest.approx(2.2e6),
            },
            "macs-0-dispatch": {"value": 5e9},
            "precision-recall-recall": {"value": 0.8},
        }
    }


def test_github_action_benchmark_gets_a_list_with_ranges() -> None:
    first, second, _ = json.loads(github_action_benchmark(NUMBERS))

    assert first == {
        "name": "s/c=0: latency",
        "unit": "s",
        "value": 0.002,
        "range": "0.00015",
        "extra": "95 % interval [0.0019, 0.0022]",
    }
    assert second["name"] == "s/c=0: macs (stage = 0, counter = dispatch)"


def test_numbers_of_which_more_is_better_go_to_a_file_of_their_own() -> None:
    found = files("github-action-benchmark", Path("out/b.json"), NUMBERS)

    assert [path.name for path in found] == ["b.json", "b.bigger.json"]
    assert [len(json.loads(text)) for text in found.values()] == [2, 1]
    assert list(files("bencher", Path("b.json"), NUMBERS)) == [Path("b.json")]
