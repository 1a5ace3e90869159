"""The models that ship with the project, by the names a suite writes. Imports torch only inside the factories."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from bench.contracts import Denoiser, Prediction, Range, ScheduleSpec
from bench.errors import ParamError
from bench.models import landmarks
from bench.models.checkpoints.places import missing_weights
from bench.models.seeded import from_seed_0
from bench.models.skip_schedule import skip_boundaries
from bench.outlook import ModelFacts, Stages
from bench.registry import register_model

if TYPE_CHECKING:
    from bench.models.unet import UNetSizes

Config = Literal["digits", "cifar10"]
SkipType = Literal["zero", "duplicate", "interpolate", "interpolate-coded"]

SkipExponent = Annotated[float, Range(0.0, 1000.0)]

PAPER_A = "Giladi et al., Accelerating Diffusion Models using Adaptive Neural Network Architecture"
HO = "Ho et al. 2020, appendix B"
LEVELS = 4
"""N of both configurations."""


def _plain_name(config: Config) -> str | None:
    """The checkpoint that ships for the plain network."""
    return "digits-ddpm-unet" if config == "digits" else None


def _skip_name(config: Config, skip: SkipType) -> str | None:
    """The checkpoint that ships for a kind of skip; None where there is none.

    Both ways to interpolate train the same middle block on the same features, so they share one.
    """
    return f"digits-skip-{skip.removesuffix('-coded')}" if config == "digits" else None


def _plain_missing(config: Config, weights: str) -> Iterator[str]:
    return missing_weights(weights, _plain_name(config))


def _skip_missing(skip: SkipType, config: Config, weights: str, **_: object) -> Iterator[str]:
    return missing_weights(weights, _skip_name(config, skip))


def _unet_facts(config: Config, **_: object) -> ModelFacts:
    return ModelFacts((1, 16, 16) if config == "digits" else (3, 32, 32))


def _unet_landmarks(config: Config) -> landmarks.Landmarks:
    return landmarks.unet(1, 16, 32) if config == "digits" else landmarks.unet(3, 128, 256)


def _plain_misfits(config: Config, weights: str) -> Iterator[str]:
    return landmarks.misfits(weights, _plain_name(config), _unet_landmarks(config))


def _skip_misfits(skip: SkipType, config: Config, weights: str, **_: object) -> Iterator[str]:
    return landmarks.misfits(weights, _skip_name(config, skip), _unet_landmarks(config))


def _skip_stages(skip_exponent: float, **_: object) -> Callable[[int], int]:
    """k(t) of the whole chain."""
    boundaries = skip_boundaries(LEVELS, skip_exponent, ScheduleSpec().num_train_timesteps)
    return partial(bisect_right, boundaries)


@register_model("ddpm-unet", missing=_plain_missing, facts=_unet_facts, wrong_weights=_plain_misfits)
def ddpm_unet(config: Config = "digits", weights: str = "shipped") -> Denoiser:
    """The DDPM U-Net of Ho et al. 2020, whole at every timestep.

    config: `digits` is 1x16x16 with four levels of 16 to 32 channels, `cifar10` the published 3x32x32 network.
    weights: `shipped` (digits only), the name of a shipped checkpoint or of a download (`ddpm-cifar10`), `random` (may
    be timed, never scored), or the path of a checkpoint, from here or from the data root.
    """
    from bench.models.checkpoints.shipped import load_weights
    from bench.models.unet import UNet

    sizes = unet_sizes(config)
    network = from_seed_0(lambda: UNet(sizes))
    loaded, inputs = load_weights(network, weights, shipped=_plain_name(config))
    shape = (sizes.in_channels, sizes.image_size, sizes.image_size)
    return Denoiser(network, shape, Prediction.EPSILON, ScheduleSpec(), loaded, paper=HO, inputs=inputs)


@register_model(
    "skip-unet",
    missing=_skip_missing,
    stages=Stages(_skip_stages, frozenset({"skip_exponent"})),
    facts=_unet_facts,
    wrong_weights=_skip_misfits,
)
def skip_unet(
    skip: SkipType = "zero", skip_exponent: SkipExponent = 2.0, config: Config = "digits", weights: str = "shipped"
) -> Denoiser:
    """The DDPM U-Net that leaves out its k(t) deepest levels at noisy timesteps (Giladi et al., eq. 1).

    skip: what stands in for the missing branch; `interpolate` is as the paper writes it, `interpolate-coded` as its
    public code computes it. skip_exponent: c, 0 to 1000, of k(t) = min(N-1, floor(N - N(1-t)^c)); 0 skips nothing.
    config: `digits` (1x16x16) or `cifar10` (3x32x32). weights: `shipped` (digits only; trained with a uniformly drawn
    k for the same kind of skip), the name of a shipped checkpoint (`digits-ddpm-unet` never saw a skip) or of a
    download (`ddpm-cifar10`), `random`, or the path of a checkpoint of the plain U-Net's layout, from here or from the
    data root.
    """
    from bench.models.checkpoints.shipped import load_weights
    from bench.models.skip_unet import SkipUNet

    if skip_exponent < 0:
        raise ParamError(f"skip_exponent must be at least 0, got {skip_exponent}")
    sizes = unet_sizes(config)
    network = from_seed_0(lambda: SkipUNet(sizes, skip, skip_exponent))
    loaded, inputs = load_weights(network, weights, shipped=_skip_name(config, skip))
    shape = (sizes.in_channels, sizes.image_size, sizes.image_size)
    return Denoiser(
        network,
        shape,
        Prediction.EPSILON,
        ScheduleSpec(),
        loaded,
        paper=PAPER_A,
        stage=network.num_skipped_levels,
        inputs=inputs,
    )


def unet_sizes(config: Config) -> UNetSizes:
    """The two published shapes of the DDPM U-Net here: the paper's own, and one for 16x16 digits."""
    from bench.models.unet import UNetSizes

    if config == "cifar10":
        return UNetSizes()
    return UNetSizes(image_size=16, in_channels=1, base_channels=16, norm_groups=8, dropout=0.0)
