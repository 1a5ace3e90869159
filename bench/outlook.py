"""What can be said of a registered name without building it: torch-free functions of its checked arguments.

All of it is optional. `bench plan` asks, so that a person knows before a run what is missing on this machine and how
much would be computed; what a name does not say, the plan says that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What one metric asks of the network of one cell, over all its visits."""

    samples: int = 0
    """Images that the cell's walk makes, from the first on. Metrics share them, and so do cells with the same walk."""
    walks: int = 0
    """Whole walks of one batch, made for this metric alone."""
    calls_per_stage: int = 0
    """Network calls of one batch at every stage of the network."""
    image_calls: int = 0
    """Network calls times images, made for this metric alone in batches that it chooses."""


@dataclass(frozen=True)
class Stages:
    """Which variant of a network runs when."""

    at: Callable[..., Callable[[int], int]]
    """at(**params) -> the function from a training timestep to the stage, 0 the full network."""
    chosen_by: frozenset[str] = frozenset()
    """Arguments that choose when a stage runs, and not what it computes: step times do not depend on them."""


@dataclass(frozen=True)
class Outlook:
    """The functions of one registered name. Each takes its checked arguments by name, defaults filled in."""

    missing: Callable[..., Iterable[str]] | None = None
    """Sentences, one for each thing that is not on this machine: what it is, where it must lie, how to get it there. A
    metric's takes the cell as well, as `cell`."""
    stages: Stages | None = None
    """Of a model whose computation depends on the timestep. None: one stage."""
    calls: Callable[..., tuple[int, ...]] | None = None
    """Of a sampler: calls(num_train_timesteps, **params) -> the timestep of every network call of one walk."""
    work: Callable[..., Work] | None = None
    """Of a metric: work(effort, **params)."""


NOTHING_KNOWN = Outlook()
