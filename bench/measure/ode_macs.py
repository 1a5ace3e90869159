"""The `ode_macs` metric: what the vector fields inside a network cost, in one call and for one evaluation.

A call of a network with solvers costs a + b x NFE multiply-accumulates: b is what one evaluation of a vector field
takes on average, and with another solver, or more steps, only the NFE changes. What runs while torchdiffeq evaluates
is the field's. The solvers themselves add and scale, which holds no multiply-accumulate by any counter, so what runs
inside the module of a solver written by hand is its vector field's as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from bench.contracts import Measurement, Network
from bench.errors import MeasurementError
from bench.measure.agreement import check_network
from bench.measure.counters import count_dispatched
from bench.measure.evaluations import ode_use
from bench.measure.module_counter import count_modules_inside
from bench.measure.solver_watch import COUNT, OdeUse, watching_solvers
from bench.measure.stages import stage_uses
from bench.subject import Subject

OdeCounter = Literal["dispatch", "thop-like"]


def count_inside_solvers(network: Network, x_t: Tensor, t: Tensor, counter: OdeCounter, ode: OdeUse) -> int:
    """MACs of one call that are spent in vector fields; 0, without calling it, where there are none.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode. ode: what
    `ode_use` found for the same call. Raises MeasurementError when it cannot be told when a field runs.
    """
    if not ode.evaluations:
        return 0
    with watching_solvers(network, ode.by_hand) as watch:
        if counter == "dispatch":
            macs = count_dispatched(network, x_t, t, watch.inside).inside
        else:
            macs = count_modules_inside(network, x_t, t, watch.inside)
    for module in ode.by_hand:
        if not watch.was_called(module):
            raise MeasurementError(
                f"{watch.name_of(module)} counts evaluations in {COUNT}, but its forward is not called, so it cannot "
                "be told what its vector field costs; solve in its forward"
            )
    return macs


def ode_macs(subject: Subject, counters: Iterable[OdeCounter]) -> Iterator[Measurement]:
    """at={"stage", "calls", "counter", "per": "call" | "evaluation"}, at batch 1; 0 without solvers."""
    asked = tuple(counters)
    check_network(subject)
    network = subject.denoiser.network
    for use in stage_uses(subject.denoiser, subject.call_timesteps):
        subject.calls.count += 1
        x_t = subject.noised(0, 1, use.timestep).to(subject.dtype)
        t = torch.full((1,), use.timestep, dtype=torch.int64, device=subject.device)
        ode = ode_use(network, x_t, t)
        for counter in asked:
            try:
                inside = count_inside_solvers(network, x_t, t, counter, ode)
            except MeasurementError as error:
                others = ", ".join(other for other in asked if other != counter)
                advice = f"; leave it out: {{name: ode_macs, counters: [{others}]}}" if others else ""
                raise type(error)(f"{error}{advice}") from error
            per_evaluation = inside / ode.evaluations if ode.evaluations else 0
            for per, value in (("call", inside), ("evaluation", per_evaluation)):
                at = {"stage": use.stage, "calls": use.calls, "counter": counter, "per": per}
                yield Measurement("ode_macs", "MAC", (float(value),), at=at, nfe=1)
