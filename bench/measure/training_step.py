"""Optimiser steps on a subject's network, to see what they take: forward and backward pass, and Adam.

What the training loop does, without a moving average beside it. The learning rate is 0, so that the weights stay what
they were; that changes no allocation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.diffusion.network_output import training_call
from bench.diffusion.noise import batch_noise
from bench.errors import Unsupported
from bench.measure.stages import stage_uses
from bench.subject import Subject

COPIES = 3
"""Of every trained parameter beside itself: its gradient and Adam's two moments."""
TARGET = "training target"
"""Stream of the noise that a network is asked to output."""


@dataclass(eq=False)
class Steps:
    """A network in training."""

    subject: Subject
    network: nn.Module
    optimizer: torch.optim.Adam
    state_bytes: int
    """What gradients and moments take, all made."""
    kept_bytes: int | None = None
    """What the forward pass of the first step kept for its way back, weights not counted."""

    def make(self, index: int) -> None:
        """One step on the index-th batch: the cell's batch_size images at a timestep of the full network.

        The forward pass of the first one is watched, which costs it a little.
        """
        subject, batch = self.subject, self.subject.conditions.batch_size
        lo, hi = index * batch, (index + 1) * batch
        timestep = stage_uses(subject.denoiser, subject.call_timesteps)[0].timestep
        x_t = subject.noised(lo, hi, timestep).to(subject.dtype)
        t = torch.full((batch,), timestep, dtype=torch.int64, device=subject.device)
        target = batch_noise(subject.seed, lo, hi, TARGET, subject.denoiser.image_shape).to(subject.device)
        self.optimizer.zero_grad(set_to_none=True)
        subject.calls.count += 1
        if self.kept_bytes is None:
            output, self.kept_bytes = watched(self.network, x_t, t)
        else:
            output = training_call(self.network, x_t, t)
        (output.float() - target).square().mean().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def watched(network: nn.Module, x_t: Tensor, t: Tensor) -> tuple[Tensor, int]:
    """The network's output, and the bytes of what its forward pass keeps for the way back; weights not counted.

    A piece of memory that is kept several times counts once.
    """
    weights = {each.untyped_storage().data_ptr() for each in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it

    # Nothing that is kept is freed before the way back, so no address stands for two pieces of memory.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = training_call(network, x_t, t)
    return output, sum(kept.values())


@contextmanager
def trainer(subject: Subject) -> Iterator[Steps]:
    """The subject's eager network as a training has it; afterwards it is what it was.

    Raises Unsupported for a network that is no module, or whose parameters are all frozen.
    """
    network = subject.denoiser.network
    if not isinstance(network, nn.Module):
        raise Unsupported("the network is a plain function, which cannot be trained")
    parameters = [each for name, each in network.named_parameters() if name not in subject.frozen]
    if not parameters:
        raise Unsupported("the network has no parameter to train")
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    for each in parameters:
        each.requires_grad_(True)
    network.train()
    held = COPIES * sum(each.numel() * each.element_size() for each in parameters)
    try:
        yield Steps(subject, network, torch.optim.Adam(parameters, lr=0.0), held)
    finally:
        network.eval()
        for each in parameters:
            each.requires_grad_(False)
            each.grad = None
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
