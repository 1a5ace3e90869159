"""The released continuous U-Net against the same network integrated as its public code does, by torchdiffeq's odeint.

The reference below is written from the published description of that code, on the weights of our network, and shares
no line with it. Its equality is tested by default. The ratios are measured on a quiet machine with
`python -m pytest tests/perf/test_cunet_ratio.py -m perf -s`: every round times all variants in shuffled order and the
figures are medians of the rounds' ratios. A slow machine fails nothing, a variant that computes something else does.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchdiffeq
from torch import Tensor
from torch._inductor import config as inductor

from bench.models.cunet_released import ReleasedCUNet, ReleasedSizes

ROUNDS = {1: 21, 8: 11}
HEADS, HEAD_CHANNELS = 4, 32
DOWN = ("down1_2", "down2_3", "down3_4", "down4_embed")
UP = ("up_embed_1", "up1_2", "up2_3", "up3_4")
FLOAT32_NOISE = 2e-5
"""Relative distance of either float32 result from the float64 one: instance norms amplify rounding."""


@dataclass(frozen=True)
class ThroughTorchdiffeq:
    """The published forward pass at its published sizes: weights by their public names."""

    weights: Mapping[str, Tensor]

    def __call__(self, x_t: Tensor) -> Tensor:
        h = F.softplus(self.convolve("initial_velocity.conv1", F.instance_norm(x_t), padding=1))
        h = F.softplus(self.convolve("initial_velocity.conv2", F.instance_norm(h)))
        features = []
        for level, down in enumerate(DOWN, start=1):
            h = self.integrate(f"odeblock_down{level}", h)
            if level == len(DOWN):
                h = self.attend("attention_encoder4", h)
            features.append(h)
            h = F.softplus(self.convolve(f"conv_{down}", h))
            h = F.interpolate(h, scale_factor=0.5, mode="bilinear", align_corners=False)
        h = self.integrate("odeblock_embedding", h)
        for place, up in enumerate(UP, start=1):
            h = F.interpolate(h, scale_factor=2.0, mode="bilinear", align_corners=False)
            h = F.softplus(self.convolve(f"conv_{up}", torch.cat([h, features.pop()], dim=1)))
            h = self.integrate(f"odeblock_up{place}", h)
            if place == 1:
                h = self.attend("attention_decoder1", h)
        return self.convolve("classifier", h)

    def convolve(self, name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), padding=padding)

    def integrate(self, block: str, y: Tensor) -> Tensor:
        def field(t: Tensor, state: Tensor) -> Tensor:
            half = state.shape[1] // 2
            joined = torch.cat([state[:, :half], state[:, half:]], dim=1)  # the published detour
            h = F.softplus(self.convolve(f"{block}.odefunc.conv1", F.instance_norm(joined), padding=1))
            return F.softplus(self.convolve(f"{block}.odefunc.conv2", F.instance_norm(h), padding=1)) + state

        times = torch.tensor([0, 1]).type_as(y)
        solved: Tensor = torchdiffeq.odeint(field, y, times, rtol=1e-3, atol=1e-3, method="rk4")
        return solved[1]

    def attend(self, name: str, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        scaled = F.normalize(x, dim=1) * self.weights[f"{name}.norm.g"] * channels**0.5
        qkv = self.convolve(f"{name}.to_qkv", scaled).reshape(batch, 3, HEADS, HEAD_CHANNELS, height * width)
        q, k, v = qkv.unbind(dim=1)
        scores = torch.einsum("bhdi,bhdj->bhij", q, k) * HEAD_CHANNELS**-0.5
        mixed = torch.einsum("bhij,bhdj->bhdi", scores.softmax(dim=-1), v)
        return self.convolve(f"{name}.to_out", mixed.reshape(batch, HEADS * HEAD_CHANNELS, height, width))


def network() -> ReleasedCUNet:
    torch.manual_seed(0)
    return ReleasedCUNet(ReleasedSizes()).eval()


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def distance(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference over that of the expected output."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def test_the_network_computes_what_odeint_computes() -> None:
    ours, x_t, t = network(), images(2), torch.tensor([3, 900])
    reference = ThroughTorchdiffeq(ours.state_dict())

    with torch.inference_mode():
        quick, theirs = ours(x_t, t), reference(x_t)
    with torch.no_grad():
        exact = ThroughTorchdiffeq({name: each.double() for name, each in ours.state_dict().items()})(x_t.double())
        ours_exact = ours.double()(x_t.double(), t)

    assert distance(ours_exact, exact) < 1e-12
    assert distance(theirs, exact) < FLOAT32_NOISE
    assert distance(quick, exact) < FLOAT32_NOISE


@pytest.mark.perf
@pytest.mark.filterwarnings("ignore")  # inductor warns about its own imports and about a missing CUDA device
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("threads", [1, 2])
def test_forward_ratio_to_odeint(threads: int, batch: int) -> None:
    torch.compiler.reset()  # another batch size would otherwise be compiled for any size
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    x_t, t = images(batch), torch.full((batch,), 500)
    runs = variants(x_t, t)
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    with torch.inference_mode():
        outputs = {name: warm_up(name, run) for name, run in runs.items()}
        for _ in range(ROUNDS[batch]):
            seconds = {}
            for name in order.sample(list(runs), len(runs)):
                began = time.perf_counter()
                runs[name]()
                seconds[name] = time.perf_counter() - began
            for name, taken in seconds.items():
                ratios[name].append(seconds["odeint"] / taken)

    print(f"\nbatch {batch}, 3x64x64, {threads} threads, median of {ROUNDS[batch]} ratios:")
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        difference = distance(outputs[name], outputs["odeint"])
        print(f"  {name:24} {middle:5.2f}x [{low:.2f}, {high:.2f}], relative difference {difference:.1e}")
        assert difference < (0.02 if "bfloat16" in name else 2 * FLOAT32_NOISE)


def warm_up(name: str, run: Callable[[], Tensor]) -> Tensor:
    """The first call, which compiles; a frozen variant takes its weights for constants, packed for the convolutions."""
    with inductor.patch(freezing="frozen" in name):
        return run()


def variants(x_t: Tensor, t: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The reference first, then ours with the same weights."""
    plain, last = network(), network().to(memory_format=torch.channels_last)
    half = network().to(torch.bfloat16).to(memory_format=torch.channels_last)
    x_last = x_t.to(memory_format=torch.channels_last)
    compiled = torch.compile(last)
    # An option of its own, or the code compiled for the one before would be used.
    frozen, frozen_half = (torch.compile(each, options={"freezing": True}) for each in (last, half))
    reference = ThroughTorchdiffeq(dict(plain.state_dict()))
    runs: dict[str, Callable[[], Tensor]] = {
        "odeint": lambda: reference(x_t),
        "eager": lambda: plain(x_t, t),
        "channels_last": lambda: last(x_last, t),
        "compile": lambda: compiled(x_last, t),
        "compile frozen": lambda: frozen(x_last, t),
    }
    if processor_has_bfloat16():
        runs["bfloat16 compile frozen"] = lambda: frozen_half(x_last.to(torch.bfloat16), t).float()
    else:
        print("\nbfloat16 is left out, because this processor has no instructions for it and only imitates it")
    return runs


def processor_has_bfloat16() -> bool:
    """Without these instructions bfloat16 is several times slower than float32: nothing to time there."""
    return any(flag in Path("/proc/cpuinfo").read_text(encoding="utf-8") for flag in ("amx_bf16", "avx512_bf16"))
