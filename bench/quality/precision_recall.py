"""How much of the generated set looks real, and how much of the real set is covered.

precision   part of the generated images inside a ball of a real one           (Kynkäänniemi et al. 2019)
recall      part of the real images inside a ball of a generated one
density     how many real balls hold a generated image, on average, over k     (Naeem et al. 2020; may exceed 1)
coverage    part of the real images whose ball holds a generated one

The ball of an image reaches to its k-th nearest other image of its own set, and holds its surface. Distances are
computed tile by tile in float64, so memory does not grow with the number of pairs. Sets of different size change
recall and coverage: compare at equal n. Shape legend: n generated and m real images, d features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import MeasurementError
from bench.quality.moments import Array, as_rows, check_features

if TYPE_CHECKING:
    from torch import Tensor

Rows: TypeAlias = NDArray[np.floating]

TILE = 2048
"""Images on each side of a tile of distances: 32 MiB in float64."""


@dataclass(frozen=True)
class PrecisionRecall:
    precision: float
    recall: float
    density: float
    coverage: float
    neighbours: int
    """k: which nearest image sets the radius of a ball."""


def precision_recall(
    generated: Tensor | ArrayLike, real: Tensor | ArrayLike, *, neighbours: int = 3
) -> PrecisionRecall:
    """All four from features [n, d] and [m, d]. Takes three passes over pairs of images: n², m² and n m distances.

    Raises MeasurementError when a set has no more images than neighbours, or the features cannot be compared.
    """
    fakes, reals = as_rows(generated), as_rows(real)
    if fakes.shape[1] != reals.shape[1]:
        raise MeasurementError(f"features are {fakes.shape[1]} wide in one set and {reals.shape[1]} in the other")
    if neighbours < 1 or min(len(fakes), len(reals)) <= neighbours:
        raise MeasurementError(
            f"the {neighbours}th nearest other image needs more than {neighbours} images in each set, "
            f"got {len(fakes)} and {len(reals)}"
        )
    # Distances do not change with the origin; near it, their rounding is smallest.
    origin = np.asarray(reals.mean(axis=0, dtype=np.float64), np.float64)
    fake_radius, real_radius = (squared_radii(rows, neighbours, origin) for rows in (fakes, reals))
    in_real, covers, covered = np.zeros(len(fakes)), np.zeros(len(reals), bool), np.zeros(len(reals), bool)
    for rows, columns, squared in _tiles(fakes, reals, origin):
        inside = squared <= real_radius[columns]
        in_real[rows] += inside.sum(axis=1)
        covers[columns] |= inside.any(axis=0)
        covered[columns] |= (squared <= fake_radius[rows, None]).any(axis=0)
    return PrecisionRecall(
        precision=float((in_real > 0).mean()),
        recall=float(covered.mean()),
        density=float(in_real.mean() / neighbours),
        coverage=float(covers.mean()),
        neighbours=neighbours,
    )


def squared_radii(features: Tensor | ArrayLike, neighbours: int, origin: Array | None = None) -> Array:
    """Squared distance of every image to its k-th nearest other image [n]."""
    rows = as_rows(features)
    nearest = np.full((len(rows), neighbours), np.inf)
    for left, right, squared in _tiles(rows, rows, origin):
        if left == right:
            np.fill_diagonal(squared, np.inf)  # an image is not its own neighbour
        both = np.concatenate([nearest[left], squared], axis=1)
        nearest[left] = np.partition(both, neighbours - 1, axis=1)[:, :neighbours]
    radii: Array = nearest.max(axis=1)
    return radii


def _tiles(a: Rows, b: Rows, origin: Array | None) -> Iterator[tuple[slice, slice, Array]]:
    """Squared distances [rows, columns], one tile at a time."""
    offset = 0.0 if origin is None else origin
    for row in range(0, len(a), TILE):
        left = check_features(a[row : row + TILE], f"images {row}..") - offset
        left_norm = np.einsum("nd,nd->n", left, left)[:, None]
        for column in range(0, len(b), TILE):
            right = check_features(b[column : column + TILE], f"images {column}..") - offset
            squared = left @ right.T
            squared *= -2.0
            squared += left_norm
            squared += np.einsum("nd,nd->n", right, right)
            yield slice(row, row + len(left)), slice(column, column + len(right)), np.maximum(squared, 0.0, out=squared)
