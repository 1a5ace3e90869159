"""Network calls of a walk, and solver evaluations of a call."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.errors import MeasurementError
from bench.measure.evaluations import nfe, ode_nfe, ode_use
from bench.subject import Subject

X = torch.zeros(1, 1, 4, 4)
T = torch.zeros(1, dtype=torch.int64)


class Solver(nn.Module):
    """Fixed steps of a solver over one field."""

    def __init__(self, method: str, steps: int = 1) -> None:
        super().__init__()
        self.method = method
        self.steps = steps
        self.ode_nfe = 0

    def field(self, s: Tensor, y: Tensor) -> Tensor:
        self.ode_nfe += 1
        return -y

    def forward(self, x: Tensor) -> Tensor:
        from torchdiffeq import odeint

        grid = torch.linspace(0.0, 1.0, self.steps + 1)
        out: Tensor = odeint(self.field, x, grid, method=self.method)[-1]
        return out


class Network(nn.Module):
    """Two solvers, of which the second runs at small timesteps only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Solver("rk4")
        self.second = Solver("euler", steps=3)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h: Tensor = self.first(x)
        return self.second(h) if int(t[0]) < 2 else h


def test_nfe_is_counted_in_a_walk(make_subject: Callable[..., Subject]) -> None:
    (found,) = nfe(make_subject(lambda x, t: x, timesteps=(3, 1, 0), order=2))

    assert (found.values, found.nfe) == ((6.0,), 6)


def test_nfe_does_not_call_the_network(make_subject: Callable[..., Subject]) -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("called")

    assert nfe(make_subject(network))[0].values == (4.0,)


@pytest.mark.parametrize(("method", "steps", "expected"), [("euler", 1, 1), ("midpoint", 1, 2), ("rk4", 2, 8)])
def test_fixed_step_solvers_evaluate_as_often_as_their_order_says(method: str, steps: int, expected: int) -> None:
    solver = Solver(method, steps)

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.solver = solver

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            out: Tensor = self.solver(x)
            return out

    assert ode_use(Alone(), X, T).evaluations == expected


def test_every_stage_has_its_own_count_whatever_ran_before(make_subject: Callable[..., Subject]) -> None:
    network = Network()
    subject = make_subject(network, stage=lambda t: 0 if t < 2 else 1, timesteps=(3, 2, 1))
    subject.predict(X, 0)

    found = {(each.at["stage"], each.at["calls"]): each.values[0] for each in ode_nfe(subject)}

    assert found == {(0, 1): 7.0, (1, 2): 4.0}


def test_a_network_without_solvers_counts_zero() -> None:
    assert ode_use(nn.Bilinear(4, 1, 4), X, torch.zeros(1, 1, 4, 1)).evaluations == 0
    assert ode_use(lambda x, t: x, X, T).evaluations == 0


def test_a_counter_that_is_no_whole_number_is_an_error() -> None:
    class Network(nn.Module):
        ode_nfe: float = 0

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            self.ode_nfe = 1.5
            return x

    with pytest.raises(MeasurementError, match=r"the network.ode_nfe is 1.5; expected a whole number"):
        ode_use(Network(), X, T)
