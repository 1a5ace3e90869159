"""The metrics of this room, by the names a suite writes. Imports torch only when one is run.

What a metric's numbers are of is in their `at`; each docstring gives its keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bench.contracts import Measurement, Need, Range
from bench.outlook import Work
from bench.registry import register_metric
from bench.suite.schema import Effort

if TYPE_CHECKING:
    from bench.subject import Subject
else:
    Subject = Any  # the registry resolves annotations, and the real one would bring torch with it

Counter = Literal["dispatch", "fvcore", "thop-like"]
OdeCounter = Literal["dispatch", "thop-like"]
FOUND_IN_A_WALK = ("calls",)
"""Of `at`: how often a walk calls a stage, which is counted and belongs to no address."""


def _latency_work(effort: Effort) -> Work:
    return Work(walks=(effort.warmup + effort.repeats) * effort.rounds * effort.processes)


def _step_time_work(effort: Effort, calls_per_value: int) -> Work:
    calls = effort.warmup + effort.repeats * calls_per_value
    return Work(calls_per_stage=calls * effort.rounds * effort.processes)


@register_metric("latency", unit="s", better="lower", kind="timing", needs=[Need.SAMPLER], work=_latency_work)
def latency(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Seconds of one whole walk of a batch, from x_T to x_0; nfe is counted in it.

    at: nothing.
    """
    from bench.measure.timing import latency

    return latency(subject, effort)


@register_metric("cold_start", unit="s", better="lower", kind="memory", needs=[Need.SAMPLER])
def cold_start(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Seconds of the first walk in a fresh process, with everything that is done once.

    at: nothing. It has a process of its own, like the memory metrics.
    """
    from bench.measure.timing import cold_start

    return cold_start(subject)


@register_metric(
    "step_time", unit="s", better="lower", kind="timing", work=_step_time_work, facts=(*FOUND_IN_A_WALK, "timestep")
)
def step_time(
    subject: Subject, effort: Effort, calls_per_value: Annotated[int, Range(1, 10_000)] = 5
) -> Iterable[Measurement]:
    """Seconds of one network call at each stage; a value is the median of calls_per_value calls in a row.

    at: stage (0 is the full network), calls (network calls of one walk at that stage), timestep (where it was
    measured). A whole walk is the sum over stages of calls x median. Without a sampler, calls counts the timesteps
    of the whole training chain.
    """
    from bench.measure.steps import step_time

    return step_time(subject, effort, calls_per_value)


@register_metric("macs", unit="MAC", better="lower", kind="exact", facts=FOUND_IN_A_WALK)
def macs(
    subject: Subject, effort: Effort, counters: tuple[Counter, ...] = ("dispatch", "fvcore", "thop-like")
) -> Iterable[Measurement]:
    """Multiply-accumulates of one network call at batch 1 and each stage, by each counter.

    at: stage, calls (as for step_time), counter. A whole walk is the sum over stages of calls x value.
    dispatch: every convolution and product that runs, attention included. fvcore: that library's total.
    thop-like: by the rules of thop 0.1.1, which published tables use.
    """
    from bench.measure.macs import macs

    return macs(subject, counters)


@register_metric("parameters", unit="count", better="lower", kind="exact")
def parameters(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Elements of the network's parameters; memory that is shared counts once.

    at: which, one of total, trainable, buffers (elements that are not parameters), tensors (how many parameters).
    """
    from bench.measure.parameters import parameters

    return parameters(subject)


@register_metric("weight_bytes", unit="bytes", better="lower", kind="exact")
def weight_bytes(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Bytes of parameters and buffers in the precision of the conditions. at: nothing."""
    from bench.measure.parameters import weight_bytes

    return weight_bytes(subject)


@register_metric("nfe", unit="calls", better="lower", kind="exact", needs=[Need.SAMPLER])
def nfe(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Network calls of one walk, counted. at: nothing."""
    from bench.measure.evaluations import nfe

    return nfe(subject)


@register_metric("ode_nfe", unit="calls", better="lower", kind="exact", facts=FOUND_IN_A_WALK)
def ode_nfe(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Vector-field evaluations inside one network call at batch 1, summed over its solvers; 0 without any.

    at: stage, calls (as for step_time).
    """
    from bench.measure.evaluations import ode_nfe

    return ode_nfe(subject)


@register_metric("ode_macs", unit="MAC", better="lower", kind="exact", facts=FOUND_IN_A_WALK)
def ode_macs(
    subject: Subject, effort: Effort, counters: tuple[OdeCounter, ...] = ("dispatch", "thop-like")
) -> Iterable[Measurement]:
    """Multiply-accumulates of the vector fields inside one network call at batch 1; 0 without any.

    at: stage, calls, counter (as for macs), per: call, all of a call; evaluation, the mean of one, so that
    macs = rest + this x ode_nfe.
    """
    from bench.measure.ode_macs import ode_macs

    return ode_macs(subject, counters)


@register_metric("checkpoint_bytes", unit="bytes", better="lower", kind="exact")
def checkpoint_bytes(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Bytes of the checkpoint of a training, as the Trainer of the widespread PyTorch implementation writes it.

    at: part, one of file (the whole), weights, average, moments (Adam's two of every trained parameter), rest (names,
    tables of the noise schedule, the archive's structure). In float32: 16 bytes a trained parameter, 8 a frozen one.
    """
    from bench.measure.training_checkpoint import checkpoint_bytes

    return checkpoint_bytes(subject)


@register_metric("training_loss", unit="1", better=None, kind="exact", needs=[Need.TRAINED_WEIGHTS])
def training_loss(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Mean squared error during the training of the cell's weights, as their passport has it.

    at: of, one of loss (the curve), step (the training step of each of its points), final (the last loss). For figures
    of kind `curves`. Losses of networks that predict different things are not comparable.
    """
    from bench.measure.training_curve import training_loss

    return training_loss(subject)


@register_metric("stages", unit="1", better=None, kind="exact")
def stages(subject: Subject, effort: Effort) -> Iterable[Measurement]:
    """Which stage of the network runs at each training timestep: values[t] for t = 0, 1, ... at: nothing."""
    from bench.measure.stages import stages

    return stages(subject)


@register_metric("peak_memory", unit="bytes", better="lower", kind="memory")
def peak_memory(
    subject: Subject, effort: Effort, calls_per_stage: Annotated[int, Range(0, 100_000)] = 8, training: bool = False
) -> Iterable[Measurement]:
    """Peak memory of the cell's own process, phase by phase.

    at: kind, one of process_peak, loaded, load_peak, warmup_peak, steady_peak, steady_peak_minus_loaded, and on a GPU
    cuda_allocated_loaded, cuda_allocated_peak, cuda_reserved_peak. calls_per_stage: network calls really made at each
    stage of a walk, 0 for all. training: optimiser steps (forward, backward, Adam) as well, after the walks:
    training_warmup_peak, training_peak, training_peak_minus_loaded, gradients_and_moments (what they take, exactly),
    activations (the rest of it), kept_for_backward (exactly what a forward pass keeps, which an adjoint saves),
    cuda_training_peak.
    """
    from bench.measure.memory import peak_memory

    return peak_memory(subject, effort, calls_per_stage, training)
