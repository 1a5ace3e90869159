from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.contracts import Observe, Predict, Prediction, Sampler, ScheduleSpec
from bench.diffusion.catalogue import ddim, ddpm
from bench.diffusion.noise import NoiseStream
from bench.diffusion.parameterization import to_x0_eps
from bench.diffusion.samplers import (
    DdimCoefficients,
    DdpmCoefficients,
    ddim_coefficients,
    ddim_step,
    ddpm_coefficients,
    ddpm_step,
)
from bench.diffusion.schedule import build_schedule
from bench.errors import ParamError
from bench.registry import SAMPLERS, check_params

SPEC = ScheduleSpec("linear")
SCHEDULE = build_schedule(SPEC)
SAMPLER_CHOICES: tuple[Callable[[], Sampler], ...] = (
    lambda: ddpm(SPEC, timesteps=40, variance="beta", clip_x0=True),
    lambda: ddpm(SPEC, timesteps=40, variance="posterior", clip_x0=False),
    lambda: ddim(SPEC, timesteps=40, eta=0.0),
    lambda: ddim(SPEC, timesteps=40, eta=0.7, clip_x0=True),
    lambda: ddim(SPEC, timesteps=60, eta=1.0, spacing="ddim_quad"),
)


def toy(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """A network that looks at each image alone and treats every pixel alike, so its bits do not depend on the batch."""
    output = x_t * 0.9 / (1.0 + x_t * x_t * 0.01) + t / 4000
    return to_x0_eps(output, x_t, SCHEDULE.alpha_bar(t), Prediction.EPSILON)


def walk(sampler: Sampler, lo: int, hi: int, shape: tuple[int, int, int], observe: Observe | None = None) -> Tensor:
    stream = NoiseStream(0, lo, hi, shape)
    return sampler(toy, stream.start(), stream.step, observe)


@pytest.mark.parametrize("build", SAMPLER_CHOICES)
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 5, 5), (3, 64, 64)])
def test_samples_are_the_same_bits_in_every_batch(build: Callable[[], Sampler], shape: tuple[int, int, int]) -> None:
    sampler = build()
    together = walk(sampler, 0, 5, shape)

    assert together.isfinite().all()
    for lo, hi in ((0, 1), (1, 3), (3, 5)):
        assert torch.equal(walk(sampler, lo, hi, shape), together[lo:hi])


@pytest.mark.parametrize("build", SAMPLER_CHOICES)
def test_an_observer_changes_nothing_even_when_it_scribbles(build: Callable[[], Sampler]) -> None:
    sampler = build()
    seen: list[tuple[int, int]] = []

    def scribble(step: int, t: int, x_t: Tensor, pred_x0: Tensor) -> None:
        seen.append((step, t))
        x_t.zero_()
        pred_x0.zero_()

    observed = walk(sampler, 0, 2, (1, 8, 8), scribble)

    assert torch.equal(observed, walk(sampler, 0, 2, (1, 8, 8)))
    assert seen == list(enumerate(sampler.timesteps))


@pytest.mark.parametrize("build", SAMPLER_CHOICES)
def test_the_observer_sees_the_iterate_after_each_step(build: Callable[[], Sampler]) -> None:
    after: list[Tensor] = []
    before: list[Tensor] = []

    def recording(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        before.append(x_t.clone())
        return toy(x_t, t)

    stream = NoiseStream(0, 0, 2, (1, 8, 8))
    x0 = build()(recording, stream.start(), stream.step, lambda step, t, x_t, pred_x0: after.append(x_t))

    assert all(torch.equal(seen, shown) for seen, shown in zip(after, [*before[1:], x0], strict=True))


@pytest.mark.parametrize("build", SAMPLER_CHOICES)
def test_the_network_is_called_once_at_each_timestep_and_its_tensors_are_left_alone(
    build: Callable[[], Sampler],
) -> None:
    sampler = build()
    calls: list[int] = []
    kept: list[tuple[Tensor, Tensor]] = []

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        calls.append(t)
        given = (x_t, *toy(x_t, t))
        kept.extend((tensor, tensor.clone()) for tensor in given)
        return given[1:]

    stream = NoiseStream(0, 0, 2, (1, 8, 8))
    sampler(predict, stream.start(), stream.step)

    assert tuple(calls) == sampler.timesteps
    assert sampler.order == 1
    assert all(torch.equal(now, then) for now, then in kept)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("n", [50, 1000])
def test_ddim_with_eta_one_is_ddpm_with_the_posterior_variance(clip: bool, n: int) -> None:
    stream = NoiseStream(0, 0, 2, (1, 8, 8))
    x_T = stream.start().double()
    walks: list[list[Tensor]] = []
    for sampler in (ddim(SPEC, n, eta=1.0, clip_x0=clip), ddpm(SPEC, n, variance="posterior", clip_x0=clip)):
        iterates: list[Tensor] = []
        sampler(toy, x_T, stream.step, lambda step, t, x_t, pred_x0, to=iterates: to.append(x_t))
        walks.append(iterates)

    for one, other in zip(*walks, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("clip", [False, True])
def test_a_step_between_equal_timesteps_leaves_the_iterate(clip: bool) -> None:
    """ddim_quad holds duplicates; each costs a call and changes nothing."""
    x_t = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    noise = torch.ones_like(x_t)
    for t in (0, 1, 500):
        a = SCHEDULE.alpha_bar(t)
        pred_x0, eps = toy(x_t, t)
        pred_x0 = pred_x0.clamp(-1, 1) if clip else pred_x0
        same_ddim = ddim_step(x_t, pred_x0, eps, noise, ddim_coefficients(a, a, 1.0), clipped=clip)
        torch.testing.assert_close(same_ddim, x_t, rtol=1e-12, atol=1e-12)
        for variance in ("beta", "posterior"):
            same_ddpm = ddpm_step(x_t, pred_x0, noise, ddpm_coefficients(a, a, variance))
            torch.testing.assert_close(same_ddpm, x_t, rtol=1e-12, atol=1e-12)


def test_the_last_step_is_the_predicted_image_without_noise() -> None:
    a = SCHEDULE.alpha_bar(19)
    x_t, pred_x0, eps, noise = torch.randn(4, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    for variance in ("beta", "posterior"):
        last = ddpm_coefficients(a, 1.0, variance)
        assert last.std == 0.0
        torch.testing.assert_close(ddpm_step(x_t, pred_x0, noise, last), pred_x0)
    for eta in (0.0, 0.5, 1.0):
        for clipped in (False, True):
            last_ddim = ddim_coefficients(a, 1.0, eta)
            torch.testing.assert_close(ddim_step(x_t, pred_x0, eps, noise, last_ddim, clipped=clipped), pred_x0)


def test_clipping_keeps_every_predicted_image_in_range() -> None:
    ranges: list[float] = []
    for sampler in (ddpm(SPEC, 20, clip_x0=True), ddim(SPEC, 20, clip_x0=True)):
        stream = NoiseStream(0, 0, 2, (1, 8, 8))
        sampler(
            toy, stream.start() * 3, stream.step, lambda s, t, x, pred_x0: ranges.append(pred_x0.abs().max().item())
        )

    assert max(ranges) == 1.0


def test_a_clipped_ddim_step_keeps_the_share_of_noise_of_its_timestep() -> None:
    """x_prev = sqrt(a') x0 + sqrt(1 - a') eps with x_t = sqrt(a) x0 + sqrt(1 - a) eps for the clamped x0."""
    a, a_prev = SCHEDULE.alpha_bar(600), SCHEDULE.alpha_bar(500)
    x_t = torch.linspace(-6, 6, 16).double().reshape(1, 1, 4, 4)
    clamped = toy(x_t, 600)[0].clamp(-1, 1)
    eps = (x_t - math.sqrt(a) * clamped) / math.sqrt(1 - a)

    step = ddim_step(
        x_t, clamped, torch.full_like(x_t, math.nan), None, ddim_coefficients(a, a_prev, 0.0), clipped=True
    )

    torch.testing.assert_close(step, math.sqrt(a_prev) * clamped + math.sqrt(1 - a_prev) * eps)


def test_respaced_beta_variance_is_that_of_the_chosen_timesteps() -> None:
    every, some = ddpm(SPEC, 1000), ddpm(SPEC, 100)

    assert every.coefficients[400].std ** 2 == pytest.approx(SCHEDULE.betas[599].item(), rel=1e-9)  # type: ignore[attr-defined]
    expected = 1 - SCHEDULE.alpha_bar(590) / SCHEDULE.alpha_bar(580)
    assert some.coefficients[40].std ** 2 == pytest.approx(expected, rel=1e-9)  # type: ignore[attr-defined]


def test_coefficients_are_plain_numbers() -> None:
    for sampler, kind in ((ddpm(SPEC, 7), DdpmCoefficients), (ddim(SPEC, 7), DdimCoefficients)):
        for step in sampler.coefficients:  # type: ignore[attr-defined]
            assert isinstance(step, kind)
            assert all(type(value) is float for value in step)


def test_deterministic_ddim_never_asks_for_noise() -> None:
    def no_noise(step: int) -> Tensor:
        raise AssertionError(f"asked for noise at step {step}")

    ddim(SPEC, 20, eta=0.0)(toy, torch.zeros(1, 1, 4, 4), no_noise)


def test_a_step_that_needs_noise_says_so() -> None:
    x = torch.zeros(1, 1, 2, 2)

    with pytest.raises(ValueError, match="adds noise of standard deviation"):
        ddpm_step(x, x, None, ddpm_coefficients(0.4, 0.5, "beta"))


@pytest.mark.parametrize(
    ("a", "a_prev"), [(0.5, 0.4), (1.0, 1.0), (0.0, 0.0), (-0.1, 0.5), (0.5, 1.5), (math.nan, 0.5)]
)
def test_levels_that_do_not_descend_are_refused(a: float, a_prev: float) -> None:
    with pytest.raises(ValueError, match="a reverse step needs"):
        ddpm_coefficients(a, a_prev, "beta")
    with pytest.raises(ValueError, match="a reverse step needs"):
        ddim_coefficients(a, a_prev, 0.0)


def test_a_step_from_nothing_but_noise_is_the_image_noised_anew() -> None:
    assert ddpm_coefficients(0.0, 0.5, "posterior") == pytest.approx((math.sqrt(0.5), 0.0, math.sqrt(0.5)))
    assert ddim_coefficients(0.0, 0.5, 0.0)[:3] == pytest.approx((math.sqrt(0.5), math.sqrt(0.5), math.sqrt(0.5)))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ddim(SPEC, eta=1.5), "eta must lie between 0 .* got 1.5"),
        (lambda: ddim(SPEC, eta=math.nan), "eta must lie between 0 .* got nan"),
        (lambda: ddim(SPEC, timesteps=1001), "between 1 and the 1000 training timesteps, got 1001"),
        (lambda: ddpm(SPEC, timesteps=0), "between 1 and the 1000 training timesteps, got 0"),
        (lambda: ddpm(ScheduleSpec(beta_end=2.0)), "beta_end < 1"),
    ],
)
def test_arguments_out_of_range_are_refused(build: Callable[[], Sampler], words: str) -> None:
    with pytest.raises(ParamError, match=words):
        build()


@pytest.mark.parametrize("build", SAMPLER_CHOICES)
def test_samplers_are_frozen_and_compare_by_value(build: Callable[[], Sampler]) -> None:
    sampler = build()

    assert sampler == build()
    with pytest.raises(AttributeError):
        sampler.timesteps = ()  # type: ignore[misc]


def test_the_catalogue_checks_what_a_suite_writes() -> None:
    checked = check_params(SAMPLERS.get("ddim"), {"eta": 1, "timesteps": 10})

    assert checked == {"timesteps": 10, "spacing": "leading", "eta": 1.0, "clip_x0": False}
    with pytest.raises(ParamError, match=r"expected one of 'leading', .* got 'quad'"):
        check_params(SAMPLERS.get("ddpm"), {"spacing": "quad"})


def test_predict_is_a_plain_function_of_image_and_timestep() -> None:
    """The type says what a subject must offer."""
    predict: Predict = toy

    pred_x0, eps = predict(torch.ones(1, 1, 2, 2), 10)

    assert pred_x0.shape == eps.shape == (1, 1, 2, 2)
