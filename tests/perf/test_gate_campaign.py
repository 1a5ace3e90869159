"""The gate on the real clock: identical code, 5 % added work, and both beside a busy neighbour core.

`GATE_RUNS=30 python -m pytest tests/perf/test_gate_campaign.py -m perf -s`

On a machine that does nothing else. Every run is a `bench gate` of its own in a shell of its own; what each said is
printed and, where GATE_LOG names a file, appended to it as a line of JSON. A run takes one to two minutes. With
GATE_NEIGHBOUR=outside the busy core is the work of whoever starts this, a quality suite under `taskset`, say;
without it the test keeps the last core busy itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.perf

RUNS = int(os.environ.get("GATE_RUNS", "30"))
"""Of identical code, and again with added work; a third of that beside a neighbour."""
SLOWDOWN = 0.05
PLUGIN = '''
"""The digits U-Net, which after every call spins for a share of the time the call took."""

import time

import torch
from torch import nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights
from bench.registry import register_model

SHARE = {share}


class Spinning(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x_t, t):
        begin = time.perf_counter()
        out = self.network(x_t, t)
        until = begin + (1 + SHARE) * (time.perf_counter() - begin)
        while time.perf_counter() < until:
            pass
        return out


@register_model("gated-unet")
def gated_unet(size: str = "digits") -> Denoiser:
    from bench.models.catalogue import unet_sizes
    from bench.models.unet import UNet

    torch.manual_seed(0)
    network = Spinning(UNet(unet_sizes(size)))
    return Denoiser(network, (1, 16, 16), Prediction.EPSILON, ScheduleSpec(), Weights("random"))
'''
SUITE = """\
schema: 1
suite: campaign
title: A tiny U-Net
grid:
  - model: {name: gated-unet}
    sampler: {name: ddim, timesteps: %s}
metrics: [parameters, nfe]
"""


def write_side(folder: Path, share: float, timesteps: str = "1") -> Path:
    folder.mkdir()
    (folder / "gate_plugin.py").write_text(PLUGIN.format(share=share))
    (folder / "gate.yaml").write_text(SUITE % timesteps)
    return folder


def run_gate(base: Path, head: Path, condition: str) -> tuple[str, ...]:
    """The outcomes of the timed cells of one gate; each run is told and logged."""
    command = [sys.executable, "-m", "bench", "gate", "gate.yaml", "--base", str(base), "--plugin", "gate_plugin.py"]
    begin = time.monotonic()
    done = subprocess.run([*command, "--json"], cwd=head, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    assert done.returncode in (0, 1, 3), done.stderr
    verdicts = [each for each in json.loads(done.stdout)["verdicts"] if each["kind"] == "timing"]
    told = [{key: each[key] for key in ("outcome", "ratio", "low", "high", "sentence")} for each in verdicts]
    line = json.dumps({"condition": condition, "seconds": round(seconds, 1), "cells": told})
    print(line, flush=True)
    if log := os.environ.get("GATE_LOG"):
        with Path(log).open("a") as file:
            file.write(line + "\n")
    return tuple(each["outcome"] for each in verdicts)


def campaign(tmp_path: Path, share: float, runs: int, condition: str) -> Counter[str]:
    base, head = write_side(tmp_path / "base", 0.0), write_side(tmp_path / "head", share)
    found = Counter(outcome for _ in range(runs) for outcome in run_gate(base, head, condition))
    print(f"{condition}: {dict(found)} of {runs} runs", flush=True)
    return found


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A program that keeps one processor busy: an endless loop, or what the caller runs there already."""
    if os.environ.get("GATE_NEIGHBOUR") == "outside":
        yield
        return
    core = max(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_identical_code_raises_no_alarm(tmp_path: Path) -> None:
    found = campaign(tmp_path, 0.0, RUNS, "identical")

    assert found["regressed"] == 0


def test_five_per_cent_of_added_work_are_found(tmp_path: Path) -> None:
    found = campaign(tmp_path, SLOWDOWN, RUNS, "five per cent")

    assert found["regressed"] >= RUNS * 28 // 30
    assert found["unchanged"] == found["improved"] == 0


def test_beside_a_busy_neighbour_identical_code_raises_no_alarm(tmp_path: Path) -> None:
    with busy_neighbour():
        found = campaign(tmp_path, 0.0, max(1, RUNS // 3), "identical, busy neighbour")

    assert found["regressed"] == 0


def test_beside_a_busy_neighbour_added_work_is_never_called_unchanged(tmp_path: Path) -> None:
    with busy_neighbour():
        found = campaign(tmp_path, SLOWDOWN, max(1, RUNS // 3), "five per cent, busy neighbour")

    assert found["unchanged"] == found["improved"] == 0


def test_what_one_gate_of_three_cells_costs(tmp_path: Path) -> None:
    sides = [write_side(tmp_path / name, 0.0, "{each: [4, 8, 16]}") for name in ("base", "head")]

    outcomes = run_gate(sides[0], sides[1], "three cells")

    assert len(outcomes) == 3 and "regressed" not in outcomes
