"""Which layout a checkpoint has, told from its names alone, and which of its tensors a network wants.

native      the network's own state-dict keys, behind any prefix.
ddim        the keys of ermongroup/ddim and pesser/pytorch_diffusion, which are also those of `bench.models.unet`.
paper-a     what Giladi et al.'s code saves: a list of state dict (`module.` prefix), optimiser, epoch, step and, unless
            it was switched off, the moving average (no prefix).
diffusers   UNet2DModel, current or early attention names, behind any prefix.
lucidrains  a milestone of denoising-diffusion-pytorch's Trainer: `model` and `ema`, each a whole diffusion object.
cddpm       the same Trainer around the continuous U-Net.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from bench.contracts import Scalar
from bench.errors import ParamError, did_you_mean, quoted
from bench.models.checkpoints.contents import Contents, StoredTensor
from bench.models.checkpoints.diffusers_names import network_names
from bench.models.checkpoints.state_dicts import (
    StateDict,
    common_prefix,
    count_matches,
    distinct,
    is_average,
    is_optimiser,
    is_wrapper,
    leftovers,
    listed,
    stripped,
)

Format = Literal["native", "ddim", "paper-a", "diffusers", "lucidrains", "cddpm"]
FORMATS: tuple[Format, ...] = get_args(Format)

TRAINER_RAW = "model.model."
TRAINER_EMA = "ema.ema_model.model."
TRAINER_OWN = ("model.", "ema.ema_model.", "ema.online_model.")
"""What a Trainer saves besides: the buffers of the process around the network, and the raw weights once more."""
PAPER_A_OWN = ("0.", "4.")
NO_AVERAGE = "is a list of 4 entries, saved without a moving average"
DDIM_KEY = "temb.dense.0.weight"
DIFFUSERS_KEY = "time_embedding.linear_1.weight"
MAX_STEPS = 1 << 53
MAX_SETS = 32
"""Of a network's weights in one file."""


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
    prefix: str = ""
    """What stands before the network's keys."""


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
    if _ends(known, DIFFUSERS_KEY) and any("down_blocks." in name for name in known):
        return "diffusers"
    if _ends(known, DDIM_KEY):
        return "ddim"
    return "native"


def _ends(names: Iterable[str], key: str) -> bool:
    return any(name == key or name.endswith(f".{key}") for name in names)


def check_format(format: str) -> Format:
    """The name as a Format. Raises ParamError when it is none."""
    for known in FORMATS:
        if format == known:
            return known
    raise ParamError(f"no checkpoint format {format!r}{did_you_mean(format, FORMATS)} (known: {', '.join(FORMATS)})")


def select(
    contents: Contents,
    expected: Mapping[str, tuple[int, ...]],
    *,
    format: Format | None = None,
    ema: bool | None = None,
) -> Selection:
    """Which of a checkpoint's tensors are the network's.

    expected: the network's keys and shapes. format: insist on a layout, or None to detect it. ema: insist on the moving
    average or on the raw weights; None takes the average where there is one.
    Raises WrongLayout, also when the file holds another set of weights that nobody can tell from the one chosen. Names
    the network does not know are passed on, for the strict comparison to complain about.
    """
    tensors, scalars = contents.tensors, contents.scalars
    detected = detect_format(tensors)
    # Own checkpoints of the DDPM U-Net have the very keys of the ddim layout: insisting on either name is right.
    if format is not None and format != detected and {format, detected} != {"native", "ddim"}:
        raise WrongLayout(f"has the layout {detected!r}, and {format!r} was asked for")
    layout = format or detected
    if layout == "paper-a":
        selection = _checked(_paper_a(tensors, scalars, ema), tensors, expected, _own(tensors, PAPER_A_OWN), ema)
        if ema and not selection.ema:
            raise WrongLayout(f"{NO_AVERAGE}; ask for the raw weights (ema=False)")
        return selection
    if layout in ("lucidrains", "cddpm"):
        selection = _trainer(layout, tensors, scalars, ema)
        selection = _checked(selection, tensors, expected, _own(tensors, TRAINER_OWN), ema)
        if ema and not selection.ema:
            raise WrongLayout("is a Trainer milestone without a moving average")
        return selection
    return _flat(layout, tensors, expected, ema)


def _own(names: Iterable[str], prefixes: tuple[str, ...]) -> set[str]:
    return {name for name in names if name.startswith(prefixes)}


def _flat(
    layout: Format, tensors: Mapping[str, StoredTensor], expected: Mapping[str, tuple[int, ...]], ema: bool | None
) -> Selection:
    """The set of weights that is meant, of all that stand in the file."""
    sets = _sets(layout, tensors, expected)
    if not sets:
        return _closest(layout, tensors, expected)
    chosen = _choose(sets, tensors, expected, ema)
    others = [each for each in sets if each is not chosen]
    # Whether a set is raw is only known where an average stands beside it.
    said = chosen.averaged or (False if any(each.averaged for each in others) else None)
    inside = [each.prefix for each in others if each.prefix != chosen.prefix and each.prefix.startswith(chosen.prefix)]
    names = {key: name for key, name in chosen.names.items() if not name.startswith(tuple(inside))}
    spoken = {each.names[key] for each in others for key in expected}
    return _checked(Selection(layout, names, said, prefix=chosen.prefix), tensors, expected, spoken, ema)


def _sets(
    layout: Format, tensors: Mapping[str, StoredTensor], expected: Mapping[str, tuple[int, ...]]
) -> list[StateDict]:
    """Every whole set of the network's weights, in the order of the file. Raises WrongLayout for too many of them."""
    if layout == "diffusers":
        prefixes = [name.removesuffix(DIFFUSERS_KEY) for name in tensors if name.endswith(DIFFUSERS_KEY)]
    else:
        matches = count_matches(tensors, expected.keys())
        prefixes = [prefix for prefix, count in matches.items() if count == len(expected)]
    if len(prefixes) > MAX_SETS:
        raise WrongLayout(
            f"holds {len(prefixes):,} sets of weights, {listed(prefixes)}; save the one that is meant alone"
        )
    behind = _diffusers_names if layout == "diffusers" else _native_names
    names = {prefix: behind(tensors, prefix, expected) for prefix in prefixes}
    return [
        StateDict(prefix, found, is_average(prefix, tensors))
        for prefix, found in names.items()
        if found.keys() >= expected.keys()
    ]


def _native_names(tensors: Iterable[str], prefix: str, _: Mapping[str, tuple[int, ...]]) -> Mapping[str, str]:
    return stripped(tensors, prefix)


def _diffusers_names(tensors: Iterable[str], prefix: str, expected: Mapping[str, tuple[int, ...]]) -> Mapping[str, str]:
    """The network's key -> the file's name, for a UNet2DModel behind a prefix."""
    behind = stripped(tensors, prefix)
    return {key: behind[name] for key, name in network_names(behind, expected).items()}


def _choose(
    sets: list[StateDict], tensors: Mapping[str, StoredTensor], keys: Iterable[str], ema: bool | None
) -> StateDict:
    """The average where there is one and it is not declined, the raw set otherwise. Raises WrongLayout."""
    averaged = [each for each in sets if each.averaged]
    raw = [each for each in sets if not each.averaged]
    # The copy that an average's wrapper keeps of the raw weights counts where there is no other.
    raw = [each for each in raw if not each.is_copy] or raw
    candidates = distinct(averaged if averaged and ema is not False else raw, tensors, keys)
    if not candidates:
        raise WrongLayout(f"holds a moving average only, in {sets[0].entry}, and the raw weights were asked for")
    if len(candidates) > 1:
        kind = "moving averages" if candidates[0].averaged else "sets of weights"
        entries = " and ".join(each.entry for each in candidates[:4])
        raise WrongLayout(
            f"holds {len(candidates)} {kind}, in {entries}, and does not say which is meant; save that one alone"
        )
    return candidates[0]


def _closest(layout: Format, tensors: Mapping[str, StoredTensor], expected: Mapping[str, tuple[int, ...]]) -> Selection:
    """The names that come closest to the network's, for the comparison to say what is wrong. Raises WrongLayout."""
    if all(map(is_optimiser, tensors)):
        raise WrongLayout("holds an optimiser's state, not weights; name the file of the model's state_dict")
    if layout == "diffusers":
        prefix = next(name.removesuffix(DIFFUSERS_KEY) for name in tensors if name.endswith(DIFFUSERS_KEY))
        return Selection(layout, _diffusers_names(tensors, prefix, expected), None, prefix=prefix)
    matches = count_matches(tensors, expected.keys())
    prefix = max(matches, key=lambda prefix: (matches[prefix], -len(prefix))) if matches else common_prefix(tensors)
    return Selection(layout, stripped(tensors, prefix), None, prefix=prefix)


def _checked(
    selection: Selection,
    tensors: Mapping[str, StoredTensor],
    expected: Mapping[str, tuple[int, ...]],
    spoken: Collection[str],
    ema: bool | None,
) -> Selection:
    """The selection, with a note of what else is in the file. spoken: names that are accounted for.

    Raises WrongLayout when something else may be the weights that are meant.
    """
    more = leftovers(tensors, selection.prefix, {*spoken, *selection.names.values()}, expected.values())
    chosen = quoted(selection.prefix.rstrip(".")) if selection.prefix else "its top level"
    if more.averages and not selection.ema and ema is not False:
        raise WrongLayout(
            f"holds weights in {chosen} and a moving average in {listed(more.averages)} that does not have the "
            "network's names; ask for the raw weights (ema=False), or save the average as a state_dict"
        )
    if more.look_alikes and not (selection.ema is not None and ema is not None):
        raise WrongLayout(
            f"holds weights in {chosen} and tensors of the same shapes in {listed(more.look_alikes)}, and does not say "
            "which are meant; save those alone"
        )
    if more.matrices and not is_wrapper(selection.prefix):
        raise WrongLayout(
            f"holds the network's keys in {chosen}, and other weights in {listed(more.others)}; save the network's "
            "state_dict alone"
        )
    left_out = [*more.averages, *more.look_alikes, *more.others]
    note = f"left out of the file: {listed(left_out)}" if left_out else ""
    said = False if more.averages and selection.ema is None else selection.ema
    return replace(selection, ema=said, note="; ".join(filter(None, (selection.note, note))))


def _paper_a(names: Iterable[str], scalars: Mapping[str, Scalar], ema: bool | None) -> Selection:
    averaged = stripped(names, "4.")
    steps = _steps(scalars.get("3"))
    if ema is not False and averaged:
        return Selection("paper-a", averaged, True, steps, prefix="4.")
    prefix = "0.module." if stripped(names, "0.module.") else "0."
    note = "" if averaged else "raw weights: a list of 4 entries holds no moving average"
    return Selection("paper-a", stripped(names, prefix), False, steps, note, prefix)


def _trainer(layout: Format, names: Iterable[str], scalars: Mapping[str, Scalar], ema: bool | None) -> Selection:
    averaged, raw = stripped(names, TRAINER_EMA), stripped(names, TRAINER_RAW)
    steps = _steps(scalars.get("step"))
    if ema is not False and averaged:
        return Selection(layout, averaged, True, steps, prefix=TRAINER_EMA)
    if not raw:
        raise WrongLayout("is a Trainer milestone without raw weights")
    note = "" if averaged else "raw weights: the milestone holds no moving average"
    return Selection(layout, raw, False, steps, note, TRAINER_RAW)


def drift_note(names: Iterable[str], expected: Iterable[str], version: Scalar) -> str:
    """Why a Trainer milestone of another library version cannot fit, or nothing."""
    kept, wanted = set(names), set(expected)
    said = f"the milestone was saved by version {quoted(version)[1:-1]}; " if isinstance(version, str) else ""
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


def _steps(value: Scalar) -> int | None:
    return value if type(value) is int and 0 <= value < MAX_STEPS else None
