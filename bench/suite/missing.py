"""What a plan needs and this machine does not have: one sentence each, with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import ParamError, UnknownName
from bench.registry import DATASETS, METRICS, MODELS, Registry
from bench.suite.schema import Cell, Ref


@dataclass(frozen=True)
class Lacking:
    """One thing that is not there."""

    sentence: str
    """What it is, where it must lie and how to get it there."""
    cells: tuple[str, ...]
    """Ids of the cells that need it."""


def lacking(cells: Sequence[Cell]) -> tuple[Lacking, ...]:
    """Everything that these cells need and that is not there, in order of first need."""
    found: dict[str, dict[str, None]] = {}
    for cell, sentences in cells_lack(cells):
        for sentence in (*sentences, *_metrics_lack(cell)):
            found.setdefault(sentence, {})[cell.id] = None
    return tuple(Lacking(sentence, tuple(ids)) for sentence, ids in found.items())


def cells_lack(cells: Iterable[Cell]) -> Iterator[tuple[Cell, tuple[str, ...]]]:
    """Each cell with what it itself lacks; what many cells are made of is looked for once."""
    known: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        made_of = f"{cell.model.model_dump_json()} {cell.data.model_dump_json() if cell.data else ''}"
        if made_of not in known:
            known[made_of] = cell_lacks(cell)
        yield cell, known[made_of]


def cell_lacks(cell: Cell) -> tuple[str, ...]:
    """What a cell itself cannot be built without: weights and data."""
    data = () if cell.data is None else _lacks(DATASETS, cell.data)
    return (*_lacks(MODELS, cell.model), *data)


def _metrics_lack(cell: Cell) -> Iterator[str]:
    for metric in cell.metrics:
        yield from _lacks(METRICS, metric, cell=cell)


def _lacks(registry: Registry[Any], ref: Ref, **more: object) -> tuple[str, ...]:
    """What wrong names and arguments lack is not known here; building them says what is wrong."""
    try:
        return registry.get(ref.name).lacks(ref.params, **more)
    except (UnknownName, ParamError):
        return ()
