"""How often things are evaluated: network calls of a walk, and vector-field calls of the ODE solvers in the network.

Evaluations by torchdiffeq are counted where it makes them. The agreement for solvers of one's own: the module that
calls the vector field carries an integer attribute `ode_nfe` and adds 1 to it at each evaluation. The harness sets it
to 0 and reads it after one call.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.contracts import Measurement, Network
from bench.measure.agreement import check_network
from bench.measure.counters import plain_execution
from bench.measure.solver_watch import OdeUse, watching_solvers
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
    check_network(subject)
    for use in stage_uses(subject.denoiser, subject.call_timesteps):
        subject.calls.count += 1
        x_t = subject.noised(0, 1, use.timestep).to(subject.dtype)
        t = torch.full((1,), use.timestep, dtype=torch.int64, device=subject.device)
        value = ode_use(subject.denoiser.network, x_t, t).evaluations
        yield Measurement("ode_nfe", "calls", (float(value),), at={"stage": use.stage, "calls": use.calls}, nfe=1)


def ode_use(network: Network, x_t: Tensor, t: Tensor) -> OdeUse:
    """Vector-field evaluations of one call, counted by torchdiffeq's own and by modules' `ode_nfe`; 0 without solvers.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. Raises MeasurementError when evaluations
    are made that cannot be counted, or when the two counts contradict each other.
    """
    with watching_solvers(network) as watch, plain_execution():
        network(x_t, t)
    return watch.use()
