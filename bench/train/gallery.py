"""The picture beside a checkpoint: samples drawn with it, so that anyone sees whether the training was enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from bench.contracts import Dataset, Denoiser, Restorer
from bench.diffusion.noise import NoiseStream, batch_noise
from bench.diffusion.parameterization import to_x0_eps
from bench.diffusion.restoring import as_denoiser
from bench.diffusion.samplers import build_ddpm
from bench.diffusion.schedule import build_schedule

ROWS, COLUMNS = 6, 10
"""Images in each grid; the first ones, never chosen."""
TIMESTEPS = 250
SEED = 0
SCALE = 2
"""Screen pixels for each pixel of an image, by repetition: nothing is smoothed."""
NOISE_LEVELS = (50, 150, 400)
"""Timesteps at which a restorer is shown."""
GAP = 12
LINE = 90
"""Grey of the line around each image."""


def draw_samples(denoiser: Denoiser, count: int = ROWS * COLUMNS) -> Tensor:
    """The first `count` samples of seed 0 by 250 steps of clipped DDPM: [count, C, H, W] in [-1, 1]."""
    schedule = build_schedule(denoiser.schedule)
    sampler = build_ddpm(denoiser.schedule, TIMESTEPS, "leading", "beta", True)
    network = cast(nn.Module, denoiser.network).eval()
    noise = NoiseStream(SEED, 0, count, denoiser.image_shape)

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        output = network(x_t, torch.full((len(x_t),), t))
        return to_x0_eps(output, x_t, schedule.alpha_bar(t), denoiser.prediction)

    with torch.inference_mode():
        return sampler(predict, noise.start(), noise.step).clamp(-1, 1)


def write_gallery(denoisers: Sequence[Denoiser], path: Path) -> Path:
    """One PNG with a grid of samples for each denoiser, side by side."""
    grids = [tile(draw_samples(denoiser)) for denoiser in denoisers]
    width = sum(grid.width for grid in grids) + GAP * (len(grids) - 1)
    sheet = Image.new(grids[0].mode, (width, max(grid.height for grid in grids)), "white")
    left = 0
    for grid in grids:
        sheet.paste(grid, (left, 0))
        left += grid.width + GAP
    sheet.save(path, optimize=True)
    return path


def write_restored(restorer: Restorer, data: Dataset, path: Path) -> Path:
    """One PNG of the first images of a data set: clean, then noisy and restored at each of three noise levels."""
    schedule = build_schedule(restorer.schedule)
    clean = data[0:COLUMNS]
    noise = batch_noise(SEED, 0, COLUMNS, "gallery", data.image_shape)
    denoiser = as_denoiser(restorer, data.image_shape)
    cast(nn.Module, denoiser.network).eval()
    rows = [clean]
    with torch.inference_mode():
        for t in NOISE_LEVELS:
            x_t = schedule.q_sample(clean, t, noise)
            rows += [x_t / schedule.alpha_bar(t) ** 0.5, denoiser.network(x_t, torch.full((COLUMNS,), t))]
    tile(torch.cat(rows).clamp(-1, 1)).save(path, optimize=True)
    return path


def tile(images: Tensor) -> Image.Image:
    """[rows * COLUMNS, C, H, W] in [-1, 1], C 1 or 3 -> one picture, row by row, a dark line between images."""
    count, channels = images.shape[:2]
    rows = count // COLUMNS
    assert count == rows * COLUMNS and channels in (1, 3)  # the callers above
    pixels = nn.functional.pad(((images + 1) * 127.5).round(), (1, 1, 1, 1), value=LINE).to(torch.uint8)
    height, width = pixels.shape[2:]
    grid = pixels.reshape(rows, COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    array = (
        grid.reshape(rows * height, COLUMNS * width, channels).repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1)
    )
    return Image.fromarray(array[..., 0].numpy() if channels == 1 else array.numpy())
