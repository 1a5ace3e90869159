"""The DDPM U-Nets seen from a checkpoint: which of the known sizes it has, and what its passport should say.

A checkpoint of this family is the plain network's, whichever way of skipping it is loaded for: its passport speaks of
`ddpm-unet`, and its golden probe is the whole network's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import cast, get_args

import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, Value
from bench.models.catalogue import Config, SkipType, unet_sizes
from bench.models.checkpoints.diffusers_folder import read_sizes
from bench.models.checkpoints.fill import Files, Wanted, check_promise, shapes_of
from bench.models.checkpoints.formats import Format
from bench.models.checkpoints.safe_load import peek_contents
from bench.models.checkpoints.source import refusal
from bench.models.skip_unet import SkipUNet
from bench.models.unet import UNet, UNetSizes
from bench.registry import MODELS

PLAIN = "ddpm-unet"
MAX_PROBE_BYTES = 256 << 20
UNETS = (PLAIN, "skip-unet")
CONFIGS: tuple[Config, ...] = get_args(Config)
FIRST_LAYER = "conv_in.weight"
"""The layer whose shape tells the sizes apart, whatever stands before its name."""


class WholeUNet(nn.Module):
    """A U-Net with every level at every timestep, whatever it skips otherwise; shares its tensors."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.network.walk(x_t, t, num_levels=self.network.sizes.num_levels)


def wanted_unet(sizes: UNetSizes, *, format: Format | None = None, ema: bool | None = None) -> Wanted:
    """What a first passport says about a checkpoint of a U-Net of these sizes; no golden probe for very large ones."""
    config = named_config(sizes)
    return Wanted(
        format=format,
        ema=ema,
        model=PLAIN,
        params={} if config is None else {"config": config},
        prediction=Prediction.EPSILON,
        image_shape=image_shape(sizes) if _probe_bytes(sizes) <= MAX_PROBE_BYTES else None,
    )


def image_shape(sizes: UNetSizes) -> tuple[int, int, int]:
    """(C, H, W) of the network's images."""
    return sizes.in_channels, sizes.image_size, sizes.image_size


def _probe_bytes(sizes: UNetSizes) -> int:
    """Of the largest tensor in one call of the network; a file's config can ask for any image size."""
    levels = range(sizes.num_levels)
    maps = (2 * sizes.channels(level) * sizes.resolution(level) ** 2 for level in levels)
    scores = (sizes.resolution(level) ** 4 for level in (*sizes.attention_levels, sizes.num_levels - 1))
    return 4 * max(*maps, *scores)


def named_config(sizes: UNetSizes) -> Config | None:
    """The configuration that has these sizes; dropout is no part of the network that is measured."""
    return next((name for name in CONFIGS if replace(unet_sizes(name), dropout=sizes.dropout) == sizes), None)


def build_unet(model: str, files: Files, params: Mapping[str, Value], wanted: Wanted) -> Denoiser:
    """The untrained Denoiser of `ddpm-unet` or `skip-unet` at the sizes of the checkpoint.

    params: the model's checked arguments; `config` counts only when the checkpoint does not tell its sizes. Raises
    BadCheckpoint when a folder's config describes another network than its file holds, before that is built.
    """
    factory = cast("Callable[..., Denoiser]", MODELS.get(model).factory)  # both names are denoisers
    sizes = _stored_sizes(files)
    if sizes is not None and files.config is not None:
        with torch.device("meta"):
            shapes = shapes_of(UNet(sizes))
        check_promise(files, shapes, wanted)
    if sizes is None:
        return factory(**params)
    config = named_config(sizes)
    if config is not None:
        return factory(**{**params, "config": config})
    # Sizes that have no name: the same Denoiser around another network.
    named = factory(**params)
    shape = image_shape(sizes)
    if model == PLAIN:
        return replace(named, network=UNet(sizes), image_shape=shape)
    network = SkipUNet(sizes, cast(SkipType, params["skip"]), cast(float, params["skip_exponent"]))
    return replace(named, network=network, image_shape=shape, stage=network.num_skipped_levels)


def check_config(files: Files, network: UNet) -> None:
    """Whether the network is the one that a folder's config describes: many that differ have the same shapes.

    Raises BadCheckpoint naming the size that differs. The image size is no part of it, nor is dropout.
    """
    if files.config is None:
        return
    stored = replace(read_sizes(files.config), dropout=network.sizes.dropout, image_size=network.sizes.image_size)
    for field in fields(stored):
        one, other = getattr(stored, field.name), getattr(network.sizes, field.name)
        if one != other:
            raise refusal(files.config, f"describes another network: {field.name} is {one}, and the model's is {other}")


def _stored_sizes(files: Files) -> UNetSizes | None:
    """A folder's own sizes, or those of the configuration whose first layer a flat file has."""
    if files.config is not None:
        return read_sizes(files.config)
    tensors = peek_contents(files.weights, files.shards).tensors
    known = [unet_sizes(config) for config in CONFIGS]
    shapes = {tensor.shape for name, tensor in tensors.items() if f".{name}".endswith(f".{FIRST_LAYER}")}
    return next((sizes for sizes in known if (sizes.base_channels, sizes.in_channels, 3, 3) in shapes), None)
