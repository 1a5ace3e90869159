"""Integration of the blocks' differential equations, against exact solutions and against torchdiffeq."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

from bench.errors import NonFiniteOutput, ParamError
from bench.models.ode import ADAPTIVE, SOLVERS, TABLEAUS, OdeBlock, OdeSolver, solve_fixed, solve_with_torchdiffeq

FIXED = tuple(TABLEAUS)


class Swirl(nn.Module):
    """A smooth field that depends on t~, on y, on weights and on a condition [B, C, 1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 3, generator=generator, dtype=torch.float64))

    def forward(self, t: float | Tensor, y: Tensor, push: Tensor | None = None) -> Tensor:
        turned = torch.einsum("ij,bjhw->bihw", self.weight, torch.tanh(y))
        return turned + t * y if push is None else turned + t * y + push


def states(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def library(field: Callable[..., Tensor], y: Tensor, method: str, steps: int) -> Tensor:
    ends = torch.linspace(0, 1, steps + 1, dtype=y.dtype)
    solved: Tensor = torchdiffeq.odeint(field, y, ends, method=method)[-1]
    return solved


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("method", FIXED)
def test_written_out_methods_are_torchdiffeqs(method: str, steps: int) -> None:
    field, y = Swirl(), states()

    with torch.no_grad():
        ours = solve_fixed(field, y, TABLEAUS[method], steps)
        theirs = library(field, y, method, steps)

    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_rk4_in_float32_is_within_1e_5_of_torchdiffeqs() -> None:
    field, y = Swirl().float(), states().float()

    with torch.no_grad():
        difference = solve_fixed(field, y, TABLEAUS["rk4"], 1) - library(field, y, "rk4", 1)

    assert difference.abs().max() < 1e-5


@pytest.mark.parametrize(("method", "degree"), [("euler", 0), ("midpoint", 1), ("heun2", 1), ("heun3", 2), ("rk4", 3)])
def test_each_method_is_exact_for_polynomials_of_its_degree_and_no_higher(method: str, degree: int) -> None:
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)

    exact = solve_fixed(lambda t, y: torch.full_like(y, t**degree), zero, TABLEAUS[method], 1)
    beyond = solve_fixed(lambda t, y: torch.full_like(y, t ** (degree + 1)), zero, TABLEAUS[method], 1)

    assert exact.item() == pytest.approx(1 / (degree + 1), abs=1e-15)
    assert abs(beyond.item() - 1 / (degree + 2)) > 1e-3


@pytest.mark.parametrize("method", SOLVERS)
def test_every_solver_comes_near_the_exact_solution(method: str) -> None:
    # torchdiffeq's explicit_adams raises its order with the steps and is unstable at the highest.
    steps = 8 if method == "explicit_adams" else 40
    block = OdeBlock(Decay(), OdeSolver(method, steps=steps, tolerance=1e-5))

    with torch.no_grad():
        end = block(torch.ones(2, 1, 1, 1, dtype=torch.float64))

    torch.testing.assert_close(end, torch.full_like(end, torch.e**-1), rtol=0.02, atol=0)


class Decay(nn.Module):
    """y' = -y, or at another rate for each image."""

    def forward(self, t: float | Tensor, y: Tensor, rate: Tensor | None = None) -> Tensor:
        return -y if rate is None else -rate * y


def test_gradients_through_a_fixed_method_are_torchdiffeqs() -> None:
    field, y = Swirl(), states()

    def gradient(solve: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        start = y.clone().requires_grad_()
        return torch.autograd.grad(solve(start).square().sum(), [start, field.weight])

    ours = gradient(lambda start: solve_fixed(field, start, TABLEAUS["rk4"], 3))
    theirs = gradient(lambda start: library(field, start, "rk4", 3))

    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", [*FIXED, "explicit_adams"])
def test_evaluations_are_counted(method: str) -> None:
    block = OdeBlock(Swirl(), OdeSolver(method, steps=3))
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    block.odefunc.register_forward_hook(count)
    with torch.no_grad():
        block(states())
        block(states())

    assert block.ode_nfe == calls > 0


@pytest.mark.parametrize("steps", [3, 7, 41, 49])
def test_a_fixed_grid_through_torchdiffeq_has_exactly_the_steps_asked_for(steps: int) -> None:
    # 1/41 and 1/49 in float32 would be rounded into one step more.
    calls: list[float] = []

    def field(t: Tensor, y: Tensor) -> Tensor:
        calls.append(float(t))
        return -y

    with torch.no_grad():
        solve_with_torchdiffeq(field, states().float(), OdeSolver("euler", steps=steps))

    assert calls == pytest.approx([step / steps for step in range(steps)], abs=1e-6)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_an_adaptive_solver_gives_each_image_what_it_gets_alone(method: str) -> None:
    block = OdeBlock(Decay(), OdeSolver(method, tolerance=1e-3))
    y, rate = torch.ones(2, 1, 2, 2, dtype=torch.float64), torch.tensor([1.0, 30.0]).reshape(2, 1, 1, 1).double()

    with torch.no_grad():
        together = block(y, rate)
        alone = torch.cat([block(y[:1], rate[:1]), block(y[1:], rate[1:])])

    assert torch.equal(together, alone)


def test_coupled_adaptive_solving_lets_images_change_each_other() -> None:
    block = OdeBlock(Decay(), OdeSolver("dopri5", tolerance=1e-3, coupled=True))
    y, rate = torch.ones(2, 1, 2, 2, dtype=torch.float64), torch.tensor([1.0, 30.0]).reshape(2, 1, 1, 1).double()

    with torch.no_grad():
        together = block(y, rate)[:1]
        in_company = block.ode_nfe
        alone = block(y[:1], rate[:1])

    assert not torch.equal(together, alone)
    assert in_company > block.ode_nfe - in_company


def test_adaptive_evaluations_of_a_batch_are_those_of_its_images_together() -> None:
    block = OdeBlock(Decay(), OdeSolver("dopri5"))
    y, rate = torch.ones(2, 1, 2, 2, dtype=torch.float64), torch.tensor([1.0, 30.0]).reshape(2, 1, 1, 1).double()

    with torch.no_grad():
        block(y, rate)
        together, block.ode_nfe = block.ode_nfe, 0
        block(y[:1], rate[:1])
        block(y[1:], rate[1:])

    assert block.ode_nfe == together


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_adjoint_gradients_are_those_of_backpropagation_for_a_fine_solution(method: str) -> None:
    field, y, push = Swirl(), states(), torch.ones(2, 3, 1, 1, dtype=torch.float64)

    def gradients(adjoint: bool) -> tuple[Tensor, ...]:
        block = OdeBlock(field, OdeSolver(method, steps=32, tolerance=1e-8, adjoint=adjoint))
        start, pushed = y.clone().requires_grad_(), push.clone().requires_grad_()
        # The condition comes out of other operations, as a network's time embedding does.
        return torch.autograd.grad(block(start, pushed * 0.5).square().sum(), [start, pushed, field.weight])

    torch.testing.assert_close(gradients(adjoint=True), gradients(adjoint=False), rtol=2e-5, atol=2e-5)


def test_adjoint_forward_passes_count_evaluations_and_the_way_back_does_not() -> None:
    block = OdeBlock(Swirl(), OdeSolver("rk4", steps=2, adjoint=True))
    block(states().requires_grad_()).sum().backward()

    assert block.ode_nfe == 8


def test_adjoint_memory_does_not_grow_with_the_steps() -> None:
    assert kept_bytes(steps=2, adjoint=True) == kept_bytes(steps=32, adjoint=True)
    assert kept_bytes(steps=32, adjoint=False) > 10 * kept_bytes(steps=2, adjoint=False)


def kept_bytes(steps: int, adjoint: bool) -> int:
    """What a forward pass keeps for the way back."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    held: list[Tensor] = []  # so that no address is used twice
    block = OdeBlock(Swirl(), OdeSolver("rk4", steps=steps, adjoint=adjoint))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(states().requires_grad_())
    return sum(kept.values())


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_solution_that_runs_away_is_a_sentence(method: str) -> None:
    def explode(t: Tensor, y: Tensor) -> Tensor:
        return y.square()  # from 2 on, y is infinite at t~ = 1/2

    with pytest.raises(
        NonFiniteOutput, match=f"'{method}' cannot go on at tolerance 0.001: .*; use a larger tolerance"
    ):
        solve_with_torchdiffeq(explode, torch.full((1, 1, 1, 1), 2.0), OdeSolver(method))


def test_without_gradients_the_adjoint_switch_changes_nothing() -> None:
    field, y = Swirl(), states()

    with torch.no_grad():
        plain = OdeBlock(field, OdeSolver("rk4"))(y)
        adjoint = OdeBlock(field, OdeSolver("rk4", adjoint=True))(y)

    assert torch.equal(plain, adjoint)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "rk5"}, "no ODE solver named 'rk5'; did you mean 'rk4'"),
        ({"steps": 0}, "at least 1 step, got steps: 0"),
        ({"tolerance": 0.0}, "tolerance must be above 0, got 0.0"),
        ({"tolerance": float("nan")}, "tolerance must be above 0, got nan"),
    ],
)
def test_a_solver_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ParamError, match=said):
        OdeSolver(**wrong)  # type: ignore[arg-type]
