"""A training killed by the system at any moment, as often as it likes, ends with the weights of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.files import file_hash

RECIPE = """\
schema: 1
recipe: tiny
title: A few steps on digits
model: {name: skip-unet, skip: zero, skip_exponent: 0}
data: {name: digits, split: train}
scheme: {depths: uniform}
train: {steps: 40, batch_size: 4, ema: 0.9, save_every: 1}
"""
STATE = ".tiny.partial"
WEIGHTS = "tiny.safetensors"


def start(folder: Path, out: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "train", "tiny.yaml", "--no-samples", "--json", "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, out: str) -> None:
    with start(folder, out) as training:
        errors = training.communicate(timeout=240)[1]
    assert training.returncode == 0, errors


def version(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_training_killed_again_and_again_gives_the_same_weights(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    finish(tmp_path, "whole")

    for _ in range(3):
        before, until = version(tmp_path / "cut" / STATE), time.monotonic() + 120
        with start(tmp_path, "cut") as training:
            while training.poll() is None and time.monotonic() < until and version(tmp_path / "cut" / STATE) == before:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.2)
            training.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
            assert "Traceback" not in training.communicate()[1]

    finish(tmp_path, "cut")
    assert file_hash(tmp_path / "cut" / WEIGHTS) == file_hash(tmp_path / "whole" / WEIGHTS)
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["tiny.json", WEIGHTS]
