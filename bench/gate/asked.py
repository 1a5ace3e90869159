"""What a gate is asked for, and the suite as both sides read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contracts import Scalar
from bench.errors import SuiteError
from bench.gate import rule
from bench.registry import metric_spec
from bench.suite.schema import Cell, Suite
from bench.suite.uses import all_metrics
from bench.suite.yaml12 import Located, compose

KEPT = ("schema", "suite", "title", "conditions", "effort", "seed", "grid")
"""Keys of a suite that say what its cells are."""
ALWAYS_EXACT = ("parameters", "weight_bytes", "nfe", "macs")
"""Exact metrics that are compared whether the suite lists them or not."""


@dataclass(frozen=True)
class Asked:
    """One gate."""

    suite: Suite
    cells: tuple[Cell, ...]
    """Those of head that are judged."""
    base: str
    """A git revision or a folder."""
    select: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    tolerance: float = rule.TOLERANCE
    pixels: float = 0.0
    """Largest difference of a pixel between images that count as the same; images lie in [-1, 1]."""
    exact_only: bool = False
    time_limit_s: float | None = None
    looks: tuple[int, ...] = rule.LOOKS
    """Numbers of process pairs after which to decide."""
    base_python: Path | None = None
    """An interpreter of its own for the base, instead of one that sees what is installed here."""
    builder: str | None = None
    """`module:function` that builds cells instead of `bench.subject`; the module must be a plug-in."""


def reduced(suite: Suite) -> str:
    """The suite without tables, figures, claims and metrics: an older `bench` need not know those of a newer one.

    As JSON, which is YAML. Raises SuiteError for a suite without a text.
    """
    tree, _ = compose(suite.source.text)
    if tree is None or not isinstance(tree.value, Mapping):
        raise SuiteError([f"{suite.source.name or suite.suite}: a gate needs a suite that was read from a file"])
    data = {key: plain(value) for key, value in tree.value.items() if key in KEPT}
    for block in data.get("grid", ()):
        block.pop("metrics", None)
    return json.dumps({**data, "metrics": ["parameters"]})


def plain(tree: Located) -> Any:
    """A tree without its places."""
    if isinstance(tree.value, Mapping):
        return {key: plain(value) for key, value in tree.value.items()}
    if isinstance(tree.value, tuple):
        return [plain(value) for value in tree.value]
    return tree.value


def exact_metrics(suite: Suite) -> list[Mapping[str, Any]]:
    """Every exact metric of the suite as both sides are told: {name, params}, with the arguments that are written."""
    found = [(ref.name, ref.params) for ref in all_metrics(suite) if metric_spec(ref.name).kind == "exact"]
    asked = {name for name, _ in found}
    found += [
        (name, {"counters": ("dispatch",)} if name == "macs" else {}) for name in ALWAYS_EXACT if name not in asked
    ]
    told = [
        {"name": name, "params": {key: list(v) if isinstance(v, tuple) else v for key, v in params.items()}}
        for name, params in found
    ]
    return [each for place, each in enumerate(told) if each not in told[:place]]


def match_cells(head: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Index of a head cell -> index of the base's cell: the same id, or the only one that agrees in all both know.

    An argument that only one side has, such as a new one with a default, is what a gate may be about.
    """
    by_id = {cell["id"]: index for index, cell in enumerate(base)}
    found = {index: by_id[cell["id"]] for index, cell in enumerate(head) if cell["id"] in by_id}
    left_base = [index for index in range(len(base)) if index not in found.values()]
    left_head = [index for index in range(len(head)) if index not in found]
    for index in left_head:
        close = [other for other in left_base if _agree(head[index], base[other])]
        rivals = [each for each in left_head if each != index and any(_agree(head[each], base[o]) for o in close)]
        if len(close) == 1 and not rivals:
            found[index] = close[0]
    return found


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    facts: list[tuple[Mapping[str, Scalar], Mapping[str, Scalar]]] = [
        (one["factors"], other["factors"]),
        (one["conditions"], other["conditions"]),
    ]
    return all(mine[name] == theirs[name] for mine, theirs in facts for name in mine.keys() & theirs.keys())
