"""Tensors by which a network's checkpoint is known, from its names and shapes alone. Free of torch.

A plan holds them against the header of a checkpoint: the first and the last layer, the deepest one, and what a variant
has that its siblings have not. The load itself compares every name; what passes here may still be refused there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from bench.errors import BadCheckpoint, MissingWeights
from bench.models.checkpoints.contents import Contents, check_contents
from bench.models.checkpoints.formats import WrongLayout, select
from bench.models.checkpoints.kinds import kind_of
from bench.models.checkpoints.places import find_weights
from bench.models.checkpoints.safetensors_file import safetensors_contents
from bench.models.checkpoints.source import Source, open_source
from bench.models.checkpoints.torch_file import legacy_contents, torch_contents
from bench.models.shapes import Shape
from bench.passport import passport_path, read_passport

Landmarks = Mapping[str, tuple[int, ...] | None]
"""A name of the network's state dict -> its shape; None: the network has no such tensor."""

READERS: Mapping[str, Callable[[Source], Contents]] = {
    "safetensors": safetensors_contents, "torch": torch_contents, "torch-legacy": legacy_contents
}  # fmt: skip
QKV = 384
"""Channels of queries, keys and values together: 4 heads of 32, three times."""
DIFFERENCES_SHOWN = 3
FOLDER_FILE = "diffusion_pytorch_model.safetensors"
SAME_IN_DIFFUSERS = ("conv_in.weight", "conv_out.weight")


def unet(channels: int, base: int, bottom: int) -> Landmarks:
    """The DDPM U-Net with four levels. base, bottom: channels of its first and its deepest level."""
    return {
        "conv_in.weight": (base, channels, 3, 3),
        "temb.dense.0.weight": (4 * base, base),
        "mid.block_1.conv1.weight": (bottom, bottom, 3, 3),
        "down.3.block.0.conv1.weight": (bottom, bottom, 3, 3),
        "down.4.block.0.conv1.weight": None,
        "conv_out.weight": (channels, base, 3, 3),
    }


def lucid_unet(shape: Shape) -> Landmarks:
    """Paper B's baseline."""
    bottom, last = shape.width << (shape.depth - 1), shape.depth - 1
    return {
        "init_conv.weight": (shape.width, shape.channels, 7, 7),
        f"downs.{last}.3.weight": (bottom, shape.width << max(0, last - 1), 3, 3),
        "mid_block1.block1.proj.weight": (bottom, bottom, 3, 3),
        "final_conv.weight": (shape.channels, shape.width, 1, 1),
    }


def cunet(shape: Shape, attention: str, residual: bool) -> Landmarks:
    """The continuous U-Net that paper B describes."""
    bottom, last = shape.width << (shape.depth - 1), shape.depth - 1
    levels = {"none": set(), "two": {last - 1}, "five": {1, last - 1, last}}[attention]
    attentions: dict[str, tuple[int, ...] | None] = {
        f"down.{level}.attention.to_qkv.weight": (QKV, shape.width << level, 1, 1) if level in levels else None
        for level in range(last)
    }
    return {
        "conv_in.weight": (shape.width, shape.channels, 3, 3),
        "bottom.block.ode.odefunc.conv1.weight": (2 * bottom, 2 * bottom, 3, 3),
        "bottom.block.ode.odefunc.res_conv.weight": (bottom, 2 * bottom, 1, 1) if residual else None,
        **attentions,
        "bottom.attention.to_qkv.weight": (QKV, bottom, 1, 1) if last in levels else None,
        f"down.{last}.block.ode.odefunc.conv1.weight": None,
        "conv_out.weight": (shape.channels, shape.width, 3, 3),
    }


def cunet_released(shape: Shape, attention: str, norm: str, blocks: str) -> Landmarks:
    """The continuous U-Net that paper B's code computes."""
    first, bottom = 2 * shape.width, 2 * shape.width << (shape.depth - 1)
    kernel = 1 if blocks == "no-residual-released" else 3
    return {
        "initial_velocity.conv1.weight": (shape.width, shape.channels, 3, 3),
        "odeblock_down1.odefunc.norm1.weight": (first,) if norm == "group" else None,
        f"odeblock_down{shape.depth}.odefunc.conv1.weight": None,
        "odeblock_embedding.odefunc.conv2.weight": (bottom, bottom, kernel, kernel),
        "attention_decoder1.to_qkv.weight": None if attention == "none" else (QKV, first << (shape.depth - 2), 1, 1),
        "attention_bottleneck.to_qkv.weight": (QKV, bottom, 1, 1) if attention == "five" else None,
        "classifier.weight": (shape.channels, first, 1, 1),
    }


def conv_autoencoder(shape: Shape) -> Landmarks:
    """Paper B's autoencoder."""
    return {
        "encoder.0.weight": (shape.width, shape.channels, 3, 3),
        "encoder.6.weight": (8 * shape.width, 4 * shape.width, 3, 3),
        "decoder.6.weight": (shape.width, shape.channels, 4, 4),
    }


def dncnn(shape: Shape) -> Landmarks:
    """DnCNN as paper B's notebook builds it."""
    return {
        "dncnn.0.weight": (shape.width, shape.channels, 3, 3),
        f"dncnn.{3 * shape.depth - 4}.weight": (shape.channels, shape.width, 3, 3),
    }


def misfits(weights: str, shipped: str | None, landmarks: Landmarks) -> Iterator[str]:
    """Sentences: why the checkpoint that a model's argument `weights` names cannot be this network's.

    Nothing for random weights, for the network's own shipped ones, and for a file that is not there, which a plan calls
    missing. Of a diffusers folder only the outer layers are looked at.
    """
    try:
        place = find_weights(weights, shipped)
    except MissingWeights:
        return
    if place is None or (place.shipped is not None and place.shipped == shipped):
        return
    try:
        for path in _files(place.path):
            yield from _differences(path, landmarks)
    except (BadCheckpoint, MissingWeights) as error:
        yield str(error)


def _files(path: Path) -> tuple[Path, ...]:
    """The file itself, or that of a diffusers folder or pipeline."""
    if not path.is_dir():
        return (path,)
    return tuple(
        file for file in (path / FOLDER_FILE, path / "unet" / FOLDER_FILE) if file.is_file() and not file.is_symlink()
    )


def _differences(path: Path, landmarks: Landmarks) -> Iterator[str]:
    if passport_path(path).is_file():
        read_passport(path)
    with open_source(path) as source:
        contents = check_contents(source, READERS[kind_of(source)](source))
    try:
        selection = select(contents, {key: shape for key, shape in landmarks.items() if shape is not None})
    except WrongLayout as error:
        yield f"{path}: {error}"
        return
    if selection.format == "diffusers":  # inside, the names are others; outside they are the same
        landmarks = {key: landmarks[key] for key in SAME_IN_DIFFUSERS if key in landmarks}
        shapes = {key: contents.tensors[key].shape for key in landmarks if key in contents.tensors}
    else:
        shapes = {key: contents.tensors[name].shape for key, name in selection.names.items() if key in landmarks}
    found = list(islice(_sentences(shapes, landmarks), DIFFERENCES_SHOWN))
    if found:
        yield f"{path}: made for another network: {'; '.join(found)}"


def _sentences(shapes: Mapping[str, tuple[int, ...]], landmarks: Landmarks) -> Iterator[str]:
    for key, shape in landmarks.items():
        if shape is None and key in shapes:
            yield f"unexpected {key!r}"
        elif shape is not None and key not in shapes:
            yield f"missing {key!r}"
        elif shape is not None and shapes[key] != shape:
            yield f"{key!r} is {shapes[key]}, expected {shape}"
