"""Which of the training timesteps a walk visits. "30 steps" means five different things; each has a name here.

Free of torch, so that a plan can count network calls without it.
"""

from __future__ import annotations

import math
from typing import Literal

from bench.errors import ParamError

Spacing = Literal["leading", "trailing", "linspace", "ddim_uniform", "ddim_quad"]

QUAD_REACH = 0.8
"""ddim_quad stops at this fraction of the chain."""


def spaced_timesteps(spacing: Spacing, timesteps: int, num_train_timesteps: int) -> tuple[int, ...]:
    """The timesteps the network is called at, descending; the returned tuple is the truth about how many there are.

    With T training timesteps and n asked for, ascending:

    leading       0, r, 2r, .., (n-1) r with r = T // n. Exactly n; the last r - 1 or more timesteps are never visited.
    trailing      round(T - i T/n) - 1: exactly n, from T - 1 down, and 0 only when n = T.
    linspace      round(i (T-1)/(n-1)): exactly n, both ends included; n = 1 is timestep 0.
    ddim_uniform  range(0, T, T // n): leading without a stop at n, so 30 of 1000 gives 31 and 256 gives 334.
    ddim_quad     int(linspace(0, sqrt(0.8 T), n)^2): exactly n, dense near 0, up to 0.8 T. Contains duplicates (13 of
                  200, 312 of 1000): they are kept, because the network is called at each of them; a step from t to t
                  leaves the iterate as it is.

    Sources: leading, trailing and linspace as in diffusers (rounding half to even, no offset); the ddim pair as in
    Song et al. 2020, appendix D.3, and their published commands.
    Raises ParamError unless 1 <= timesteps <= num_train_timesteps.
    """
    n, total = timesteps, num_train_timesteps
    if not 1 <= n <= total:
        raise ParamError(f"timesteps must be between 1 and the {total} training timesteps, got {n}")
    if spacing == "leading":
        ascending = [i * (total // n) for i in range(n)]
    elif spacing == "trailing":
        stride = (total - total / n) - total  # rounded as numpy's arange rounds it, which decides the halves
        ascending = [round(total + i * stride) - 1 for i in reversed(range(n))]
    elif spacing == "linspace":
        ascending = [round(value) for value in _linspace(float(total - 1), n)]
    elif spacing == "ddim_uniform":
        ascending = list(range(0, total, total // n))
    elif spacing == "ddim_quad":
        # The square of a rounded root may land a hair above T - 1 only if T is tiny; the cap keeps it inside.
        ascending = [min(int(root**2), total - 1) for root in _linspace(math.sqrt(total * QUAD_REACH), n)]
    else:
        raise ParamError(f"spacing: expected leading, trailing, linspace, ddim_uniform or ddim_quad, got {spacing!r}")
    return tuple(reversed(ascending))


def chain_timesteps(t_start: int, stride: int, num_train_timesteps: int) -> tuple[int, ...]:
    """Every stride-th timestep of the training chain, descending, from where t_start steps of noise end.

    t_start steps of noise end at timestep t_start - 1 of 0..T-1, so with stride 1 there are exactly t_start timesteps,
    the last of them 0. Raises ParamError unless 1 <= t_start <= T and stride is at least 1.
    """
    if not 1 <= t_start <= num_train_timesteps:
        raise ParamError(f"t_start must be between 1 and the {num_train_timesteps} training timesteps, got {t_start}")
    if stride < 1:
        raise ParamError(f"stride must be at least 1, got {stride}")
    return tuple(range(t_start - 1, -1, -stride))


def _linspace(end: float, count: int) -> list[float]:
    """`count` numbers from 0 to `end`, rounded as numpy rounds them; only 0 when count is 1."""
    if count == 1:
        return [0.0]
    step = end / (count - 1)
    return [*(i * step for i in range(count - 1)), end]
