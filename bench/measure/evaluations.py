"""How often things are evaluated: network calls of a walk, and vector-field calls of the ODE solvers in the network.

The agreement for networks with solvers inside: every module that calls a vector field carries an integer attribute
`ode_nfe` and adds 1 to it at each evaluation. The harness sets it to 0 and reads it after one call.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.contracts import Measurement, Network
from bench.errors import MeasurementError
from bench.measure.counters import plain_execution
from bench.measure.stages import stage_uses
from bench.subject import Subject


def nfe(subject: Subject) -> tuple[Measurement, ...]:
    """Network calls of one walk, counted by walking with a stand-in for the network that gives (x_t, zeros).

    A sampler that chose its steps by the network's answers would be counted on those answers; none here does, and
    `latency` counts again on the real ones.
    """
    calls = len(subject.call_timesteps)
    return (Measurement("nfe", "calls", (float(calls),), nfe=calls),)


def ode_nfe(subject: Subject) -> Iterator[Measurement]:
    """Vector-field evaluations of one network call at batch 1; at={"stage": k, "calls": n}. 0 without solvers.

    An adaptive solver's count depends on its input: this is the first image, noised to a timestep of the stage.
    """
    for use in stage_uses(subject.denoiser, subject.call_timesteps):
        subject.calls.count += 1
        x_t = subject.noised(0, 1, use.timestep).to(subject.dtype)
        t = torch.full((1,), use.timestep, dtype=torch.int64, device=subject.device)
        value = count_ode_evaluations(subject.denoiser.network, x_t, t)
        yield Measurement("ode_nfe", "calls", (float(value),), at={"stage": use.stage, "calls": use.calls}, nfe=1)


def count_ode_evaluations(network: Network, x_t: Tensor, t: Tensor) -> int:
    """Sum of `ode_nfe` over the network's modules after one call; 0, without calling it, where no module has it.

    Raises MeasurementError when a module's `ode_nfe` is not a whole number.
    """
    counting = solvers(network)
    if not counting:
        return 0
    for _, module in counting:
        setattr(module, "ode_nfe", 0)  # noqa: B010 - the type checker knows no such attribute of a module
    with plain_execution():
        network(x_t, t)
    return sum(_evaluations(name, module) for name, module in counting)


def solvers(network: Network) -> tuple[tuple[str, nn.Module], ...]:
    """(name, module) of every module that counts its solver's evaluations."""
    if not isinstance(network, nn.Module):
        return ()
    return tuple((name, module) for name, module in network.named_modules() if hasattr(module, "ode_nfe"))


def _evaluations(name: str, module: nn.Module) -> int:
    found: object = module.ode_nfe
    if not isinstance(found, int):
        raise MeasurementError(f"{name or 'the network'}.ode_nfe is {found!r}; expected a whole number")
    return found
