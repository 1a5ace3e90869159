"""Scores after every step of a walk, image by image, kept chunk by chunk: the one pass behind all denoising numbers.

The clean image is noised to the walk's first timestep, the walk goes back, and after each step two pictures are
scored: the iterate over its signal, x_t / sqrt(abar_t), and the predicted clean image. Scores stay on the device until
the walk has ended. Shape legend: N steps, S scores, B images of a chunk, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.code_identity import code_identity, definition_of
from bench.contracts import Dataset
from bench.diffusion.restoring import RestorerNetwork
from bench.diffusion.samplers import CLEAN
from bench.errors import MeasurementError, NonFiniteOutput, ParamError, Unsupported
from bench.quality.generate import FLOAT32, samples_identity
from bench.quality.kernels import machine_name, made_elsewhere, package_version
from bench.quality.preprocess import to_unit
from bench.quality.score_names import ScoreName
from bench.quality.scores import prepare_score
from bench.quality.stages import MADE_BY, Stage, makers_of, open_stage
from bench.subject import Subject

Iterate = Literal["x_t", "pred_x0"]
ITERATES: Final[tuple[Iterate, ...]] = get_args(Iterate)
"""Which picture of a step: what the walk stands at, or what the network says is behind it."""

ENGINE = 1
"""Raised by whoever changes a curve in a way that no other part of its identity shows."""
SMALL_IMAGE = 1024
"""Elements of an image up to which many are walked at once; larger ones in fewer, to suit a processor's cache."""
CHUNKS: Mapping[str, int] = {"small": 50, "large": 20, "cuda": 100}
"""Images walked at once, which are kept together. Fixed, because convolutions round differently in other batches."""
CLASSICAL = ("bm3d", "PyWavelets", "scikit-image")
"""Packages that compute what a restorer without weights gives."""


See = Callable[[int, Tensor, Tensor], None]
"""(step, x_t / sqrt(abar_t), pred_x0), the pictures [B, C, H, W] in [0, 1], cut where they overshoot.

Step 0 is before the walk, the noisy image twice; step k is after the k-th network call."""


@dataclass(frozen=True, eq=False)
class Curves:
    """All scores of one walk."""

    scores: tuple[ScoreName, ...]
    timesteps: tuple[int, ...]
    """[N] of the network calls; step k is call number k, counted from 1."""
    values: NDArray[np.float32]
    """[N, 2, S, images]: after each step, of each of ITERATES."""
    noisy: NDArray[np.float32]
    """[S, images]: of the noisy image before the first step."""
    left_out: tuple[str, ...] = ()
    """Why each score that was asked for and that these pictures cannot have is not there."""
    made_elsewhere: tuple[str, ...] = ()
    """A sentence for each other machine that walked some of the images."""

    def of(self, iterate: Iterate, score: ScoreName) -> NDArray[np.float64]:
        """[N, images]"""
        return self.values[:, ITERATES.index(iterate), self.scores.index(score)].astype(np.float64)


class ScoreTable:
    """Scores of the pictures of one walk as they come, on the device."""

    def __init__(self, clean: Tensor, scores: tuple[ScoreName, ...], steps: int) -> None:
        """clean: [B, C, H, W] in [0, 1], on the device."""
        self._scores = [prepare_score(name, clean) for name in scores]
        self.table = torch.empty(1 + steps, len(ITERATES), len(scores), len(clean), device=clean.device)
        """[1 + N, 2, S, B]; row 0 is of the noisy image."""

    def see(self, step: int, x_t: Tensor, pred_x0: Tensor) -> None:
        """Score both pictures of a step in one go."""
        both = torch.cat([x_t, pred_x0])
        for index, score in enumerate(self._scores):
            self.table[step, :, index] = score(both).view(len(ITERATES), -1)


def curves_of(subject: Subject, images: int, asked: tuple[ScoreName, ...]) -> Curves:
    """The curves of the data set's first `images`, walked where they are not kept already.

    Scores that the pictures cannot have are left out, and said. A restorer makes one call, after which iterate and
    prediction are the same picture. Raises MeasurementError when the cell lacks a sampler or so many images, ParamError
    for no or repeated scores, Unsupported when no score is left, MissingWeights when one's network is not there, and
    NonFiniteOutput when the walk diverges.
    """
    data, timesteps = _data(subject, images), called_timesteps(subject)
    if not asked or len(set(asked)) != len(asked):
        raise ParamError(f"scores must be different names, at least one, got {', '.join(asked) or 'none'}")
    scores, left_out = _possible(asked, to_unit(data[0:1]).to(subject.device))
    stage = open_stage(subject.workspace.cache_dir, "denoising", identity_of(subject, data, scores))
    size = chunk_size(subject)
    parts = [
        _part(subject, stage, low, min(low + size, len(data)), scores, wanted=min(size, images - low))
        for low in range(0, images, size)
    ]
    makers = {maker for *_, maker in parts}
    return Curves(
        scores,
        timesteps,
        np.concatenate([values for values, _, _ in parts], axis=3),
        np.concatenate([noisy for _, noisy, _ in parts], axis=1),
        left_out,
        made_elsewhere(makers, subject.device.type),
    )


def called_timesteps(subject: Subject) -> tuple[int, ...]:
    """The timestep of each step's network call: all of the walk's, or the first one for a restorer."""
    timesteps = _timesteps(subject)
    return timesteps[:1] if is_restorer(subject) else timesteps


def is_restorer(subject: Subject) -> bool:
    """Whether the model cleans in one call and has nothing to walk."""
    return isinstance(subject.denoiser.network, RestorerNetwork)


def chunk_size(subject: Subject) -> int:
    """Images walked at once: a fixed function of their size and the device."""
    if subject.device.type == "cuda":
        return CHUNKS["cuda"]
    return CHUNKS["small" if math.prod(subject.denoiser.image_shape) <= SMALL_IMAGE else "large"]


def walk_back(subject: Subject, low: int, high: int, see: See) -> None:
    """Noise the images low..high-1 of the data set, walk back, and show every step's two pictures to `see`.

    The noise of image i depends on the suite's seed and i only, so every model meets the same.
    """
    timesteps = _timesteps(subject)
    signals = [math.sqrt(subject.schedule.alpha_bar(t)) for t in (*timesteps, CLEAN)]
    if not signals[0]:
        raise Unsupported(f"nothing of the image is left at timestep {timesteps[0]} (zero terminal SNR); begin earlier")
    x_t = subject.noised(low, high, timesteps[0])
    noisy = to_unit(x_t / signals[0])
    see(0, noisy, noisy)
    if is_restorer(subject):
        clean = to_unit(subject.predict(x_t, timesteps[0])[0])
        see(1, clean, clean)
        return

    def observe(step: int, t: int, x_t: Tensor, pred_x0: Tensor) -> None:
        see(step + 1, to_unit(x_t / signals[step + 1]), to_unit(pred_x0))

    subject.reverse(x_t, subject.noise(low, high).step, observe)


def identity_of(subject: Subject, data: Dataset, scores: tuple[ScoreName, ...]) -> dict[str, object]:
    """Everything that changes a curve."""
    scoring = (prepare_score, ScoreTable, walk_back)
    identity: dict[str, object] = {
        "engine": ENGINE,
        "walk": samples_identity(subject),
        "data": data.fingerprint,
        "split": data.split,
        "scores": list(scores),
        "scoring": code_identity(map(definition_of, scoring)),
        "chunk": chunk_size(subject),
    }
    if is_restorer(subject):
        identity["restorer"] = {name: package_version(name) for name in CLASSICAL}
    return identity


def _possible(asked: tuple[ScoreName, ...], clean: Tensor) -> tuple[tuple[ScoreName, ...], tuple[str, ...]]:
    """The scores that such pictures can have, and why the others are left out; before an hour is spent on a walk."""
    possible, left_out = [], []
    for name in asked:
        try:
            prepare_score(name, clean)
        except Unsupported as error:
            left_out.append(f"{name} is left out: {error}")
        else:
            possible.append(name)
    if not possible:
        raise Unsupported("; ".join(left_out))
    return tuple(possible), tuple(left_out)


def _part(
    subject: Subject, stage: Stage, low: int, high: int, scores: tuple[ScoreName, ...], *, wanted: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    """Curves [N, 2, S, wanted] and noisy scores [S, wanted] of the chunk low..high-1, and who walked it."""
    shape = (1 + len(called_timesteps(subject)), len(ITERATES), len(scores), high - low)
    part = stage.read(_part_name(low), "curves", MADE_BY, max_bytes=math.prod(shape) * FLOAT32.itemsize)
    maker = machine_name(subject.device.type) if part is None else "".join(makers_of(part))
    table = None if part is None else part["curves"]
    if table is None or (table.dtype, table.shape) != (FLOAT32, shape) or not np.isfinite(table).all():
        table, maker = _walk(subject, low, high, scores), machine_name(subject.device.type)
        stage.write(_part_name(low), {"curves": table, MADE_BY: np.array(maker)})
    return table[1:, :, :, :wanted], table[0, 0, :, :wanted], maker


def _walk(subject: Subject, low: int, high: int, scores: tuple[ScoreName, ...]) -> NDArray[np.float32]:
    """[1 + N, 2, S, B]"""
    clean = to_unit(_data(subject, high)[low:high]).to(subject.device)
    with torch.inference_mode():
        scored = ScoreTable(clean, scores, len(called_timesteps(subject)))
        walk_back(subject, low, high, scored.see)
    table: NDArray[np.float32] = scored.table.cpu().numpy()
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        step, _, score, image = bad[0].tolist()
        raise NonFiniteOutput(
            f"{scores[score]} of image {low + image} is not finite after step {step} of the walk from "
            f"t = {_timesteps(subject)[0]}: the walk diverged"
        )
    return table


def _timesteps(subject: Subject) -> tuple[int, ...]:
    if subject.sampler is None:
        raise MeasurementError("denoising needs a walk; give the cell `sampler: {name: chain, t_start: 150}`")
    return subject.sampler.timesteps


def _data(subject: Subject, images: int) -> Dataset:
    if subject.data is None:
        raise MeasurementError("denoising needs clean images; give the cell `data:`")
    if images > len(subject.data):
        raise MeasurementError(f"{subject.data.fingerprint} has {len(subject.data)} images, {images} were asked for")
    return subject.data


def _part_name(low: int) -> str:
    return f"{low:06d}"
