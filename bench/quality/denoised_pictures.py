"""What a walk looks like: noise coming in, the way back step by step, and what is left at the end.

Pictures are of the data set's first images, never chosen. Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bench.contracts import Measurement
from bench.data.grid import image_grid, save_png
from bench.errors import MeasurementError, ParamError
from bench.quality.curves import called_timesteps, is_restorer, walk_back
from bench.quality.preprocess import to_unit
from bench.quality.recipe import digest
from bench.quality.score_names import HIGHER, ScoreName
from bench.quality.scores import prepare_score
from bench.subject import Subject

METRIC = "denoising_pictures"
MAX_FRAMES = 24


def denoising_pictures(
    subject: Subject, *, images: int, frames: int, scale: int, score: ScoreName
) -> Iterator[Measurement]:
    """PNGs, one row an image (two in `walk`): see the registered metric for what each `at.show` is.

    Raises ParamError for sizes out of range, MeasurementError for images that are neither grey nor colour or for more
    than the data set has, and whatever walking and scoring raise.
    """
    if not 1 <= images <= 64 or not 2 <= frames <= MAX_FRAMES or not 1 <= scale <= 8:
        raise ParamError(
            f"images must be 1 to 64, frames 2 to {MAX_FRAMES} and scale 1 to 8, got {images}, {frames} and {scale}"
        )
    if subject.denoiser.image_shape[0] not in (1, 3):
        raise MeasurementError(f"images of {subject.denoiser.image_shape[0]} channels are neither grey nor colour")
    if subject.data is None or images > len(subject.data):
        raise MeasurementError(f"pictures of {images} images need a data set that has as many")
    clean = to_unit(subject.data[0:images]).to(subject.device)
    with torch.inference_mode():
        book = Book(clean, even(len(called_timesteps(subject)), frames), score)
        walk_back(subject, 0, images, book.see)
    yield _saved(subject, "noise", _noise(subject, images, frames), frames, scale)
    noisy, (last, _) = book.noisy, book.kept[max(book.kept)]
    if is_restorer(subject):
        yield _saved(subject, "result", _rows([clean, noisy, last]), 3, scale)
        return
    columns = [clean, noisy, book.first, book.best_of_x0, book.best_of_x, last]
    yield _saved(subject, "result", _rows(columns), len(columns), scale)
    steps = sorted(book.kept)
    rows = torch.stack([torch.stack(book.kept[step]) for step in steps], dim=2)  # [2, B, frames, C, H, W]
    yield _saved(subject, "walk", rows.transpose(0, 1).flatten(0, 2), len(steps), scale)


class Book:
    """The pictures of a walk that are to be shown, kept as they come."""

    def __init__(self, clean: Tensor, steps: Sequence[int], score: ScoreName) -> None:
        self._score = prepare_score(score, clean)
        self._sign = 1.0 if score in HIGHER else -1.0
        self._steps = frozenset(steps)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        """Step -> (x_t over its signal, pred_x0), each [B, C, H, W]."""
        self.noisy = self.first = self.best_of_x = self.best_of_x0 = clean
        self._best = torch.full((2, len(clean)), -torch.inf, device=clean.device, dtype=torch.float64)

    def see(self, step: int, x_t: Tensor, pred_x0: Tensor) -> None:
        if step == 0:
            self.noisy = x_t
            return
        if step == 1:
            self.first = pred_x0
        if step in self._steps:
            self.kept[step] = (x_t, pred_x0)
        found = self._sign * self._score(torch.cat([x_t, pred_x0])).double().view(2, -1)
        better = (found > self._best)[..., None, None, None]
        self._best = torch.maximum(self._best, found)
        self.best_of_x = torch.where(better[0], x_t, self.best_of_x)
        self.best_of_x0 = torch.where(better[1], pred_x0, self.best_of_x0)


def even(count: int, frames: int) -> tuple[int, ...]:
    """At most `frames` of the steps 1..count, as evenly spaced as they can be, both ends included."""
    if count <= frames:
        return tuple(range(1, count + 1))
    return tuple(round(1 + index * (count - 1) / (frames - 1)) for index in range(frames))


def _noise(subject: Subject, images: int, frames: int) -> Tensor:
    """[B * frames, C, H, W] in [0, 1]: x_t from the clean image to the first timestep of the walk, row by row."""
    last = called_timesteps(subject)[0]
    ts = [round(-1 + index * (last + 1) / (frames - 1)) for index in range(frames)]
    return _rows([to_unit(subject.noised(0, images, t)) for t in ts])


def _rows(columns: Sequence[Tensor]) -> Tensor:
    """Columns [B, C, H, W] -> [B * columns, C, H, W], image by image."""
    return torch.stack(list(columns), dim=1).flatten(0, 1)


def _saved(subject: Subject, show: str, pictures: Tensor, columns: int, scale: int) -> Measurement:
    cell = subject.cell
    name = f"artifacts/denoised-{show}-{digest([cell.id if cell else '', list(pictures.shape), columns, scale])}.png"
    run_dir = subject.workspace.run_dir
    save_png(image_grid(pictures.mul(2.0).sub(1.0), columns, scale), run_dir / name, root=run_dir)
    return Measurement(METRIC, "images", (float(len(pictures)),), {"show": show, "columns": columns}, artifact=name)
