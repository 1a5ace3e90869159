"""`load_checkpoint`: from a file or folder in the wild to a Denoiser; and the check of a golden probe."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from bench.contracts import Denoiser, Restorer, Value
from bench.errors import MissingWeights, ParamError, printable, quoted
from bench.models.checkpoints.fill import Files, Wanted, check_room, fill, find_files, shapes_of
from bench.models.checkpoints.formats import check_format
from bench.models.checkpoints.probe import check_probe, measure_probe
from bench.models.checkpoints.safe_load import peek_contents
from bench.models.checkpoints.source import refusal
from bench.models.checkpoints.unet_family import UNETS, WholeUNet, build_unet, check_config, wanted_unet
from bench.models.unet import UNet
from bench.passport import Passport, read_passport
from bench.registry import MODELS, check_params, load_builtins

MAX_PROBED_IMAGE = 1 << 20
"""Numbers in an image that a passport may have a network called with."""
MAX_SIZE = 1 << 16
"""Of a network's argument in a passport."""


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
    load_builtins()
    entry = MODELS.get(model)
    layout = None if format is None else check_format(format)
    if "weights" in params:
        raise ParamError("load_checkpoint takes the weights from its path; leave the argument 'weights' out")
    given = check_params(entry, {**params, "weights": "random"})
    files = find_files(Path(path).expanduser(), ema)
    sized = model in UNETS and "config" not in params
    wanted = Wanted(layout, ema)
    denoiser = build_unet(model, files, given, wanted) if sized else entry.factory(**given)
    if isinstance(denoiser, Restorer):
        raise ParamError(f"{model!r} is no denoiser; name the file as its argument, `weights: {printable(path)}`")
    if files.process is not None:
        denoiser = replace(denoiser, schedule=files.process.schedule, prediction=files.process.prediction)
    network = denoiser.network
    if not isinstance(network, nn.Module):
        raise ParamError(f"{model!r} is no torch module, so no checkpoint can be loaded into it")
    if isinstance(network, UNet):
        check_config(files, network)
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
    load_builtins()
    files = find_files(Path(path).expanduser())
    passport = read_passport(files.weights)
    if passport.probe is None or not passport.model:
        raise MissingWeights(f"{printable(files.weights)}: its passport has no golden probe to compare with")
    _check_passported(files, passport)
    network, image_shape = _passported(path, passport)
    if not isinstance(network, nn.Module) or image_shape is None:
        raise refusal(files.weights, f"its passport names {quoted(passport.model)}, which has no weights")
    if math.prod(image_shape) > MAX_PROBED_IMAGE:
        raise refusal(files.weights, f"its passport has a probe of {image_shape} images, which is too large")
    answers = measure_probe(network, image_shape, seed=passport.probe.seed, timesteps=passport.probe.timesteps)
    check_probe(printable(files.weights), answers, passport.probe)


def _check_passported(files: Files, passport: Passport) -> None:
    """Whether the file has room for the network that its passport names, before that is built.

    Whoever wrote the file wrote the passport too, and may have asked for any size. Raises BadCheckpoint.
    """
    entry = MODELS.get(passport.model)
    try:
        params = check_params(entry, {**passport.params, "weights": "random"})
    except ParamError as error:
        raise refusal(files.weights, f"its passport asks for what no network is: {error}") from error
    if large := [name for name, value in params.items() if type(value) is int and value > MAX_SIZE]:
        raise refusal(files.weights, f"its passport asks for {quoted(large[0])} of more than {MAX_SIZE:,}")
    most = len(peek_contents(files.weights, files.shards).tensors)
    try:
        with torch.device("meta"), at_most_parameters(most, files.weights):
            model = entry.factory(**params)
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
        raise refusal(files.weights, f"its passport names a network that cannot be built: {error}") from error
    network = model.restore if isinstance(model, Restorer) else model.network
    if isinstance(network, nn.Module):
        check_room(files, shapes_of(network))


@contextmanager
def at_most_parameters(most: int, path: Path) -> Iterator[None]:
    """Modules made in the block may have so many parameters together, or BadCheckpoint is raised."""
    count = 0

    def registered(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += parameter is not None
        if count > most:
            raise refusal(path, f"its passport names a network of more tensors than the {most:,} in the file")

    hook = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        hook.remove()


def _passported(path: str | Path, passport: Passport) -> tuple[object, tuple[int, int, int] | None]:
    """The network that a passport names, with the numbers of its file, and the shape of its images."""
    entry = MODELS.get(passport.model)
    if isinstance(entry.factory(**check_params(entry, {**passport.params, "weights": "random"})), Restorer):
        restorer = entry.factory(**check_params(entry, {**passport.params, "weights": str(path)}))
        assert isinstance(restorer, Restorer)  # the same factory again
        return restorer.restore, restorer.image_shape
    told = passport.ema_source == "file" or passport.format in ("paper-a", "lucidrains", "cddpm")
    chosen = passport.ema if told else None
    denoiser = load_checkpoint(path, passport.model, passport.format, ema=chosen, **passport.params)
    return denoiser.network, denoiser.image_shape
