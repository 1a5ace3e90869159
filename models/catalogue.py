"""The models that ship with the project, by the names a suite writes. Imports torch only inside the factories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bench.contracts import Denoiser, Prediction, ScheduleSpec
from bench.errors import ParamError
from bench.registry import register_model

if TYPE_CHECKING:
    from models.unet import UNetSizes

Config = Literal["digits", "cifar10"]
SkipType = Literal["zero", "duplicate", "interpolate", "interpolate-coded"]

PAPER_A = "Giladi et al., Accelerating Diffusion Models using Adaptive Neural Network Architecture"
HO = "Ho et al. 2020, appendix B"


@register_model("ddpm-unet")
def ddpm_unet(config: Config = "digits", weights: str = "shipped") -> Denoiser:
    """The DDPM U-Net of Ho et al. 2020, whole at every timestep.

    config: `digits` is 1x16x16 with four levels of 16 to 32 channels, `cifar10` the published 3x32x32 network.
    weights: `shipped` (digits only), the name of a shipped checkpoint, `random` (may be timed, never scored), or the
    path of a checkpoint.
    """
    import torch

    from models.checkpoints.shipped import load_weights
    from models.unet import UNet

    sizes = unet_sizes(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(sizes)
    loaded, inputs = load_weights(network, weights, shipped="digits-ddpm-unet" if config == "digits" else None)
    shape = (sizes.in_channels, sizes.image_size, sizes.image_size)
    return Denoiser(network, shape, Prediction.EPSILON, ScheduleSpec(), loaded, paper=HO, inputs=inputs)


@register_model("skip-unet")
def skip_unet(
    skip: SkipType = "zero", skip_exponent: float = 2.0, config: Config = "digits", weights: str = "shipped"
) -> Denoiser:
    """The DDPM U-Net that leaves out its k(t) deepest levels at noisy timesteps (Giladi et al., eq. 1).

    skip: what stands in for the missing branch; `interpolate` is as the paper writes it, `interpolate-coded` as its
    public code computes it. skip_exponent: c >= 0 of k(t) = min(N-1, floor(N - N(1-t)^c)); 0 skips nothing.
    config: `digits` (1x16x16) or `cifar10` (3x32x32). weights: `shipped` (digits only; trained with a uniformly drawn
    k for the same kind of skip), the name of a shipped checkpoint (`digits-ddpm-unet` never saw a skip), `random`, or
    the path of a checkpoint of the plain U-Net's layout.
    """
    import torch

    from models.checkpoints.shipped import load_weights
    from models.skip_unet import SkipUNet

    if skip_exponent < 0:
        raise ParamError(f"skip_exponent must be at least 0, got {skip_exponent}")
    sizes = unet_sizes(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SkipUNet(sizes, skip, skip_exponent)
    # Both ways to interpolate train the same middle block on the same features, so they share a checkpoint.
    name = f"digits-skip-{skip.removesuffix('-coded')}" if config == "digits" else None
    loaded, inputs = load_weights(network, weights, shipped=name)
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
    from models.unet import UNetSizes

    if config == "cifar10":
        return UNetSizes()
    return UNetSizes(image_size=16, in_channels=1, base_channels=16, norm_groups=8, dropout=0.0)
