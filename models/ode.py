"""Integrating dy/dt~ = f(t~, y) from t~ = 0 to 1, as the blocks of a continuous network do.

t~ is the time of the differential equation inside the network and has nothing to do with the diffusion timestep t.
Explicit Runge-Kutta methods on a fixed grid are written out here, because a general solver spends a noticeable part
of a small block on bookkeeping; everything else goes through torchdiffeq.

Adaptive solvers choose their steps from an error norm over everything they integrate. Handed a whole batch, they would
make every image depend on its neighbours (98 evaluations for an image alone, 122 in company, and other pixels). So
here each image is integrated by itself unless `coupled` says otherwise. Fixed grids have no such coupling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchdiffeq
from torch import Tensor, nn

from bench.errors import NonFiniteOutput, ParamError, did_you_mean

Field = Callable[[float, Tensor], Tensor]
"""(t~, y [B, C, H, W]) -> dy/dt~, the same shape."""


@dataclass(frozen=True)
class Tableau:
    """Coefficients of an explicit Runge-Kutta method (Butcher's a, b, c)."""

    nodes: tuple[float, ...]
    """c: where in the step each slope is taken."""
    rows: tuple[tuple[float, ...], ...]
    """a: how much of each earlier slope leads there."""
    weights: tuple[float, ...]
    """b: how the slopes make the step."""

    @property
    def stages(self) -> int:
        """Evaluations of f a step."""
        return len(self.nodes)


TABLEAUS: Mapping[str, Tableau] = {
    "euler": Tableau((0.0,), ((),), (1.0,)),
    "midpoint": Tableau((0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0)),
    "heun2": Tableau((0.0, 1.0), ((), (1.0,)), (1 / 2, 1 / 2)),
    "heun3": Tableau((0.0, 1 / 3, 2 / 3), ((), (1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4)),
    # The 3/8 rule: torchdiffeq gives this one the name rk4, not the better known one with halves and sixths.
    "rk4": Tableau(
        (0.0, 1 / 3, 2 / 3, 1.0), ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    ),
}
"""Methods that are written out here, under torchdiffeq's names."""

MULTISTEP = ("explicit_adams", "implicit_adams")
"""Further methods of torchdiffeq on a fixed grid. Its explicit_adams is unstable beyond a dozen steps."""

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
"""Methods that choose their steps by the tolerance."""

SOLVERS = (*TABLEAUS, *MULTISTEP, *ADAPTIVE)
"""All of torchdiffeq's but `scipy_solver`, which runs outside torch and has no gradient."""


@dataclass(frozen=True)
class OdeSolver:
    """How a block is integrated from t~ = 0 to 1. Raises ParamError when it cannot be."""

    method: str = "rk4"
    """One of SOLVERS. A network trained with one method is another network under a coarser one."""
    steps: int = 1
    """Equal steps of the methods on a fixed grid; the adaptive ones do not use it."""
    tolerance: float = 1e-3
    """Relative and absolute error the adaptive methods aim at; the fixed ones do not use it."""
    adjoint: bool = False
    """Gradients by solving backwards in time: memory does not grow with the number of steps, but they are only as
    exact as the two solutions, where ordinary backpropagation is exact for the steps taken."""
    coupled: bool = False
    """Let an adaptive method choose one step for the whole batch: faster, and every image depends on the others."""

    def __post_init__(self) -> None:
        if self.method not in SOLVERS:
            raise ParamError(
                f"no ODE solver named {self.method!r}{did_you_mean(self.method, SOLVERS)} (known: {', '.join(SOLVERS)})"
            )
        if self.steps < 1:
            raise ParamError(f"an ODE solver takes at least 1 step, got steps: {self.steps}")
        if not self.tolerance > 0:
            raise ParamError(f"an ODE solver's tolerance must be above 0, got {self.tolerance}")

    @property
    def adaptive(self) -> bool:
        return self.method in ADAPTIVE


class OdeBlock(nn.Module):
    """y(0) -> y(1) of dy/dt~ = odefunc(t~, y, *condition)."""

    def __init__(self, odefunc: nn.Module, solver: OdeSolver) -> None:
        super().__init__()
        self.odefunc = odefunc
        self.solver = solver
        self.ode_nfe = 0
        """Evaluations of odefunc in forward passes since it was last set to 0. A compiled forward pass does not count,
        and neither does an adjoint's way back."""

    def forward(self, y: Tensor, *condition: Tensor) -> Tensor:
        """y [B, C, H, W] -> the same shape.

        condition: tensors [B, ...] that f also depends on and that stay fixed while it is integrated.
        """
        solver = self.solver
        if solver.method in TABLEAUS and not (solver.adjoint and torch.is_grad_enabled()):
            tableau = TABLEAUS[solver.method]
            if not torch.compiler.is_compiling():
                self.ode_nfe += tableau.stages * solver.steps
            return solve_fixed(lambda t, at: self._slope(t, at, condition), y, tableau, solver.steps)
        if solver.adaptive and not solver.coupled and y.shape[0] > 1:
            rows = range(y.shape[0])
            return torch.cat([self._solve(y[i : i + 1], [each[i : i + 1] for each in condition]) for i in rows])
        return self._solve(y, condition)

    def _slope(self, t: float | Tensor, y: Tensor, condition: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        slope: Tensor = self.odefunc(t, y, *condition)
        return slope

    def _solve(self, y: Tensor, condition: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        """Through torchdiffeq."""
        calls = 0

        def field(t: Tensor, at: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return self._slope(t, at, condition)

        solved = solve_with_torchdiffeq(field, y, self.solver, (*self.odefunc.parameters(), *condition))
        self.ode_nfe += calls
        return solved


def solve_fixed(field: Field, y: Tensor, tableau: Tableau, steps: int) -> Tensor:
    """y(0) -> y(1) in equal steps; f is called tableau.stages * steps times."""
    dt = 1.0 / steps
    for step in range(steps):
        slopes: list[Tensor] = []
        for node, row in zip(tableau.nodes, tableau.rows, strict=True):
            slopes.append(field((step + node) * dt, _advance(y, slopes, row, dt)))
        y = _advance(y, slopes, tableau.weights, dt)
    return y


def solve_with_torchdiffeq(
    field: Callable[[Tensor, Tensor], Tensor], y: Tensor, solver: OdeSolver, parameters: tuple[Tensor, ...] = ()
) -> Tensor:
    """y(0) -> y(1) by any method of torchdiffeq.

    parameters: every tensor the adjoint must give a gradient to, besides y. Without `solver.adjoint`, or where no
    gradient is wanted, they are not used. Raises NonFiniteOutput when an adaptive method finds no step small enough.
    """
    ends = torch.tensor([0.0, 1.0], dtype=torch.promote_types(y.dtype, torch.float32), device=y.device)
    settings: dict[str, Any] = {"method": solver.method, "rtol": solver.tolerance, "atol": solver.tolerance}
    if not solver.adaptive:
        settings["options"] = {"grid_constructor": _grid(solver.steps)}
    solve = torchdiffeq.odeint
    if solver.adjoint and torch.is_grad_enabled():
        wanted = tuple(each for each in parameters if each.requires_grad)
        solve = partial(torchdiffeq.odeint_adjoint, adjoint_params=wanted)
    try:
        solved: Tensor = solve(field, y, ends, **settings)
    except AssertionError as error:  # torchdiffeq's word for NaN, infinity, and steps that shrink to nothing
        raise NonFiniteOutput(
            f"the ODE solver {solver.method!r} cannot go on at tolerance {solver.tolerance}: {error}; "
            "use a larger tolerance or a method on a fixed grid"
        ) from error
    return solved[-1]


def _grid(steps: int) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """Exactly `steps` equal steps. A step size of 1/steps would sometimes add a tiny last one by rounding."""

    def grid(field: Any, y: Tensor, ends: Tensor) -> Tensor:
        return torch.linspace(float(ends[0]), float(ends[-1]), steps + 1, dtype=ends.dtype, device=ends.device)

    return grid


def _advance(y: Tensor, slopes: list[Tensor], coefficients: tuple[float, ...], dt: float) -> Tensor:
    """y + dt * sum of coefficient * slope."""
    out = y
    for slope, coefficient in zip(slopes, coefficients, strict=True):
        if coefficient:
            # After the first sum the result is ours alone, and addition keeps nothing for the way back.
            out = out.add(slope, alpha=coefficient * dt) if out is y else out.add_(slope, alpha=coefficient * dt)
    return out
