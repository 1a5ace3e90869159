"""Networks built the same way every time, wherever the random numbers of the program stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")


def from_seed_0(build: Callable[[], Network]) -> Network:
    """What `build` makes from seed 0; the random numbers of the caller go on as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()
