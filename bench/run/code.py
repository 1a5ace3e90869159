"""Which code the numbers of a visit come from: one hash for each part, so that a change is told by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from bench.code_identity import OWN, Definition, code_identity, definition_of
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, Entry, Registry
from bench.suite.schema import Cell

HARNESS = (
    Definition("bench.subject", "build_subject"),
    Definition("bench.subject", "Subject"),
    Definition("bench.run.perform", "Performer"),
    Definition("bench.run.environment", "worker_environment"),
)
"""What every number goes through."""


def code_of(metric: str, model: object, sampler: object = None, data: object = None) -> Mapping[str, str]:
    """Part (harness, metric, model, sampler, data) -> hash of the code that it can run, as far as the names are known.

    Every file is read once in a call of `bench.run`; see `forget_code`.
    """
    parts: tuple[tuple[str, Registry[Any], object], ...] = (
        ("metric", METRICS, metric),
        ("model", MODELS, model),
        ("sampler", SAMPLERS, sampler),
        ("data", DATASETS, data),
    )
    entries = {part: registry.get(str(name)) for part, registry, name in parts if name in registry}
    return {"harness": _identity(HARNESS), **{part: _identity(_roots(entry)) for part, entry in entries.items()}}


def code_of_cell(cell: Cell, metric: str) -> Mapping[str, str]:
    """The same of one metric of a cell."""
    sampler, data = (None if ref is None else ref.name for ref in (cell.sampler, cell.data))
    return code_of(metric, cell.model.name, sampler, data)


def all_code() -> str:
    """SHA-256 of all the code of this project that can measure anything, for a run as a whole."""
    registries: Iterable[Registry[Any]] = (METRICS, MODELS, SAMPLERS, DATASETS)
    entries = (entry for registry in registries for entry in registry)
    ours = (root for entry in entries for root in _roots(entry) if root.module.split(".")[0] in OWN)
    return sha256(_identity((*HARNESS, *ours)).encode()).hexdigest()


def forget_code() -> None:
    """Look at the files again: a process may live longer than they stay as they are."""
    _identity.cache_clear()


def _roots(entry: Entry[Any]) -> tuple[Definition, ...]:
    return (definition_of(entry.factory),)


@lru_cache(maxsize=256)
def _identity(roots: tuple[Definition, ...]) -> str:
    return code_identity(roots)
