"""A restorer as a denoiser: the same noise, on the other scale."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, Restorer, ScheduleSpec, Weights
from bench.diffusion.restoring import as_denoiser, as_noisy, sigma_of
from bench.diffusion.schedule import build_schedule
from bench.errors import Unsupported

SPEC = ScheduleSpec("sigmoid")
SHAPE = (1, 4, 4)


class Blind(nn.Module):
    """A convolution that does not read sigma."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        out: Tensor = self.layer(noisy)
        return out


def restorer(restore: object, **changes: object) -> Restorer:
    return Restorer(restore, SPEC, Weights("none"), **changes)  # type: ignore[arg-type]


def test_a_restorer_sees_the_clean_image_in_0_to_1_plus_noise_of_the_sigma_it_is_told() -> None:
    schedule = build_schedule(SPEC)
    x0 = torch.full((2000, 1, 4, 4), 0.5)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []

    def look(noisy: Tensor, sigma: Tensor) -> Tensor:
        seen.extend([noisy, sigma])
        return noisy

    as_denoiser(restorer(look), SHAPE).network(schedule.q_sample(x0, 149, noise), torch.full((2000,), 149))

    assert seen[1].shape == (2000,)
    assert seen[0].mean().item() == pytest.approx(0.75, abs=0.01)
    assert seen[0].std().item() == pytest.approx(seen[1][0].item(), rel=0.02)
    assert seen[1][0].item() == pytest.approx(sigma_of(149, schedule), rel=1e-6)


def test_the_sigmoid_chain_has_the_sigmas_the_study_quotes() -> None:
    """In [0, 1], after 50 to 800 steps of noise, which end at the timestep before in the count from 0."""
    schedule = build_schedule(SPEC)
    quoted = {50: 0.066, 100: 0.101, 150: 0.135, 200: 0.171, 250: 0.209, 400: 0.358, 600: 0.698, 800: 1.465}

    assert {t: round(sigma_of(t - 1, schedule), 3) for t in quoted} == quoted


def test_the_timestep_of_each_image_is_honoured() -> None:
    schedule = build_schedule(SPEC)
    noisy, sigma = as_noisy(torch.zeros(2, 1, 4, 4), torch.tensor([0, 999]), schedule)

    assert sigma.tolist() == pytest.approx([sigma_of(0, schedule), sigma_of(999, schedule)], rel=1e-5)
    assert noisy.eq(0.5).all()


def test_what_it_gives_is_x0_between_minus_one_and_one() -> None:
    made = as_denoiser(restorer(lambda noisy, sigma: torch.ones_like(noisy) * 0.25), SHAPE)

    assert made.prediction is Prediction.X0
    assert (made.schedule, made.weights.origin, made.image_shape) == (SPEC, "none", SHAPE)
    assert made.network(torch.zeros(2, *SHAPE), torch.tensor([3, 3])).eq(-0.5).all()


def test_a_method_tuned_at_one_level_is_told_its_sigma_at_every_level() -> None:
    told: list[float] = []

    def listen(noisy: Tensor, sigma: Tensor) -> Tensor:
        told.extend(sigma.tolist())
        return noisy

    made = as_denoiser(restorer(listen, tuned_at=50), SHAPE)
    made.network(torch.zeros(2, *SHAPE), torch.tensor([10, 700]))

    # 50 steps of noise end at timestep 49 of 0..999.
    assert told == pytest.approx([sigma_of(49, build_schedule(SPEC))] * 2, rel=1e-6)


def test_a_learned_restorer_is_part_of_the_network_and_placed_with_it() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(3))

        def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
            return noisy * self.factor.mean()

    network = as_denoiser(restorer(Scale()), SHAPE).network

    assert isinstance(network, nn.Module)
    assert [each.numel() for each in network.parameters()] == [3]


def test_in_a_reduced_precision_a_learned_restorer_is_given_its_own() -> None:
    learned = as_denoiser(restorer(Blind()), SHAPE)
    assert isinstance(learned.network, nn.Module)
    learned.network.to(torch.bfloat16)

    assert learned.network(torch.zeros(1, *SHAPE, dtype=torch.bfloat16), torch.tensor([5])).dtype == torch.bfloat16


def test_its_own_shape_counts_before_that_of_the_data_and_one_of_them_must_be_known() -> None:
    assert as_denoiser(restorer(lambda n, s: n, image_shape=(3, 8, 8)), SHAPE).image_shape == (3, 8, 8)
    with pytest.raises(Unsupported, match="name a data set or a shape"):
        as_denoiser(restorer(lambda n, s: n))


def test_a_denoiser_stays_what_it_is() -> None:
    plain = Denoiser(lambda x, t: x, SHAPE, Prediction.V, SPEC, Weights("random"))

    assert as_denoiser(plain) is plain


def test_a_chain_that_ends_in_nothing_but_noise_has_no_strength_to_tell_a_restorer() -> None:
    model = Restorer(Blind(), ScheduleSpec(zero_terminal_snr=True), Weights("none"), SHAPE)

    with pytest.raises(Unsupported, match="zero terminal SNR"):
        as_denoiser(model)
