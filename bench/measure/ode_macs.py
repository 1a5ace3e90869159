"""The `ode_macs` metric: what the vector fields inside a network cost, in one call and for one evaluation.

A call of a network with solvers costs a + b x NFE multiply-accumulates: b is what one evaluation of a vector field
takes on average, and with another solver, or more steps, only the NFE changes. The solvers themselves add and scale,
which holds no multiply-accumulate by any counter, so what runs inside a solver's module is its vector field's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from bench.contracts import Measurement, Network
from bench.measure.counters import count_dispatched
from bench.measure.evaluations import count_ode_evaluations, solvers
from bench.measure.module_counter import count_modules_inside
from bench.measure.stages import stage_uses
from bench.subject import Subject

OdeCounter = Literal["dispatch", "thop-like"]


def count_inside_solvers(network: Network, x_t: Tensor, t: Tensor, counter: OdeCounter) -> int:
    """MACs of one call that are spent inside modules with an `ode_nfe`; 0, without calling it, where there are none.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode.
    """
    inside = [module for _, module in solvers(network)]
    if not inside:
        return 0
    if counter == "dispatch":
        return count_dispatched(network, x_t, t, inside).inside
    return count_modules_inside(network, x_t, t, inside)


def ode_macs(subject: Subject, counters: Iterable[OdeCounter]) -> Iterator[Measurement]:
    """at={"stage", "calls", "counter", "per": "call" | "evaluation"}, at batch 1; 0 without solvers."""
    network = subject.denoiser.network
    for use in stage_uses(subject.denoiser, subject.call_timesteps):
        subject.calls.count += 1
        x_t = subject.noised(0, 1, use.timestep).to(subject.dtype)
        t = torch.full((1,), use.timestep, dtype=torch.int64, device=subject.device)
        evaluations = count_ode_evaluations(network, x_t, t)
        for counter in counters:
            inside = count_inside_solvers(network, x_t, t, counter)
            for per, value in (("call", inside), ("evaluation", inside / evaluations if evaluations else 0)):
                at = {"stage": use.stage, "calls": use.calls, "counter": counter, "per": per}
                yield Measurement("ode_macs", "MAC", (float(value),), at=at, nfe=1)
