"""The clock that timed regions are read on, and the wait for a device that runs behind the program.

A timed region is: synchronize, now, work, synchronize, now. Without the second wait a device that queues its work
would be timed at the speed of filling the queue.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch


class Clock(Protocol):
    """Reads time, and waits until a device has done everything it was given."""

    def now(self) -> float:
        """Seconds on a clock that never runs backwards; only differences mean something."""
        ...

    def synchronize(self) -> None:
        """Return only when all work given to the device so far is done."""
        ...


@dataclass(frozen=True)
class CpuClock:
    """A processor works while the program waits, so there is nothing to wait for."""

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        return


@dataclass(frozen=True)
class CudaClock:
    """A CUDA device runs behind the program; `synchronize` waits for every stream of it."""

    device: torch.device

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)


def clock_for(device: torch.device) -> Clock:
    """The clock that is right for a device."""
    return CudaClock(device) if device.type == "cuda" else CpuClock()
