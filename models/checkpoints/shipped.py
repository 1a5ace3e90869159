"""A network's numbers: the shipped ones, random ones, or those of a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from bench.contracts import Prediction, ScheduleSpec, Weights
from bench.models.checkpoints.fill import Wanted, fill, find_files
from bench.models.checkpoints.places import find_weights
from bench.models.checkpoints.source import refusal
from bench.models.checkpoints.unet_family import WholeUNet, check_config, wanted_unet
from bench.models.unet import UNet

FROM_SUITE = (ScheduleSpec(), Prediction.EPSILON)
"""What a U-Net named in a suite is walked with; the only networks here that a diffusers folder can fill."""


def load_weights(
    network: nn.Module,
    weights: str,
    *,
    shipped: str | None,
    prediction: Prediction | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> tuple[Weights, tuple[Path, ...]]:
    """Fill the network and say where its numbers come from and which files that depends on.

    weights: `random` (keep what the network was built with), `shipped` (the checkpoint called `shipped`), or a path or
    name as `find_weights` takes it; the file may have any known layout. prediction: what
    the network's output means, compared with the passport when given. image_shape: (C, H, W) of its images, for the
    golden probe in the passport that a file without one gets; the DDPM U-Nets know theirs. Raises MissingWeights and
    BadCheckpoint.
    """
    found = find_weights(weights, shipped)
    if found is None:
        return Weights("random"), ()
    if found.shipped is not None:
        wanted = Wanted(prediction=prediction, name=found.shipped)
        return fill(network, find_files(found.path), wanted), (found.path,)
    files = find_files(found.path)
    if files.process is not None and (files.process.schedule, files.process.prediction) != FROM_SUITE:
        raise refusal(
            found.path,
            "the network was trained with another noise schedule or prediction than the model has; load it with "
            "bench.load_checkpoint from a plug-in",
        )
    if isinstance(network, UNet):
        check_config(files, network)
        return fill(network, files, wanted_unet(network.sizes), WholeUNet(network)), files.inputs
    return fill(network, files, Wanted(prediction=prediction, image_shape=image_shape)), files.inputs
