from __future__ import annotations

import math

import pytest
import torch

from bench.contracts import Prediction
from bench.diffusion.parameterization import from_x0_eps, to_x0_eps, training_target

ALPHA_BARS = (0.9999, 0.9, 0.5, 0.1, 0.001)


def _pair() -> tuple[torch.Tensor, torch.Tensor]:
    x0, eps = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x0, eps


@pytest.mark.parametrize("prediction", list(Prediction))
@pytest.mark.parametrize("alpha_bar", ALPHA_BARS)
def test_a_perfect_output_gives_back_image_and_noise(prediction: Prediction, alpha_bar: float) -> None:
    x0, eps = _pair()
    x_t = math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps
    output = from_x0_eps(x0, eps, alpha_bar, prediction)

    found_x0, found_eps = to_x0_eps(output, x_t, alpha_bar, prediction)

    torch.testing.assert_close(found_x0, x0, rtol=0, atol=1e-10)
    torch.testing.assert_close(found_eps, eps, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prediction", list(Prediction))
@pytest.mark.parametrize("alpha_bar", ALPHA_BARS)
def test_any_output_splits_x_t_exactly(prediction: Prediction, alpha_bar: float) -> None:
    """Whatever the network says, pred_x0 and eps must add up to the x_t it was shown, and lead back to the output."""
    output, x_t = _pair()

    pred_x0, eps = to_x0_eps(output, x_t, alpha_bar, prediction)

    torch.testing.assert_close(math.sqrt(alpha_bar) * pred_x0 + math.sqrt(1 - alpha_bar) * eps, x_t)
    torch.testing.assert_close(from_x0_eps(pred_x0, eps, alpha_bar, prediction), output)


@pytest.mark.parametrize("prediction", list(Prediction))
def test_arguments_are_left_alone(prediction: Prediction) -> None:
    output, x_t = _pair()
    before = output.clone(), x_t.clone()

    to_x0_eps(output, x_t, 0.3, prediction)
    from_x0_eps(output, x_t, 0.3, prediction)

    assert torch.equal(output, before[0])
    assert torch.equal(x_t, before[1])


@pytest.mark.parametrize("prediction", list(Prediction))
def test_the_training_target_is_the_output_that_is_right(prediction: Prediction) -> None:
    x0, noise = (tensor.float() for tensor in _pair())
    abars = torch.tensor([0.9, 0.5, 0.01], dtype=torch.float64).reshape(3, 1, 1, 1)

    target = training_target(x0, noise, abars, prediction)

    assert target.dtype == torch.float32
    for row, alpha_bar in enumerate((0.9, 0.5, 0.01)):
        torch.testing.assert_close(target[row], from_x0_eps(x0[row], noise[row], alpha_bar, prediction))


def test_v_is_minus_the_image_when_all_is_noise_and_the_noise_when_all_is_image() -> None:
    x0, eps = _pair()

    torch.testing.assert_close(from_x0_eps(x0, eps, 1e-12, Prediction.V), -x0, rtol=0, atol=1e-5)
    torch.testing.assert_close(from_x0_eps(x0, eps, 1 - 1e-12, Prediction.V), eps, rtol=0, atol=1e-5)


LEVELS = [(0.0, Prediction.EPSILON), *((level, each) for level in (1.0, -0.1, 1.1, math.nan) for each in Prediction)]


@pytest.mark.parametrize(("alpha_bar", "prediction"), LEVELS)
def test_levels_without_noise_or_image_are_refused(prediction: Prediction, alpha_bar: float) -> None:
    x0, eps = _pair()

    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        to_x0_eps(x0, eps, alpha_bar, prediction)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        from_x0_eps(x0, eps, alpha_bar, prediction)


@pytest.mark.parametrize("prediction", [Prediction.X0, Prediction.V])
def test_the_image_is_known_where_all_is_noise_unless_the_noise_is_predicted(prediction: Prediction) -> None:
    x0, eps = _pair()

    output = from_x0_eps(x0, eps, 0.0, prediction)

    assert all(torch.equal(*pair) for pair in zip(to_x0_eps(output, eps, 0.0, prediction), (x0, eps), strict=True))
