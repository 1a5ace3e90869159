"""diffusers' UNet2DModel folders: a config.json that says which network it is, and one file of numbers.

Read without diffusers. Everything in the config that changes the output and that `models.unet` does not vary must have
the one value it stands for; a folder that asks for anything else is another network and is refused by name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from bench.contracts import Prediction, ScheduleSpec
from bench.errors import BadCheckpoint, MissingWeights, ParamError
from bench.files import write_whole
from models.checkpoints.diffusers_names import diffusers_name, is_attention_weight
from models.checkpoints.source import open_source
from models.unet import UNet, UNetSizes

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model"
MAX_CONFIG_BYTES = 1 << 20
MAX_LEVELS = 12
MAX_WHOLE = 1 << 16

FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "flip_sin_to_cos": (False,),
    "freq_shift": (1,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0,),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "attn_norm_num_groups": (None,),
    "resnet_time_scale_shift": ("default",),
    "add_attention": (True,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
}
"""Values of UNet2DModel's arguments that give this network; the first one is written on export."""
DIFFUSERS_DEFAULTS: dict[str, Any] = {"flip_sin_to_cos": True, "freq_shift": 0, "downsample_padding": 1}
"""What diffusers takes for an argument of FIXED that the file leaves out, where that is not this network's value."""

BETA_SCHEDULES = {"linear": "linear", "squaredcos_cap_v2": "cosine"}
PREDICTIONS = {"epsilon": Prediction.EPSILON, "sample": Prediction.X0, "v_prediction": Prediction.V}


@dataclass(frozen=True)
class Folder:
    """The files of a UNet2DModel folder."""

    config: Path
    weights: Path
    scheduler: Path | None
    """scheduler_config.json, when one lies beside the network or in the pipeline around it."""


def find_folder(path: Path) -> Folder:
    """The files behind a folder: a UNet2DModel's own, or a pipeline's with the network in `unet/`.

    Raises MissingWeights when a file is missing, BadCheckpoint when it cannot be told which file is meant.
    """
    home = next((folder for folder in (path, path / "unet") if (folder / CONFIG).is_file()), None)
    if home is None:
        raise MissingWeights(f"{path}: a folder without {CONFIG}; a diffusers UNet2DModel folder was expected")
    found = [home / f"{WEIGHTS}{suffix}" for suffix in (".safetensors", ".bin")]
    present = [file for file in found if file.is_file()]
    if not present:
        raise MissingWeights(f"{home}: neither {WEIGHTS}.safetensors nor {WEIGHTS}.bin is there; copy the whole folder")
    schedulers = (home / "scheduler_config.json", path / "scheduler" / "scheduler_config.json")
    around = (*schedulers, path.parent / "scheduler" / "scheduler_config.json") if home == path else schedulers
    return Folder(home / CONFIG, present[0], next((file for file in around if file.is_file()), None))


def read_sizes(config_path: Path) -> UNetSizes:
    """The network's sizes. Raises BadCheckpoint when the config describes another network, naming the argument."""
    config = _read_json(config_path)
    if config.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise BadCheckpoint(f"{config_path}: is of the class {config['_class_name']!r}, expected 'UNet2DModel'")
    for name, accepted in FIXED.items():
        value = config.get(name, DIFFUSERS_DEFAULTS.get(name, accepted[0]))
        if value not in accepted or isinstance(value, bool) != isinstance(accepted[0], bool):
            raise BadCheckpoint(f"{config_path}: {name} is {value!r}, expected {accepted[0]!r}: another network")
    try:
        return _sizes(config)
    except (LookupError, TypeError, ValueError, AttributeError, ParamError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise BadCheckpoint(f"{config_path}: not the DDPM U-Net: {reason}") from error


def read_process(scheduler_path: Path | None) -> tuple[ScheduleSpec, Prediction]:
    """The noise schedule and prediction type a pipeline was saved with; Ho et al.'s when it does not say.

    Raises BadCheckpoint for one that is not known here.
    """
    if scheduler_path is None:
        return ScheduleSpec(), Prediction.EPSILON
    config = _read_json(scheduler_path)
    kind = BETA_SCHEDULES.get(str(config.get("beta_schedule", "linear")))
    prediction = PREDICTIONS.get(str(config.get("prediction_type", "epsilon")))
    steps, start, end = (
        config.get(name, default)
        for name, default in (("num_train_timesteps", 1000), ("beta_start", 1e-4), ("beta_end", 0.02))
    )
    numbers = type(steps) is int and steps > 0 and all(type(beta) in (int, float) for beta in (start, end))
    if kind is None or prediction is None or config.get("trained_betas") is not None or not numbers:
        raise BadCheckpoint(f"{scheduler_path}: a noise schedule or prediction type that is not known here")
    if kind == "cosine":
        return ScheduleSpec("cosine", steps), prediction
    return ScheduleSpec("linear", steps, float(start), float(end)), prediction


def export_diffusers(network: UNet, folder: Path) -> Path:
    """Write the network as a folder that `UNet2DModel.from_pretrained` loads; returns the weights file.

    Level skipping is not part of that class: what is written is the whole network. Raises ParamError for sizes that
    UNet2DModel cannot have, SaveError when the folder cannot be written.
    """
    config = _config(network.sizes)
    state = network.state_dict()
    tensors = {
        diffusers_name(key, network.sizes.num_levels): (
            tensor.flatten(1) if is_attention_weight(key) else tensor
        ).contiguous()
        for key, tensor in state.items()
    }
    weights = folder / f"{WEIGHTS}.safetensors"
    write_whole(weights, save(tensors, metadata={"format": "pt"}))
    write_whole(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    return weights


def _sizes(config: dict[str, Any]) -> UNetSizes:
    widths = [_whole(width) for width in config["block_out_channels"]]
    down, up = config["down_block_types"], config["up_block_types"]
    base = widths[0]
    if len(widths) > MAX_LEVELS:
        raise ValueError(f"{len(widths)} levels; {MAX_LEVELS} are read at most")
    if any(width % base for width in widths):
        raise ValueError(f"block_out_channels {widths} are not multiples of the first")
    if config["in_channels"] != config["out_channels"]:
        raise ValueError(f"{config['in_channels']} input and {config['out_channels']} output channels")
    if len(down) != len(widths) or down != [kind.replace("Up", "Down") for kind in reversed(up)]:
        raise ValueError("down_block_types and up_block_types do not mirror each other")
    if unknown := set(down) - {"DownBlock2D", "AttnDownBlock2D"}:
        raise ValueError(f"blocks of the type {', '.join(sorted(unknown))}")
    attention = tuple(level for level, kind in enumerate(down) if kind == "AttnDownBlock2D")
    head = config.get("attention_head_dim", 8)
    if head is not None and {head} != {widths[level] for level in (*attention, -1)}:
        raise ValueError(f"attention_head_dim {head} gives several heads; null (one head) was expected")
    return UNetSizes(
        image_size=_whole(config["sample_size"]),
        in_channels=_whole(config["in_channels"]),
        base_channels=base,
        channel_multipliers=tuple(width // base for width in widths),
        blocks_per_level=_whole(config.get("layers_per_block", 2)),
        attention_levels=attention,
        dropout=_fraction(config.get("dropout", 0.0)),
        norm_groups=_whole(config.get("norm_num_groups", 32)),
        norm_eps=_fraction(config.get("norm_eps", 1e-5)),
    )


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_WHOLE:
        raise ValueError(f"{value!r} stands where a whole number was expected")
    return value


def _fraction(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"{value!r} stands where a number from 0 to 1 was expected")
    return float(value)


def _config(sizes: UNetSizes) -> dict[str, Any]:
    if sizes.channel_multipliers[0] != 1:
        raise ParamError(f"channel_multipliers {sizes.channel_multipliers}: UNet2DModel's first one is always 1")
    down = [f"{'Attn' if level in sizes.attention_levels else ''}DownBlock2D" for level in range(sizes.num_levels)]
    return {
        "_class_name": "UNet2DModel",
        "sample_size": sizes.image_size,
        "in_channels": sizes.in_channels,
        "out_channels": sizes.in_channels,
        "block_out_channels": [sizes.channels(level) for level in range(sizes.num_levels)],
        "layers_per_block": sizes.blocks_per_level,
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "attention_head_dim": None,
        "dropout": sizes.dropout,
        "norm_num_groups": sizes.norm_groups,
        "norm_eps": sizes.norm_eps,
        **{name: accepted[0] for name, accepted in FIXED.items()},
    }


def _read_json(path: Path) -> dict[str, Any]:
    with open_source(path) as source:
        if source.size > MAX_CONFIG_BYTES:
            raise source.refuse(f"has {source.size:,} bytes, too many for a config")
        text = source.read(0, source.size)
        try:
            config = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise source.refuse(f"is no JSON: {' '.join(str(error).split())[:120]}") from error
        if not isinstance(config, dict):
            raise source.refuse("is no JSON table")
        return config
