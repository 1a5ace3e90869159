"""diffusers' UNet2DModel folders: a config.json that says which network it is, and one file of numbers.

Read without diffusers. Everything in the config that changes the output and that `bench.models.unet` does not vary must
have the one value it stands for; a folder that asks for anything else is another network and is refused by name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from bench.errors import BadCheckpoint, MissingWeights, ParamError, printable, quoted
from bench.files import write_whole
from bench.models.checkpoints.diffusers_names import diffusers_name, is_attention_weight
from bench.models.checkpoints.hub_cache import link_target
from bench.models.checkpoints.json_file import read_json
from bench.models.checkpoints.source import refusal
from bench.models.unet import UNet, UNetSizes

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model"
AVERAGED = "unet_ema"
SCHEDULER = "scheduler_config.json"
PIPELINE = "model_index.json"
MAX_INDEX_BYTES = 16 << 20
MAX_SHARDS = 1000
MAX_LEVELS = 12
MAX_BLOCKS = 32
"""Residual blocks of a level; published networks have two or three."""
MAX_WHOLE = 1 << 16
MIN_WIDTH = 4
"""The narrowest time embedding that has two frequencies."""

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

NAMES = frozenset(
    {
        *FIXED,
        "sample_size",
        "in_channels",
        "out_channels",
        "block_out_channels",
        "layers_per_block",
        "down_block_types",
        "up_block_types",
        "attention_head_dim",
        "dropout",
        "norm_num_groups",
        "norm_eps",
        "time_embedding_dim",
        "num_train_timesteps",
        "decay",
        "min_decay",
        "inv_gamma",
        "power",
        "optimization_step",
        "update_after_step",
        "use_ema_warmup",
    }
)
"""Every key that is known. time_embedding_dim changes a shape, which is compared; num_train_timesteps changes nothing
here; those from `decay` on are what diffusers' moving average notes of itself."""

STORED = re.compile(rf"{WEIGHTS}(?:\.(?P<first>[\w-]+))?\.(?P<kind>safetensors|bin)(?P<index>(?:\.[\w-]+)*\.json)?")
"""diffusion_pytorch_model[.VARIANT].safetensors, and indices of shards, where the variant has stood in every place."""
SHARD = re.compile(r".*-\d+-of-\d+")
"""A shard's name where a variant's would stand."""


@dataclass(frozen=True)
class Stored:
    """One set of weights in a folder."""

    weights: Path
    """The file; for shards, the name that it would have in one piece."""
    index: Path | None = None
    variant: str = ""

    @property
    def ema(self) -> bool | None:
        """What the variant's name says."""
        return {"ema": True, "non_ema": False}.get(self.variant.lower().replace("-", "_"))


@dataclass(frozen=True)
class Folder:
    """The files of a UNet2DModel folder."""

    config: Path
    stored: Stored
    ema: bool | None
    """Moving average or raw weights, where two variants say so by standing beside each other, or one by its name."""
    scheduler: Path | None
    """scheduler_config.json, when one lies beside the network or in the pipeline around it."""
    pipeline: Path | None
    """model_index.json of the pipeline around it."""


def find_folder(path: Path, ema: bool | None = None) -> Folder:
    """The files behind a folder, or behind a weights file in one: a UNet2DModel's own, or a pipeline's with the network
    in `unet/`.

    ema: True or False insists on the moving average or the raw weights, where variants of the file say which they are.
    Raises MissingWeights when a file is missing, BadCheckpoint when it cannot be told which file is meant.
    """
    folder, file = (path, None) if path.is_dir() else (path.parent, path)
    folder = _snapshot(folder)
    home, averaged = _home(folder, ema)
    stored, said = _choose(home, ema) if file is None else _named(file)
    # A network's own folder may be the `unet` of a pipeline.
    around = (folder, folder.parent) if home == folder else (folder,)
    schedulers = (home / SCHEDULER, *(place / "scheduler" / SCHEDULER for place in around))
    # A link to a scheduler that was not downloaded is no reason to take another one.
    scheduler = next((file for file in schedulers if os.path.lexists(file)), None)
    pipeline = next((place / PIPELINE for place in around if os.path.lexists(place / PIPELINE)), None)
    for place in (home, *(() if scheduler is None else (scheduler.parent,))):
        if place.is_symlink() and place != path:
            link_target(place)
    return Folder(home / CONFIG, stored, averaged if said is None else said, scheduler, pipeline)


def _home(folder: Path, ema: bool | None) -> tuple[Path, bool | None]:
    """Where the network's config lies, and whether that is the folder of the moving average, when it says so.

    A trainer's checkpoint has `unet` and `unet_ema`. Raises MissingWeights.
    """
    if (folder / CONFIG).is_file():
        return folder, True if folder.name == AVERAGED else None
    raw, averaged = (folder / name if (folder / name / CONFIG).is_file() else None for name in ("unet", AVERAGED))
    if averaged is not None and (ema is not False or raw is None):
        return averaged, True
    if raw is not None:
        return raw, None if averaged is None else False
    raise MissingWeights(f"{printable(folder)}: a folder without {CONFIG}; a diffusers UNet2DModel folder was expected")


def _snapshot(folder: Path) -> Path:
    """The one download in a hub's cache folder; any other folder itself."""
    if not (folder.name.startswith("models--") and (folder / "snapshots").is_dir()):
        return folder
    snapshots = sorted((folder / "snapshots").iterdir())
    if len(snapshots) != 1:
        raise MissingWeights(f"{printable(folder)}: holds {len(snapshots)} snapshots; name one of them")
    return snapshots[0]


def _named(file: Path) -> tuple[Stored, bool | None]:
    stored = _stored(file) or Stored(file)
    return stored, stored.ema


def _stored(file: Path) -> Stored | None:
    """The set of weights that a file is, or whose index it is; None for any other file, a shard among them."""
    match = STORED.fullmatch(file.name)
    words = [] if match is None or match["index"] is None else match["index"].split(".")[1:-1]
    if match is None or (match["index"] is not None) != ("index" in words):
        return None
    variant = ".".join(word for word in (match["first"], *words) if word and word != "index")
    if SHARD.fullmatch(variant):
        return None
    whole = file.with_name(".".join(word for word in (WEIGHTS, variant, match["kind"]) if word))
    return Stored(whole, file if words else None, variant)


def _choose(home: Path, ema: bool | None) -> tuple[Stored, bool | None]:
    """Which weights of a folder are meant, and whether they are the moving average, when that is said.

    The one without a variant; beside `ema` or `non_ema`, the moving average unless the raw weights are asked for; a
    variant alone. Raises MissingWeights and BadCheckpoint.
    """
    stored = _all_stored(home)
    if not stored:
        raise MissingWeights(
            f"{printable(home)}: neither {WEIGHTS}.safetensors nor {WEIGHTS}.bin is there, nor a variant or shards of "
            "them; copy the whole folder"
        )
    plain = stored.get("")
    named = {each.ema: each for each in stored.values() if each.ema is not None}
    if plain is not None:
        if not named:
            return plain, None
        averaged, raw = named.get(True, plain), named.get(False, plain)
        return (raw, False) if ema is False else (averaged, True)
    if ema in named or (ema is None and True in named):
        return named[True if ema is None else ema], True if ema is None else ema
    if len(stored) > 1:
        variants = " and ".join(quoted(each.weights.name) for each in stored.values())
        raise BadCheckpoint(f"{printable(home)}: has the variants {variants}; name the file that is meant")
    (only,) = stored.values()
    if ema is not None and only.ema is not None and ema != only.ema:
        wanted = "moving average" if ema else "raw weights"
        raise BadCheckpoint(f"{printable(home)}: holds {quoted(only.weights.name)} alone, not the {wanted}")
    return only, only.ema


def _all_stored(home: Path) -> dict[str, Stored]:
    """Variant -> its weights; safetensors before pickles. Raises BadCheckpoint for a file and shards of one name."""
    stored: dict[str, Stored] = {}
    for file in sorted(home.iterdir(), key=lambda file: ("safetensors" not in file.name, file.name)):
        this = _stored(file)
        if this is None or not file.is_file():
            continue
        other = stored.setdefault(this.variant, this)
        if other.weights == this.weights and other.index != this.index:
            raise refusal(home, f"has {quoted(this.weights.name)} in one piece and in shards; remove one of them")
    return stored


def read_index(index: Path, weights: Path) -> Mapping[str, str]:
    """Tensor name -> name of the shard that holds it. Raises BadCheckpoint unless all are plain files beside it."""
    table = read_json(index, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise refusal(index, "has no weight_map, which names the shard of every tensor")
    for shard in set(table.values()) if all(type(shard) is str for shard in table.values()) else [None]:
        if shard is None or not shard.endswith(weights.suffix) or "/" in shard or shard != printable(shard, 200):
            raise refusal(index, f"names the shard {quoted(shard)}, expected a {weights.suffix} file beside it")
    if len(set(table.values())) > MAX_SHARDS:
        raise refusal(index, f"names {len(set(table.values())):,} shards; {MAX_SHARDS:,} are read at most")
    return table


def read_sizes(config_path: Path) -> UNetSizes:
    """The network's sizes. Raises BadCheckpoint when the config describes another network, naming the argument."""
    config = read_json(config_path)
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise refusal(config_path, f"is of the class {quoted(kind)}, expected 'UNet2DModel'")
    for name, accepted in FIXED.items():
        value = config.get(name, DIFFUSERS_DEFAULTS.get(name, accepted[0]))
        if value not in accepted or isinstance(value, bool) != isinstance(accepted[0], bool):
            raise refusal(config_path, f"{name} is {quoted(value)}, expected {accepted[0]!r}: another network")
    for name, value in config.items():
        if name not in NAMES and not name.startswith("_") and value is not None and value is not False:
            raise refusal(config_path, f"has the key {quoted(name)} with the value {quoted(value)}, not known here")
    try:
        return _sizes(config)
    except (LookupError, TypeError, ValueError, AttributeError, ParamError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise refusal(config_path, f"not the DDPM U-Net: {reason}") from error


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
    widths, down, up = (_list(config, name) for name in ("block_out_channels", "down_block_types", "up_block_types"))
    widths = [_whole(width) for width in widths]
    base = widths[0]
    if base % 2 or base < MIN_WIDTH:
        raise ValueError(f"block_out_channels begins with {base}, expected an even number of {MIN_WIDTH} or more")
    if any(width % base for width in widths):
        raise ValueError(f"block_out_channels {widths} are not multiples of the first")
    channels = _whole(config["in_channels"])
    if channels != _whole(config["out_channels"]):
        raise ValueError(f"{channels} input and {config['out_channels']} output channels")
    if len(down) != len(widths) or down != [kind.replace("Up", "Down") for kind in reversed(up)]:
        raise ValueError("down_block_types and up_block_types do not mirror each other")
    if unknown := set(down) - {"DownBlock2D", "AttnDownBlock2D"}:
        raise ValueError(f"blocks of the type {', '.join(quoted(kind, 40) for kind in sorted(unknown))}")
    attention = tuple(level for level, kind in enumerate(down) if kind == "AttnDownBlock2D")
    head = config.get("attention_head_dim", 8)
    if head is not None and {head} != {widths[level] for level in (*attention, -1)}:
        raise ValueError(f"attention_head_dim {quoted(head)} gives several heads; null (one head) was expected")
    blocks = _whole(config.get("layers_per_block", 2))
    if blocks > MAX_BLOCKS:
        raise ValueError(f"layers_per_block is {blocks}; {MAX_BLOCKS} are read at most")
    return UNetSizes(
        image_size=_whole(config["sample_size"]),
        in_channels=channels,
        base_channels=base,
        channel_multipliers=tuple(width // base for width in widths),
        blocks_per_level=blocks,
        attention_levels=attention,
        dropout=_fraction(config.get("dropout", 0.0)),
        norm_groups=_whole(config.get("norm_num_groups", 32)),
        norm_eps=_fraction(config.get("norm_eps", 1e-5)),
    )


def _list(config: dict[str, Any], name: str) -> list[Any]:
    value = config[name]
    if type(value) is not list or not 0 < len(value) <= MAX_LEVELS:
        raise ValueError(f"{name} is {quoted(value)}, expected a list of 1 to {MAX_LEVELS} levels")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_WHOLE:
        raise ValueError(f"{quoted(value)} stands where a whole number was expected")
    return value


def _fraction(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"{quoted(value)} stands where a number from 0 to 1 was expected")
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
