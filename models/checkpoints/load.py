"""`load_checkpoint`: from a file or folder in the wild to a Denoiser; and the check of a golden probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from bench.contracts import Denoiser, Restorer, Value
from bench.errors import BadCheckpoint, MissingWeights, ParamError
from bench.passport import Passport, read_passport
from bench.registry import MODELS, check_params
from models.checkpoints.diffusers_folder import read_process
from models.checkpoints.fill import Wanted, fill, find_files
from models.checkpoints.formats import check_format
from models.checkpoints.probe import check_probe, measure_probe
from models.checkpoints.unet_family import UNETS, WholeUNet, build_unet, wanted_unet
from models.unet import UNet


def load_checkpoint(
    path: str | Path, model: str = "skip-unet", format: str | None = None, *, ema: bool | None = None, **params: Value
) -> Denoiser:
    """The registered model with the numbers of a checkpoint.

    path: a safetensors or torch file, or a diffusers UNet2DModel folder. format: native, ddim, paper-a, diffusers,
    lucidrains or cddpm; None tells it from the names inside. ema: True or False insists on the moving average or the
    raw weights; None takes the average where the file has one. params: the model's own arguments (skip="zero", ...);
    the U-Nets take their sizes from the checkpoint unless `config` is given.
    The first load of a checkpoint writes its passport beside it, where the folder allows.
    Raises UnknownName, ParamError, MissingWeights and BadCheckpoint.
    """
    files = find_files(Path(path).expanduser())
    layout = None if format is None else check_format(format)
    entry = MODELS.get(model)
    if "weights" in params:
        raise ParamError("load_checkpoint takes the weights from its path; leave the argument 'weights' out")
    given = check_params(entry, {**params, "weights": "random"})
    sized = model in UNETS and "config" not in params
    denoiser = build_unet(model, files, given) if sized else entry.factory(**given)
    if isinstance(denoiser, Restorer):
        raise ParamError(f"{model!r} is no denoiser; name the file as its argument, `weights: {path}`")
    if files.scheduler is not None:
        schedule, prediction = read_process(files.scheduler)
        denoiser = replace(denoiser, schedule=schedule, prediction=prediction)
    network = denoiser.network
    if not isinstance(network, nn.Module):
        raise ParamError(f"{model!r} is no torch module, so no checkpoint can be loaded into it")
    if isinstance(network, UNet):
        wanted = replace(wanted_unet(network.sizes, format=layout, ema=ema), prediction=denoiser.prediction)
        weights = fill(network, files, wanted, WholeUNet(network))
    else:
        kept = {name: value for name, value in given.items() if name != "weights"}
        wanted = Wanted(layout, ema, model, kept, denoiser.prediction, denoiser.image_shape)
        weights = fill(network, files, wanted)
    return replace(denoiser, weights=weights, inputs=files.inputs)


def verify_probe(path: str | Path) -> None:
    """Check that a checkpoint, loaded as its passport says, answers as its passport says.

    Raises BadCheckpoint when it does not, MissingWeights when there is no passport or no probe in it.
    """
    file = find_files(Path(path).expanduser()).weights
    passport = read_passport(file)
    if passport.probe is None or not passport.model:
        raise MissingWeights(f"{file}: its passport has no golden probe to compare with")
    network, image_shape = _passported(path, passport)
    if not isinstance(network, nn.Module) or image_shape is None:
        raise BadCheckpoint(f"{file}: its passport names {passport.model!r}, which has no weights")
    found = measure_probe(network, image_shape, seed=passport.probe.seed, timesteps=passport.probe.timesteps)
    check_probe(str(file), found, passport.probe)


def _passported(path: str | Path, passport: Passport) -> tuple[object, tuple[int, int, int] | None]:
    """The network that a passport names, with the numbers of its file, and the shape of its images."""
    entry = MODELS.get(passport.model)
    if isinstance(entry.factory(**check_params(entry, {**passport.params, "weights": "random"})), Restorer):
        restorer = entry.factory(**check_params(entry, {**passport.params, "weights": str(path)}))
        assert isinstance(restorer, Restorer)  # the same factory again
        return restorer.restore, restorer.image_shape
    chosen = passport.ema if passport.format in ("paper-a", "lucidrains", "cddpm") else None
    denoiser = load_checkpoint(path, passport.model, passport.format, ema=chosen, **passport.params)
    return denoiser.network, denoiser.image_shape
