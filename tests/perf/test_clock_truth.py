"""Whether reported times are true: networks that take a known time, on the real clock of a quiet machine.

`python -m pytest tests/perf/test_clock_truth.py -m perf`
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Network, Prediction, ScheduleSpec, Weights
from bench.diffusion.catalogue import ddim
from bench.measure.clock import CpuClock
from bench.measure.steps import step_time
from bench.measure.timing import latency, time_walk
from bench.subject import Subject, Workspace, prepare_process
from bench.suite.schema import Conditions, Effort

pytestmark = pytest.mark.perf

STEPS = 5
SHAPE = (1, 16, 16)


@dataclass(frozen=True)
class Spin:
    """A network that keeps the processor busy for a fixed time."""

    seconds: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return x


def subject(network: Network, path: Path) -> Subject:
    conditions = Conditions()
    prepare_process(conditions)
    schedule = ScheduleSpec()
    denoiser = Denoiser(network, SHAPE, Prediction.EPSILON, schedule, Weights("random"))
    return Subject(denoiser, ddim(schedule, timesteps=STEPS), None, conditions, 0, Workspace(path, path))


@pytest.mark.parametrize("seconds", [0.002, 0.010, 0.050])
def test_a_network_of_known_time_is_reported_within_two_percent(seconds: float, tmp_path: Path) -> None:
    made = subject(Spin(seconds), tmp_path)

    (walk,) = latency(made, Effort(warmup=1, repeats=7))
    (step,) = step_time(made, Effort(warmup=1, repeats=7))

    assert abs(statistics.median(walk.values) / STEPS - seconds) <= max(0.02 * seconds, 1e-4)
    assert abs(statistics.median(step.values) - seconds) <= max(0.02 * seconds, 1e-4)


def test_five_percent_between_two_networks_is_five_percent_in_turns(tmp_path: Path) -> None:
    fast, slow = subject(Spin(0.0100), tmp_path), subject(Spin(0.0105), tmp_path)

    ratios = []
    for _ in range(9):
        first = time_walk(fast, 0, CpuClock()).seconds
        ratios.append(time_walk(slow, 0, CpuClock()).seconds / first)

    assert abs(statistics.median(ratios) - 1.05) <= 0.01


def test_repeating_one_input_is_no_faster_than_new_ones(tmp_path: Path) -> None:
    """Nothing between the clock and the network remembers an input."""
    from bench.models.catalogue import unet_sizes
    from bench.models.unet import UNet

    torch.manual_seed(0)
    network: nn.Module = UNet(unet_sizes("digits")).eval()
    made = subject(network, tmp_path)
    time_walk(made, 0, CpuClock())

    ratios = []
    for index in range(15):
        same = time_walk(made, 0, CpuClock()).seconds
        ratios.append(same / time_walk(made, index + 1, CpuClock()).seconds)

    assert statistics.median(ratios) >= 0.9
