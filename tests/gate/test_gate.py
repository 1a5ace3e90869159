"""A whole gate between two versions of a repository: real processes of both sides, times that are scripted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import ExitCode, SaveError, UserError
from bench.gate.asked import Asked, match_cells, reduced
from bench.gate.driver import Outcomes, run_gate
from bench.gate.exact import images_verdict
from bench.gate.trees import base_tree, environment, head_tree, interpreter
from bench.registry import load_plugins
from bench.suite.expand import expand
from bench.suite.read import parse_suite, read_suite
from bench.verdict.outcome import Outcome

WriteSide = Callable[..., None]
BUILDER = "bench_plugin_gate_plugin:build"


def gate(base: str = "HEAD", results: str = "results", **more: Any) -> tuple[Outcomes, list[str]]:
    """Run a gate in the current folder; what it found, and what it told meanwhile."""
    load_plugins(["gate_plugin.py"])
    suite = read_suite("gate.yaml")
    asked = Asked(suite, expand(suite), base, plugins=("gate_plugin.py",), builder=BUILDER, **more)
    told: list[str] = []
    return run_gate(asked, Path(results), told.append), told


def outcomes(found: Outcomes) -> dict[tuple[str, str], Outcome]:
    return {(each.cell.rpartition("-")[0], each.metric): each.outcome for each in found.comparison.verdicts}


def test_the_same_code_has_the_same_numbers_and_images(repository: Path) -> None:
    found, told = gate(exact_only=True)

    assert set(outcomes(found).values()) == {Outcome.UNCHANGED}
    assert {metric for _, metric in outcomes(found)} == {"parameters", "images"}
    assert found.comparison.exit_code is ExitCode.OK
    assert told[0].startswith("base: revision ") and told[0].endswith(" (HEAD)")
    assert json.loads(found.saved.read_text())["verdicts"][0]["outcome"] == "unchanged"


def test_the_base_is_the_revision_and_head_the_files_as_they_stand(repository: Path, write_side: WriteSide) -> None:
    write_side(repository, parameters=101.0, pixel=0.5)

    found, _ = gate(exact_only=True)

    assert found.comparison.exit_code is ExitCode.REGRESSION
    assert set(outcomes(found).values()) == {Outcome.REGRESSED}
    sentences = {each.metric: each.sentence for each in found.comparison.verdicts}
    assert sentences["parameters"] == "200 became 202 (+1.0 %); it is an exact number"
    assert sentences["images"].startswith("the first image differs by up to 0.5 in [-1, 1]")


def test_images_may_differ_by_as_much_as_is_allowed(repository: Path, write_side: WriteSide) -> None:
    write_side(repository, pixel=1e-6)

    found, _ = gate(exact_only=True, pixels=1e-5)

    assert set(outcomes(found).values()) == {Outcome.UNCHANGED}


def test_images_that_the_base_does_not_repeat_are_undecided(
    repository: Path, tmp_path: Path, write_side: WriteSide
) -> None:
    write_side(tmp_path / "base", broken="unseeded")
    write_side(repository, broken="unseeded")

    found, _ = gate(str(tmp_path / "base"), exact_only=True)

    images = {outcome for (_, metric), outcome in outcomes(found).items() if metric == "images"}
    assert images == {Outcome.UNDECIDED}


def test_a_folder_is_a_base_too(repository: Path, tmp_path: Path, write_side: WriteSide) -> None:
    write_side(tmp_path / "base", parameters=90.0)

    found, told = gate(str(tmp_path / "base"), exact_only=True)

    assert told[0] == f"base: {tmp_path / 'base'}"
    assert {outcomes(found)[key] for key in outcomes(found) if key[1] == "parameters"} == {Outcome.REGRESSED}


def test_a_side_that_cannot_build_a_cell_is_a_verdict_with_its_reason(repository: Path, write_side: WriteSide) -> None:
    write_side(repository, broken="build")

    found, _ = gate()

    assert set(outcomes(found).values()) == {Outcome.REGRESSED}
    assert "ValueError: no such architecture" in found.comparison.verdicts[0].sentence


def test_an_argument_that_only_one_side_has_does_not_part_the_cells(
    repository: Path, tmp_path: Path, write_side: WriteSide
) -> None:
    write_side(tmp_path / "base")
    plugin = tmp_path / "base" / "gate_plugin.py"
    plugin.write_text(plugin.read_text().replace("width: int = 1", "width: int = 1, extra: bool = False"))

    found, _ = gate(str(tmp_path / "base"), exact_only=True)

    assert len(outcomes(found)) == 4
    assert set(outcomes(found).values()) == {Outcome.UNCHANGED}


def test_a_base_that_cannot_read_the_suite_is_bad_input_with_its_reason(
    repository: Path, tmp_path: Path, write_side: WriteSide
) -> None:
    write_side(tmp_path / "base")
    plugin = tmp_path / "base" / "gate_plugin.py"
    plugin.write_text(plugin.read_text().replace("width: int = 1", "height: int = 1"))

    with pytest.raises(UserError, match=r"a side cannot be started: base: SuiteError.*takes no parameter 'width'"):
        gate(str(tmp_path / "base"), exact_only=True)


@pytest.mark.slow
def test_equal_times_pass_and_longer_ones_are_confirmed(repository: Path, write_side: WriteSide) -> None:
    same, told = gate(looks=(8,))
    write_side(repository, seconds=0.0107)
    slow, _ = gate(looks=(8,))

    times = {key: outcome for key, outcome in outcomes(same).items() if key[1].startswith("time")}
    assert set(times.values()) == {Outcome.UNCHANGED} and len(times) == 2
    assert any("two processes of the same code differ by" in line for line in told)
    assert any("2 cells: about" in line for line in told)
    assert slow.comparison.exit_code is ExitCode.REGRESSION
    regressed = [each for each in slow.comparison.verdicts if each.outcome is Outcome.REGRESSED]
    assert {each.metric for each in regressed} == {"time of one network call"}
    assert all(each.ratio == pytest.approx(1.07, abs=0.005) for each in regressed)
    saved = json.loads(slow.saved.read_text())
    cells = list(saved["cells"].values())
    assert [len(cell[run]["units"]) for cell in cells for run in ("first", "confirmation")] == [8] * 4
    assert len(cells[0]["first"]["units"][0]["base"]) == 4


@pytest.mark.slow
def test_a_process_that_dies_while_it_is_timed_leaves_its_cells_undecided(
    repository: Path, write_side: WriteSide
) -> None:
    write_side(repository, broken="die")

    found, _ = gate(looks=(8,))

    times = [each for each in found.comparison.verdicts if each.metric.startswith("time")]
    assert {each.outcome for each in times} == {Outcome.UNDECIDED}
    assert "the process ended with 7" in times[0].sentence


INTERRUPTED = """
from pathlib import Path
from bench.gate.asked import Asked
from bench.gate.driver import run_gate
from bench.registry import load_plugins
from bench.suite.expand import expand
from bench.suite.read import read_suite

load_plugins(["gate_plugin.py"])
suite = read_suite("gate.yaml")
asked = Asked(suite, expand(suite), "HEAD", plugins=("gate_plugin.py",), builder=%r)
run_gate(asked, Path("results"), lambda text: print(text, flush=True))
"""


def command_lines() -> list[str]:
    """Of all processes there are."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            found.append(file.read_text(errors="replace"))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_gate_that_is_told_to_end_leaves_no_process_and_no_file(repository: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED % BUILDER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("on this machine"):
        assert process.poll() is None
    (folder,) = temporary.iterdir()

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert "KeyboardInterrupt" in errors
    assert list(temporary.iterdir()) == []
    assert not any(str(folder) in command for command in command_lines())


def test_a_base_that_is_nowhere_is_bad_input(repository: Path) -> None:
    with pytest.raises(UserError, match="neither a folder nor a revision that git knows here"):
        gate("no-such-branch")


def test_a_place_that_cannot_be_written_is_found_out_before_anything_is_measured(repository: Path) -> None:
    (repository / "results").write_text("a file in the way")

    with pytest.raises(SaveError, match=r"results: is a file, expected a folder of its own; remove it or choose"):
        gate("no-such-branch")  # is not even looked for


def test_gates_are_not_saved_through_a_link(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (repository / "results").mkdir()
    (repository / "results" / "gates").symlink_to(elsewhere)

    with pytest.raises(SaveError, match="results/gates: is a symbolic link, expected a folder of its own"):
        gate("no-such-branch")  # is not even looked for
    assert list(elsewhere.iterdir()) == []


def test_an_option_is_no_revision(repository: Path) -> None:
    with pytest.raises(UserError, match="neither a folder nor a revision"):
        gate("--output=/tmp/x")


def test_outside_of_a_repository_a_base_must_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    with pytest.raises(UserError, match="the current folder is not in a git repository"):
        base_tree("main", head_tree(), tmp_path / "x")


def test_a_sides_interpreter_finds_its_own_tree_first_and_everything_installed_after_it(tmp_path: Path) -> None:
    """A copy of this project with a mark in it stands in for an older one."""
    root = tmp_path / "older"
    (root / "bench").mkdir(parents=True)
    (root / "bench" / "__init__.py").write_text("MARK = 'older'\n")
    head = head_tree()
    base = base_tree(str(root), head, tmp_path / "x")
    code = "import bench, numpy, yaml; print(getattr(bench, 'MARK', 'running'), bench.__file__)"

    found = {}
    for tree in (base, head):
        python = interpreter(tree, tmp_path)
        outer = {**os.environ, "PYTHONPATH": str(Path(bench.__file__).parents[1])}
        found[tree.name] = subprocess.run(
            [python, "-P", "-c", code],
            env=environment(tree, head.root, outer),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    assert found["base"] == ["older", str(root / "bench" / "__init__.py")]
    assert found["head"] == ["running", bench.__file__]


def test_a_repository_without_a_bench_uses_the_running_one_on_both_sides(repository: Path, tmp_path: Path) -> None:
    head = head_tree()
    base = base_tree("HEAD", head, tmp_path / "x")

    assert head.bench == base.bench == Path(bench.__file__).parents[1]
    assert base.folder != head.folder and (base.folder / "gate_plugin.py").is_file()


def test_search_paths_into_heads_tree_lead_into_the_bases(repository: Path, tmp_path: Path) -> None:
    head = head_tree()
    base = base_tree("HEAD", head, tmp_path / "x")
    outer = {"PYTHONPATH": f"{repository / 'lib'}{os.pathsep}/elsewhere"}

    entries = environment(base, head.root, outer)["PYTHONPATH"].split(os.pathsep)

    assert str(base.root / "lib") in entries and "/elsewhere" in entries
    assert str(repository / "lib") not in entries


def test_a_gate_in_a_subfolder_works_there_on_both_sides(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(repository)
    (repository / "sub").mkdir()
    shutil.copy(repository / "gate.yaml", repository / "sub")
    monkeypatch.chdir(repository / "sub")

    with pytest.raises(UserError, match="that revision has no folder sub"):
        base_tree("HEAD", head_tree(), tmp_path / "x")


def test_both_sides_read_the_suite_without_its_tables_and_metrics(repository: Path) -> None:
    suite = read_suite("gate.yaml")

    again = parse_suite(reduced(suite), "reduced")

    assert again.grid == suite.grid
    assert not again.tables and [metric.name for metric in again.metrics] == ["parameters"]


def test_metrics_of_a_block_are_not_in_a_reduced_suite() -> None:
    text = "schema: 1\nsuite: s\ntitle: T\ngrid: [{model: m, metrics: [latency]}]\nmetrics: [latency]\n"

    (block,) = parse_suite(reduced(parse_suite(text, "s.yaml")), "r").grid

    assert block.metrics is None


def test_numbers_in_a_reduced_suite_keep_their_meaning() -> None:
    text = (
        "schema: 1\nsuite: s\ntitle: 'no'\nseed: 010\n"
        "grid: [{model: {name: m, a: 1e-3, b: 'on', c: [1, x], d: {each: [0.5, null]}}}]\nmetrics: [latency]\n"
    )

    suite = parse_suite(text, "s.yaml")

    assert parse_suite(reduced(suite), "r").grid == suite.grid


def test_cells_are_matched_by_id_or_by_all_that_both_sides_know() -> None:
    def cell(name: str, **factors: Any) -> dict[str, Any]:
        return {"id": name, "factors": {"model": "m", **factors}, "conditions": {"threads": 1}}

    base = [cell("a", width=1), cell("b", width=2), cell("gone", width=9)]

    assert match_cells([cell("a", width=1), cell("b", width=2)], base) == {0: 0, 1: 1}
    assert match_cells([cell("x", width=1, extra=True), cell("y", width=2, extra=True)], base) == {0: 0, 1: 1}
    assert match_cells([cell("x", width=1, extra=True), cell("y", width=1, extra=False)], base) == {}
    assert match_cells([cell("x", width=3)], base) == {}


def test_images_of_another_size_are_a_regression(repository: Path) -> None:
    load_plugins(["gate_plugin.py"])
    (one, _) = expand(read_suite("gate.yaml"))
    answers = [{"sha256": str(n), "image": "AAAAAA==" * n} for n in (1, 2)]

    found = images_verdict(one, {"sha256": "1", "image": "AAAAAA=="}, {"sha256": "2", "image": "AAAAAAAAAAA="}, 0.0)

    assert answers and found.outcome is Outcome.REGRESSED
    assert found.sentence == "the first image had 1 pixels and has 2"


def test_the_verb_tells_the_outcome_and_where_the_times_are(repository: Path) -> None:
    """In a process of its own, as a shell would; random weights need no files."""
    (repository / "real.yaml").write_text(
        "schema: 1\nsuite: real\ntitle: R\n"
        "grid: [{model: {name: skip-unet, weights: random}, sampler: {name: ddim, timesteps: 2}}]\nmetrics: [nfe]\n"
    )
    found = subprocess.run(
        [sys.executable, "-m", "bench", "gate", "real.yaml", "--base", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 2
    assert found.stderr.startswith("bench: --base nowhere: neither a folder nor a revision")
