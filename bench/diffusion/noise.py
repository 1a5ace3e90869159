"""Noise that belongs to an image, not to a batch.

Image i's noise depends on (seed, i, stream) only: another batch size, another shard or another model sees the same
noise, so two models are compared on the same draws, and samples made in any order are the same samples.

The generator is numpy's SFC64 seeded with the whole SHA-256 of (seed, image, stream), and not torch's: torch's CPU
generator keeps only 32 bits of its seed, so that among 50,000 images two would share their noise in one run of four,
and its normals depend on the instruction set and on the size of the draw. These do not.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

START = "start"
"""The stream x_T is drawn from."""
CHUNK_NUMBERS = 65536
"""Step noise is drawn for as many steps at once as fit in this many numbers an image, so that a step costs a slice.

A stream therefore holds up to 256 KiB for every image of the batch.
"""


def image_noise(seed: int, image: int, stream: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise of one image, float32 of the given shape, on the CPU.

    seed: of the suite. image: index >= 0 of the image, the same in every batching. stream: what the noise is for,
    such as "start"; different streams are independent. A shorter draw is the beginning of a longer one.
    """
    digest = hashlib.sha256(f"{seed}/{image}/{stream}".encode()).digest()
    generator = np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big")))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def batch_noise(seed: int, lo: int, hi: int, stream: str, shape: tuple[int, ...]) -> Tensor:
    """`image_noise` of the images lo..hi-1 as [hi - lo, *shape]. Raises ValueError unless 0 <= lo < hi."""
    _check_range(lo, hi)
    return torch.stack([image_noise(seed, image, stream, shape) for image in range(lo, hi)])


def first_noise_hash(seed: int, shape: tuple[int, int, int]) -> str:
    """SHA-256 of the bytes of image 0's x_T: two results with different hashes did not start from the same noise."""
    return hashlib.sha256(image_noise(seed, 0, START, shape).numpy().astype("<f4").tobytes()).hexdigest()


@dataclass(eq=False)
class NoiseStream:
    """All the noise of one walk of the images lo..hi-1.

    Keeps one chunk of step noise, so walking forward costs a slice per step; any step can be asked for again and
    gives the same numbers. Raises ValueError unless 0 <= lo < hi.
    """

    seed: int
    lo: int
    hi: int
    shape: tuple[int, int, int]
    """(C, H, W) of one image."""
    device: torch.device | str = "cpu"
    """Where the noise ends up; it is always drawn on the CPU."""
    steps: int | None = None
    """How many steps the walk has, when known: noise beyond the last one is then not drawn. It changes no number."""
    _chunk_index: int = field(default=-1, init=False, repr=False)
    _chunk: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)

    def __post_init__(self) -> None:
        _check_range(self.lo, self.hi)

    @property
    def chunk_steps(self) -> int:
        """Steps drawn at once; fixed by the image shape alone."""
        return max(1, CHUNK_NUMBERS // math.prod(self.shape))

    def start(self) -> Tensor:
        """x_T: [B, C, H, W] standard normal float32."""
        return batch_noise(self.seed, self.lo, self.hi, START, self.shape).to(self.device)

    def step(self, step: int) -> Tensor:
        """The noise of one step (0 is the first executed): [B, C, H, W] standard normal float32; do not modify it.

        Raises IndexError beyond the last step of a walk whose length is known.
        """
        if self.steps is not None and step >= self.steps:
            raise IndexError(f"step {step} of a walk of {self.steps} steps")
        index, offset = divmod(step, self.chunk_steps)
        if index != self._chunk_index:
            self._chunk = self._draw(index)
            self._chunk_index = index
        return self._chunk[offset]

    def _draw(self, index: int) -> Tensor:
        """Chunk `index` as [steps, B, C, H, W]; each image draws its own from its own generator."""
        steps = self.chunk_steps
        if self.steps is not None:
            steps = max(1, min(steps, self.steps - index * steps))
        chunk = torch.empty(steps, self.hi - self.lo, *self.shape)
        for row, image in enumerate(range(self.lo, self.hi)):
            chunk[:, row] = image_noise(self.seed, image, f"step/{index}", (steps, *self.shape))
        return chunk.to(self.device)


def _check_range(lo: int, hi: int) -> None:
    if not 0 <= lo < hi:
        raise ValueError(f"images {lo}:{hi} are not a range; expected 0 <= lo < hi")
