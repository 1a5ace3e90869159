"""The three things a network may predict, and the way between them.

With a = abar_t, the noisy image is x_t = sqrt(a) x_0 + sqrt(1 - a) eps, and v = sqrt(a) eps - sqrt(1 - a) x_0
(Salimans & Ho 2022, appendix D). Samplers only ever see (pred_x0, eps); this file is the one border.
"""

from __future__ import annotations

import math

from torch import Tensor

from bench.contracts import Prediction


def to_x0_eps(output: Tensor, x_t: Tensor, alpha_bar: float, prediction: Prediction) -> tuple[Tensor, Tensor]:
    """What the network's output says about the clean image and about the noise.

    output, x_t: [B, C, H, W], same dtype. alpha_bar: abar_t, strictly between 0 and 1, or 0 for a network that
    predicts x0 or v.
    Returns (pred_x0, eps), each [B, C, H, W], with x_t == sqrt(a) pred_x0 + sqrt(1 - a) eps up to rounding; the part
    the network predicts itself is its own output tensor, not a copy.
    Raises ValueError when alpha_bar is outside: at 1 the noise is not determined, and at 0 the noise says nothing about
    the image.
    """
    signal, sigma = _signal_and_noise(alpha_bar, prediction)
    if prediction is Prediction.EPSILON:
        return x_t.mul(1.0 / signal).add_(output, alpha=-sigma / signal), output
    if prediction is Prediction.X0:
        return output, x_t.mul(1.0 / sigma).add_(output, alpha=-signal / sigma)
    return x_t.mul(signal).add_(output, alpha=-sigma), x_t.mul(sigma).add_(output, alpha=signal)


def from_x0_eps(x0: Tensor, eps: Tensor, alpha_bar: float, prediction: Prediction) -> Tensor:
    """The output a network with this prediction would have to give: the inverse of `to_x0_eps`.

    x0, eps: [B, C, H, W]. Returns [B, C, H, W]; for epsilon and x0 it is the argument itself.
    Raises ValueError when alpha_bar is outside, as for `to_x0_eps`.
    """
    signal, sigma = _signal_and_noise(alpha_bar, prediction)
    if prediction is Prediction.EPSILON:
        return eps
    if prediction is Prediction.X0:
        return x0
    return eps.mul(signal).add_(x0, alpha=-sigma)


def training_target(x0: Tensor, noise: Tensor, alpha_bar_t: Tensor, prediction: Prediction) -> Tensor:
    """What a network is trained to output at x_t, one timestep per image.

    x0, noise: [B, C, H, W]. alpha_bar_t: abar of each image's timestep, [B, 1, 1, 1], any float dtype.
    Returns [B, C, H, W] in the dtype of x0.
    """
    if prediction is Prediction.EPSILON:
        return noise
    if prediction is Prediction.X0:
        return x0
    return alpha_bar_t.sqrt().to(x0.dtype) * noise - (1.0 - alpha_bar_t).sqrt().to(x0.dtype) * x0


def _signal_and_noise(alpha_bar: float, prediction: Prediction) -> tuple[float, float]:
    """(sqrt(a), sqrt(1 - a)); the noise is above zero, and the signal too where an image is read from the noise."""
    if alpha_bar == 0.0 and prediction is not Prediction.EPSILON:
        return 0.0, 1.0
    if not 0.0 < alpha_bar < 1.0:
        raise ValueError(f"alpha_bar must lie strictly between 0 and 1, got {alpha_bar}")
    return math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar)
