"""The first samples of a cell as one picture, so that a number can be looked at."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.contracts import Measurement
from bench.data.grid import image_grid, save_png
from bench.errors import MeasurementError, ParamError
from bench.quality.generate import samples_of
from bench.quality.judging import MAX_PIXELS
from bench.quality.kernels import made_elsewhere
from bench.quality.recipe import digest
from bench.subject import Subject


def sample_grid(subject: Subject, *, images: int, columns: int, scale: int) -> Iterator[Measurement]:
    """One PNG of the samples 0..images-1, row by row, each pixel repeated `scale` times in both directions.

    The value is the number of images drawn; at.sample_hash is a hash of their values. Raises ParamError for sizes that
    no page could show.
    """
    channels, height, width = subject.denoiser.image_shape
    if images < 1 or columns < 1 or scale < 1:
        raise ParamError(f"images, columns and scale must be at least 1, got {images}, {columns} and {scale}")
    pixels = -(-images // columns) * columns * (height + 2) * (width + 2) * scale**2
    if pixels > MAX_PIXELS:
        raise ParamError(
            f"{images} images of {width}x{height} at scale {scale} are {pixels:,} pixels, at most {MAX_PIXELS:,} are "
            "drawn; ask for fewer images or a smaller scale"
        )
    if channels not in (1, 3):
        raise MeasurementError(f"images of {channels} channels are neither grey nor colour; no picture shows them")
    shards = list(samples_of(subject).first(images))
    hashes = [each for shard in shards for each in shard.hashes]
    drawn = torch.cat([shard.images for shard in shards])
    sample_hash = digest(hashes)
    name = f"artifacts/samples-{digest([subject.cell.id if subject.cell else '', sample_hash, columns, scale])}.png"
    save_png(image_grid(drawn, columns, scale), subject.workspace.run_dir / name, root=subject.workspace.run_dir)
    copies = images - len(set(hashes))
    elsewhere = made_elsewhere({shard.made_by for shard in shards}, subject.device.type)
    warnings = (*([f"{copies} of {images} samples are copies of others"] if copies else []), *elsewhere)
    at = {"sample_hash": sample_hash}
    yield Measurement("samples", "images", (float(len(drawn)),), at, artifact=name, warnings=warnings)
