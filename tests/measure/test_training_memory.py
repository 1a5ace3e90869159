"""Peak memory of an optimiser step: what is told apart, what is left behind, and what an adjoint changes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.errors import Unsupported
from bench.measure import memory
from bench.measure.memory import peak_memory
from bench.measure.process_memory import ProcessMemory
from bench.measure.training_step import trainer
from bench.subject import Subject, frozen_parameters
from bench.suite.schema import Effort


class Network(nn.Module):
    """A frozen and a trained weight, a norm with running figures."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.layer = nn.Conv2d(1, 1, 3, padding=1)
        self.norm = nn.BatchNorm2d(1)
        self.seen: list[tuple[bool, bool, int]] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled(), len(x)))
        out: Tensor = self.norm(self.layer(x)) * self.frozen[0]
        return out


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


def placed(network: Network, make_subject: Callable[..., Subject], **conditions: object) -> Subject:
    subject = replace(make_subject(network, **conditions), frozen=frozen_parameters(network))
    network.requires_grad_(False)
    return subject


def test_training_has_phases_of_its_own_and_what_is_exact_is_taken_off(
    network: Network, make_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = [ProcessMemory(1000, 1500), ProcessMemory(1600, 1800), ProcessMemory(1600, 1700)]
    steps = [ProcessMemory(3000, 9000), ProcessMemory(2800, 4000)]
    marks = iter([*walks, *steps])
    monkeypatch.setattr(memory, "process_memory", lambda: next(marks))
    monkeypatch.setattr(memory, "reset_peak", lambda: True)
    subject = placed(network, make_subject, timesteps=(3,))

    found = {each.at["kind"]: each.values for each in peak_memory(subject, Effort(warmup=2, repeats=3), training=True)}

    held = 3 * 4 * (9 + 1 + 2)
    assert found["steady_peak_minus_loaded"] == (700,)
    assert (found["training_warmup_peak"], found["training_peak"]) == ((9000,), (4000,))
    assert found["training_peak_minus_loaded"] == (3000,)
    assert found["gradients_and_moments"] == (held,)
    assert found["activations"] == (3000 - held,)
    watched = [(False, False, 1)]  # when all has been read
    assert network.seen == 5 * [(False, False, 1)] + 5 * [(True, True, 1)] + watched


def test_where_peaks_cannot_be_set_back_only_what_is_exact_is_given_of_training(
    network: Network, make_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "reset_peak", lambda: False)

    found = [each.at["kind"] for each in peak_memory(placed(network, make_subject), Effort(), training=True)]

    assert found == ["process_peak", "loaded", "gradients_and_moments", "kept_for_backward"]


def test_a_step_gives_every_trained_parameter_a_gradient_and_moments(
    network: Network, make_subject: Callable[..., Subject]
) -> None:
    subject = placed(network, make_subject, batch_size=5)

    with trainer(subject) as steps:
        steps.make(0)

        trained = [each for name, each in network.named_parameters() if name != "frozen"]
        assert len(steps.optimizer.state) == len(trained) == 4
        assert all(steps.optimizer.state[each]["exp_avg"].abs().sum() > 0 for each in trained)
        assert sum(3 * each.numel() * 4 for each in trained) == steps.state_bytes
        assert network.frozen.grad is None
    assert network.seen == [(True, True, 5)]


def test_what_is_kept_for_the_way_back_is_counted_once_and_without_the_weights(
    make_subject: Callable[..., Subject],
) -> None:
    class Squares(nn.Module):
        """(w x)^2, three times on the same sum: its parts are kept once."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1, 1, 4, 4))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            h = self.w * x  # keeps x, and w, which is there anyway
            return h * h + (h * h).detach() + h.square()  # keeps h

    subject = make_subject(Squares(), batch_size=3)

    with trainer(subject) as steps:
        assert steps.kept_bytes is None
        for index in range(2):
            steps.make(index)

    image = 3 * 16 * 4
    assert steps.kept_bytes == 2 * image


def test_the_network_is_afterwards_what_it_was(network: Network, make_subject: Callable[..., Subject]) -> None:
    subject = placed(network, make_subject)
    before = {name: each.clone() for name, each in network.state_dict().items()}

    with trainer(subject) as steps:
        for index in range(3):
            steps.make(index)

    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
    assert not any(module.training for module in network.modules())
    assert not any(each.requires_grad or each.grad is not None for each in network.parameters())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda x, t: x, "a plain function, which cannot be trained"),
        (nn.Identity(), "has no parameter to train"),
    ],
)
def test_what_cannot_be_trained_is_unsupported(
    network: object, said: str, make_subject: Callable[..., Subject]
) -> None:
    with pytest.raises(Unsupported, match=said), trainer(make_subject(network)):
        pass


CHILD = """
import json, sys
from pathlib import Path
from bench.measure.memory import peak_memory
from bench.registry import load_builtins
from bench.subject import Workspace, build_subject
from bench.suite.expand import expand
from bench.suite.read import parse_suite
load_builtins()
suite = parse_suite(sys.argv[1], "suite")
(cell,) = expand(suite)
subject = build_subject(cell, Workspace(Path("."), Path(".")))
print(json.dumps({each.at["kind"]: each.values[0] for each in peak_memory(subject, cell.effort, training=True)}))
"""

SUITE = """
schema: 1
suite: adjoint
title: T
effort: {{warmup: 1, repeats: 1}}
conditions: {{batch_size: 8}}
grid: [{{model: {{name: cunet, image_size: 32, weights: random, steps: {steps}, adjoint: {adjoint}}}}}]
metrics: [peak_memory]
"""


@pytest.mark.slow
def test_backpropagation_needs_more_memory_with_more_steps_and_the_adjoint_does_not() -> None:
    """In fresh processes, as a run measures it: 1 and 8 steps in every block, by both ways back."""

    def activations(steps: int, adjoint: str) -> float:
        text = SUITE.format(steps=steps, adjoint=adjoint)
        child = subprocess.run([sys.executable, "-c", CHILD, text], capture_output=True, text=True, check=True)
        said: dict[str, float] = json.loads(child.stdout)
        if "activations" not in said:
            pytest.skip("this kernel does not set peaks back")
        return said["activations"]

    few, many = activations(1, "false"), activations(8, "false")
    few_adjoint, many_adjoint = activations(1, "true"), activations(8, "true")

    assert many - few > 4 * abs(many_adjoint - few_adjoint)
    assert many_adjoint < many / 2
