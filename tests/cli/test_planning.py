"""What `bench plan` says beside the cells, as a person and a program read it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

SUITE = """\
schema: 1
suite: pictures
title: Pictures of two walks
grid:
  - model: {name: skip-unet, skip_exponent: {each: [0, 2]}}
    data: digits
    sampler: {name: ddim, timesteps: 10}
metrics: [{name: frechet, images: 100}, {name: samples, images: 12}]
"""
PAPER = SUITE.replace("name: skip-unet,", "name: skip-unet, config: cifar10, weights: ddpm-cifar10,").replace(
    "digits", "cifar10"
)
TIMES = """\
schema: 1
suite: times
title: Step times
conditions: {batch_size: 64}
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
grid: [{model: {name: skip-unet, weights: random, skip_exponent: 5}}]
metrics: [{name: step_time, calls_per_value: 1}]
"""

Plan = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    """plan(text): what is printed of a suite, and its JSON; a machine without data."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def make(text: str, *arguments: str) -> tuple[str, dict[str, Any]]:
        (tmp_path / "s.yaml").write_text(text)
        assert main(["plan", "s.yaml", *arguments]) == 0
        said = capsys.readouterr().out
        assert main(["plan", "s.yaml", *arguments, "--json"]) == 0
        return said, json.loads(capsys.readouterr().out)

    return make


def test_images_and_network_calls_are_counted(plan: Plan) -> None:
    said, told = plan(SUITE)

    assert "to draw: 256 images of 2 walks; 2,560 network calls\n" in said
    assert (told["images"], told["network_calls"], told["missing"]) == (256, 2560, [])


def test_shared_pictures_are_said_to_be_shared(plan: Plan) -> None:
    said, told = plan(SUITE + "conditions: {threads: 1}\n" + "", "-k", "skip_exponent=2")
    twice, _ = plan(SUITE.replace("    data: digits\n", "    data: {name: digits, split: {each: [test, train]}}\n"))

    assert "to draw: 128 images of 1 walk; 1,280 network calls" in said
    assert "to draw: 256 images of 2 walks, shared by 4 cells; 2,560 network calls" in twice
    assert told["cells"] == 1


def test_what_is_missing_is_one_line_each_with_what_to_do(plan: Plan, tmp_path: Path) -> None:
    said, told = plan(PAPER.replace("{name: frechet, images: 100}", "{name: frechet, features: inception}"))
    lines = [line for line in said.splitlines() if line.startswith("missing here: ")]

    assert [line.split()[2].strip(":") for line in lines] == ["ddpm-cifar10", "cifar10", "FID"]
    for name, line in zip(("ddpm-cifar10", "cifar10", "inception"), lines, strict=True):
        assert f"`bench fetch {name}`" in line and str(tmp_path / "data") in line
        assert line.endswith("(every cell needs it)")
    assert [len(each["cells"]) for each in told["missing"]] == [2, 2, 2]


def test_without_step_times_the_command_that_measures_them_is_said(plan: Plan) -> None:
    said, told = plan(SUITE)

    assert (
        "time of 2,560 network calls is not known: this machine has no step times of skip-unet (config = digits, "
        "skip = zero)\n  measure them with `bench run drawing -k config=digits -k skip=zero`\n"
    ) in said
    assert told["time"]["wall_s"] is None
    assert told["time"]["measure"] == ["bench run drawing -k config=digits -k skip=zero"]


def test_a_network_that_nothing_measures_says_what_to_add(plan: Plan) -> None:
    said, _ = plan(SUITE.replace("name: skip-unet, skip_exponent: {each: [0, 2]}", "name: lucid-unet, width: 16"))

    assert "no suite that ships measures lucid-unet (" in said
    assert "add step_time to the metrics of one that has it" in said


def test_what_cannot_be_counted_is_named(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "from typing import Any\nfrom bench import register_metric\n"
        "@register_metric('silent', unit='1', better=None, kind='quality')\n"
        "def silent(subject: Any, effort: Any) -> Any: ...\n"
    )
    said, told = plan(SUITE.replace("metrics: [", "metrics: [silent, "), "--plugin", "plugin.py")

    assert "  not counted: silent: it does not say how much it asks of the network\n" in said
    assert told["not_counted"] == ["silent: it does not say how much it asks of the network"]


def test_measured_step_times_become_an_estimate_that_names_its_run(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "times.yaml").write_text(TIMES)
    assert main(["run", "times.yaml", "--no-report", "--quiet", "--results", str(tmp_path / "results")]) == 0
    (run,) = (tmp_path / "results" / "times").glob("2*")
    said, told = plan(SUITE)

    assert told["time"]["unknown"] == []
    assert told["time"]["wall_s"] > 0
    assert told["time"]["drawing_s"] >= told["time"]["wall_s"]
    assert f"1 value a stage at batch 64, in results/times/{run.name}" in said
    assert "time: about " in said and ": network calls alone, from nothing\n" in said


def test_a_plan_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        PAPER.replace("{name: frechet, images: 100}", "{name: frechet, features: inception}")
    )
    code = "import sys; from bench.cli import main; main(['plan', 's.yaml']); sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")
