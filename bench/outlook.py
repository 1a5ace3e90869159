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
class ModelFacts:
    """What a model will say of itself when it is built."""

    image_shape: tuple[int, int, int] | None
    """(C, H, W) it was made for; None: any."""
    num_train_timesteps: int = 1000
    unnamed_weights: bool = False
    """Whether it has learned numbers without a SHA-256, so that its pictures could not be told from others'."""


@dataclass(frozen=True)
class DataFacts:
    """What a data set will say of itself when it is read."""

    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    count: int | None = None
    """Images of the split; None when that is not known before they are read."""
    split: str | None = None
    """The split it is, of a data set that has no argument `split`."""


@dataclass(frozen=True)
class Pictures:
    """What a metric will be given of a cell, as far as it is known. Any of it may be unknown (None)."""

    image_shape: tuple[int, int, int] | None
    """(C, H, W) of what the network draws."""
    model: ModelFacts | None
    count: Callable[[str], int | None]
    """Images of the cell's data set at a split; `own` is the one that the cell names."""
    splits: frozenset[str] | None
    """The splits that the data set can be had at; None when it takes any."""


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
    conflicts: Callable[..., Iterable[str]] | None = None
    """Sentences, one for each way in which arguments that are good by themselves do not go together. They are refused
    when a suite is read."""
    facts: Callable[..., ModelFacts | DataFacts] | None = None
    """Of a model or a data set. A plan builds those that do not say, to be able to check what is asked of them."""
    wrong_weights: Callable[..., Iterable[str]] | None = None
    """Of a model: sentences, why a checkpoint that is there cannot be its own, from its names and shapes alone."""
    objections: Callable[..., Iterable[str]] | None = None
    """Of a metric: objections(pictures: Pictures, **params) -> sentences, why it cannot judge what the cell makes."""


NOTHING_KNOWN = Outlook()
