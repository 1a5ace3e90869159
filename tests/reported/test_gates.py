"""Gates that were green although they held nothing against anything, as people met them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import scripted

from bench.cli import main
from bench.errors import ExitCode, UserError
from bench.gate.asked import Asked, exact_metrics
from bench.gate.driver import Outcomes, run_gate
from bench.gate.trees import base_tree, head_tree
from bench.registry import load_builtins, load_plugins
from bench.suite.expand import expand
from bench.suite.read import parse_suite, read_suite
from bench.verdict.outcome import Outcome

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit; the current folder of the test."""
    root = tmp_path / "repository"
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    scripted.write_repository(root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return root


def gate(base: str = "HEAD", plugin: str = "gate_plugin.py", **more: Any) -> Outcomes:
    """Exact numbers and images of the current folder against a base."""
    load_plugins([plugin])
    suite = read_suite("gate.yaml")
    asked = Asked(
        suite, expand(suite), base, plugins=(plugin,), builder=scripted.BUILDER, **{"exact_only": True, **more}
    )
    return run_gate(asked, Path("results"), lambda text: None)


@pytest.mark.parametrize("base", ["", " ", "\t"])
def test_an_empty_base_is_bad_input_and_not_the_current_folder(
    repository: Path, capsys: pytest.CaptureFixture[str], base: str
) -> None:
    code = main(["gate", "gate.yaml", "--plugin", "gate_plugin.py", "--base", base, "--exact-only"])

    assert (code, capsys.readouterr().err) == (
        2,
        "bench: --base is empty; is a variable unset? Name a revision such as main, or a folder\n",
    )


@pytest.mark.parametrize("base", [".", "./", "../repository"])
def test_the_folder_that_is_gated_is_no_base(repository: Path, base: str) -> None:
    with pytest.raises(UserError, match="is the very folder that is gated, so it would be compared with itself"):
        gate(base)


def test_the_folder_around_the_current_one_is_no_base_either(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "sub").mkdir()
    monkeypatch.chdir(repository / "sub")

    for base in ("..", "."):
        with pytest.raises(UserError, match="is the very folder that is gated"):
            base_tree(base, head_tree(), tmp_path / "x")


def test_a_revision_that_is_the_current_folder_says_that_nothing_has_changed(repository: Path) -> None:
    same = gate()
    (repository / "gate_plugin.py").write_text((repository / "gate_plugin.py").read_text() + "\n# a change\n")
    changed = gate()

    assert same.comparison.exit_code is changed.comparison.exit_code is ExitCode.OK
    (note,) = same.comparison.notes
    assert "nothing that git knows has changed" in note
    assert changed.comparison.notes == ()


def test_a_folder_without_the_project_is_no_base_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `bench` would be head's."""
    monkeypatch.chdir(PROJECT)

    with pytest.raises(UserError, match=r"has no bench/__init__\.py, and the folder that is gated has one"):
        base_tree(str(tmp_path), head_tree(), tmp_path / "x")


def test_a_folder_without_the_plug_in_is_bad_input(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UserError, match=r"--plugin gate_plugin\.py: .*/empty has no such file; was it committed"):
        gate(str(tmp_path / "empty"))


def test_a_plug_in_that_was_not_committed_is_named(repository: Path) -> None:
    scripted.git(repository, "rm", "-q", "--cached", "gate_plugin.py")
    scripted.commit(repository, "Two", add="gate.yaml")

    with pytest.raises(UserError, match=r"--plugin gate_plugin\.py: revision [0-9a-f]{12} \(HEAD\) has no such file"):
        gate()


def test_a_plug_in_that_is_named_by_its_whole_path_is_the_bases_own_on_the_bases_side(repository: Path) -> None:
    scripted.write_side(repository, parameters=101.0)

    found = gate(plugin=str(repository / "gate_plugin.py"))

    assert found.comparison.exit_code is ExitCode.REGRESSION


def test_a_plug_in_outside_of_both_trees_has_nothing_to_compare(repository: Path, tmp_path: Path) -> None:
    scripted.write_side(tmp_path / "elsewhere")

    with pytest.raises(UserError, match="nothing that was run comes from revision"):
        gate(plugin=str(tmp_path / "elsewhere" / "gate_plugin.py"))


def test_a_base_that_loads_a_module_of_heads_is_bad_input(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by an absolute path in the code, as by an editable installation."""
    text = f"import sys\nsys.path.append({str(repository)!r})\nimport gate_helper\n"
    plugin = repository / "gate_plugin.py"
    plugin.write_text(plugin.read_text().replace("import os\n", f"import os\n{text}", 1))
    (repository / "gate_helper.py").write_text("")
    scripted.commit(repository, "Two", add="gate_plugin.py")

    with pytest.raises(UserError, match=r"the base runs .*repository/gate_helper\.py, which is head's"):
        gate()


def test_a_module_that_only_claims_a_file_belongs_to_no_tree(repository: Path) -> None:
    plugin = repository / "gate_plugin.py"
    plugin.write_text(plugin.read_text() + "\nimport sys, types\nsys.modules['odd'] = types.ModuleType('odd')\n"
                      "sys.modules['odd'].__file__ = 'gate_plugin.py'\n")  # fmt: skip
    scripted.commit(repository, "Two")

    assert gate().comparison.exit_code is ExitCode.OK


MODEL = """
import torch
from bench import register_model
from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights


@register_model("gated-convolution")
def gated_convolution():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, SIZE, padding="same")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = network

        def forward(self, x_t, t):
            return self.convolution(x_t)

    return Denoiser(Network(), (1, 8, 8), Prediction.EPSILON, ScheduleSpec(), Weights("random"))
"""


@pytest.mark.slow
def test_a_network_of_a_users_own_repository_is_gated(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "mine.py").write_text(MODEL.replace("SIZE", "3"))
    (repository / "mine.yaml").write_text(
        "schema: 1\nsuite: mine\ntitle: M\ngrid: [{model: gated-convolution, sampler: {name: ddim, timesteps: 2}}]\n"
        "metrics: [nfe]\n"
    )
    scripted.commit(repository, "Two")
    command = ["gate", "mine.yaml", "--plugin", "mine.py", "--base", "HEAD", "--exact-only", "--quiet"]

    same = main(command)
    (repository / "mine.py").write_text(MODEL.replace("SIZE", "5"))
    larger = main(command)

    assert (same, larger) == (0, 1)
    assert "parameters (which = total): 10 became 26" in capsys.readouterr().out


def test_a_base_that_cannot_make_any_cell_compares_nothing(repository: Path, tmp_path: Path) -> None:
    scripted.write_side(tmp_path / "base", broken="build")

    found = gate(str(tmp_path / "base"))

    assert {each.outcome for each in found.comparison.verdicts} == {Outcome.IMPROVED}
    assert found.comparison.exit_code is ExitCode.BAD_INPUT
    assert found.comparison.compared_nothing is not None


def test_a_base_that_cannot_be_started_by_its_interpreter_is_bad_input(repository: Path) -> None:
    with pytest.raises(UserError, match="no-such-python: base cannot be started: No such file"):
        gate(base_python=Path("no-such-python"))


def test_a_repository_of_another_owner_is_refused_in_gits_own_words(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(UserError, match=r"git refuses the repository .*dubious ownership.*safe\.directory"):
        gate()


def test_a_file_that_an_archive_leaves_out_is_in_the_base(repository: Path) -> None:
    (repository / ".gitattributes").write_text("gate_plugin.py export-ignore\n")
    scripted.commit(repository, "Two")

    assert gate().comparison.exit_code is ExitCode.OK


def test_the_base_is_taken_without_touching_the_repository(repository: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}

    base_tree("HEAD", head_tree(), tmp_path / "x")

    assert {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()} == before


def test_an_exact_metric_that_is_asked_twice_is_compared_twice() -> None:
    load_builtins()
    text = (
        "schema: 1\nsuite: s\ntitle: T\ngrid: [{model: m, metrics: [{name: macs, counters: [fvcore]}]}]\n"
        "metrics: [{name: macs, counters: [dispatch]}]\n"
    )

    found = [each["params"] for each in exact_metrics(parse_suite(text, "s.yaml")) if each["name"] == "macs"]

    assert found == [{"counters": ["dispatch"]}, {"counters": ["fvcore"]}]
