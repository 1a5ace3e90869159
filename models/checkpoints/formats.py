"""Which layout a checkpoint has, told from its names alone, and which of its tensors a network wants.

native      this project's own: the network's state-dict keys.
ddim        flat, with the keys of ermongroup/ddim and pesser/pytorch_diffusion, which are also those of `models.unet`.
paper-a     what Giladi et al.'s code saves: a list of state dict (`module.` prefix), optimiser, epoch, step and, unless
            it was switched off, the moving average (no prefix).
diffusers   UNet2DModel, current or early attention names.
lucidrains  a milestone of denoising-diffusion-pytorch's Trainer: `model` and `ema`, each a whole diffusion object.
cddpm       the same Trainer around the continuous U-Net.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bench.contracts import Scalar
from bench.errors import ParamError, did_you_mean
from models.checkpoints.diffusers_names import network_names

Format = Literal["native", "ddim", "paper-a", "diffusers", "lucidrains", "cddpm"]
FORMATS: tuple[Format, ...] = get_args(Format)

WRAPPERS = ("", "module.", "state_dict.", "state_dict.module.")
"""Prefixes people put in front of a flat state dict."""
TRAINER_RAW = "model.model."
TRAINER_EMA = "ema.ema_model.model."


class WrongLayout(ValueError):
    """The checkpoint does not have what was asked of it; the message is the sentence to print."""


@dataclass(frozen=True)
class Selection:
    """The tensors of a checkpoint that make one network."""

    format: Format
    names: Mapping[str, str]
    """The network's key -> the checkpoint's name."""
    ema: bool | None
    """Moving average or raw weights; None when the layout does not say."""
    steps: int | None = None
    """Training steps, when the checkpoint says."""
    note: str = ""
    """What a reader of the numbers should know."""


def detect_format(names: Iterable[str]) -> Format:
    """The layout a set of tensor names has; `native` when it is none of the known ones."""
    known = set(names)
    if any(f"0.{prefix}temb.dense.0.weight" in known for prefix in ("", "module.")):
        return "paper-a"
    for prefix in (TRAINER_EMA, TRAINER_RAW):
        if any(name.startswith(f"{prefix}initial_velocity.") for name in known):
            return "cddpm"
        if any(name.startswith(prefix) for name in known):
            return "lucidrains"
    if "time_embedding.linear_1.weight" in known and any(name.startswith("down_blocks.") for name in known):
        return "diffusers"
    if any(f"{prefix}temb.dense.0.weight" in known for prefix in WRAPPERS):
        return "ddim"
    return "native"


def check_format(format: str) -> Format:
    """The name as a Format. Raises ParamError when it is none."""
    for known in FORMATS:
        if format == known:
            return known
    raise ParamError(f"no checkpoint format {format!r}{did_you_mean(format, FORMATS)} (known: {', '.join(FORMATS)})")


def select(
    names: Iterable[str],
    scalars: Mapping[str, Scalar],
    expected: Iterable[str],
    *,
    format: Format | None = None,
    ema: bool | None = None,
) -> Selection:
    """Which of a checkpoint's tensors are the network's.

    names, scalars: the checkpoint's. expected: the network's keys. format: insist on a layout, or None to detect it.
    ema: insist on the moving average or on the raw weights; None takes the average where there is one.
    Raises WrongLayout. Names the network does not know are passed on, for the strict comparison to complain about.
    """
    names, expected = tuple(names), tuple(expected)
    found = detect_format(names)
    # Own checkpoints of the DDPM U-Net have the very keys of the ddim layout: insisting on either name is right.
    if format is not None and format != found and {format, found} != {"native", "ddim"}:
        raise WrongLayout(f"has the layout {found!r}, and {format!r} was asked for")
    layout = format or found
    if layout == "paper-a":
        return _paper_a(names, scalars, ema)
    if layout in ("lucidrains", "cddpm"):
        return _trainer(layout, names, scalars, ema)
    if layout == "diffusers":
        return Selection(layout, network_names(names, expected), ema)
    return _flat(layout, names, expected, ema)


def _flat(layout: Format, names: tuple[str, ...], expected: tuple[str, ...], ema: bool | None) -> Selection:
    """The wrapper that fits the network's keys best, the shortest when several do."""
    known = set(names)
    prefix = max(WRAPPERS, key=lambda prefix: sum(f"{prefix}{key}" in known for key in expected))
    return Selection(layout, _stripped(names, prefix), ema)


def _paper_a(names: tuple[str, ...], scalars: Mapping[str, Scalar], ema: bool | None) -> Selection:
    averaged = _stripped(names, "4.")
    steps = _steps(scalars.get("3"))
    if ema is not False and averaged:
        return Selection("paper-a", averaged, True, steps)
    if ema:
        raise WrongLayout("is a list of 4 entries, saved without a moving average; ask for the raw weights (ema=False)")
    raw = _stripped(names, "0.module.") or _stripped(names, "0.")
    note = "" if averaged else "raw weights: a list of 4 entries holds no moving average"
    return Selection("paper-a", raw, False, steps, note)


def _trainer(layout: Format, names: tuple[str, ...], scalars: Mapping[str, Scalar], ema: bool | None) -> Selection:
    averaged, raw = _stripped(names, TRAINER_EMA), _stripped(names, TRAINER_RAW)
    steps = _steps(scalars.get("step"))
    if ema is not False and averaged:
        return Selection(layout, averaged, True, steps)
    if ema or not raw:
        raise WrongLayout(f"is a Trainer milestone without {'a moving average' if ema else 'raw weights'}")
    note = "" if averaged else "raw weights: the milestone holds no moving average"
    return Selection(layout, raw, False, steps, note)


def drift_note(names: Iterable[str], expected: Iterable[str], version: Scalar) -> str:
    """Why a Trainer milestone of another library version cannot fit, or nothing."""
    kept, wanted = set(names), set(expected)
    said = f"the milestone was saved by version {version}; " if isinstance(version, str) else ""
    reasons = []
    if _any(kept, "mem_kv") and not _any(wanted, "mem_kv"):
        reasons.append("it has memory tokens (mem_kv), which denoising-diffusion-pytorch adds from 1.9.0 on")
    if _any(wanted, ".norm.bias") and not _any(kept, ".norm.bias"):
        reasons.append("it normalises with RMSNorm (norm.g), which replaced GroupNorm in 2.0.0")
    return f"{said}{' and '.join(reasons)}; the network here is that of versions before 1.9.0" if reasons else ""


def variant_note(names: Iterable[str], expected: Iterable[str]) -> str:
    """Which variant of the continuous U-Net a milestone holds, when that is not the network's, or nothing."""
    kept, wanted = _cunet_variant(names), _cunet_variant(expected)
    if kept == wanted:
        return ""
    return f"the milestone has {kept}, the network here {wanted}; choose the model's attention and norm to match"


def _cunet_variant(names: Iterable[str]) -> str:
    names = set(names)
    attentions = {name.split(".")[0] for name in names if name.startswith("attention_")}
    norm = "group norms" if _any(names, ".odefunc.norm1.weight") else "no group norms"
    return f"{len(attentions)} attentions and {norm}"


def _any(names: set[str], part: str) -> bool:
    return any(part in name for name in names)


def _stripped(names: Iterable[str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}


def _steps(value: Scalar) -> int | None:
    return value if type(value) is int and value >= 0 else None
