from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.diffusion.noise import NoiseStream, batch_noise, first_noise_hash, image_noise

SHAPE = (1, 4, 4)
LARGE = (3, 128, 128)
"""Large enough that a chunk of steps holds a single one."""


@settings(max_examples=25, deadline=None)
@given(lo=st.integers(0, 50), batch=st.integers(1, 5), step=st.integers(0, 9000))
def test_noise_of_an_image_does_not_depend_on_its_batch(lo: int, batch: int, step: int) -> None:
    together = NoiseStream(0, lo, lo + batch, SHAPE)
    alone = NoiseStream(0, lo + batch - 1, lo + batch, SHAPE)

    assert torch.equal(together.start()[-1:], alone.start())
    assert torch.equal(together.step(step)[-1:], alone.step(step))


@pytest.mark.parametrize("shape", [SHAPE, LARGE])
def test_steps_can_be_asked_for_in_any_order(shape: tuple[int, int, int]) -> None:
    forward, backward = NoiseStream(3, 0, 2, shape), NoiseStream(3, 0, 2, shape)
    steps = (0, 1, 2, forward.chunk_steps, 2 * forward.chunk_steps + 1)

    ascending = {step: forward.step(step).clone() for step in steps}

    for step in reversed(steps):
        assert torch.equal(backward.step(step), ascending[step])


def test_chunks_depend_on_the_image_size_only() -> None:
    assert NoiseStream(0, 0, 1, (1, 16, 16)).chunk_steps == NoiseStream(5, 3, 90, (1, 16, 16)).chunk_steps == 256
    assert NoiseStream(0, 0, 1, (3, 32, 32)).chunk_steps == 21
    assert NoiseStream(0, 0, 1, (3, 256, 256)).chunk_steps == 1


def test_seeds_images_streams_and_steps_all_differ() -> None:
    draws = [
        image_noise(seed, image, stream, SHAPE)
        for seed in (0, 1, 2**32, 2**32 + 1, 2**63 - 1)
        for image in (0, 1, 2**32)
        for stream in ("start", "step/0", "step/1")
    ]
    stream = NoiseStream(0, 0, 1, SHAPE)
    steps = [stream.step(step)[0].clone() for step in range(2 * stream.chunk_steps)]

    assert len({draw.numpy().tobytes() for draw in draws}) == len(draws)
    assert len({step.numpy().tobytes() for step in steps}) == len(steps)


def test_every_bit_of_the_hash_reaches_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that keeps 32 bits of its seed would give two of 50,000 images the same noise in one run of four."""

    class Digest:
        def __init__(self, value: int) -> None:
            self.value = value

        def digest(self) -> bytes:
            return self.value.to_bytes(32, "big")

    draws = set()
    for bit in (None, 0, 1, 31, 32, 33, 63, 64, 127, 128, 255):
        value = 0 if bit is None else 1 << bit
        monkeypatch.setattr("bench.diffusion.noise.hashlib.sha256", lambda _, value=value: Digest(value))
        draws.add(image_noise(0, 0, "start", (8,)).numpy().tobytes())

    assert len(draws) == 11


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    long = image_noise(0, 7, "start", (100,))

    for length in (1, 15, 16, 17, 99):
        assert torch.equal(image_noise(0, 7, "start", (length,)), long[:length])


def test_noise_is_standard_normal() -> None:
    sample = batch_noise(0, 0, 400, "start", (1, 16, 16)).double()
    n = sample.numel()

    assert sample.mean().item() == pytest.approx(0.0, abs=4 / n**0.5)
    assert sample.var().item() == pytest.approx(1.0, abs=4 * (2 / n) ** 0.5)
    assert (sample**4).mean().item() == pytest.approx(3.0, abs=4 * (96 / n) ** 0.5)
    assert torch.corrcoef(torch.stack([sample[:-1].flatten(), sample[1:].flatten()]))[0, 1].abs().item() < 4 / n**0.5


def test_the_first_noise_is_the_same_on_every_machine() -> None:
    """A change here means that no earlier result was made from the same noise."""
    assert first_noise_hash(0, (1, 16, 16)) == "4b6bc4af66f52482969c155d4e5c2c8de7bacfadd6f618b4eab518b426d0f3a0"
    assert first_noise_hash(1, (1, 16, 16)) != first_noise_hash(0, (1, 16, 16))


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = NoiseStream(0, 0, 2, SHAPE).step(0).clone()

    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(NoiseStream(0, 0, 2, SHAPE).step(0), first)


@pytest.mark.parametrize(("lo", "hi"), [(0, 0), (3, 2), (-1, 2)])
def test_an_empty_or_negative_range_is_refused(lo: int, hi: int) -> None:
    with pytest.raises(ValueError, match=f"images {lo}:{hi}"):
        NoiseStream(0, lo, hi, SHAPE)
    with pytest.raises(ValueError, match="0 <= lo < hi"):
        batch_noise(0, lo, hi, "start", SHAPE)


@pytest.mark.parametrize("steps", [1, 20, 256, 300])
def test_knowing_the_length_of_the_walk_changes_no_number(steps: int) -> None:
    shape = (1, 16, 16)
    known, unknown = NoiseStream(0, 2, 5, shape, steps=steps), NoiseStream(0, 2, 5, shape)

    for step in {0, steps // 2, steps - 1}:
        assert torch.equal(known.step(step), unknown.step(step))
    with pytest.raises(IndexError, match=f"of a walk of {steps} steps"):
        known.step(steps)
