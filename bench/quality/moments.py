"""Mean and covariance of features, gathered in one pass and in memory that does not grow with the images.

Shape legend: n images, d features. Everything is float64 whatever the features are; `cov` has n - 1 below the line.
Batches and shards are joined by the pairwise update of Chan, Golub & LeVeque 1979, which centres every batch on its
own mean, so that any split of the same features gives the same moments to about 1e-12 relative.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.data.names import shown_name
from bench.errors import MeasurementError, NonFiniteOutput, StoreError, UserError
from bench.quality.arrays import Arrays, read_arrays, write_arrays

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = NDArray[np.float64]

BLOCK_ROWS = 1024
"""Rows converted to float64 at a time."""
MAX_FEATURES = 4096
"""Widest features read from a file: a covariance of 128 MiB. A larger one is a mistake or an attack."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What the Fréchet distance needs to know of a set of images."""

    n: int | None
    """Images behind the moments; None when a file from elsewhere does not say."""
    mu: Array
    """[d]"""
    cov: Array
    """[d, d], symmetric, unbiased (zero when n is 1)."""
    features: str = ""
    """Name of the feature network."""
    recipe: str = ""
    """Fingerprint of the feature recipe: moments of two recipes must not meet."""
    source: str = ""
    """Which images, in words."""

    @property
    def d(self) -> int:
        return len(self.mu)


class RunningMoments:
    """Moments of everything added so far.

    Holds one [d] and one [d, d] array however many images pass through.
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean: Array | None = None
        self._scatter: Array | None = None  # sum of (x - mean)(x - mean)^T

    def add(self, features: Tensor | ArrayLike) -> None:
        """Take in features [b, d]. Raises NonFiniteOutput or MeasurementError when they cannot be used."""
        rows = as_rows(features)
        for low in range(0, len(rows), BLOCK_ROWS):
            block = check_features(rows[low : low + BLOCK_ROWS], f"images {self.n}..")
            mean = block.mean(axis=0)
            centred = block - mean
            self._join(len(block), mean, centred.T @ centred)

    def merge(self, part: Moments) -> None:
        """Take in a shard. Raises MeasurementError when its recipe does not say how many images it holds."""
        if part.n is None:
            raise MeasurementError(f"moments of {part.source or 'unknown origin'} do not say n and cannot be merged")
        self._join(part.n, part.mu, part.cov * (part.n - 1))

    def result(self, features: str = "", recipe: str = "", source: str = "") -> Moments:
        """The moments so far. Raises MeasurementError before the first image."""
        if self._mean is None or self._scatter is None:
            raise MeasurementError(f"no images{f' in {source}' if source else ''}: moments need at least one")
        cov = self._scatter / max(self.n - 1, 1)
        return Moments(self.n, self._mean.copy(), cov, features, recipe, source)

    def _join(self, n: int, mean: Array, scatter: Array) -> None:
        if self._mean is None or self._scatter is None:
            self.n, self._mean, self._scatter = n, mean.copy(), scatter.copy()
            return
        if mean.shape != self._mean.shape:
            raise MeasurementError(f"features are {len(mean)} wide here and {len(self._mean)} wide before")
        total = self.n + n
        gap = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(gap * (self.n * n / total), gap)
        self._mean += gap * (n / total)
        self.n = total


def moments_of(features: Tensor | ArrayLike, name: str = "", recipe: str = "", source: str = "") -> Moments:
    """Moments of features [n, d] that are already in memory."""
    running = RunningMoments()
    running.add(features)
    return running.result(name, recipe, source)


def merged(parts: Iterable[Moments]) -> Moments:
    """The moments of all shards together. Raises MeasurementError when their recipes or features differ."""

    def join(running: RunningMoments, part: Moments) -> RunningMoments:
        running.merge(part)
        return running

    shards = tuple(parts)
    kinds = {(part.features, part.recipe) for part in shards}
    if len(kinds) > 1:
        raise MeasurementError(f"shards of different recipes cannot be merged: {sorted(kinds)}")
    name, recipe = kinds.pop() if kinds else ("", "")
    return reduce(join, shards, RunningMoments()).result(name, recipe, shards[0].source if shards else "")


def as_rows(features: Tensor | ArrayLike) -> NDArray[np.floating]:
    """Features as a numpy array [n, d], without a copy where none is needed."""
    if hasattr(features, "detach"):  # a tensor, without importing torch
        features = features.detach().cpu().numpy()
    rows = np.asarray(features)
    if rows.ndim != 2:
        raise MeasurementError(f"features must be [n, d], got the shape {rows.shape}")
    return rows


def check_features(features: Tensor | ArrayLike, where: str) -> Array:
    """Features [n, d] as finite float64. Raises NonFiniteOutput naming the first bad image."""
    rows = as_rows(features).astype(np.float64)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise NonFiniteOutput(
            f"{where}: features of {int(bad.sum())} of {len(rows)} images are NaN or infinite, "
            f"first image {int(np.flatnonzero(bad)[0])}"
        )
    return rows


def save_moments(path: Path, moments: Moments) -> None:
    """Write an .npz that pytorch-fid reads too (`mu`, `sigma`), with n, recipe and source beside; whole or not at all.

    Raises SaveError when the disk does not take it.
    """
    write_arrays(path, moments_to_arrays(moments))


def moments_to_arrays(moments: Moments) -> Arrays:
    """What `save_moments` writes."""
    arrays = {
        "mu": moments.mu,
        "sigma": moments.cov,
        "n": np.int64(-1 if moments.n is None else moments.n),
        "d": np.int64(moments.d),
        "dtype": np.str_(moments.cov.dtype),
        "features": np.str_(moments.features),
        "recipe": np.str_(moments.recipe),
        "source": np.str_(moments.source),
    }
    return {name: np.asarray(value) for name, value in arrays.items()}


def load_moments(path: Path) -> Moments:
    """Moments from an .npz, ours or pytorch-fid's (which does not say n).

    Raises UserError when the file is missing, StoreError when it is damaged, of more than MAX_FEATURES features, holds
    pickles or is no covariance.
    """
    try:
        arrays = read_arrays(path, max_bytes=MAX_FEATURES**2 * 8, names=_KEYS)
    except FileNotFoundError as error:
        raise UserError(f"{shown_name(path)}: no such statistics file") from error
    try:
        return moments_from_arrays(arrays)
    except StoreError as error:
        raise StoreError(f"{shown_name(path)}: {error}") from error


def moments_from_arrays(arrays: Arrays) -> Moments:
    """The moments that `moments_to_arrays` gave, or pytorch-fid wrote. Raises StoreError when they are none."""
    missing = {"mu", "sigma"} - set(arrays)
    if missing:
        raise StoreError(f"no {' and no '.join(sorted(missing))} in it; expected mu [d] and sigma [d, d]")
    return _checked(arrays)


_KEYS = {"mu", "sigma", "n", "d", "dtype", "features", "recipe", "source"}


def _checked(arrays: Arrays) -> Moments:
    for name in ("mu", "sigma"):
        if arrays[name].dtype.kind != "f":
            raise StoreError(f"{name} holds {arrays[name].dtype}, expected floating-point numbers")
    mu, cov = arrays["mu"].astype(np.float64, copy=False), arrays["sigma"].astype(np.float64, copy=False)
    if mu.ndim != 1 or cov.shape != (len(mu), len(mu)) or not 0 < len(mu) <= MAX_FEATURES:
        raise StoreError(
            f"mu {mu.shape} and sigma {cov.shape} do not fit; expected [d] and [d, d], d at most {MAX_FEATURES}"
        )
    if not (np.isfinite(mu).all() and np.isfinite(cov).all()):
        raise StoreError("the moments hold NaN or infinity")
    # Row by row: a difference of the whole would take the memory of the matrix once more.
    scale = max(float(cov.max()), -float(cov.min()))
    skewed = max(float(np.abs(row - column).max()) for row, column in zip(cov, cov.T, strict=True))
    if skewed > 1e-5 * scale or float(np.diagonal(cov).min()) < -1e-6 * scale:
        raise StoreError("sigma is not a covariance (not symmetric, or negative on its diagonal)")
    words = {name: _word(arrays[name]) if name in arrays else "" for name in ("features", "recipe", "source")}
    return Moments(_count(arrays.get("n")), mu, cov, **words)


def _word(array: NDArray[Any]) -> str:
    return shown_name(str(array)) if array.dtype.kind == "U" and array.shape == () else ""


def _count(array: NDArray[Any] | None) -> int | None:
    """n, where the file says it."""
    if array is None or array.shape != () or array.dtype.kind not in "iu":
        return None
    return int(array) if array > 0 else None
