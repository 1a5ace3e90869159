"""Generated images in shards: each drawn once, kept, and the same whoever draws it.

Image i depends on (seed, i) only. Convolutions round differently in other batches, so shards are drawn whole and in
one fixed batch size: any number of images, any split over runs and over machines with the same kernels, gives the same
bits, and asking for more images later continues where the last run stopped.

Shape legend: B images, C channels, H x W pixels, as the sampler leaves them: float32, about [-1, 1], not cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.code_identity import code_identity, definition_of
from bench.contracts import Value
from bench.diffusion.restoring import RestorerNetwork
from bench.errors import MeasurementError, NonFiniteOutput
from bench.quality.kernels import kernels, machine_name
from bench.quality.recipe import SHARD
from bench.quality.stages import MADE_BY, Stage, makers_of, open_stage
from bench.registry import MODELS, SAMPLERS, Entry, check_params
from bench.subject import Subject
from bench.suite.schema import Cell, Ref

SMALL_IMAGE = 1024
"""Elements of an image up to which a whole shard is drawn at once; larger ones by 8, to suit a processor's cache."""
HASH_CHARS = 32
FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class Shard:
    """Images low..low+len-1."""

    low: int
    images: Tensor
    """[B, C, H, W]"""
    hashes: tuple[str, ...]
    """Of each image's bytes."""
    made_by: str
    """The machine that drew them."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one subject, drawn where they are not kept already."""

    subject: Subject
    stage: Stage

    def shard(self, low: int) -> Shard:
        """Images low..low+63; low is a multiple of 64. Raises NonFiniteOutput naming the image."""
        shard = self.cached(low)
        if shard is not None:
            return shard
        images = _draw(self.subject, low)
        hashes = image_hashes(images)
        maker = machine_name(self.subject.device.type)
        self.stage.write(shard_name(low), {"images": images, "hashes": np.array(hashes), MADE_BY: np.array(maker)})
        return Shard(low, torch.from_numpy(images), hashes, maker)

    def cached(self, low: int) -> Shard | None:
        """The same where it was drawn before and is what was drawn, image by image; None otherwise."""
        shape = (SHARD, *self.subject.denoiser.image_shape)
        text = np.dtype(f"<U{HASH_CHARS}")
        size = math.prod(shape) * FLOAT32.itemsize + SHARD * text.itemsize
        part = self.stage.read(shard_name(low), "images", "hashes", MADE_BY, max_bytes=size)
        if part is None:
            return None
        images, hashes = part["images"], part["hashes"]
        if (images.dtype, images.shape, hashes.dtype, hashes.shape) != (FLOAT32, shape, text, (SHARD,)):
            return None
        true_hashes = image_hashes(images)
        if tuple(hashes.tolist()) != true_hashes or not np.isfinite(images).all():
            return None
        return Shard(low, torch.from_numpy(images), true_hashes, "".join(makers_of(part)))

    def first(self, count: int) -> Iterator[Shard]:
        """The first `count` samples, shard by shard; the last shard is drawn whole and cut."""
        for low in range(0, count, SHARD):
            whole = self.shard(low)
            yield Shard(low, whole.images[: count - low], whole.hashes[: count - low], whole.made_by)


def samples_of(subject: Subject) -> Samples:
    """The subject's samples. Raises MeasurementError when they could not be told from others."""
    return Samples(subject, open_stage(subject.workspace.cache_dir, "samples", samples_identity(subject)))


def samples_identity(subject: Subject) -> dict[str, object]:
    """Everything that changes a sample."""
    cell, denoiser = subject.cell, subject.denoiser
    if cell is None or subject.sampler is None or cell.sampler is None:
        raise MeasurementError("samples need a cell with a sampler; give it one with `sampler: {name: ddim}`")
    if denoiser.weights.sha256 is None and denoiser.weights.origin != "none":
        raise MeasurementError(
            f"the weights of {cell.model.name!r} have no SHA-256, so their samples cannot be kept apart from others; "
            "its factory must give Weights.of(path) of their file"
        )
    return {
        "model": {"name": cell.model.name, **_arguments(MODELS.get(cell.model.name), cell.model, leave_out="weights")},
        "weights": denoiser.weights.sha256,
        "ema": denoiser.weights.ema,
        "schedule": asdict(denoiser.schedule),
        "prediction": str(denoiser.prediction),
        "image_shape": list(denoiser.image_shape),
        "sampler": {"name": cell.sampler.name, **_arguments(SAMPLERS.get(cell.sampler.name), cell.sampler)},
        "timesteps": list(subject.sampler.timesteps),
        "seed": subject.seed,
        "shard": SHARD,
        "batch": batch_size(subject),
        "device": subject.device.type,
        "kernels": kernels(subject.device.type, compiled=subject.conditions.compile),
        "dtype": subject.conditions.dtype,
        "compile": subject.conditions.compile,
        "memory_format": subject.conditions.memory_format,
        "code": _code(subject, cell),
    }


def shard_name(low: int) -> str:
    """The part that holds images low..low+63."""
    return f"{low // SHARD:06d}"


def batch_size(subject: Subject) -> int:
    """How many images are drawn at once: a fixed function of their size and the device."""
    small = int(np.prod(subject.denoiser.image_shape)) <= SMALL_IMAGE
    return SHARD if small or subject.device.type == "cuda" else 8


def check_no_copies(hashes: Iterable[str]) -> None:
    """Raises MeasurementError when two images are the same: noise was repeated, or the model ignores it."""
    seen = Counter(hashes)
    copies = sum(seen.values()) - len(seen)
    if copies:
        raise MeasurementError(
            f"{copies} of {sum(seen.values())} samples are copies of others, so fewer images were drawn than were "
            "asked for: the model gives one picture for different noise, or noise was repeated"
        )


def image_hashes(images: NDArray[np.float32]) -> tuple[str, ...]:
    """One hash for each image [B, C, H, W]."""
    return tuple(sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:HASH_CHARS] for image in images)


def _draw(subject: Subject, low: int) -> NDArray[np.float32]:
    batch = batch_size(subject)
    drawn = [subject.sample(begin, begin + batch).cpu() for begin in range(low, low + SHARD, batch)]
    images: NDArray[np.float32] = torch.cat(drawn).to(torch.float32).contiguous().numpy()
    bad = ~np.isfinite(images).reshape(SHARD, -1).all(axis=1)
    if bad.any():
        raise NonFiniteOutput(
            f"sample {low + int(np.flatnonzero(bad)[0])} is not finite ({int(bad.sum())} of {SHARD} in its shard): "
            "the walk diverged"
        )
    return images


def _arguments(entry: Entry[Any], ref: Ref, leave_out: str = "") -> dict[str, Value]:
    """Every argument a factory was called with, defaults filled in."""
    return {name: value for name, value in check_params(entry, ref.params).items() if name != leave_out}


def _code(subject: Subject, cell: Cell) -> str:
    """Of the model, the sampler and our own way to draw: a mended model draws again."""
    network, sampler = subject.denoiser.network, subject.sampler
    parts: list[object] = [_draw, MODELS.get(cell.model.name).factory, sampler]
    if cell.sampler is not None:
        parts.append(SAMPLERS.get(cell.sampler.name).factory)
    parts += [type(module) for module in network.modules()] if isinstance(network, nn.Module) else [network]
    if isinstance(network, RestorerNetwork):
        parts.append(network.restore)
    if subject.denoiser.stage is not None:
        parts.append(subject.denoiser.stage)
    return code_identity(definition_of(part) for part in parts)
