"""Where on a walk the pictures are best, and what that is worth. Plain numpy.

A curve is a score after each step of a walk. Steps are counted as executed: step k is after k network calls, 1 .. N.
Shape legend: N steps, B images, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


def best_steps(curves: Floats, *, higher: bool) -> Steps:
    """[B]: the step at which each image of curves [N, B] is best, the first of equal ones.

    An oracle: it looks at the clean image. higher: whether more is better.
    """
    return np.asarray((curves if higher else -curves).argmax(axis=0) + 1)


def mean_best_step(curves: Floats, *, higher: bool) -> int:
    """The step at which the mean curve of all images is best."""
    return int(best_steps(curves.mean(axis=1, keepdims=True), higher=higher)[0])


def chosen_steps(curves: Floats, *, higher: bool) -> Steps:
    """[B]: for each image the best step of the mean curve of the other half of the images, which it is not in.

    The halves are the images of even and of odd number. Raises ValueError for fewer than two images.
    """
    even, odd = _halves(curves.shape[1])
    steps = np.empty(curves.shape[1], dtype=np.int64)
    steps[even] = mean_best_step(curves[:, odd], higher=higher)
    steps[odd] = mean_best_step(curves[:, even], higher=higher)
    return steps


def at_steps(curves: Floats, steps: Steps | int) -> Floats:
    """[B]: each image's score after its step."""
    images = np.arange(curves.shape[1])
    return np.asarray(curves[np.broadcast_to(steps, images.shape) - 1, images])


def elbow_steps(curves: Floats, *, higher: bool) -> Steps:
    """[B]: the step after the best one where each curve bends most.

    That is where it lies furthest from the straight line between its best and its last point (the measure does not
    depend on the units of either axis); the best step itself where nothing comes after it.
    """
    count, images = curves.shape
    best = best_steps(curves, higher=higher)
    steps = np.arange(1, count + 1)[:, None]
    top, end = at_steps(curves, best), curves[-1]
    along = (steps - best) / np.maximum(count - best, 1)
    apart = np.abs(curves - (top + (end - top) * along))
    apart[steps < best] = -1.0
    found = apart.argmax(axis=0) + 1
    return np.asarray(np.where(at_steps(apart, found) > 0, found, best)).reshape(images)


@dataclass(frozen=True)
class Choice:
    """One step for all images, what it is worth, and how both vary when the images are drawn again."""

    best: float
    """Mean score at the best step of the mean curve: chosen and reported on the same images."""
    step: int
    """That step."""
    chosen: float
    """Mean score where each half of the images is reported at the best step of the other half."""
    best_replicates: Floats
    """[R] of each."""
    step_replicates: Steps
    chosen_replicates: Floats


def choose(curves: Floats, *, higher: bool, replicates: int, seed: int) -> Choice:
    """The choice of one step for all images, the whole of it done again in every bootstrap resample of the images.

    Images are drawn inside their half, so that a resample has halves of the same sizes. The same number of images and
    the same seed give the same resamples, so two cells are paired resample by resample.
    """
    even, odd = _halves(curves.shape[1])
    draw = np.random.Generator(np.random.PCG64(seed))
    mine, theirs = (_resampled_means(curves[:, half], replicates, draw) for half in (even, odd))
    weights = len(even), len(odd)
    resampled = np.average([mine, theirs], axis=0, weights=weights)
    steps = best_steps(resampled, higher=higher)
    crossed = np.average(
        [
            at_steps(mine, best_steps(theirs, higher=higher)),
            at_steps(theirs, best_steps(mine, higher=higher)),
        ],
        axis=0,
        weights=weights,
    )
    step = mean_best_step(curves, higher=higher)
    return Choice(
        best=float(curves[step - 1].mean()),
        step=step,
        chosen=float(at_steps(curves, chosen_steps(curves, higher=higher)).mean()),
        best_replicates=at_steps(resampled, steps),
        step_replicates=steps,
        chosen_replicates=np.asarray(crossed),
    )


def _resampled_means(curves: Floats, replicates: int, draw: np.random.Generator) -> Floats:
    """[N, R]: the mean curve of each resample of the images of curves [N, B]."""
    images = curves.shape[1]
    counts = draw.multinomial(images, np.full(images, 1.0 / images), size=replicates)
    return np.asarray(curves @ counts.T.astype(np.float64) / images)


def _halves(images: int) -> tuple[Steps, Steps]:
    if images < 2:
        raise ValueError(f"{images} image has no other half to choose by; two are the least")
    every = np.arange(images)
    return every[::2], every[1::2]
