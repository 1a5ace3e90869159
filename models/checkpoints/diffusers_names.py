"""The keys of diffusers' UNet2DModel, and those of `bench.models.unet` for the same tensors. Plain text, no torch.

The network's own key is the long-lived one; diffusers renamed its attention layers once (query, key, value, proj_attn
became to_q, to_k, to_v, to_out.0), so files with either spelling exist.
"""

from __future__ import annotations

from collections.abc import Iterable

RESIDUAL = {"temb_proj": "time_emb_proj", "nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
EARLY_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def diffusers_name(key: str, num_levels: int) -> str:
    """UNet2DModel's current key for one of the network's; `num_levels` is N, as diffusers counts up blocks from below.

    Raises ValueError for a key the network does not have.
    """
    match key.split("."):
        case ["temb", "dense", index, kind]:
            return f"time_embedding.linear_{int(index) + 1}.{kind}"
        case ["conv_in" | "conv_out", _]:
            return key
        case ["norm_out", kind]:
            return f"conv_norm_out.{kind}"
        case ["mid", "block_1" | "block_2" as block, layer, kind]:
            return f"mid_block.resnets.{int(block[-1]) - 1}.{RESIDUAL.get(layer, layer)}.{kind}"
        case ["mid", "attn_1", layer, kind]:
            return f"mid_block.attentions.0.{ATTENTION[layer]}.{kind}"
        case ["down" | "up" as side, level, "block", index, layer, kind]:
            return f"{_block(side, level, num_levels)}.resnets.{index}.{RESIDUAL.get(layer, layer)}.{kind}"
        case ["down" | "up" as side, level, "attn", index, layer, kind]:
            return f"{_block(side, level, num_levels)}.attentions.{index}.{ATTENTION[layer]}.{kind}"
        case ["down" | "up" as side, level, "downsample" | "upsample" as resize, "conv", kind]:
            return f"{_block(side, level, num_levels)}.{resize}rs.0.conv.{kind}"
    raise ValueError(f"{key!r} is no key of the DDPM U-Net")


def network_names(names: Iterable[str], expected: Iterable[str]) -> dict[str, str]:
    """The network's key -> the file's name, for every name of a UNet2DModel file.

    A name the network has no tensor for stands for itself, so that a strict comparison names it.
    """
    expected = tuple(expected)
    num_levels = 1 + max((int(key.split(".")[1]) for key in expected if key.startswith("down.")), default=0)
    ours = {}
    for key in expected:
        try:
            ours[diffusers_name(key, num_levels)] = key
        except ValueError:
            continue  # another network: nothing of the file will fit, and the comparison says so
    table: dict[str, str] = {}
    for name in names:
        key = ours.get(current_name(name), name)
        table[name if key in table else key] = name
    return table


def current_name(name: str) -> str:
    """The key as diffusers spells it today."""
    if ".attentions." not in name:
        return name
    for early, current in EARLY_ATTENTION.items():
        name = name.replace(early, current)
    return name


def is_attention_weight(key: str) -> bool:
    """Whether the network keeps this key as a 1x1 convolution where diffusers has a matrix."""
    parts = key.split(".")
    attention = ("attn" in parts or "attn_1" in parts) and parts[-2] in ("q", "k", "v", "proj_out")
    return attention and parts[-1] == "weight"


def _block(side: str, level: str, num_levels: int) -> str:
    return f"down_blocks.{level}" if side == "down" else f"up_blocks.{num_levels - 1 - int(level)}"
