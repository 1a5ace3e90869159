from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.errors import SuiteError
from bench.registry import MODELS
from bench.suite.read import MAX_BYTES, builtin_suites, parse_suite, read_suite
from bench.suite.schema import BlockRef, Each, Ref, Suite
from bench.suite.source import MAX_PROBLEMS

SUITE = (Path(__file__).parent / "toy.yaml").read_text("utf-8")


def problems_of(text: str, name: str = "toy.yaml") -> tuple[str, ...]:
    with pytest.raises(SuiteError) as caught:
        parse_suite(text, name)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert SUITE.count(old) == 1, f"{old!r} must stand once in the toy suite"
    return SUITE.replace(old, new)


def test_a_suite_keeps_its_axes_and_its_flat_references_are_unfolded() -> None:
    suite = parse_suite(SUITE, "toy.yaml")

    assert suite.grid[0].model == BlockRef(
        name="net", params={"skip": Each(each=("zero", "copy")), "exponent": Each(each=(0, 2))}
    )
    assert suite.grid[0].data == BlockRef(name="dots")
    assert suite.metrics == (Ref(name="clock"), Ref(name="count", params={"images": 100}))
    assert suite.seed == 7


def test_a_suite_knows_its_file_and_its_text(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text("\ufeff" + SUITE, encoding="utf-8")

    suite = read_suite(path)

    assert suite.source.name == str(path)
    assert suite.source.text == SUITE
    line, column = suite.source.problem(("grid", 0, "model", "skip"), "", at_key=True).position
    assert SUITE.splitlines()[line - 1][column - 1 :].startswith("skip:")


def test_models_may_be_an_axis_whose_members_take_different_arguments() -> None:
    axis = "{each: [plain, {name: net, skip: {each: [zero, copy]}}]}"

    suite = parse_suite(changed("{name: net, skip: {each: [zero, copy]}, exponent: {each: [0, 2]}}", axis), "toy.yaml")

    model = suite.grid[0].model
    assert isinstance(model, Each)
    assert [each.name for each in model.each] == ["plain", "net"]


def test_every_mistake_of_a_file_is_reported_at_once_in_reading_order() -> None:
    text = """\
schema: 1
suite: Toy Suite
title: 12
conditons: {threads: 1}
conditions: {device: gpu, threads: 1e3, compile: no}
effort: {repeats: 0}
grid:
  - model: {name: nett, skip: {each: []}}
    sampler: {name: walk, timesteps: five, eat: 1}
    conditions: {threads: {each: [0, 2]}, treads: 3}
metrics: [clok, {name: blur}]
tables:
  - {id: a-b, caption: C, rows: model, format: percent, value: {metric: clock, relative: time_savd}}
effort: {}
"""

    assert "\n".join(problems_of(text)) == (
        "toy.yaml:2:8: suite: expected text like ^[a-z0-9][a-z0-9_.-]{0,63}$, got 'Toy Suite'\n"
        "toy.yaml:3:8: title: expected text, got 12; put it in quotes to make it text\n"
        "toy.yaml:4:1: conditons: unknown key; did you mean 'conditions'?\n"
        "toy.yaml:5:22: conditions.device: expected 'cpu' or 'cuda', got 'gpu'; did you mean 'cpu'?\n"
        "toy.yaml:5:36: conditions.threads: expected a whole number, got 1000.0; did you mean 1000?\n"
        "toy.yaml:5:50: conditions.compile: expected true or false, got 'no'; did you mean false?\n"
        "toy.yaml:6:19: effort.repeats: must be at least 1, got 0\n"
        "toy.yaml:8:19: grid[0].model.name: no model named 'nett'; did you mean 'net'? (known: net, plain)\n"
        "toy.yaml:8:38: grid[0].model.skip.each: expected a list of at least one value, got an empty list\n"
        "toy.yaml:9:38: grid[0].sampler.timesteps: expected a whole number, got 'five'\n"
        "toy.yaml:9:44: grid[0].sampler.eat: 'walk' takes no parameter 'eat'; did you mean 'eta'? "
        "(known: timesteps, eta, clip)\n"
        "toy.yaml:10:35: grid[0].conditions.threads.each[0]: must be at least 1, got 0\n"
        "toy.yaml:10:43: grid[0].conditions.treads: unknown key; did you mean 'threads'?\n"
        "toy.yaml:11:11: metrics[0]: no metric named 'clok'; did you mean 'clock'? (known: blur, clock, count)\n"
        "toy.yaml:11:17: metrics[1]: 'blur' needs the parameter 'images'; add it\n"
        "toy.yaml:13:40: tables[0].format: unknown key here; it belongs inside 'value'\n"
        "toy.yaml:13:90: tables[0].value.relative: expected 'time_saved', 'speedup', 'ratio' or 'difference', "
        "got 'time_savd'; did you mean 'time_saved'?\n"
        "toy.yaml:14:1: effort: the key stands twice, first in line 6; remove one of them"
    )


def test_names_are_not_judged_before_anything_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_entries", {})

    assert problems_of(changed("seed: 7", "seed: -1")) == ("toy.yaml:6:7: seed: must be at least 0, got -1",)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("schema: 1", "schema: 2", "1:9: schema: expected 1, got 2"),
        ("schema: 1", "schema: true", "1:9: schema: expected 1, got true"),
        ("title: A toy\n", "", "1:1: title: missing; it must be given"),
        ("seed: 7", "seed: '7'", "6:7: seed: expected a whole number, got '7'; remove the quotes or the underscores"),
        ("seed: 7", "seed: 1_000", "6:7: seed: expected a whole number, got '1_000'; remove the quotes or"),
        ("seed: 7", "seed: true", "6:7: seed: expected a whole number, got true"),
        ("threads: 1", "threads: {each: [1, 2]}", "an axis can only stand in a block of 'grid'"),
        ("threads: 1", "threads: 2000", "4:36: conditions.threads: must be at most 1024, got 2000"),
        ("{warmup: 1,", "{warmups: 1,", "5:10: effort.warmups: unknown key; did you mean 'warmup'?"),
        ("{warmup: 1,", "{zzz: 1,", "unknown key; expected one of processes, repeats, rounds, warmup"),
        (
            "repeats: 2, rounds: 3",
            "repeats: 99, rounds: 10000",
            "5:9: effort: asks for 2,000,000 calls of every metric",
        ),
        ("[zero, copy]", "[zero, [copy, {a: 1}]]", "lists of values are flat, got a mapping inside"),
        ("[zero, copy]", "zero", "grid[0].model.skip.each: expected a list of at least one value, got 'zero'"),
        ("[zero, copy]}", "[zero], other: 1}", "grid[0].model.skip.other: nothing may stand beside 'each'"),
        ("skip: {each: [zero, copy]}", "skip: {one: 1}", "expected a value, a list or an axis {each: [...]}, got a"),
        ("name: net", "name: {each: [net, plain]}", "write {each: [{name: a}, {name: b}]} instead"),
        ("name: net, ", "", "8:12: grid[0].model.name: missing; expected a registered name"),
        ("name: net", "name: 3", "8:19: grid[0].model.name: expected text, got 3"),
        (
            "data: dots",
            "conditions: {threads: {each: [2, 2]}}",
            "conditions.threads.each[1]: 2 stands twice in this axis",
        ),
        ("data: dots", "data: [dots]", "expected a name or {name: ..., its arguments}, got a list"),
        ("data: dots", "dta: dots", "9:5: grid[0].dta: unknown key; did you mean 'data'?"),
        ("images: 100", "images: {each: [1, 2]}", "a metric has no axes; list it once for every value"),
        ("metrics: [clock, {name: count, images: 100}]", "metrics: []", "metrics: expected at least one metric"),
        ("metrics: [clock, {name: count, images: 100}]", "metrics: clock", "write [...] around it, or - in front"),
        ("    columns: model.exponent\n", "", "a pivot needs 'columns' and 'value'; 'columns' is missing"),
        ("    values: [{metric: count, reduce: value}]\n", "", "tables[1]: nothing to show"),
        ("rows: [model.skip, model.exponent]", "rows: []", "expected at least one factor, got an empty list"),
        ("rows: [model.skip, model.exponent]", "rows: 3", "tables[1].rows: expected text or a list, got 3"),
        ("id: counts", "id: saved", "the id 'saved' stands twice, first in line 13; rename one of them"),
        ("id: counts", "id: ../counts", "got '../counts'"),
        (
            "kind: bars",
            "kind: bar",
            "expected 'bars', 'lines', 'curves', 'stages', 'stage_times', 'pareto', 'plane', 'strip' or",
        ),
        (", x: model.exponent", "", "figures[0]: a figure of kind 'bars' needs 'x'"),
        (
            "kind: bars, value: {metric: clock}",
            "kind: curves, value: {metric: clock, relative: ratio, to: {model.exponent: 0}}",
            "figures[0].value.relative: a figure of kind 'curves' shows the values of each cell as they are",
        ),
        (
            "kind: bars, value: {metric: clock}",
            "kind: curves, value: {metric: clock}, x_value: {metric: clock, times: {metric: clock}}",
            "figures[0].x_value.times: a figure of kind 'curves'",
        ),
        ("kind: bars, value: {metric: clock}", "kind: curves", "a figure of kind 'curves' needs 'value'"),
        ("    than: 0\n", "", "a claim needs either 'than' (a number) or 'than_where' (other cells)"),
        ("than: 0", "than: none", "claims[0].than: expected a number, got 'none'"),
        ("{metric: clock}", "{metric: clock, relative: ratio}", "'relative' needs 'to'"),
        ("{metric: clock}", "{metric: clock, to: {model.exponent: 0}}", "'to' needs 'relative'"),
        (
            "{metric: clock}",
            "{metric: clock, chosen: {over: model, by: {metric: clock}}}",
            "chosen: needs either 'prefer' (lower or higher) or 'at_most' (a number)",
        ),
        ("notes: [One note.]", "notes: One note.", "notes: expected a list, got 'One note.'"),
        ("notes: [One note.]", "reproduces: {paper: ../../secret}", "expected the stem of a file in suites/published"),
    ],
)
def test_a_mistake_says_where_what_was_expected_and_what_was_found(old: str, new: str, problem: str) -> None:
    problems = problems_of(changed(old, new))

    assert any(problem in each for each in problems), problems
    assert all(each.startswith("toy.yaml:") for each in problems)


def test_a_grid_that_is_not_a_list_of_blocks_is_one_problem() -> None:
    start, end = SUITE.index("grid:"), SUITE.index("metrics:")

    problems = problems_of(SUITE[:start] + "grid: {model: net}\n" + SUITE[end:])

    assert problems == (
        "toy.yaml:7:7: grid: expected a list, got a mapping; write [...] around it, or - in front of each item",
    )


def test_two_missing_keys_are_two_problems() -> None:
    assert problems_of("schema: 1\ngrid: []\nmetrics: [clock]\n") == (
        "toy.yaml:1:1: suite: missing; it must be given",
        "toy.yaml:1:1: title: missing; it must be given",
        "toy.yaml:2:7: grid: expected at least one block, got an empty list",
    )


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "- a\n", "text\n", "null\n", "3\n"])
def test_a_file_that_is_not_a_mapping_is_refused_with_its_line(text: str) -> None:
    (problem,) = problems_of(text)

    assert problem.startswith("toy.yaml:")
    assert "expected a" in problem


def test_many_problems_are_counted_rather_than_shown() -> None:
    problems = problems_of("".join(f"key{i}: 1\n" for i in range(500)))

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[0] == "toy.yaml:1:1: schema: missing; it must be given"
    assert problems[-1] == "toy.yaml:96:1: from here on, 405 more problems"  # five keys are missing, too


def test_long_values_are_shortened_in_messages() -> None:
    (problem,) = problems_of(changed("device: cpu", f"device: {'x' * 5000}"))

    assert len(problem) < 300


def test_any_exception_ends_as_a_suite_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("bench.suite.read.compose", broken)

    assert problems_of(SUITE) == ("toy.yaml:1:1: cannot be read: RecursionError: too deep",)


def test_bytes_that_are_not_utf8_are_named_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_bytes(b"schema: 1\ntitle: caf\xe9\n")

    with pytest.raises(SuiteError, match=r"toy\.yaml:2:11: the byte 0xe9 is not UTF-8"):
        read_suite(path)


def test_a_file_over_one_mebibyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))

    with pytest.raises(SuiteError, match=r"toy\.yaml:1:1: the file is larger than 262,144 bytes"):
        read_suite(path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a device file")
def test_an_endless_file_is_refused_like_a_large_one() -> None:
    with pytest.raises(SuiteError, match="larger than"):
        read_suite("/dev/zero")


def test_an_existing_file_wins_over_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("speedup").write_text(SUITE, encoding="utf-8")

    assert read_suite("speedup").suite == "toy"


def test_a_built_in_suite_is_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    suite = read_suite("speedup")

    assert isinstance(suite, Suite)
    assert suite.suite == "speedup"
    assert suite.source.name.endswith(f"suites{os.sep}speedup.yaml")


@pytest.mark.parametrize("name", ["speedpu", "suites/speedpu.yaml"])
def test_an_unknown_name_is_answered_with_close_ones_and_the_whole_list(name: str) -> None:
    with pytest.raises(SuiteError) as caught:
        read_suite(name)

    assert f"{name!r}: no such file, and no built-in suite has that name; did you mean 'speedup'?" in str(caught.value)
    assert ", ".join(builtin_suites()) in str(caught.value)


@pytest.mark.parametrize("name", ["published/adaptive-skip", "../suites/speedup", "a\0b", "x" * 5000, ""])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(SuiteError, match=r"no such file|cannot be read|is a folder"):
        read_suite(name)


def test_a_folder_is_not_a_suite(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="is a folder, not a suite file"):
        read_suite(tmp_path)
