"""The Fréchet distance between two sets of features, each taken as a normal distribution.

d² = |mu_a - mu_b|² + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))          (Dowson & Landau 1982; FID: Heusel et al. 2017)

The last trace is a sum of singular values, never a matrix square root: with C = F F^T for any factor F, it is the
nuclear norm of F_a^T F_b. The factor is chosen by what is cheap and well conditioned:

    features, min(n) <= d     F = centred images / sqrt(n - 1): an n x n problem, no covariance is formed
    moments, one full rank    Cholesky of that side, eigenvalues of L^T C L
    moments, none full rank   eigenvectors of the side with fewer images

The rank is known from n, so rounding noise in the null space (whose square roots are 1e-8 instead of 1e-16 and
add up to some 1e-6 of the result in methods that keep them) is left out. Shape legend: n images, d features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from bench.errors import MeasurementError
from bench.quality.moments import Array, Moments, as_rows, check_features, moments_of

if TYPE_CHECKING:
    from torch import Tensor

NEGATIVE_TOLERANCE = 1e-6
"""Eigenvalues and distances below zero by at most this part of the trace are rounding; below that, an error."""

ROOT_TOLERANCE = 1e-8
"""Part of a sum of square roots that rounding may decide before a more exact way is taken."""
BLOCK = 128
"""Columns of a triangular product that are computed together."""
SPREAD_OF_ROUNDING = 3e-7
"""Features that vary by no more than this part of their size vary by float32 rounding: the images are all alike."""


class FrechetDistance(NamedTuple):
    """The distance and where it comes from."""

    value: float
    """The squared distance d², at least 0. This is the number that is called FID for Inception features."""
    raw: float
    """The same before tiny negative values were set to 0."""
    mean_part: float
    """|mu_a - mu_b|²"""
    cov_part: float
    """tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))"""


def frechet_distance(a: Moments, b: Moments) -> FrechetDistance:
    """Fréchet distance of two sets from their moments.

    Raises MeasurementError, with a sentence, for recipes that differ, fewer than two images, images that are all
    alike, and covariances that are none.
    """
    check_comparable(a, b)
    fuller, other = (a, b) if _rank(a) >= _rank(b) else (b, a)
    rank, scale = min(_rank(a), _rank(b)), float(np.trace(a.cov)) * float(np.trace(b.cov))
    values = _eigenvalues_of_product(other.cov, fuller.cov) if _rank(fuller) == fuller.d else None
    if values is None:
        factor = eigen_factor(other)  # fewer images: fewer eigenvectors to carry
        values = _eigenvalues(factor.T @ fuller.cov @ factor)
    root = sum_of_roots(values, rank, scale)
    return combine(a.mu, float(np.trace(a.cov)), b.mu, float(np.trace(b.cov)), root)


def frechet_of_features(a: Tensor | ArrayLike, b: Tensor | ArrayLike) -> FrechetDistance:
    """Fréchet distance of two sets from their features [n, d] and [m, d].

    Where a set has no more images than features its images are the factor, and the problem is n x n: far cheaper
    and more accurate than d x d. Raises MeasurementError as `frechet_distance` does.
    """
    first, second = as_rows(a), as_rows(b)
    if first.shape[1] != second.shape[1]:
        raise MeasurementError(f"features are {first.shape[1]} wide in one set and {second.shape[1]} in the other")
    small, large = (first, second) if len(first) <= len(second) else (second, first)
    if len(small) > small.shape[1]:
        return frechet_distance(moments_of(first), moments_of(second))
    mean_small, rows_small = centred(small)
    if len(large) > large.shape[1]:
        moments = moments_of(large)
        mean_large, trace_large = moments.mu, float(np.trace(moments.cov))
        _check_spread(trace_large, mean_large, len(large))
        root = _root_from_rows(rows_small, moments.cov, trace_large)
    else:
        mean_large, rows_large = centred(large)
        trace_large = float(np.vdot(rows_large, rows_large))
        root = _nuclear_norm(rows_small @ rows_large.T, len(rows_small) - 1)
    return combine(mean_small, float(np.vdot(rows_small, rows_small)), mean_large, trace_large, root)


def frechet_to_moments(features: Tensor | ArrayLike, reference: Moments) -> FrechetDistance:
    """Fréchet distance of features [n, d] to reference moments; n x n when n <= d."""
    rows = as_rows(features)
    if rows.shape[1] != reference.d:
        raise MeasurementError(f"features are {rows.shape[1]} wide, the reference's {reference.d}")
    if len(rows) > rows.shape[1]:
        return frechet_distance(moments_of(rows), reference)
    mean, scaled = centred(rows)
    trace = float(np.trace(reference.cov))
    _check_spread(trace, reference.mu, reference.n, reference.source)
    root = _root_from_rows(scaled, reference.cov, trace, _rank(reference))
    return combine(mean, float(np.vdot(scaled, scaled)), reference.mu, trace, root)


def centred(features: Tensor | ArrayLike) -> tuple[Array, Array]:
    """Mean [d] and the factor (x - mean) / sqrt(n - 1) [n, d], whose square is the covariance.

    Raises MeasurementError for fewer than two images or images that are all alike, NonFiniteOutput for NaN.
    """
    rows = check_features(features, "features")
    if len(rows) < 2:
        raise MeasurementError(f"a Fréchet distance needs at least 2 images on each side, got {len(rows)}")
    mean = rows.mean(axis=0)
    rows -= mean
    rows /= np.sqrt(len(rows) - 1)
    _check_spread(float(np.vdot(rows, rows)), mean, len(rows))
    return mean, rows


def cholesky_factor(moments: Moments) -> Array | None:
    """L [d, d] with L L^T = cov, or None when the covariance is not positive definite."""
    try:
        return np.asarray(np.linalg.cholesky(moments.cov), np.float64)
    except np.linalg.LinAlgError:
        return None


def eigen_factor(moments: Moments) -> Array:
    """F [d, r] with F F^T = cov from its r largest eigenvalues, r the rank that n images can have."""
    values, vectors = np.linalg.eigh(moments.cov)
    floor = -NEGATIVE_TOLERANCE * max(float(values.sum()), 0.0)
    if values[0] < floor:
        raise MeasurementError(
            f"covariance of {moments.source or 'the features'} has the eigenvalue {values[0]:.3g}: it is no covariance"
        )
    keep = slice(len(values) - _rank(moments), None)
    factor: Array = vectors[:, keep] * np.sqrt(np.clip(values[keep], 0.0, None))
    return factor


def sum_of_roots(values: Array, rank: int, scale: float) -> float:
    """Sum of the square roots of the `rank` largest of the ascending eigenvalues [k] of a covariance product.

    scale: size of the terms the product was made of; values below -1e-6 of it raise MeasurementError.
    """
    if values[0] < -NEGATIVE_TOLERANCE * scale:
        raise MeasurementError(
            f"the product of the covariances has the eigenvalue {values[0]:.3g} where rounding explains "
            f"{-NEGATIVE_TOLERANCE * scale:.1g} at most: one of them is no covariance"
        )
    return float(np.sqrt(np.clip(values[max(len(values) - rank, 0) :], 0.0, None)).sum())


def combine(mean_a: Array, trace_a: float, mean_b: Array, trace_b: float, root: float) -> FrechetDistance:
    """The distance from its terms. Raises MeasurementError when it is negative beyond rounding."""
    gap = mean_a - mean_b
    mean_part = float(gap @ gap)
    cov_part = trace_a + trace_b - 2.0 * root
    raw = mean_part + cov_part
    if not np.isfinite(raw):
        raise MeasurementError(f"the Fréchet distance came out as {raw}: the features are too large for float64")
    if raw < -NEGATIVE_TOLERANCE * (trace_a + trace_b):
        raise MeasurementError(f"the Fréchet distance came out as {raw:.3g}, below zero by more than rounding")
    return FrechetDistance(max(raw, 0.0), raw, mean_part, cov_part)


def check_comparable(a: Moments, b: Moments) -> None:
    """Raises MeasurementError unless a distance between the two means something."""
    if a.d != b.d:
        raise MeasurementError(
            f"features are {a.d} wide in {a.source or 'one set'}, {b.d} in {b.source or 'the other'}"
        )
    for what, left, right in (("features", a.features, b.features), ("recipes", a.recipe, b.recipe)):
        if left and right and left != right:
            raise MeasurementError(f"{what} differ: {left} and {right}; a distance between them means nothing")
    for side in (a, b):
        if side.n is not None and side.n < 2:
            raise MeasurementError(
                f"a Fréchet distance needs at least 2 images on each side, got {side.n} in {side.source or 'one set'}"
            )
        _check_spread(float(np.trace(side.cov)), side.mu, side.n, side.source)


def _check_spread(trace: float, mean: Array, n: int | None, source: str = "") -> None:
    if not np.isfinite(trace):
        raise MeasurementError(f"the covariance of {source or 'the features'} is not finite")
    if trace <= SPREAD_OF_ROUNDING**2 * float(mean @ mean):
        raise MeasurementError(
            f"all {'' if n is None else f'{n} '}images of {source or 'one set'} have the same features; "
            "constant images have no distribution to compare"
        )


def _eigenvalues(symmetric: Array) -> Array:
    """Ascending eigenvalues [k]."""
    return np.asarray(np.linalg.eigvalsh(symmetric), np.float64)


def _eigenvalues_of_product(cov: Array, definite: Array) -> Array | None:
    """Ascending eigenvalues [d] of cov @ definite, or None when `definite` is not positive definite."""
    try:
        lower = scipy.linalg.cholesky(definite.T, lower=True, check_finite=False)  # column order spares a copy
    except np.linalg.LinAlgError:
        return None
    product = _congruence(lower, cov)
    values = scipy.linalg.eigvalsh(product, lower=True, driver="ev", overwrite_a=True, check_finite=False)
    return np.asarray(values, np.float64)


def _congruence(lower: Array, cov: Array) -> Array:
    """The lower triangle of L^T C L [d, d], block by block: a quarter of the work of two products."""
    d = len(lower)
    product = np.zeros((d, d), order="F")
    for column in range(0, d, BLOCK):
        stop = column + BLOCK
        right = cov[column:, column:] @ lower[column:, column:stop]  # L is zero above its diagonal
        for row in range(column, d, BLOCK):
            product[row : row + BLOCK, column:stop] = lower[row:, row : row + BLOCK].T @ right[row - column :]
    return product


def _nuclear_norm(product: Array, rank: int) -> float:
    """Sum of the singular values of a matrix [n, m] of at most the given rank.

    From the eigenvalues of its square, twice as fast as singular values, unless so many are so small that their
    square roots would be rounding: duplicated images and dead features do that.
    """
    square = product @ product.T if len(product) <= product.shape[1] else product.T @ product
    values = np.clip(_eigenvalues(square)[max(len(square) - rank, 0) :], 0.0, None)
    roots = np.sqrt(values)
    rounding = np.finfo(np.float64).eps * values[-1]
    doubt = np.minimum(np.sqrt(rounding), rounding / np.maximum(roots, np.finfo(np.float64).tiny)).sum()
    if doubt <= ROOT_TOLERANCE * roots.sum():
        return float(roots.sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _root_from_rows(rows: Array, cov: Array, trace: float, rank: int | None = None) -> float:
    """tr((C_rows C)^(1/2)) with C_rows = rows^T rows: the eigenvalues of rows C rows^T, [n, n]."""
    own = min(len(rows) - 1, rank if rank is not None else len(cov))
    return sum_of_roots(_eigenvalues(rows @ cov @ rows.T), own, float(np.vdot(rows, rows)) * trace)


def _rank(moments: Moments) -> int:
    """The largest rank the covariance can have: n images span n - 1 directions."""
    return moments.d if moments.n is None else min(moments.n - 1, moments.d)
