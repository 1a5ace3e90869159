"""A repository with a cell whose calls take a scripted time: no torch, no clock, real processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = '''
"""A model and a builder for gates: a call takes as long as SECONDS says, give or take a part in a thousand."""

import os
import random
import struct

from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights
from bench.registry import register_model

SECONDS = {seconds}
PARAMETERS = {parameters}
PIXEL = {pixel}
BROKEN = {broken!r}


@register_model("scripted")
def scripted(width: int = 1) -> Denoiser:
    return Denoiser(lambda x_t, t: x_t, (1, 2, 2), Prediction.EPSILON, ScheduleSpec(), Weights("random"))


class Scripted:
    def __init__(self, cell):
        if BROKEN == "build":
            raise ValueError("no such architecture")
        self.width = cell.model.params["width"]
        # Processes differ a little from each other, and calls within one.
        self.random = random.Random(os.getpid())
        self.placed = self.random.gauss(1, 0.001)

    def call(self, index):
        if BROKEN == "die":
            os._exit(7)
        return SECONDS * self.width * self.placed * self.random.gauss(1, 0.001)

    def exact(self, metrics):
        return [
            {{"metric": each["name"], "unit": "count", "values": [PARAMETERS * self.width], "at": {{}}}}
            for each in metrics
            if each["name"] == "parameters"
        ]

    def sample(self):
        return struct.pack("4f", PIXEL, 0, 0, random.random() if BROKEN == "unseeded" else 0)


def build(cell, folder):
    return Scripted(cell)
'''
SUITE = """\
schema: 1
suite: toy
title: Scripted cells
grid: [{model: {name: scripted, width: {each: [1, 2]}}}]
metrics: [parameters]
tables:
  - {id: t, caption: C, rows: model.width, values: [{metric: parameters}]}
"""
BUILDER = "bench_plugin_gate_plugin:build"

WriteSide = Callable[..., None]


@pytest.fixture
def write_side() -> WriteSide:
    """write_side(folder, seconds=..., parameters=..., pixel=..., broken=...): one version of the code."""

    def write(
        folder: Path, seconds: float = 0.01, parameters: float = 100.0, pixel: float = 0.0, broken: str = ""
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = PLUGIN.format(seconds=seconds, parameters=parameters, pixel=pixel, broken=broken)
        (folder / "gate_plugin.py").write_text(text)
        (folder / "gate.yaml").write_text(SUITE)

    return write


@pytest.fixture
def repository(tmp_path: Path, write_side: WriteSide, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit; the current folder of the test."""
    root = tmp_path / "repository"
    write_side(root)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(root, "init", "-q", "-b", "trunk")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "One")
    monkeypatch.chdir(root)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    )
