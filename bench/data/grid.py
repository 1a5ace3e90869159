"""Many images as one picture: the first ones in order, never chosen, nothing smoothed."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from bench.files import whole_file

LINE = 90
"""Grey of the line around each image."""
EMPTY = 255
"""Grey of the places behind the last image."""


def image_grid(images: Tensor, columns: int, scale: int = 1) -> Image.Image:
    """Row by row, a dark line around each image, every pixel repeated `scale` times in both directions.

    images: [N, C, H, W], C 1 or 3, in [-1, 1]; what lies outside is cut. The picture is grey or RGB, 8 bit.
    """
    count, channels, height, width = images.shape
    if channels not in (1, 3) or not count or columns < 1 or scale < 1:
        raise ValueError(f"no grid of {columns} columns and scale {scale} of images {tuple(images.shape)}")
    pixels = ((images.detach().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = nn.functional.pad(pixels, (1, 1, 1, 1), value=LINE)
    rows = -(-count // columns)
    height, width = height + 2, width + 2
    empty = torch.full((rows * columns - count, channels, height, width), EMPTY, dtype=torch.uint8)
    grid = torch.cat([pixels, empty]).reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * height, columns * width, channels)
    array = grid.repeat_interleave(scale, 0).repeat_interleave(scale, 1).numpy()
    return Image.fromarray(array[..., 0] if channels == 1 else array)


def save_png(picture: Image.Image, path: Path, *, root: Path | None = None) -> None:
    """Write a PNG of pixels and nothing else, whole or not at all: the same picture gives the same bytes.

    root: a folder that holds path; below it nothing is written through a link. Raises SaveError when the disk does not
    take it.
    """
    with whole_file(path, root=root) as file:
        picture.save(file, format="PNG", optimize=True)
