"""pytorch-fid as an oracle: its own formula and its own files, on any SciPy.

pytorch-fid 0.3 asks `scipy.linalg.sqrtm` for two results with `disp=False`, an argument that SciPy 1.18 no longer has.
Inside `pytorch_fid_at_work` that call is answered as before, by SciPy's own square root; nothing else is replaced, and
SciPy itself is left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _square_root(matrix: Array, disp: bool = True) -> Any:
    """`sqrtm` as it was: the root, and with disp=False an estimate of its error too, which pytorch-fid drops."""
    root = scipy.linalg.sqrtm(matrix)
    return root if disp else (root, np.nan)


@contextmanager
def pytorch_fid_at_work() -> Iterator[Any]:
    """`pytorch_fid.fid_score`, able to take square roots, with SciPy's warnings of singular products silenced."""
    from pytorch_fid import fid_score

    with patch.object(fid_score, "linalg", SimpleNamespace(sqrtm=_square_root)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield fid_score


def pytorch_fid_distance(a: Array, b: Array) -> float:
    """pytorch-fid's distance of two sets of features [N, D]."""
    return pytorch_fid_of_moments(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))


def pytorch_fid_of_moments(mu_a: Array, cov_a: Array, mu_b: Array, cov_b: Array) -> float:
    """The same of their means [D] and covariances [D, D]."""
    with pytorch_fid_at_work() as fid_score:
        return float(fid_score.calculate_frechet_distance(mu_a, cov_a, mu_b, cov_b))


def pytorch_fid_of_folders(folders: Sequence[Path], batch_size: int = 10) -> float:
    """pytorch-fid's distance of two folders of pictures, by its own network on the CPU."""
    with pytorch_fid_at_work() as fid_score:
        paths = [str(folder) for folder in folders]
        return float(fid_score.calculate_fid_given_paths(paths, batch_size, "cpu", 2048, num_workers=0))
