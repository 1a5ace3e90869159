"""Behind every number: its digits, its cells, and a command that measures exactly these cells again."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from bench.analysis.reduce import Estimate
from bench.analysis.samples import Missing
from bench.registry import load_builtins
from bench.report.cells import entries_of, reproductions, run_facts
from bench.report.document import Entry, Report, Section
from bench.report.origins import digits, measured_origin
from bench.store.record import RunInfo
from bench.suite.expand import expand
from bench.suite.expressions import Expressions
from bench.suite.read import builtin_suites, read_suite
from bench.suite.schema import Cell
from bench.suite.select import select

MakeReport = Callable[..., Report]


@pytest.fixture
def section(report: MakeReport) -> Section:
    return report().sections[0]


def numbers(section: Section) -> list[Entry]:
    return list(entries_of(section.tables, section.figures, section.claims))


def expressions_of(command: str) -> list[str]:
    words = shlex.split(command)
    return [following for word, following in pairwise(words) if word == "-k"]


def test_every_number_says_its_value_in_full_how_it_was_taken_and_its_interval(section: Section) -> None:
    ours = [entry for entry in numbers(section) if entry.cells and entry.value is not None]

    assert len(ours) > 100
    for entry in ours:
        assert entry.origin is not None
        facts = {fact.label: fact.value for fact in entry.origin.facts}
        assert facts["Value"].split()[0] == repr(entry.value).removesuffix(".0")
        assert facts["Taken"]
        if entry.low is not None:
            assert facts["Interval"].startswith(digits(entry.low, entry.unit))


def test_every_cell_behind_a_number_is_described_once(section: Section) -> None:
    behind = {cell for entry in numbers(section) for cell in entry.cells}
    described = [cell.id for cell in section.cells]

    assert set(described) == behind and len(described) == len(behind)
    first = section.cells[0]
    assert [(fact.label, fact.value) for fact in first.factors][:2] == [
        ("model.skip", "zero"),
        ("model.skip_exponent", "0"),
    ]
    told = {fact.label: fact.value for fact in first.facts}
    assert told["Conditions"].startswith("device = cpu, dtype = float32, threads = 1")
    assert "digits-skip-zero.safetensors" in told["Weights"] and told["Seed"] == "0"
    assert told["Effort"] == "warmup 1, repeats 2, rounds 5, processes 2"


def test_the_command_of_every_number_selects_exactly_its_cells(section: Section, cells: tuple[Cell, ...]) -> None:
    pairs = {entry.cells for entry in numbers(section) if entry.cells}

    assert len({len(pair) for pair in pairs}) == 2  # cells alone, and cells with their references
    for pair in pairs:
        command = section.reproduce[pair]
        assert command.startswith("bench run suites/speedup.yaml -k ")
        assert {cell.id for cell in select(cells, expressions_of(command))} == set(pair)


@pytest.mark.parametrize("name", [name for name in builtin_suites() if not name.startswith("paper/")])
def test_every_cell_of_every_suite_has_a_command_that_selects_it_alone(name: str, plain_info: RunInfo) -> None:
    load_builtins()
    planned = expand(read_suite(name))
    commands = reproductions(replace(plain_info, suite_path=name), planned, [(cell.id,) for cell in planned])

    assert len(commands) == len(planned)
    for (cell,), command in commands.items():
        assert [each.id for each in select(planned, expressions_of(command))] == [cell]


def test_a_command_carries_what_the_cells_need_and_quotes_what_a_shell_would_read(
    plain_info: RunInfo, cells: tuple[Cell, ...]
) -> None:
    command = "bench run x --plugin 'my models.py' --quiet --data=/d -k skip=zero --new"
    info = replace(plain_info, suite_path="my suites/$(x).yaml", command=command)
    (found,) = reproductions(info, cells, [(cells[0].id,)]).values()

    assert found == (
        "bench run 'my suites/$(x).yaml' -k skip=zero -k skip_exponent=0 --plugin 'my models.py' --data=/d"
    )
    unclosed = replace(info, command="bench run x --plugin 'a")
    assert "--plugin" not in next(iter(reproductions(unclosed, cells, [(cells[0].id,)]).values()))


def test_cells_that_nobody_planned_have_no_command(plain_info: RunInfo, cells: tuple[Cell, ...]) -> None:
    assert reproductions(plain_info, cells, [("stray",), (cells[0].id, "stray"), ()]) == {}
    assert reproductions(plain_info, (), [(cells[0].id,)]) == {}
    with pytest.raises(KeyError):
        Expressions(cells).selecting(["stray"])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1, "1", "0.1"),
        (0.30000000000000004, "s", "0.30000000000000004 s"),
        (6239000000.0, "MAC", "6239000000 MAC"),
        (1.5, "x", "1.5 \N{MULTIPLICATION SIGN}"),
        (1e-300, "", "1e-300"),
    ],
)
def test_every_stored_digit_is_shown(value: float, unit: str, text: str) -> None:
    assert digits(value, unit) == text


def test_what_is_missing_an_interval_or_a_number_says_why() -> None:
    bare = Estimate(1.0, "s", ("a",))

    def interval(estimate: Estimate) -> str:
        return {fact.label: fact.value for fact in measured_origin(estimate, "n", "m").facts}["Interval"]

    assert interval(replace(bare, exact=True)) == "none: an exact number"
    assert interval(replace(bare, is_reference=True)).startswith("none: it is the reference")
    assert interval(replace(bare, note="too few visits")) == "none: too few visits"
    assert "0.5 s to 2 s (95 %, from 200 bootstrap resamples of the images)" in interval(
        replace(bare, low=0.5, high=2.0, resamples=200, of_images=True)
    )
    (fact,) = measured_origin(Missing("failed", "killed (9)"), "n", "m").facts
    assert (fact.label, fact.value) == ("No number", "failed: killed (9)")


def test_the_run_names_machine_code_and_suite(plain_info: RunInfo) -> None:
    facts = {fact.label: fact.value for fact in run_facts(plain_info, ())}

    assert facts["Suite"] == "suites/speedup.yaml (sha256 000000000000)"
    assert "commit 78ab84c078ab" in facts["Code"] and "torch 2.15.0" in facts["Code"]
