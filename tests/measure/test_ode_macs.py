"""MACs inside vector fields: exact on a toy, and those of the published network."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchdiffeq._impl import misc

from bench.measure.evaluations import ode_use
from bench.measure.macs import count_macs
from bench.measure.ode_macs import OdeCounter, count_inside_solvers, ode_macs
from bench.models.cunet_released import ReleasedCUNet, ReleasedSizes
from bench.subject import Subject

X = torch.zeros(1, 1, 4, 4)
T = torch.zeros(1, dtype=torch.int64)
FIELD = 9 * 16
"""MACs of a 3x3 convolution of one channel over 4x4 pixels."""


class Solver(nn.Module):
    """Euler, `steps` times."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.ode_nfe = 0
        self.field = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.steps):
            self.ode_nfe += 1
            x = x + self.field(x) / self.steps
        return x


class Network(nn.Module):
    """A solver of two evaluations, one of three, and a 1x1 convolution that belongs to neither."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Solver(2), Solver(3)
        self.outside = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.second(self.outside(self.first(x)))
        return out


@pytest.mark.parametrize("counter", ["dispatch", "thop-like"])
def test_what_runs_inside_solvers_is_told_from_the_rest(counter: OdeCounter) -> None:
    network = Network().eval()

    inside = count_inside_solvers(network, X, T, counter, ode_use(network, X, T))
    (whole,) = count_macs(network, X, T, [counter])

    assert inside == 5 * FIELD
    assert whole.macs == inside + 16


def test_a_call_is_the_rest_and_the_evaluations(make_subject: Callable[..., Subject]) -> None:
    found = {
        (each.at["counter"], each.at["per"]): each.values[0]
        for each in ode_macs(make_subject(Network().eval()), ("dispatch",))
    }

    assert found == {("dispatch", "call"): 5 * FIELD, ("dispatch", "evaluation"): FIELD}


def test_without_solvers_nothing_is_inside(make_subject: Callable[..., Subject]) -> None:
    found = list(ode_macs(make_subject(lambda x, t: x @ x), ("dispatch", "thop-like")))

    assert [each.values for each in found] == 4 * [(0.0,)]


def test_nothing_is_watched_any_more_after_a_call_that_fails() -> None:
    def failing(x: Tensor, t: Tensor) -> Tensor:
        raise RuntimeError("no")

    before = (misc._PerturbFunc.forward, sys.getprofile())
    with pytest.raises(RuntimeError, match="no"):
        ode_use(failing, X, T)

    assert (misc._PerturbFunc.forward, sys.getprofile()) == before


@pytest.mark.slow
def test_the_published_network_spends_96_percent_in_fields_of_75_million_each() -> None:
    network = ReleasedCUNet(ReleasedSizes()).eval()
    x_t = torch.zeros(1, 3, 64, 64)

    inside = count_inside_solvers(network, x_t, T, "dispatch", ode_use(network, x_t, T))
    (whole,) = count_macs(network, x_t, T, ["dispatch"])

    assert inside / 36 == pytest.approx(75.5e6, rel=1e-3)
    assert inside / whole.macs == pytest.approx(0.96, abs=0.01)
