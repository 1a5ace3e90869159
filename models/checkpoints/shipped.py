"""A network's numbers: the shipped ones, random ones, or those of a file."""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path

from torch import nn

from bench.contracts import Prediction, ScheduleSpec, Weights
from bench.errors import BadCheckpoint, MissingWeights
from models.checkpoints.diffusers_folder import read_process
from models.checkpoints.fill import Wanted, fill, find_files
from models.checkpoints.unet_family import WholeUNet, wanted_unet
from models.unet import UNet

FROM_SUITE = (ScheduleSpec(), Prediction.EPSILON)
"""What a network named in a suite is walked with."""


def shipped_path(name: str) -> Path:
    """Where the weights called `name` lie inside the installed package."""
    return Path(str(package_files("models") / "weights" / f"{name}.safetensors"))


def shipped_names() -> tuple[str, ...]:
    """The names of all checkpoints that ship with the project, sorted."""
    folder = Path(str(package_files("models") / "weights"))
    return tuple(sorted(path.stem for path in folder.glob("*.safetensors")))


def load_weights(
    network: nn.Module,
    weights: str,
    *,
    shipped: str | None,
    prediction: Prediction | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> tuple[Weights, tuple[Path, ...]]:
    """Fill the network and say where its numbers come from and which files that depends on.

    weights: `shipped` (the checkpoint called `shipped`), the name of another shipped checkpoint (`digits-ddpm-unet`),
    `random` (keep what the network was built with), or the path of a checkpoint of any known layout. prediction: what
    the network's output means, compared with the passport when given. image_shape: (C, H, W) of its images, for the
    golden probe in the passport that a file without one gets; the DDPM U-Nets know theirs. Raises MissingWeights and
    BadCheckpoint.
    """
    if weights == "random":
        return Weights("random"), ()
    if weights == "shipped":
        if shipped is None:
            raise MissingWeights(
                "no weights are shipped for this configuration; give weights: random, or a file's path"
            )
        return _load_shipped(network, shipped, prediction)
    if weights in shipped_names() and not Path(weights).exists():
        return _load_shipped(network, weights, prediction)
    files = find_files(Path(weights).expanduser())
    if files.scheduler is not None and read_process(files.scheduler) != FROM_SUITE:
        raise BadCheckpoint(
            f"{files.scheduler}: the network was trained with another noise schedule or prediction than the model has; "
            "load it with models.load_checkpoint from a plug-in"
        )
    if isinstance(network, UNet):
        return fill(network, files, wanted_unet(network.sizes), WholeUNet(network)), files.inputs
    return fill(network, files, Wanted(prediction=prediction, image_shape=image_shape)), files.inputs


def _load_shipped(network: nn.Module, name: str, prediction: Prediction | None) -> tuple[Weights, tuple[Path, ...]]:
    # Some installers lay packages out as links; whoever installed the package vouches for them.
    path = shipped_path(name).resolve()
    if not path.is_file():
        raise MissingWeights(f"{shipped_path(name)}: the shipped weights are not there; make them with `bench train`")
    return fill(network, find_files(path), Wanted(prediction=prediction, name=name)), (path,)
