"""What the harness costs around the network, on a quiet machine.

`python -m pytest tests/perf/test_overhead.py -m perf --benchmark-enable`

The limits are checked only with --benchmark-enable, on the best of many runs: 0.1 ms a step outside the network,
without the noise itself; 20 ns for each number of the noise; and 2 % of the network's own time at batch 8 on digits.
"""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights
from bench.diffusion.catalogue import ddim, ddpm
from bench.diffusion.noise import NoiseStream
from bench.measure.clock import CpuClock
from bench.measure.steps import step_time
from bench.measure.timing import time_walk
from bench.subject import Subject, Workspace, prepare_process
from bench.suite.schema import Conditions, Effort

pytestmark = pytest.mark.perf

STEPS = 100
MAX_STEP_OVERHEAD_S = 1e-4
MAX_PER_NORMAL_S = 2e-8
MAX_SHARE = 0.02
DIGITS = (1, 16, 16)
CIFAR = (3, 32, 32)


class Nothing(nn.Module):
    """A network that costs nothing."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x


class Timed(nn.Module):
    """A network that adds up its own time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seconds = 0.0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        start = time.perf_counter()
        out: Tensor = self.network(x, t)
        self.seconds += time.perf_counter() - start
        return out


def subject(
    network: nn.Module, sampler: str, shape: tuple[int, int, int], batch: int, path: Path, steps: int = STEPS
) -> Subject:
    conditions = Conditions(batch_size=batch)
    prepare_process(conditions)
    schedule = ScheduleSpec()
    walk = ddpm(schedule, timesteps=steps) if sampler == "ddpm" else ddim(schedule, timesteps=steps)
    denoiser = Denoiser(network.eval(), shape, Prediction.EPSILON, schedule, Weights("random"))
    return Subject(denoiser, walk, None, conditions, 0, Workspace(path, path))


@pytest.mark.parametrize("shape", [DIGITS, CIFAR], ids=["digits", "cifar10"])
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_step_costs_little_outside_the_network(
    benchmark: Any, sampler: str, batch: int, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    made = subject(Nothing(), sampler, shape, batch, tmp_path)

    silence = torch.zeros(batch, *shape)

    x0 = benchmark(lambda: made.reverse(silence, lambda step: silence))

    assert x0.shape == (batch, *shape)
    assert made.calls.count % STEPS == 0
    if not benchmark.disabled:
        per_step_s = benchmark.stats.stats.min / STEPS
        benchmark.extra_info["us_per_step"] = 1e6 * per_step_s
        assert per_step_s <= MAX_STEP_OVERHEAD_S


@pytest.mark.parametrize("shape", [DIGITS, CIFAR], ids=["digits", "cifar10"])
def test_noise_costs_little_a_number(benchmark: Any, shape: tuple[int, int, int]) -> None:
    """A walk's step noise for a batch of 8, drawn image by image."""
    steps = NoiseStream(0, 0, 8, shape).chunk_steps

    def draw() -> int:
        noise = NoiseStream(0, 0, 8, shape)
        return sum(noise.step(step).numel() for step in range(steps))

    numbers = benchmark(draw)

    assert numbers == steps * 8 * math.prod(shape)
    if not benchmark.disabled:
        assert benchmark.stats.stats.min / numbers <= MAX_PER_NORMAL_S


def test_a_walk_spends_its_time_in_the_network(benchmark: Any, tmp_path: Path) -> None:
    """The digits network at batch 8: the share of a timed walk that is not the network's own."""
    from bench.models.catalogue import unet_sizes
    from bench.models.unet import UNet

    torch.manual_seed(0)
    network = Timed(UNet(unet_sizes("digits")))
    made = subject(network, "ddpm", DIGITS, 8, tmp_path, steps=8 if benchmark.disabled else 256)
    shares = []

    def walk() -> None:
        network.seconds = 0.0
        found = time_walk(made, 0, CpuClock())
        shares.append((found.seconds - network.seconds) / network.seconds)

    benchmark(walk)

    assert all(share > 0 for share in shares)
    if not benchmark.disabled:
        benchmark.extra_info["share_outside"] = statistics.median(shares)
        assert statistics.median(shares) <= MAX_SHARE


def test_predict_adds_little_to_the_network(benchmark: Any, tmp_path: Path) -> None:
    made = subject(Nothing(), "ddpm", CIFAR, 8, tmp_path)
    x_t = made.start(0, 8)

    benchmark(lambda: made.predict(x_t, 500))

    if not benchmark.disabled:
        assert benchmark.stats.stats.min <= MAX_STEP_OVERHEAD_S


def test_a_visit_costs_little_around_its_timed_regions(benchmark: Any, tmp_path: Path) -> None:
    """Everything step_time does besides calling: choosing stages, drawing inputs, reading the kernel's counters."""
    made = subject(Nothing(), "ddpm", DIGITS, 8, tmp_path)

    found = benchmark(lambda: step_time(made, Effort(warmup=1, repeats=2)))

    assert found[0].at["calls"] == STEPS
    if not benchmark.disabled:
        assert benchmark.stats.stats.min <= 0.05
