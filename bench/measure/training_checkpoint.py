"""The `checkpoint_bytes` metric: the size of the file a training leaves behind, as the public Trainer writes it.

Published "MB" of diffusion networks are sometimes this file and not memory. The Trainer of the widespread PyTorch
implementation, which paper B's code uses, saves with torch.save

    step, version, scaler
    model   the network's state and the 13 tables of its noise schedule
    ema     the same once more as the average; the online copy in it is `model` itself and takes no room
    opt     Adam: two moments and a step count for every parameter that has a gradient; a frozen parameter has none

in float32: 16 bytes a trained parameter, 8 a frozen one. The file is really written, to nowhere, so names, alignment
and the archive's own structure are in it as this torch writes them (some 500 bytes a tensor).
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from typing import IO, Any, cast

import torch
from torch import Tensor, nn

from bench.contracts import Measurement
from bench.errors import Unsupported
from bench.measure.agreement import check_network
from bench.subject import Subject

SCHEDULE_TABLES = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "loss_weight",
)
"""Buffers of the Trainer's diffusion process, one float32 a timestep each."""
MOMENTS = ("exp_avg", "exp_avg_sq")


class ByteCount(io.RawIOBase):
    """A file that keeps nothing but how long it is."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.total += size
        return size


class DiffusionProcess(nn.Module):
    """The Trainer's `model`: a network and the tables of its noise schedule."""

    def __init__(self, network: nn.Module, num_train_timesteps: int) -> None:
        super().__init__()
        for name in SCHEDULE_TABLES:
            self.register_buffer(name, torch.empty(num_train_timesteps))
        self.model = network


class MovingAverage(nn.Module):
    """The Trainer's `ema`: the process itself and its average."""

    def __init__(self, process: DiffusionProcess) -> None:
        super().__init__()
        self.register_buffer("initted", torch.tensor(True))
        self.register_buffer("step", torch.tensor(0))
        self.online_model = process
        self.ema_model = copy.deepcopy(process)


def checkpoint_bytes(subject: Subject) -> Iterator[Measurement]:
    """at={"part": "file" | "weights" | "average" | "moments" | "rest"}; the last four make the first.

    Raises Unsupported for a network that is no module.
    """
    if not isinstance(subject.denoiser.network, nn.Module):
        raise Unsupported("the network is a plain function, which has no checkpoint")
    check_network(subject)
    network = copy.deepcopy(subject.denoiser.network).cpu().float()
    trained = [each for name, each in network.named_parameters() if name not in subject.frozen]
    weights = _bytes_of(network.state_dict())
    moments = len(MOMENTS) * sum(4 * each.numel() for each in trained)
    process = DiffusionProcess(network, subject.denoiser.schedule.num_train_timesteps)
    sink = ByteCount()
    torch.save(trainer_checkpoint(process, subject.frozen), cast(IO[bytes], sink))
    parts = {"file": sink.total, "weights": weights, "average": weights, "moments": moments}
    parts["rest"] = sink.total - 2 * weights - moments
    for part, value in parts.items():
        yield Measurement("checkpoint_bytes", "bytes", (float(value),), at={"part": part})


def trainer_checkpoint(process: DiffusionProcess, frozen: frozenset[str]) -> dict[str, Any]:
    """What the Trainer gives to torch.save, with arbitrary numbers in moments and tables: only sizes are of interest.

    frozen: names of the network's parameters that training does not touch.
    """
    parameters = list(process.model.named_parameters())
    optimizer: dict[str, Any] = torch.optim.Adam([torch.zeros(1)]).state_dict()
    optimizer["param_groups"][0]["params"] = list(range(len(parameters)))
    optimizer["state"] = {
        index: {"step": torch.tensor(0.0), **{moment: torch.empty(each.shape) for moment in MOMENTS}}
        for index, (name, each) in enumerate(parameters)
        if name not in frozen
    }
    average = MovingAverage(process).state_dict()
    return {
        "step": 0,
        "model": process.state_dict(),
        "opt": optimizer,
        "ema": average,
        "scaler": None,
        "version": "1.8.3",
    }


def _bytes_of(state: Mapping[str, Tensor]) -> int:
    """Of a state in which some tensors may be one."""
    places = {(each.data_ptr() or id(each), each.shape): each for each in state.values()}
    return sum(each.numel() * each.element_size() for each in places.values())
