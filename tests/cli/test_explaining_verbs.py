"""why and diff on results that were really measured: two small cells, no training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.registry import load_builtins
from bench.run.inline import InlineExecutor
from bench.run.runner import run_suite
from bench.suite.expand import expand
from bench.suite.read import read_suite

Answer = tuple[int, str, str]
SUITE = """\
schema: 1
suite: tiny
title: Two small cells
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
grid: [{model: {name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}}]
metrics: [parameters]
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its results."""
    folder = tmp_path_factory.mktemp("explained")
    path = folder / "tiny.yaml"
    path.write_text(SUITE)
    load_builtins()
    suite = read_suite(path)
    run_suite(suite, expand(suite), results=folder / "results", executor=InlineExecutor())
    return folder


@pytest.fixture
def bench(measured: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    monkeypatch.chdir(measured)

    def answer(*arguments: str | Path) -> Answer:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return answer


def test_a_cell_in_which_nothing_changed_would_not_be_measured_again(bench: Callable[..., Answer]) -> None:
    code, out, _ = bench("why", "skip_exponent=2")

    assert code == 0
    assert out.startswith("tiny/skip_exponent=2-")
    assert "  changed" not in out
    assert out.endswith("`bench run` would measure nothing again: all 1 visits stand\n")


def test_a_cell_that_left_the_suite_is_shown_beside_the_nearest_one(
    bench: Callable[..., Answer], measured: Path, tmp_path: Path
) -> None:
    other = tmp_path / "tiny.yaml"
    other.write_text(SUITE.replace("[0, 2]", "[0, 3]"))

    _, out, _ = bench("why", "skip_exponent=2", "--suite", other)

    assert "today's suite has no such cell; the nearest is tiny/skip_exponent=" in out
    assert "  changed  factors: model.skip_exponent: changed: 2.0 then, " in out
    assert "suite file: changed" in out


def test_why_as_json_is_one_document(bench: Callable[..., Answer]) -> None:
    code, out, _ = bench("why", "tiny/skip_exponent=0", "--json")
    found = json.loads(out)

    assert (code, found["in_suite"]) == (0, True)
    assert {"what", "then", "now", "changed"} == set(found["changes"][0])


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("skip_exponent", "'skip_exponent' fits 2 cells"),
        ("nothing-like-it", "no run there has a cell 'nothing-like-it'"),
        ("speedup/skip", "no run there has a cell 'speedup/skip'"),
    ],
)
def test_a_cell_that_cannot_be_meant_is_bad_input(bench: Callable[..., Answer], cell: str, problem: str) -> None:
    code, _, err = bench("why", cell)

    assert (code, problem in err) == (2, True)


def test_two_cells_differ_by_their_factor(bench: Callable[..., Answer]) -> None:
    code, out, _ = bench("diff", "skip_exponent=0", "skip_exponent=2")

    assert code == 0
    assert out == "exact: the numbers are the same, as far as they can be told apart\n"


def test_a_run_and_a_part_of_it_can_be_named(bench: Callable[..., Answer]) -> None:
    code, out, _ = bench("diff", "results/tiny#skip_exponent=0", "results/tiny", "-k", "skip_exponent=2", "--json")

    assert code == 2  # the first side has no cell with that factor
    code, out, _ = bench("diff", "results/tiny#skip_exponent=0", "results/tiny#skip_exponent=2", "--json")
    found = json.loads(out)["exact"]
    assert (code, found["pairs"], found["moved"]) == (0, 1, [])
    assert found["suspects"][0]["field"] == "model.skip_exponent"


@pytest.mark.parametrize(
    "arguments",
    [("results/tiny", "results/tiny", "--metric", "latency"), ("results/tiny", "results/tiny", "-k", "skip_exponent")],
)
def test_nothing_to_compare_is_bad_input(bench: Callable[..., Answer], arguments: tuple[str, ...]) -> None:
    assert bench("diff", *arguments)[0] == 2
