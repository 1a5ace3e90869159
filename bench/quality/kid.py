"""Kernel distance between two sets of features: the unbiased squared maximum mean discrepancy, over random subsets.

KID is this number for Inception features (Bińkowski et al. 2018): kernel (x.y / d + 1)^3, the mean over subsets of
the unbiased estimator, with the spread over subsets beside it. Unlike the Fréchet distance it has no bias in the
number of images, so a value slightly below zero is right for two equal distributions and is not clamped.

Shape legend: n, m images, s images in a subset, d features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import MeasurementError
from bench.quality.moments import Array, as_rows, check_features

if TYPE_CHECKING:
    from torch import Tensor

Indices: TypeAlias = NDArray[np.intp]

DEGREE = 3
COEF0 = 1.0


@dataclass(frozen=True)
class Kid:
    """The distance of every subset; their mean is the estimate."""

    values: tuple[float, ...]
    subset_size: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Standard deviation over subsets. Not an error of the mean: subsets share images."""
        return float(np.std(self.values))


def kid(
    a: Tensor | ArrayLike, b: Tensor | ArrayLike, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Kid:
    """KID of features [n, d] and [m, d] over seeded random subsets.

    Raises MeasurementError when a set has fewer images than a subset, or the features cannot be compared.
    """
    n, m = len(as_rows(a)), len(as_rows(b))
    return kid_over(a, b, draw_subsets(n, m, subsets, subset_size, seed))


def kid_over(a: Tensor | ArrayLike, b: Tensor | ArrayLike, subsets: Iterable[tuple[Indices, Indices]]) -> Kid:
    """KID over given subsets, each a pair of image numbers into a and b."""
    first, second = as_rows(a), as_rows(b)
    if first.shape[1] != second.shape[1]:
        raise MeasurementError(f"features are {first.shape[1]} wide in one set and {second.shape[1]} in the other")
    pairs = list(subsets)
    values = tuple(
        polynomial_mmd2(check_features(first[left], "subset"), check_features(second[right], "subset"))
        for left, right in pairs
    )
    if not values:
        raise MeasurementError("KID needs at least one subset")
    return Kid(values, len(pairs[0][0]))


def draw_subsets(n: int, m: int, subsets: int, size: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of random subsets without repetition inside a subset. Subset i depends on the seed and i only."""
    if size < 2 or subsets < 1:
        raise MeasurementError(f"KID needs subsets of at least 2 images and one subset, got {subsets} of {size}")
    if min(n, m) < size:
        raise MeasurementError(f"a subset of {size} images does not fit into sets of {n} and {m}; lower subset_size")
    for index in range(subsets):
        draw = np.random.default_rng([seed, index])
        yield draw.choice(n, size, replace=False), draw.choice(m, size, replace=False)


def polynomial_mmd2(a: Array, b: Array) -> float:
    """Unbiased estimate of the squared MMD of features [s, d] and [s', d] under the kernel (x.y / d + 1)^3.

    Source: Gretton et al. 2012, eq. (3), with the kernel of Bińkowski et al. 2018.
    """
    within = _mean_off_diagonal(_kernel(a, a)) + _mean_off_diagonal(_kernel(b, b))
    return within - 2.0 * float(_kernel(a, b).mean())


def _kernel(a: Array, b: Array) -> Array:
    product = a @ b.T
    product /= a.shape[1]
    product += COEF0
    kernel: Array = product**DEGREE
    return kernel


def _mean_off_diagonal(kernel: Array) -> float:
    size = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (size * (size - 1)))
