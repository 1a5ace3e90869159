"""The size of a training checkpoint: against a real one, and against the published column it explains."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Denoiser
from bench.errors import Unsupported
from bench.measure.training_checkpoint import SCHEDULE_TABLES, checkpoint_bytes
from bench.registry import MODELS, load_builtins
from bench.subject import Subject, frozen_parameters

MIB = 2.0**20


class Network(nn.Module):
    """A frozen table, a tied weight and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4).requires_grad_(False)
        self.one = nn.Linear(4, 4, bias=False)
        self.same = nn.Linear(4, 4, bias=False)
        self.same.weight = self.one.weight
        self.register_buffer("counts", torch.arange(3))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.same(self.one(x)) + self.table(t)
        return out


def really_saved(network: nn.Module, timesteps: int) -> int:
    """A process, its average and Adam after one step, as a Trainer has them, in a real file."""

    class Process(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in SCHEDULE_TABLES:
                self.register_buffer(name, torch.rand(timesteps))
            self.model = network

    class Average(nn.Module):
        def __init__(self, process: nn.Module) -> None:
            super().__init__()
            self.register_buffer("initted", torch.tensor(True))
            self.register_buffer("step", torch.tensor(0))
            self.online_model = process
            self.ema_model = copy.deepcopy(process)

    process = Process()
    average = Average(process)
    adam = torch.optim.Adam(process.parameters())
    network(torch.ones(1, 4), torch.zeros(1, dtype=torch.int64)).sum().backward()
    adam.step()
    file = io.BytesIO()
    said = {"step": 7, "model": process.state_dict(), "opt": adam.state_dict(), "ema": average.state_dict()}
    torch.save({**said, "scaler": None, "version": "1.8.3"}, file)
    return len(file.getvalue())


def parts(subject: Subject) -> dict[object, float]:
    return {each.at["part"]: each.values[0] for each in checkpoint_bytes(subject)}


def test_the_size_is_that_of_a_real_training_checkpoint(make_subject: Callable[..., Subject]) -> None:
    network = Network()
    subject = make_subject(network, num_train_timesteps=6)

    found = parts(replace(subject, frozen=frozen_parameters(network)))

    # Numbers take different room in a pickle, the learning rate and the steps for example.
    assert found["file"] == pytest.approx(really_saved(network, 6), abs=64)


def test_the_parts_are_those_of_what_is_trained_and_what_is_frozen(make_subject: Callable[..., Subject]) -> None:
    network = Network()
    found = parts(replace(make_subject(network), frozen=frozen_parameters(network)))

    weights = 4 * 40 + 4 * 16 + 8 * 3
    assert (found["weights"], found["average"], found["moments"]) == (weights, weights, 2 * 4 * 16)
    assert found["file"] == sum(found[part] for part in ("weights", "average", "moments", "rest"))


def test_a_network_in_half_precision_has_the_checkpoint_of_its_training(make_subject: Callable[..., Subject]) -> None:
    half = parts(make_subject(Network().to(torch.bfloat16), dtype="bfloat16"))

    assert half == parts(make_subject(Network()))


def test_a_plain_function_has_none(make_subject: Callable[..., Subject]) -> None:
    with pytest.raises(Unsupported, match="plain function, which has no checkpoint"):
        list(checkpoint_bytes(make_subject(lambda x, t: x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "params", "worked_out", "printed"),
    [
        ("lucid-unet", {}, 545.38, 545.5),
        ("cunet-released", {}, 132.71, None),
        ("cunet-released", {"attention": "five"}, 137.75, None),
        ("cunet-released", {"attention": "none"}, 128.68, 128.7),
        ("cunet-released", {"blocks": "no-residual-released"}, 91.96, 92.0),
        ("cunet-released", {"attention": "none", "blocks": "no-residual-released"}, 87.93, None),
    ],
)
def test_paper_bs_megabytes_are_training_checkpoints(
    model: str, params: dict[str, str], worked_out: float, printed: float | None, make_subject: Callable[..., Subject]
) -> None:
    """Against numbers worked out from tensors and entries alone, and digit for digit against those in the paper."""
    load_builtins()
    built = MODELS.get(model).factory(config="paper", weights="random", **params)
    assert isinstance(built, Denoiser)
    network = built.network
    subject = make_subject(network, num_train_timesteps=1000)

    assert isinstance(network, nn.Module)
    found = parts(replace(subject, frozen=frozen_parameters(network)))

    assert found["file"] / MIB == pytest.approx(worked_out, rel=3e-4)
    assert printed is None or round(found["file"] / MIB, 1) == printed
