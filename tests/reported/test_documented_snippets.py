"""What the documentation shows, run as it stands: each piece of Python in a process of its own, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.models.catalogue import unet_sizes
from bench.models.unet import UNet

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "models").glob("*.md"),
        *(ROOT / "suites").glob("*.md"),
        *(ROOT / "bench").rglob("*.md"),
    )
)
SNIPPET = re.compile(r"^```(?:python|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = {
    f"{document}-{number}": code
    for document in DOCUMENTS
    for number, code in enumerate(SNIPPET.findall((ROOT / document).read_text(encoding="utf-8")))
}
SUITE = re.compile(r"^```yaml\n(# mine\.yaml.*?)^```$", re.MULTILINE | re.DOTALL)
STRANGER = "raise SystemExit('a stranger\\'s models.py was imported')\n"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that does not look into its working folder, as installed commands do not."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-P", *words], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def prepare(folder: Path) -> Path:
    """The files that the documentation speaks of, and a stranger's models.py."""
    torch.manual_seed(0)
    torch.save(UNet(unet_sizes("digits")).state_dict(), folder / "ema-model-790000.ckpt")
    network = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1))
    torch.save(network.state_dict(), folder / "tiny-cnn.pt")
    (folder / "models.py").write_text(STRANGER, encoding="utf-8")
    return folder


def test_there_are_snippets_to_run() -> None:
    assert len(SNIPPETS) >= 4


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_runs_as_it_stands(tmp_path: Path, name: str) -> None:
    code = SNIPPETS[name]

    answer = run(prepare(tmp_path), "-c", code)

    assert answer.returncode == 0, answer.stderr


def test_every_model_that_the_documentation_names_is_known_to_load_checkpoint(tmp_path: Path) -> None:
    code = """
from bench.models import load_checkpoint
from bench.errors import UserError
for name in NAMES:
    try:
        load_checkpoint("nowhere.pt", model=name)
    except UserError as error:
        print(type(error).__name__)
"""
    table = (ROOT / "models" / "README.md").read_text(encoding="utf-8").split("The three of paper B")[0]
    names = re.findall(r"`([a-z0-9-]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))

    answer = run(tmp_path, "-c", f"NAMES = {names}\n{code}")

    assert len(names) >= 10
    assert "UnknownName" not in answer.stdout
    assert answer.returncode == 0, answer.stderr


def test_the_calls_named_in_prose_exist(tmp_path: Path) -> None:
    code = """
import bench, bench.api
from bench.models.checkpoints import diffusers_folder, load, shipped
print(callable(bench.run), callable(bench.load), callable(bench.compare))
print(callable(load.verify_probe), callable(diffusers_folder.export_diffusers), callable(shipped.load_weights))
"""

    answer = run(tmp_path, "-c", code)

    assert answer.stdout.split() == ["True"] * 6, answer.stderr


def test_the_documented_suite_is_planned_beside_a_strangers_models(tmp_path: Path) -> None:
    readme = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    (suite,) = SUITE.findall(readme)
    prepare(tmp_path)
    (tmp_path / "mine.yaml").write_text(suite, encoding="utf-8")
    (tmp_path / "my_models.py").write_text(SNIPPETS["models/README.md-0"], encoding="utf-8")

    answer = run(tmp_path, "-m", "bench", "plan", "mine.yaml", "--plugin", "my_models.py")

    assert answer.returncode == 0, answer.stderr
    assert "tiny-cnn" in answer.stdout


def test_a_model_with_weights_of_its_own_is_scored_and_its_samples_kept(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "trained_cnn.py").write_text(SNIPPETS["models/README.md-1"], encoding="utf-8")
    suite = """
schema: 1
suite: mine
title: My denoiser
grid:
  - model: {name: trained-cnn, weights: tiny-cnn.pt}
    data: digits
    sampler: {name: ddim, timesteps: 2, clip_x0: true}
metrics: [{name: frechet, features: digits-cnn, images: 128, replicates: 2}, {name: samples, images: 4}]
"""
    (tmp_path / "mine.yaml").write_text(suite, encoding="utf-8")

    answer = run(
        tmp_path, "-m", "bench", "run", "mine.yaml", "--plugin", "trained_cnn.py", "--results", "results", "--no-report"
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    (records,) = (tmp_path / "results").glob("mine/*/records.jsonl")
    lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    assert {line["metric"] for line in lines} == {"frechet", "samples"}
    assert {line["status"] for line in lines} == {"ok"}
    assert lines[0]["subject"]["weights.source"] == "tiny-cnn.pt"
    assert len(lines[0]["subject"]["weights.sha256"]) == 64
