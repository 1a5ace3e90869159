from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contracts import ScheduleSpec
from bench.diffusion.schedule import NoiseSchedule, build_schedule
from bench.errors import ParamError

KINDS = ("linear", "scaled_linear", "cosine", "sigmoid")


def test_linear_betas_are_those_of_ho() -> None:
    schedule = build_schedule(ScheduleSpec("linear"))

    assert schedule.betas[0].item() == pytest.approx(1e-4, rel=1e-15)
    assert schedule.betas[-1].item() == pytest.approx(0.02, rel=1e-15)
    assert schedule.alpha_bar(999) == pytest.approx(math.prod(1 - 1e-4 - i * 0.0199 / 999 for i in range(1000)))


def test_cosine_follows_the_squared_cosine_until_the_beta_cap() -> None:
    schedule = build_schedule(ScheduleSpec("cosine"))
    at = {t: math.cos(((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0, 250, 500, 998)}
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2

    for t, squared in at.items():
        assert schedule.alpha_bar(t) == pytest.approx(squared / start, rel=1e-9)
    assert schedule.betas[-1].item() == 0.999


def test_scaled_linear_betas_have_square_roots_in_equal_steps() -> None:
    schedule = build_schedule(ScheduleSpec("scaled_linear", 3, 0.01, 0.09))

    assert schedule.betas.tolist() == pytest.approx([0.01, 0.04, 0.09])


@pytest.mark.parametrize("kind", KINDS)
def test_zero_terminal_snr_keeps_the_beginning_and_ends_in_nothing_but_noise(kind: str) -> None:
    plain = build_schedule(ScheduleSpec(kind))  # type: ignore[arg-type]
    schedule = build_schedule(ScheduleSpec(kind, zero_terminal_snr=True))  # type: ignore[arg-type]

    signals, rescaled = plain.alphas_cumprod.sqrt(), schedule.alphas_cumprod.sqrt()
    assert schedule.alpha_bar(999) == 0.0
    assert schedule.betas[999] == 1.0
    assert schedule.alpha_bar(0) == pytest.approx(plain.alpha_bar(0), rel=1e-12)
    # Algorithm 1 of Lin et al. 2023 is a straight line in the square root of abar.
    slope = signals[0] / (signals[0] - signals[-1])
    torch.testing.assert_close(rescaled, (signals - signals[-1]) * slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "stds"),
    [
        ("sigmoid", (0.066, 0.101, 0.135, 0.171, 0.209, 0.358, 0.698, 1.465)),
        ("linear", (0.086, 0.169, 0.259, 0.360, 0.477, 1.015, 3.07, 12.8)),
    ],
)
def test_pixel_noise_agrees_with_figures_computed_elsewhere(kind: str, stds: tuple[float, ...]) -> None:
    """Noise std in [0, 1] pixels after 50 .. 800 noising steps, as computed from another implementation."""
    schedule = build_schedule(ScheduleSpec(kind))  # type: ignore[arg-type]
    abars = [schedule.alpha_bar(steps - 1) for steps in (50, 100, 150, 200, 250, 400, 600, 800)]

    assert [math.sqrt((1 - a) / a) / 2 for a in abars] == pytest.approx(stds, rel=6e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("total", [1, 2, 10, 1000])
def test_every_schedule_falls_strictly_inside_zero_and_one(kind: str, total: int) -> None:
    schedule = build_schedule(ScheduleSpec(kind, num_train_timesteps=total))  # type: ignore[arg-type]
    abars = [schedule.alpha_bar(t) for t in range(-1, total)]

    assert abars[0] == 1.0
    assert all(0.0 < later < earlier for earlier, later in pairwise(abars))
    assert schedule.betas.dtype == schedule.alphas_cumprod.dtype == torch.float64


@pytest.mark.parametrize("t", [-2, 1000])
def test_a_timestep_outside_the_chain_is_refused(t: int) -> None:
    schedule = build_schedule(ScheduleSpec())

    with pytest.raises(ValueError, match="outside"):
        schedule.alpha_bar(t)
    with pytest.raises(ValueError, match="inside"):
        schedule.q_sample(torch.zeros(2, 1, 2, 2), torch.tensor([0, t]), torch.zeros(2, 1, 2, 2))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ScheduleSpec(num_train_timesteps=0), "at least 1, got 0"),
        (ScheduleSpec(beta_start=0.0), "0 < beta_start"),
        (ScheduleSpec(beta_start=0.03), "0.03 and 0.02"),
        (ScheduleSpec("scaled_linear", beta_end=1.0), "scaled_linear needs 0 < beta_start"),
        (ScheduleSpec(num_train_timesteps=1, zero_terminal_snr=True), "at least 2 timesteps"),
        (ScheduleSpec("square"), "'square'"),  # type: ignore[arg-type]
    ],
)
def test_a_schedule_without_betas_is_refused(spec: ScheduleSpec, words: str) -> None:
    with pytest.raises(ParamError, match=words):
        build_schedule(spec)


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return build_schedule(ScheduleSpec())


@settings(max_examples=25, deadline=None)
@given(ts=st.lists(st.integers(-1, 999), min_size=1, max_size=5))
def test_q_sample_with_one_timestep_an_image_is_q_sample_of_each(schedule: NoiseSchedule, ts: list[int]) -> None:
    x0, noise = torch.randn(2, len(ts), 1, 3, 3, generator=torch.Generator().manual_seed(0))

    together = schedule.q_sample(x0, torch.tensor(ts), noise)

    for row, t in enumerate(ts):
        torch.testing.assert_close(together[row], schedule.q_sample(x0[row], t, noise[row]), rtol=1e-6, atol=1e-6)


def test_q_sample_keeps_float32_and_unit_variance(schedule: NoiseSchedule) -> None:
    x0, noise = torch.randn(2, 64, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    x_t = schedule.q_sample(x0, torch.arange(0, 1000, 16)[:64].clamp(max=999).repeat(2)[:64], noise)

    assert x_t.dtype == torch.float32
    assert x_t.var().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(schedule.q_sample(x0, -1, noise), x0)
