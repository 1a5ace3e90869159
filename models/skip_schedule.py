"""k(t): how many of the deepest levels are skipped at a timestep. Plain arithmetic, no torch.

Source: Giladi et al., eq. (1): k(t) = min(N - 1, floor(N - N (1 - t)^c)), t in [0, 1].
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from fractions import Fraction
from functools import lru_cache

from bench.errors import ParamError

MOST_EXPONENT = 1000
"""Beyond it every timestep but 0 of any chain in use skips all it can, and exact powers take long."""
UNSURE = 1e-9
"""Farther from a whole number than this, a double knows on which side it is: at c = 1000 it is off by some 1e-12."""


def num_skipped_levels(t: int, *, num_levels: int, skip_exponent: float, num_train_timesteps: int = 1000) -> int:
    """k(t) for an integer timestep t in 0..num_train_timesteps-1.

    Where a whole exponent puts N - N (1 - t)^c so near to a whole number that rounding could decide, it is decided in
    exact rational arithmetic, so no boundary depends on rounding. c = 0 skips nothing. Raises ParamError for c < 0,
    c above 1000, N < 1 or t outside the chain.
    """
    if not 0 <= skip_exponent <= MOST_EXPONENT or num_levels < 1:
        raise ParamError(
            f"skip_exponent must be between 0 and {MOST_EXPONENT} and num_levels >= 1, "
            f"got {skip_exponent} and {num_levels}"
        )
    if not 0 <= t < num_train_timesteps:
        raise ParamError(f"timestep {t} is outside 0..{num_train_timesteps - 1}")
    kept: float = num_levels * ((num_train_timesteps - t) / num_train_timesteps) ** skip_exponent
    skipped = num_levels - kept
    if abs(skipped - round(skipped)) < UNSURE and skip_exponent == int(skip_exponent):
        clean = 1 - Fraction(t, num_train_timesteps)
        return min(num_levels - 1, math.floor(num_levels - num_levels * clean ** int(skip_exponent)))
    return min(num_levels - 1, math.floor(skipped))


@lru_cache(maxsize=64)
def skip_table(num_levels: int, skip_exponent: float, num_train_timesteps: int = 1000) -> tuple[int, ...]:
    """k(t) for every t of the chain: entry t is k(t)."""
    boundaries = skip_boundaries(num_levels, skip_exponent, num_train_timesteps)
    return tuple(bisect_right(boundaries, t) for t in range(num_train_timesteps))


@lru_cache(maxsize=16_384)
def skip_boundaries(num_levels: int, skip_exponent: float, num_train_timesteps: int = 1000) -> tuple[int, ...]:
    """First timestep with k >= 1, k >= 2, ..., k >= N - 1; num_train_timesteps where a depth is never reached.

    k(t) never falls, so each is found by halving: a suite may plan with thousands of exponents.
    """
    chain = range(num_train_timesteps)

    def depth_at(t: int) -> int:
        return num_skipped_levels(
            t, num_levels=num_levels, skip_exponent=skip_exponent, num_train_timesteps=num_train_timesteps
        )

    return tuple(bisect_left(chain, depth, key=depth_at) for depth in range(1, num_levels))
