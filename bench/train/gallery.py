"""The picture beside a checkpoint: samples drawn with it, so that anyone sees whether the training was enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from bench.contracts import Dataset, Denoiser, Restorer
from bench.data.grid import image_grid, save_png
from bench.diffusion.network_output import checked_output
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


def draw_samples(denoiser: Denoiser, count: int = ROWS * COLUMNS) -> Tensor:
    """The first `count` samples of seed 0 by 250 steps of clipped DDPM: [count, C, H, W] in [-1, 1]."""
    schedule = build_schedule(denoiser.schedule)
    sampler = build_ddpm(denoiser.schedule, TIMESTEPS, "leading", "beta", True)
    network = cast(nn.Module, denoiser.network).eval()
    noise = NoiseStream(SEED, 0, count, denoiser.image_shape)

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        output = checked_output(network(x_t, torch.full((len(x_t),), t)), x_t)
        return to_x0_eps(output, x_t, schedule.alpha_bar(t), denoiser.prediction)

    with torch.inference_mode():
        return sampler(predict, noise.start(), noise.step).clamp(-1, 1)


def write_gallery(denoisers: Sequence[Denoiser], path: Path) -> Path:
    """One PNG with a grid of samples for each denoiser, side by side."""
    grids = [image_grid(draw_samples(denoiser), COLUMNS, SCALE) for denoiser in denoisers]
    width = sum(grid.width for grid in grids) + GAP * (len(grids) - 1)
    sheet = Image.new(grids[0].mode, (width, max(grid.height for grid in grids)), "white")
    left = 0
    for grid in grids:
        sheet.paste(grid, (left, 0))
        left += grid.width + GAP
    save_png(sheet, path)
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
    save_png(image_grid(torch.cat(rows), COLUMNS, SCALE), path)
    return path
