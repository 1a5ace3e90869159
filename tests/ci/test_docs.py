"""The pages in docs/: every command exists, every metric is there, every test and file that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli.parser import build_parser
from bench.registry import METRICS, load_builtins
from bench.suite.read import parse_suite
from bench.verdict.tolerances import BY_METRIC, DEFAULTS, tolerance_text

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
NAMES = [path.name for path in DOCS]
load_builtins()


@pytest.mark.parametrize("path", DOCS, ids=NAMES)
def test_every_command_is_one(path: Path) -> None:
    for block in re.findall(r"<!-- commands -->\n```sh\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            assert line.startswith("bench ")
            build_parser().parse_args(line.split()[1:])


@pytest.mark.parametrize("path", DOCS, ids=NAMES)
def test_every_file_that_is_named_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    named = re.findall(r"`((?:tests|bench|suites)/[\w/.-]+)`", text)
    linked = [match for match in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in match]
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [name for name in linked if not (path.parent / name).resolve().exists()] == []


def test_every_metric_has_its_line() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")

    shipped = [entry.name for entry in METRICS if entry.origin.startswith("bench.")]  # other tests register their own
    assert len(shipped) > 15
    assert [name for name in shipped if f"`{name}`" not in text] == []


def test_the_tolerances_are_those_of_the_program() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.search(r"<!-- tolerances -->\n\|.*?\n\|.*?\n(.*?)<!-- end -->", text, re.DOTALL)
    assert rows is not None
    written = dict(tuple(cell.strip() for cell in line.strip("|").split("|")) for line in rows[1].splitlines())

    known = {**DEFAULTS, **BY_METRIC}
    assert written == {name: tolerance_text(each) for name, each in known.items()}


def test_the_claims_in_the_page_are_claims() -> None:
    text = (ROOT / "docs" / "ci.md").read_text("utf-8")
    claims = re.search(r"```yaml\n(claims:.*?)```", text, re.DOTALL)
    assert claims is not None
    head = (
        "schema: 1\nsuite: s\ntitle: T\nmetrics: [latency, frechet]\n"
        "grid: [{model: {name: skip-unet, skip: zero, skip_exponent: {each: [0, 2, 3, 5]}}}]\n"
    )

    assert [claim.id for claim in parse_suite(head + claims[1], "docs").claims] == ["half", "better"]
