"""The golden probe: what a network answers to one input that anyone can make again.

Catches what no hash can: the moving average loaded for the raw weights, a network built with another padding, a
checkpoint whose passport was copied from its neighbour.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BadCheckpoint
from bench.passport import GoldenProbe

PROBE_SEED = 0
PROBE_TIMESTEPS = (0, 250, 999)
TOLERANCE = 1e-4
"""Float32 on other processors moves a mean or a standard deviation by some 1e-6."""


def probe_input(seed: int, image_shape: tuple[int, int, int]) -> Tensor:
    """[1, C, H, W] standard normal float32: `bench.diffusion.noise.image_noise(seed, 0, "probe", image_shape)`.

    Spelled out again because models stand below the diffusion room; a test holds the two equal.
    """
    digest = hashlib.sha256(f"{seed}/0/probe".encode()).digest()
    generator = np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big")))
    return torch.from_numpy(generator.standard_normal(image_shape, dtype=np.float32))[None]


def measure_probe(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    *,
    seed: int = PROBE_SEED,
    timesteps: tuple[int, ...] = PROBE_TIMESTEPS,
    tolerance: float = TOLERANCE,
) -> GoldenProbe:
    """The network's answers, on the CPU in float32 and in evaluation mode; the network is left as it was."""
    training = network.training
    network.eval()
    x_t = probe_input(seed, image_shape)
    try:
        with torch.inference_mode():
            outputs = [network(x_t, torch.tensor([t])).double() for t in timesteps]
    finally:
        network.train(training)
    means = tuple(float(out.mean()) for out in outputs)
    stds = tuple(float(out.std(correction=0)) for out in outputs)
    return GoldenProbe(seed, timesteps, means, stds, tolerance)


def check_probe(where: str, found: GoldenProbe, expected: GoldenProbe) -> None:
    """Raises BadCheckpoint at the first timestep where the answers differ by more than the expected one's tolerance."""
    for index, t in enumerate(expected.timesteps):
        pairs = (
            ("mean", found.means[index], expected.means[index]),
            ("std", found.stds[index], expected.stds[index]),
        )
        for name, have, want in pairs:
            if not math.isfinite(have) or abs(have - want) > expected.tolerance:
                raise BadCheckpoint(
                    f"{where}: the network does not answer as its passport says: at t = {t} the output's {name} is "
                    f"{have:.6g}, expected {want:.6g} within {expected.tolerance:g}; wrong weights (the raw ones in "
                    "place of the moving average?) or another network"
                )
