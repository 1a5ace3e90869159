"""How sure a Fréchet distance is: an interval over images, the value at infinitely many images, the floor of real data.

The distance is biased upwards by about c / n, and c depends on the model (Chong & Forsyth 2020), so that
    interval    says how much the distance *at this n* would move with other images of the same model
    infinity    takes the bias off by a line over 1/n
    floor       says what real images of the other split score at the same n: no model can be told apart below it
Shape legend: n images, d features, r rank of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import MeasurementError
from bench.quality.frechet import (
    cholesky_factor,
    combine,
    eigen_factor,
    frechet_distance,
    frechet_to_moments,
    sum_of_roots,
)
from bench.quality.moments import Array, Moments, as_rows, check_features, merged, moments_of

if TYPE_CHECKING:
    from torch import Tensor


FEW_FEATURES = 256
LINEAR_FROM = 4
"""Images per feature from which the distance is close to linear in them."""
EXACT_WORK = 4e11
"""Multiplications that exact replicates may take: some ten seconds."""


@dataclass(frozen=True)
class Interval:
    """A central interval over bootstrap replicates, moved so that their mean lies on the estimate."""

    low: float
    high: float
    level: float
    replicates: tuple[float, ...]
    """The replicates as they were moved, in order."""
    bias: float
    """How far the replicates' mean lay above the estimate: drawing with repetition loses images, and the distance
    grows as n falls. About as large as the bias of the estimate itself; 0 where it was linearised."""
    method: Literal["bootstrap", "linearised bootstrap"]


def bootstrap_interval(
    features: Tensor | ArrayLike,
    reference: Moments,
    *,
    replicates: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the distance of features [n, d] to fixed reference moments, over images drawn with repetition.

    It holds the chance in which images were drawn, at this n; not the bias in n, not the chance in the reference.
    A replicate costs eigenvalues of min(n, d), and no decomposition of the reference, which is factored once. Where
    there are far more images than features and that would take minutes, the distance is linearised in the images
    instead, and a replicate costs n additions.
    """
    rows = check_features(features, "features")
    if replicates < 2 or not 0.0 < level < 1.0:
        raise MeasurementError(f"an interval needs 2 replicates and a level in (0, 1), got {replicates} and {level}")
    n, d = rows.shape
    estimate = frechet_to_moments(rows, reference).value
    if n >= LINEAR_FROM * d and replicates * n * d**2 > EXACT_WORK:
        method: Literal["bootstrap", "linearised bootstrap"] = "linearised bootstrap"
        found = estimate + _resampled_means(influence(rows, reference), replicates, seed)
    else:
        method = "bootstrap"
        found = bootstrap_distances(rows, reference, replicates=replicates, seed=seed)
    bias = float(found.mean()) - estimate
    moved = found - bias
    low, high = np.quantile(moved, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(
        max(float(low), 0.0),
        float(high),
        level,
        tuple(map(float, moved)),
        0.0 if method != "bootstrap" else bias,
        method,
    )


def influence(rows: Array, reference: Moments) -> Array:
    """How much each image [n] pulls on the distance: its derivative towards that image, of mean zero.

    With S the covariance of the rows and R = L L^T that of the reference, and x an image without its mean,
    2 (mu - mu_R).x + x^T (I - L (L^T S L)^(-1/2) L^T) x, less its mean: the gradient of the distance between normal
    distributions in both arguments. Its variance over n is that of the distance to first order.
    """
    mean = rows.mean(axis=0)
    centred = rows - mean
    factor = cholesky_factor(reference)
    projected = centred @ (eigen_factor(reference) if factor is None else factor)
    values, vectors = np.linalg.eigh(projected.T @ projected / (len(rows) - 1))
    live = values > np.finfo(np.float64).eps * len(values) * values[-1]
    turned = (projected @ vectors[:, live]) / values[live] ** 0.25
    pull = 2.0 * centred @ (mean - reference.mu)
    pull += np.einsum("nd,nd->n", centred, centred) - np.einsum("nr,nr->n", turned, turned)
    centred_pull: Array = pull - pull.mean()
    return centred_pull


def _resampled_means(values: Array, replicates: int, seed: int) -> Array:
    """Means of values [n] drawn with repetition; replicate i depends on the seed and i only."""
    n = len(values)
    return np.array([values[np.random.default_rng([seed, i]).integers(0, n, n)].mean() for i in range(replicates)])


def bootstrap_distances(rows: Array, reference: Moments, *, replicates: int, seed: int) -> Array:
    """Distances [replicates] of resampled sets to the reference, each exactly that of the resampled images.

    Replicate i depends on the seed and i only.
    """
    n, d = rows.shape
    origin = rows.mean(axis=0)
    centred = rows - origin  # near the origin the weighted sums below lose no digits
    squares = np.einsum("nd,nd->n", centred, centred)
    reference_trace = float(np.trace(reference.cov))
    if n > d:
        factor = cholesky_factor(reference)
        projected = centred @ (eigen_factor(reference) if factor is None else factor)
    else:
        gram = centred @ reference.cov @ centred.T
    found = np.empty(replicates)
    for index in range(replicates):
        counts = np.bincount(np.random.default_rng([seed, index]).integers(0, n, n), minlength=n).astype(np.float64)
        drawn = np.flatnonzero(counts)
        weights = counts[drawn]
        mean = weights @ centred[drawn] / n
        trace = (float(weights @ squares[drawn]) - n * float(mean @ mean)) / (n - 1)
        if n > d:
            product = _weighted_cov(projected[drawn], weights)
        else:
            product = _weighted_gram(gram[np.ix_(drawn, drawn)], weights)
        values = np.asarray(np.linalg.eigvalsh(product), np.float64)
        root = sum_of_roots(values, len(values), trace * reference_trace)
        found[index] = combine(mean + origin, trace, reference.mu, reference_trace, root).value
    return found


def _weighted_cov(rows: Array, weights: Array) -> Array:
    """Covariance [r, r] of rows [k, r] that occur `weights` times."""
    n = weights.sum()
    centred = rows - weights @ rows / n
    product: Array = centred.T @ (centred * weights[:, None]) / (n - 1)
    return product


def _weighted_gram(gram: Array, weights: Array) -> Array:
    """[k, k], with the same positive eigenvalues as the covariance product, from inner products of uncentred rows."""
    n = weights.sum()
    mean = gram @ weights / n
    centred = gram - mean[:, None] - mean[None, :] + float(weights @ mean) / n
    roots = np.sqrt(weights / (n - 1))
    product: Array = centred * roots[:, None] * roots[None, :]
    return product


@dataclass(frozen=True)
class Extrapolation:
    """The line distance = value + slope / n."""

    value: float
    """At infinitely many images. May fall below 0 by its error when the distributions are equal."""
    slope: float
    standard_error: float
    """Of the value, by leaving out one block of images at a time."""
    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    """Mean distance at every size."""
    warnings: tuple[str, ...] = ()


def extrapolate(
    features: Tensor | ArrayLike,
    reference: Moments | Tensor | ArrayLike,
    *,
    blocks: int = 15,
    repeats: int | None = None,
    seed: int = 0,
) -> Extrapolation:
    """The distance at infinitely many images, from a line over 1/n (Chong & Forsyth 2020, section 4).

    The images [n, d] are dealt at random into `blocks`, and the distance is taken for the first 3, 4, ... of them,
    `repeats` times (4, or once for more than 256 features). Reference moments stay as they are, bias of the reference
    included; reference features [m, d] are cut down in step with the images, which takes the bias of both sides off.
    Moments of every block are computed once. Raises MeasurementError when a block would hold fewer than 2 images.
    """
    rows = as_rows(features)
    sides = [rows] if isinstance(reference, Moments) else [rows, as_rows(reference)]
    if blocks < 5 or min(len(side) for side in sides) < 2 * blocks:
        raise MeasurementError(
            f"a line over 1/n needs at least 5 blocks of 2 images, got {blocks} blocks of "
            f"{min(len(side) for side in sides)} images"
        )
    times = (4 if rows.shape[1] <= FEW_FEATURES else 1) if repeats is None else repeats
    dealt = [_deal(side, blocks, [seed, number]) for number, side in enumerate(sides)]
    fixed = reference if isinstance(reference, Moments) else None
    everything = list(range(blocks))
    value, slope, sizes, distances = _line(dealt, fixed, everything, times, seed)
    without = np.array([_line(dealt, fixed, _without(everything, each), times, seed)[0] for each in everything])
    error = float(np.sqrt((blocks - 1) / blocks * ((without - without.mean()) ** 2).sum()))
    smallest, d = sizes[0], rows.shape[1]
    warnings = (
        (f"the line starts at {smallest} images for {d} features; below twice as many images it is no line",)
        if smallest < 2 * d
        else ()
    )
    return Extrapolation(value, slope, error, tuple(sizes), tuple(distances), warnings)


def _deal(rows: NDArray[np.floating], blocks: int, seed: Sequence[int]) -> list[Moments]:
    order = np.random.default_rng(seed).permutation(len(rows))
    return [moments_of(rows[np.sort(part)]) for part in np.array_split(order, blocks)]


def _without(blocks: list[int], one: int) -> list[int]:
    return [each for each in blocks if each != one]


def _line(
    dealt: list[list[Moments]], fixed: Moments | None, chosen: list[int], repeats: int, seed: int
) -> tuple[float, float, list[int], list[float]]:
    """Intercept, slope, sizes and mean distances of the growing sets that the chosen blocks make."""
    distances: dict[int, list[float]] = {}
    inverse: dict[int, list[float]] = {}
    smallest = max(2, round(len(chosen) / 5))
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat, len(chosen)]).permutation(chosen)
        grown = [_growing([side[each] for each in order], smallest) for side in dealt]
        for number, sets in enumerate(zip(*grown, strict=True)):
            distance = frechet_distance(sets[0], fixed if fixed is not None else sets[1])
            distances.setdefault(number, []).append(distance.raw)
            inverse.setdefault(number, []).append(1.0 / _count(sets[0]))
    x = np.array([np.mean(each) for each in inverse.values()])
    y = np.array([np.mean(each) for each in distances.values()])
    slope, value = np.polyfit(x, y, 1)
    return float(value), float(slope), [round(1.0 / each) for each in x], [float(each) for each in y]


def _growing(parts: list[Moments], smallest: int) -> list[Moments]:
    """Moments of the first `smallest` parts, of one more, and so on to all of them."""
    grown = [merged(parts[:smallest])]
    for part in parts[smallest:]:
        grown.append(merged([grown[-1], part]))
    return grown


def _count(moments: Moments) -> int:
    assert moments.n is not None  # they were made here, from images
    return moments.n


def real_floor(held_out: Tensor | ArrayLike, reference: Moments, *, images: int, seed: int = 0) -> tuple[float, int]:
    """Distance of real images of another split to the reference, and how many there were.

    Takes `images` of the held-out features [n, d] at random, or all where there are fewer. A value of that many
    generated images against the same reference cannot be told from real images below it.
    """
    rows = as_rows(held_out)
    n = min(images, len(rows))
    drawn = np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False))
    return frechet_to_moments(rows[drawn], reference).value, n
