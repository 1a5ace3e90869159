"""How a training batch is drawn: its images, timesteps, depth and noise, from (seed, step) alone.

Nothing is remembered between steps, so a training that was killed goes on with exactly the batches it would have
had. Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from bench.errors import ParamError
from bench.train.recipe import SchemeSpec, TrainSpec


@dataclass(frozen=True, eq=False)
class Draw:
    """What is random in one training step."""

    images: Tensor
    """[B] int64 indices into the training set."""
    t: Tensor
    """[B] int64 timesteps."""
    num_skipped: int
    """k, the same for the whole batch."""
    flip: Tensor
    """[B] bool: mirror this image."""
    generator: torch.Generator
    """Goes on to draw the noise."""


@dataclass(frozen=True)
class Interval:
    """Timesteps first..last (inclusive) that share one k."""

    first: int
    last: int
    num_skipped: int


def step_generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one training step."""
    digest = sha256(f"train/{seed}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def constant_intervals(stage: Callable[[int], int], num_train_timesteps: int) -> tuple[Interval, ...]:
    """The chain cut wherever k(t) changes, for any k(t)."""
    depths = [stage(t) for t in range(num_train_timesteps)]
    starts = [0, *(t for t in range(1, num_train_timesteps) if depths[t] != depths[t - 1])]
    ends = [*(start - 1 for start in starts[1:]), num_train_timesteps - 1]
    return tuple(Interval(first, last, depths[first]) for first, last in zip(starts, ends, strict=True))


def draw_batch(
    step: int,
    *,
    seed: int,
    num_images: int,
    num_train_timesteps: int,
    num_depths: int,
    scheme: SchemeSpec,
    train: TrainSpec,
    intervals: tuple[Interval, ...] = (),
) -> Draw:
    """Everything random about a step.

    `num_depths` is N, the number of depths the network can run at. `intervals` are those of k(t) for the aligned
    scheme. Raises ParamError when the aligned scheme has none.
    """
    generator = step_generator(seed, step)
    size = train.batch_size
    images = torch.randint(num_images, (size,), generator=generator)
    num_skipped = 0
    if scheme.depths == "uniform":
        num_skipped = int(torch.randint(num_depths, (1,), generator=generator))
    if scheme.depths == "aligned":
        if not intervals:
            raise ParamError("scheme 'aligned' needs a network whose depth depends on t and a skip_exponent")
        # The interval is chosen by one uniform timestep, so the marginal over t stays uniform.
        chosen = int(torch.randint(num_train_timesteps, (1,), generator=generator))
        interval = next(each for each in intervals if each.first <= chosen <= each.last)
        t = torch.randint(interval.first, interval.last + 1, (size,), generator=generator)
        num_skipped = interval.num_skipped
    elif train.antithetic:
        half = torch.randint(num_train_timesteps, (size // 2 + 1,), generator=generator)
        t = torch.cat([half, num_train_timesteps - 1 - half])[:size]
    else:
        t = torch.randint(num_train_timesteps, (size,), generator=generator)
    flip = torch.rand(size, generator=generator) < (0.5 if train.flip else 0.0)
    return Draw(images, t, num_skipped, flip, generator)
