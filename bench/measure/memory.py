"""The `peak_memory` metric, in bytes, phase by phase. Meant for a process of the cell's own.

at={"kind": ...}:

process_peak               the most physical memory the process ever had: what a machine must have. Interpreter, torch,
                           weights, data and everything below are in it.
loaded                     resident once everything is built, before the first network call.
load_peak                  the most while importing and building.
warmup_peak                the most in the first walks: lazily made kernels, compilation.
steady_peak                the most in the walks after them.
steady_peak_minus_loaded   what a walk needs on top of what is loaded: activations, and what torch keeps for reuse.
cuda_allocated_loaded      on a GPU: bytes in tensors before the first call,
cuda_allocated_peak        the most bytes in tensors in the steady walks (a property of the model),
cuda_reserved_peak         the most that torch's allocator had taken from the device then (the footprint).

With `training`, after all that and on top of the same `loaded`, of optimiser steps in the place of walks:

training_warmup_peak          the most in the first steps, which make the optimiser's state.
training_peak                 the most in the steps after them.
training_peak_minus_loaded    what training needs on top of what is loaded.
gradients_and_moments         exact: a gradient and Adam's two moments of every trained parameter.
activations                   training_peak_minus_loaded without them: what is kept for the way back, what torch and its
                              libraries make once, and what they keep for reuse.
kept_for_backward             exact: the tensors that one forward pass keeps for its way back, which an adjoint saves;
                              not the weights.
cuda_training_peak            on a GPU: the most bytes in tensors in the steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.contracts import Measurement
from bench.errors import ParamError, Unsupported
from bench.measure.agreement import check_network
from bench.measure.process_memory import ProcessMemory, process_memory, reset_peak
from bench.measure.stages import stage_at, stage_uses
from bench.measure.training_step import trainer
from bench.subject import Subject
from bench.suite.schema import Effort


def peak_memory(
    subject: Subject, effort: Effort, calls_per_stage: int = 8, training: bool = False
) -> Iterator[Measurement]:
    """Peak memory of loading, of effort.warmup walks (at least one) and of effort.repeats walks after them.

    calls_per_stage: in each walk the network really runs this often at every stage, and its last answer stands in for
    the other calls; they would allocate the same again. 0 makes every call. training: go on with as many optimiser
    steps. Raises ParamError when calls_per_stage is negative, and Unsupported on a system without /proc or, with
    training, for a network that has nothing to train.
    """
    if calls_per_stage < 0:
        raise ParamError(f"peak_memory: calls_per_stage must be at least 0, got {calls_per_stage}")
    subject.claim_threads()
    called_before = subject.calls.count > 0
    loaded = _now()
    cuda_loaded = _cuda_allocated(subject)
    separable = reset_peak()
    with subject.unwatched():  # a copy of x_t would be in the peak
        warm_up, steady = _phases(subject, effort, lambda index: rehearse(subject, index, calls_per_stage))

    late = ("the network had been called before in this process, which is in this figure",) if called_before else ()
    mixed = () if separable else ("this kernel does not set peaks back, so the phases cannot be told apart",)
    yield _bytes("process_peak", max(loaded.peak, warm_up.peak, steady.peak), mixed)
    yield _bytes("loaded", loaded.resident, late)
    if separable:
        yield _bytes("load_peak", loaded.peak, late)
        yield _bytes("warmup_peak", warm_up.peak)
        yield _bytes("steady_peak", steady.peak)
        yield _bytes("steady_peak_minus_loaded", max(0, steady.peak - loaded.resident), late)
    if subject.device.type == "cuda":
        yield _bytes("cuda_allocated_loaded", cuda_loaded, late)
        yield _bytes("cuda_allocated_peak", torch.cuda.max_memory_allocated(subject.device))
        yield _bytes("cuda_reserved_peak", torch.cuda.max_memory_reserved(subject.device))
    if training:
        yield from _training(subject, effort, loaded, separable, late)
    check_network(subject)


def _training(
    subject: Subject, effort: Effort, loaded: ProcessMemory, separable: bool, late: tuple[str, ...]
) -> Iterator[Measurement]:
    """The same of optimiser steps; what the walks gave back is used again by them."""
    reset_peak()
    with trainer(subject) as steps:
        warm_up, steady = _phases(subject, effort, steps.make)
    held = steps.state_bytes
    assert steps.kept_bytes is not None  # a warm-up step was made
    if separable:
        needed = max(0, steady.peak - loaded.resident)
        yield _bytes("training_warmup_peak", warm_up.peak)
        yield _bytes("training_peak", steady.peak)
        yield _bytes("training_peak_minus_loaded", needed, late)
        yield _bytes("activations", max(0, needed - held), late)
    yield _bytes("gradients_and_moments", held)
    yield _bytes("kept_for_backward", steps.kept_bytes)
    if subject.device.type == "cuda":
        yield _bytes("cuda_training_peak", torch.cuda.max_memory_allocated(subject.device))


def _phases(subject: Subject, effort: Effort, once: Callable[[int], None]) -> tuple[ProcessMemory, ProcessMemory]:
    """The kernel's figures after effort.warmup goes (at least one) and, set back, after effort.repeats more.

    once: does it with the index-th batch.
    """
    for index in range(max(1, effort.warmup)):
        once(effort.repeats + index)
    warm_up = _now()
    reset_peak()
    if subject.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(subject.device)
    for index in range(effort.repeats):
        once(index)
    return warm_up, _now()


def rehearse(subject: Subject, index: int, calls_per_stage: int) -> None:
    """One walk of the index-th batch of images with all its allocations, but few network calls (0: with all of them).

    Without a sampler, the network calls alone.
    """
    lo, hi = index * subject.conditions.batch_size, (index + 1) * subject.conditions.batch_size
    made: Counter[int] = Counter()
    last: list[tuple[Tensor, Tensor]] = []

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        stage = stage_at(subject.denoiser, t)
        if calls_per_stage and made[stage] >= calls_per_stage:
            return last[0]
        made[stage] += 1
        last[:] = [subject.predict(x_t, t)]
        return last[0]

    if subject.sampler is None:
        for use in stage_uses(subject.denoiser, subject.call_timesteps):
            x_t = subject.noised(lo, hi, use.timestep)
            for _ in range(calls_per_stage or 1):
                subject.predict(x_t, use.timestep)
    else:
        noise = subject.noise(lo, hi)
        with torch.inference_mode():
            subject.sampler(predict, noise.start(), noise.step)
    if subject.device.type == "cuda":
        torch.cuda.synchronize(subject.device)


def _now() -> ProcessMemory:
    found = process_memory()
    if found is None:
        raise Unsupported("peak memory is read from /proc/self/status, which this system lacks; measure it on Linux")
    return found


def _cuda_allocated(subject: Subject) -> int:
    return torch.cuda.memory_allocated(subject.device) if subject.device.type == "cuda" else 0


def _bytes(kind: str, value: int, warnings: tuple[str, ...] = ()) -> Measurement:
    return Measurement("peak_memory", "bytes", (float(value),), at={"kind": kind}, warnings=warnings)
