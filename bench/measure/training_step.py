"""The `training_memory` metric: peak memory of one optimiser step, in bytes, phase by phase, in a process of its own.

A step is what the training loop does: forward and backward pass of the mean squared error, and Adam. No moving average
is held beside it. The learning rate is 0, so that the weights stay what they were; that changes no allocation.

at={"kind": ...}: those of `peak_memory`, of steps in the place of walks, and

gradients_and_moments   exact: what a gradient and Adam's two moments of every trained parameter take,
activations             steady_peak_minus_loaded without them: what is kept for the way back, what torch keeps for
                        reuse, and the rest. This is what an adjoint saves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.contracts import Measurement
from bench.diffusion.noise import batch_noise
from bench.errors import Unsupported
from bench.measure.memory import in_bytes, watch
from bench.measure.stages import stage_uses
from bench.subject import Subject
from bench.suite.schema import Effort

METRIC = "training_memory"
COPIES = 3
"""Of every trained parameter beside itself: its gradient and two moments."""
TARGET = "training target"


def training_memory(subject: Subject, effort: Effort) -> Iterator[Measurement]:
    """Peak memory of loading, of effort.warmup optimiser steps (at least one) and of effort.repeats after them.

    A batch is the cell's batch_size images at a timestep of the full network; the first step makes Adam's moments.
    The eager network is trained, in the precision of the conditions. Raises Unsupported for a network that is no
    module or has nothing to train, and on a system without /proc.
    """
    network = subject.denoiser.network
    if not isinstance(network, nn.Module):
        raise Unsupported("the network is a plain function, which cannot be trained")
    with trained_parameters(network, subject.frozen) as parameters:
        optimizer = torch.optim.Adam(parameters, lr=0.0)
        found = list(watch(METRIC, subject, effort, lambda index: one_step(subject, network, optimizer, index)))
    yield from found
    held = COPIES * sum(each.numel() * each.element_size() for each in parameters)
    yield in_bytes(METRIC, "gradients_and_moments", held)
    for each in found:
        if each.at["kind"] == "steady_peak_minus_loaded":
            yield in_bytes(METRIC, "activations", max(0, int(each.values[0]) - held), each.warnings)


def one_step(subject: Subject, network: nn.Module, optimizer: torch.optim.Adam, index: int) -> None:
    """Forward, backward and Adam on the index-th batch of noised images; the target is noise."""
    batch = subject.conditions.batch_size
    lo, hi = index * batch, (index + 1) * batch
    timestep = stage_uses(subject.denoiser, subject.call_timesteps)[0].timestep
    x_t = subject.noised(lo, hi, timestep).to(subject.dtype)
    t = torch.full((batch,), timestep, dtype=torch.int64, device=subject.device)
    target = batch_noise(subject.seed, lo, hi, TARGET, subject.denoiser.image_shape).to(subject.device)
    optimizer.zero_grad(set_to_none=True)
    subject.calls.count += 1
    output: Tensor = network(x_t, t)
    (output.float() - target).square().mean().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@contextmanager
def trained_parameters(network: nn.Module, frozen: frozenset[str]) -> Iterator[list[nn.Parameter]]:
    """The network as a training has it, and its parameters that are not frozen; as it was afterwards.

    Raises Unsupported when every parameter is frozen.
    """
    parameters = [each for name, each in network.named_parameters() if name not in frozen]
    if not parameters:
        raise Unsupported("the network has no parameter to train")
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    for each in parameters:
        each.requires_grad_(True)
    network.train()
    try:
        yield parameters
    finally:
        network.eval()
        for each in parameters:
            each.requires_grad_(False)
            each.grad = None
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
