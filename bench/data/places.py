"""Where data sets lie on this machine. Free of torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from bench.errors import MissingData

Split = Literal["train", "test", "all"]

ROOT_VARIABLE = "BENCH_DATA"
DEFAULT_ROOT = "~/.cache/denoiser-bench/data"


def data_root(root: str | None = None) -> Path:
    """The folder data sets are looked for in: the argument, else $BENCH_DATA, else ~/.cache/denoiser-bench/data.

    An empty argument or variable counts as absent. The folder need not exist.
    """
    return Path(root or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser().absolute()


def first_existing(name: str, root: Path, candidates: tuple[str, ...], put: str) -> Path:
    """The first of the candidates, relative to the root, that exists.

    Raises MissingData naming the data set, every place looked at, and what to put where.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    looked = ", ".join(candidates)
    raise MissingData(
        f"{name}: not found in {root} (looked for {looked}); {put}, or point `root` or the environment variable "
        f"{ROOT_VARIABLE} at the folder that has it"
    )
