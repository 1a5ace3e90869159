"""Where in a file a network's tensors stand, told from names, and what else in the file may be weights.

A name in a file is the network's key with something in front: the entry of the file (`state_dict.`, `ema.`), and what
wrappers put there (`module.` of DataParallel, `_orig_mod.` of torch.compile, `model.` of a trainer), in any order and
number. So the file is searched for every prefix behind which all of the network's keys stand: each is one set of
weights. Two such sets are told apart by the words of their prefixes, or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from bench.errors import quoted
from bench.models.checkpoints.contents import StoredTensor

MAX_PARTS = 16
"""Dots looked behind in a name; wrappers of wrappers have five."""
AVERAGES = frozenset({"ema", "emas", "averaged", "average", "avg", "moving", "shadow", "swa", "polyak", "smoothed"})
"""Words for a moving average of the weights."""
RAW = frozenset({"non", "no", "not", "without", "raw", "online"})
"""Words that take it back: `non_ema`, and the raw copy that a wrapper keeps beside its average (`ema.online_model`)."""
OPTIMISERS = frozenset({"optimizer", "optimizers", "optimiser", "optim", "opt", "adam", "sgd", "scheduler"})
MOMENTS = re.compile(r"(^|\.)(exp_avg\w*|max_exp_avg\w*|momentum_buffer|square_avg|grad_avg|acc_delta)(\.|$)")
"""What optimisers keep for every weight, of the weight's own shape."""
STATE_OF_ONE = re.compile(r"(^|\.)state\.\d+\.\w+$")
WRAPPERS = frozenset(
    {
        "state",
        "dict",
        "model",
        "module",
        "net",
        "network",
        "unet",
        "denoise",
        "denoiser",
        "fn",
        "diffusion",
        "orig",
        "mod",
        "params",
        "weights",
        "checkpoint",
        "ckpt",
        "generator",
        "score",
        "inner",
        "first",
        "stage",
    }
)
"""Words of prefixes that people and libraries put in front of the network that is meant."""
FLOATING = frozenset({"float64", "float32", "float16", "bfloat16"})
ENTRIES_NAMED = 3
NAMES_LOOKED_AT = 8
"""Of an entry's names, to see what it says it is."""


@dataclass(frozen=True)
class StateDict:
    """One set of a network's weights."""

    prefix: str
    """What stands before the network's keys."""
    names: Mapping[str, str]
    """The network's key -> the file's name; also names behind the prefix that are no keys, standing for themselves."""
    averaged: bool
    """Whether its prefix says that it is a moving average."""

    @property
    def is_copy(self) -> bool:
        """Whether it is the raw copy inside an average's wrapper."""
        return not self.averaged and bool(words_of(self.prefix) & AVERAGES)

    @property
    def entry(self) -> str:
        """How to speak of it in a sentence."""
        return quoted(self.prefix.rstrip(".")) if self.prefix else "the file's top level"


def count_matches(names: Iterable[str], keys: Collection[str]) -> Counter[str]:
    """Prefix -> how many of the network's keys stand behind it."""
    matches: Counter[str] = Counter()
    for name in names:
        start = 0
        for _ in range(MAX_PARTS):
            if name[start:] in keys:
                matches[name[:start]] += 1
            dot = name.find(".", start)
            if dot < 0:
                break
            start = dot + 1
    return matches


def stripped(names: Iterable[str], prefix: str) -> dict[str, str]:
    """Name without the prefix -> name, for those that have it."""
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}


def is_average(prefix: str, names: Collection[str]) -> bool:
    """Whether a prefix says that a moving average stands behind it, by a word or by torch's AveragedModel's counter."""
    words = words_of(prefix)
    if words & RAW:
        return False
    parts = prefix.split(".")[:-1]
    counters = (".".join([*parts[:depth], "n_averaged"]) for depth in range(len(parts)))
    return bool(words & AVERAGES) or any(counter in names for counter in counters)


def words_of(name: str) -> frozenset[str]:
    """The words in a name, whatever joins them: `state_dict_ema`, `modelEMA` and `ema-0.999` all have `ema`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return frozenset(re.findall(r"[a-z]+", apart.lower()))


def common_prefix(names: Collection[str]) -> str:
    """The dotted beginning that all names share, without the last part of any."""
    parts = [name.split(".")[:-1] for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{part}." for part in shared)


def is_optimiser(name: str) -> bool:
    """Whether a tensor belongs to an optimiser, or to a scheduler of its learning rate."""
    if MOMENTS.search(name):
        return True
    entry = name.rpartition(".")[0]
    words = words_of(entry)
    return not words & AVERAGES and (bool(words & OPTIMISERS) or STATE_OF_ONE.search(name) is not None)


@dataclass(frozen=True)
class Leftovers:
    """What could be weights in a file besides those that were chosen."""

    averages: tuple[str, ...]
    """Entries whose name says that they are a moving average, although they do not have the network's keys."""
    look_alikes: tuple[str, ...]
    """Entries with tensors of the very shapes of the network's, under other names or none."""
    others: tuple[str, ...]
    """Every other entry."""
    matrices: bool
    """Whether some of the others have two dimensions or more, as weights have and tables of a process have not."""


def leftovers(
    tensors: Mapping[str, StoredTensor], prefix: str, spoken: Collection[str], shapes: Iterable[tuple[int, ...]]
) -> Leftovers:
    """What stands in a file besides the set behind `prefix` and the names `spoken` for. shapes: the network's."""
    entries: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        weight_like = tensor.dtype in FLOATING and max(tensor.shape, default=1) > 1
        if weight_like and name not in spoken and not is_optimiser(name):
            entries.setdefault(_entry(name, prefix), []).append(name)
    wanted = _matrices(shapes)
    averages = {entry for entry, names in entries.items() if _says_average(names, tensors)}
    rest = {entry: names for entry, names in entries.items() if entry not in averages}
    alike = {
        entry
        for entry, names in rest.items()
        if wanted and not wanted - _matrices(tensors[name].shape for name in names)
    }
    others = {entry: names for entry, names in rest.items() if entry not in alike}
    return Leftovers(
        averages=tuple(entry for entry in entries if entry in averages),
        look_alikes=tuple(entry for entry in entries if entry in alike),
        others=tuple(others),
        matrices=any(len(tensors[name].shape) > 1 for names in others.values() for name in names),
    )


def _says_average(names: list[str], tensors: Collection[str]) -> bool:
    return any(is_average(f"{name.rpartition('.')[0]}.", tensors) for name in names[:NAMES_LOOKED_AT])


def _matrices(shapes: Iterable[tuple[int, ...]]) -> Counter[tuple[int, ...]]:
    return Counter(shape for shape in shapes if len(shape) > 1)


def _entry(name: str, prefix: str) -> str:
    """The part of a file that a name stands in: what it shares with the chosen prefix, and one part more."""
    parts, chosen = name.split("."), prefix.split(".")[:-1]
    shared = 0
    while shared < min(len(parts) - 1, len(chosen)) and parts[shared] == chosen[shared]:
        shared += 1
    return ".".join(parts[: shared + 1])


def is_wrapper(prefix: str) -> bool:
    """Whether a prefix is made of the words that wrappers of the meant network use, or says that it is an average."""
    return words_of(prefix) <= WRAPPERS | AVERAGES | RAW


def listed(entries: Iterable[str]) -> str:
    """The first few entries, for a sentence."""
    names = list(entries)
    more = len(names) - ENTRIES_NAMED
    return ", ".join(quoted(name, 40) for name in names[:ENTRIES_NAMED]) + (f" and {more} more" if more > 0 else "")


def distinct(sets: Iterable[StateDict], tensors: Mapping[str, StoredTensor], keys: Iterable[str]) -> list[StateDict]:
    """The sets, without those whose tensors are the very same places of the file as an earlier one's."""
    first: dict[tuple[object, ...], StateDict] = {}
    keys = tuple(keys)
    for each in sets:
        first.setdefault(tuple(tensors[each.names[key]] for key in keys), each)
    return list(first.values())
