"""A repository with cells whose calls take a scripted time: no torch, no clock, real processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

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


def write_side(
    folder: Path, seconds: float = 0.01, parameters: float = 100.0, pixel: float = 0.0, broken: str = ""
) -> None:
    """One version of the code."""
    folder.mkdir(parents=True, exist_ok=True)
    text = PLUGIN.format(seconds=seconds, parameters=parameters, pixel=pixel, broken=broken)
    (folder / "gate_plugin.py").write_text(text)
    (folder / "gate.yaml").write_text(SUITE)


def write_repository(root: Path) -> None:
    """A git repository with one commit of one version, on the branch `trunk`."""
    write_side(root)
    git(root, "init", "-q", "-b", "trunk")
    commit(root, "One")


def commit(root: Path, message: str, add: str = ".") -> None:
    """Everything that is in the folder now, or one file of it."""
    git(root, "add", add)
    git(root, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", message)


def git(root: Path, *arguments: str) -> None:
    """Run git with no configuration of the user's. Raises CalledProcessError."""
    subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    )
