"""Which images a network of a given depth can take."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import ParamError


class SizeError(ParamError, ValueError):
    """Images that the network's depth does not allow."""


def check_image_size(size: Sequence[int], depth: int, *, least_bottom: int = 1) -> None:
    """Raise SizeError unless an image of size (H, W) can be halved depth - 1 times, down to `least_bottom` pixels."""
    height, width = size
    factor = 1 << (depth - 1)
    if height < 1 or width < 1 or height % factor or width % factor:
        raise SizeError(
            f"a {height}x{width} image cannot be halved {depth - 1} times; "
            f"use sides that are multiples of {factor}, or a smaller depth"
        )
    if min(height, width) // factor < least_bottom:
        raise SizeError(
            f"a {height}x{width} image is {height // factor}x{width // factor} after {depth - 1} halvings, and an "
            f"instance norm there needs at least {least_bottom} pixels a side; use a smaller depth or larger images"
        )
