"""The models that ship with `bench`, and the door for checkpoints from elsewhere. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bench.contracts import Denoiser, Value

__all__ = ["load_checkpoint"]


def load_checkpoint(
    path: str | Path, model: str = "skip-unet", format: str | None = None, *, ema: bool | None = None, **params: Value
) -> Denoiser:
    """A checkpoint from elsewhere as a Denoiser; see `bench.models.checkpoints.load.load_checkpoint`."""
    from bench.models.checkpoints.load import load_checkpoint

    return load_checkpoint(path, model, format, ema=ema, **params)
