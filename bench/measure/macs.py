"""The `macs` metric: multiply-accumulates of one network call at batch 1, by several counters, stage by stage.

`at` is {"stage": k, "calls": n, "counter": name}: the value is one call's, and a whole walk costs the sum over stages
of calls x value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.contracts import Measurement, Network
from bench.errors import MeasurementError
from bench.measure.agreement import check_network
from bench.measure.counters import ATTENTION, DispatchCount, count_dispatched
from bench.measure.module_counter import count_modules
from bench.measure.stages import stage_uses
from bench.measure.traced_counter import TracedCount, count_traced
from bench.subject import Subject

CounterName = Literal["dispatch", "fvcore", "thop-like"]

CONVENTIONS: Mapping[CounterName, str] = {
    "dispatch": "multiply-adds of every convolution and matrix product that runs, attention included; nothing else",
    "fvcore": "fvcore's total: multiply-adds of convolutions and matrix products, plus estimates for norms and "
    "resizing; scaled_dot_product_attention is not counted",
    "thop-like": "by the rules of thop 0.1.1: modules only, so no attention products; norms 2 or 4 per element",
}

UNSEEN_BY_FVCORE: Mapping[str, tuple[str, ...]] = {
    "scaled_dot_product_attention": (*ATTENTION, "bmm"),
    "baddbmm": ("baddbmm",),
    "addbmm": ("addbmm",),
    "addmv": ("addmv",),
    "mv": ("mv",),
    "dot": ("dot",),
}
"""Products that fvcore has no handle for -> what the dispatcher sees in their place. Attention that is not fused is
written out as two bmm."""


@dataclass(frozen=True)
class MacCount:
    """One counter's answer for one call."""

    counter: CounterName
    macs: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Uncounted:
    """A counter that cannot count this network, and why."""

    counter: CounterName
    error: MeasurementError

    @property
    def reason(self) -> str:
        return str(self.error)


def count_each(
    network: Network, x_t: Tensor, t: Tensor, counters: Iterable[CounterName]
) -> tuple[MacCount | Uncounted, ...]:
    """One network call, counted by each counter asked for, in that order: its number, or why it has none.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode.
    fvcore's count is held against the dispatcher's where both are asked for and can count.
    """
    asked = tuple(counters)
    answers: dict[CounterName, MacCount | Uncounted] = {}
    dispatched: DispatchCount | None = None
    for counter in sorted(asked, key="dispatch".__ne__):
        try:
            if counter == "dispatch":
                dispatched = count_dispatched(network, x_t, t)
                answers[counter] = MacCount(counter, dispatched.total)
            elif counter == "fvcore":
                traced = count_traced(network, x_t, t)
                warnings = () if dispatched is None else differences(traced, dispatched)
                answers[counter] = MacCount(counter, traced.total, warnings)
            else:
                answers[counter] = MacCount(counter, count_modules(network, x_t, t))
        except MeasurementError as error:
            answers[counter] = Uncounted(counter, error)
    return tuple(answers[counter] for counter in asked)


def count_macs(network: Network, x_t: Tensor, t: Tensor, counters: Iterable[CounterName]) -> tuple[MacCount, ...]:
    """The same, where every counter must count. Raises the error of the first that cannot, with advice for a suite."""
    answers = count_each(network, x_t, t, counters)
    for answer in answers:
        if isinstance(answer, Uncounted):
            able = [count.counter for count in answers if isinstance(count, MacCount)]
            advice = f"; leave it out: {{name: macs, counters: [{', '.join(able)}]}}" if able else ""
            raise type(answer.error)(f"{answer.reason}{advice}") from answer.error
    return tuple(answer for answer in answers if isinstance(answer, MacCount))


def differences(traced: TracedCount, dispatched: DispatchCount) -> tuple[str, ...]:
    """Why fvcore's convolutions and products are not the dispatcher's, in a sentence; nothing where they agree."""
    missing = dispatched.total - traced.products
    if missing == 0:
        return ()
    unseen = [name for name in UNSEEN_BY_FVCORE if name in traced.unsupported]
    if missing > 0 and unseen:
        reason = f"it does not count {' and '.join(unseen)}"
    elif "einsum" in traced.by_operator and abs(missing) <= 1e-3 * traced.by_operator["einsum"]:
        reason = "it reads the cost of einsum from a text rounded to four digits"
    else:
        reason = "for a reason it does not report; believe the dispatcher's count"
    direction = "fewer" if missing > 0 else "more"
    return (f"fvcore counts {abs(missing):,} MACs {direction} in convolutions and products: {reason}",)


def macs(subject: Subject, counters: Iterable[CounterName]) -> Iterator[Measurement]:
    """MACs of one call at batch 1 for every stage of the walk and every counter.

    The network runs at a timestep of the stage, on an image noised to it (counting solvers may depend on both).
    """
    asked = tuple(counters)
    check_network(subject)
    for use in stage_uses(subject.denoiser, subject.call_timesteps):
        subject.calls.count += 1  # the counters run the network, so the next call is not the first one
        x_t = subject.noised(0, 1, use.timestep).to(subject.dtype)
        t = torch.full((1,), use.timestep, dtype=torch.int64, device=subject.device)
        for count in count_macs(subject.denoiser.network, x_t, t, asked):
            yield Measurement(
                "macs",
                "MAC",
                (float(count.macs),),
                at={"stage": use.stage, "calls": use.calls, "counter": count.counter},
                nfe=1,
                warnings=count.warnings,
            )
