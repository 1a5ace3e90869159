"""One watched call of every stage before a network is counted or after it was timed cold."""

from __future__ import annotations

import torch

from bench.diffusion.network_output import watched_call
from bench.measure.counters import plain_execution
from bench.measure.stages import stage_uses
from bench.subject import Subject


def check_network(subject: Subject) -> None:
    """Call the eager network at batch 1 at a timestep of each stage, and hold what it does against the agreement.

    Done once for a subject; later calls of this return at once. Raises MeasurementError as `watched_call` does.
    """
    if subject.calls.checked:
        return
    for use in stage_uses(subject.denoiser, subject.call_timesteps):
        subject.calls.count += 1
        x_t = subject.noised(0, 1, use.timestep).to(subject.dtype)
        t = torch.full((1,), use.timestep, dtype=torch.int64, device=subject.device)
        with plain_execution():
            watched_call(subject.denoiser.network, x_t, t)
    subject.calls.checked = True
