"""Sampling with the 35.7M-parameter CIFAR-10 U-Net against diffusers' pipeline, on the same weights in one process.

Run alone on a quiet machine: `python -m pytest tests/perf/test_sampling_ratio.py -m perf -s`. Every round times all
variants in shuffled order, and the figures are medians of the rounds' ratios; a slow machine fails nothing, a variant
that computes something else does.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from bench.models.unet import UNet
from bench.registry import load_builtins
from bench.subject import Subject, Workspace, build_subject
from bench.suite.schema import Cell, Conditions, Effort, Ref

pytestmark = [
    pytest.mark.perf,
    # diffusers and inductor warn about their own imports and about a missing CUDA device
    pytest.mark.filterwarnings("ignore"),
]

STEPS = {1: 10, 8: 5}
"""DDIM steps of one timed walk at each batch size: a second or two each."""
ROUNDS = 7
THREADS = 2
VARIANTS = {
    "eager": {},
    "channels_last": {"memory_format": "channels_last"},
    "compile": {"compile": True, "memory_format": "channels_last"},
    "bfloat16": {"dtype": "bfloat16", "memory_format": "channels_last"},
    "bfloat16 compile": {"dtype": "bfloat16", "memory_format": "channels_last", "compile": True},
}


@dataclass(frozen=True)
class Walk:
    """One variant: how to walk the first images from their x_T to x_0."""

    name: str
    run: Callable[[], Tensor]


@pytest.mark.parametrize("batch", [1, 8])
def test_sampling_ratio_to_the_diffusers_pipeline(batch: int, tmp_path: Path) -> None:
    torch.set_num_threads(THREADS)
    walks = list(variants(batch, tmp_path))
    outputs = {walk.name: walk.run() for walk in walks}  # warm-up and compilation
    ratios: dict[str, list[float]] = {walk.name: [] for walk in walks}
    order = random.Random(0)
    for _ in range(ROUNDS):
        seconds = {}
        for walk in order.sample(walks, len(walks)):
            began = time.perf_counter()
            walk.run()
            seconds[walk.name] = time.perf_counter() - began
        for name, taken in seconds.items():
            ratios[name].append(seconds["diffusers"] / taken)

    print(f"\nbatch {batch}, {STEPS[batch]} DDIM steps, {THREADS} threads, median of {ROUNDS} ratios:")
    for name, values in ratios.items():
        low, _, high = statistics.quantiles(values, n=4)
        difference = float((outputs[name] - outputs["diffusers"]).square().mean().sqrt())
        print(
            f"  {name:18} {statistics.median(values):5.2f}x [{low:.2f}, {high:.2f}], "
            f"rms difference of the images in [-1, 1]: {difference:.1e}"
        )
        assert difference < (0.5 if "bfloat16" in name else 1e-3)


def variants(batch: int, tmp_path: Path) -> Iterator[Walk]:
    """diffusers' pipeline first, then ours with the same weights and the same x_T."""
    load_builtins()
    eager = subject(batch, {}, tmp_path)
    x_T = eager.start(0, batch)
    yield Walk("diffusers", diffusers_walk(cast(UNet, eager.denoiser.network), x_T, STEPS[batch], tmp_path / "unet"))
    for name, conditions in VARIANTS.items():
        if "bfloat16" in name and not processor_has_bfloat16():
            print(f"\n{name}: left out, because this processor has no bfloat16 instructions and only imitates them")
            continue
        ours = subject(batch, conditions, tmp_path)
        yield Walk(name, lambda ours=ours: ours.sample(0, batch).clamp(-1, 1))


def processor_has_bfloat16() -> bool:
    """Without these instructions bfloat16 was measured at a seventh of float32's speed: nothing to time there."""
    return any(flag in Path("/proc/cpuinfo").read_text(encoding="utf-8") for flag in ("amx_bf16", "avx512_bf16"))


def subject(batch: int, conditions: dict[str, object], tmp_path: Path) -> Subject:
    cell = Cell(
        id="perf/cifar10",
        suite="perf",
        model=Ref(name="ddpm-unet", params={"config": "cifar10", "weights": "random"}),
        sampler=Ref(name="ddim", params={"timesteps": STEPS[batch], "spacing": "leading", "eta": 0.0}),
        data=None,
        conditions=Conditions(threads=THREADS, batch_size=batch, **conditions),
        seed=0,
        factors={},
        metrics=(),
        effort=Effort(),
    )
    return build_subject(cell, Workspace(tmp_path, tmp_path))


def diffusers_walk(network: UNet, x_T: Tensor, steps: int, folder: Path) -> Callable[[], Tensor]:
    """DDIMPipeline with our weights, started from our x_T, its progress bar off."""
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    from bench.models.checkpoints.diffusers_folder import export_diffusers

    scheduler = DDIMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear",
        clip_sample=False, set_alpha_to_one=True, steps_offset=0, timestep_spacing="leading",
    )  # fmt: skip
    export_diffusers(network, folder)
    pipeline = DDIMPipeline(UNet2DModel.from_pretrained(folder).eval(), scheduler)
    pipeline.set_progress_bar_config(disable=True)

    def run() -> Tensor:
        # The pipeline draws its own noise from a generator; handing it ours is the only change.
        import diffusers.pipelines.ddim.pipeline_ddim as module

        drawn, module.randn_tensor = module.randn_tensor, lambda *args, **kwargs: x_T.clone()
        try:
            images = pipeline(batch_size=len(x_T), num_inference_steps=steps, eta=0.0, output_type="np").images
        finally:
            module.randn_tensor = drawn
        return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1

    return run
