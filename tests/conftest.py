"""What every test may count on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS

TORCH_FREE = frozenset({"analysis", "cli", "gate", "report", "store", "suite", "verdict"})
"""Rooms whose tests never build a subject themselves."""


@pytest.fixture(autouse=True)
def subnormal_numbers(request: pytest.FixtureRequest) -> None:
    """Building a subject makes the whole process flush subnormal numbers; tests of other rooms find them whole."""
    torch = sys.modules.get("torch")
    if torch is not None and Path(str(request.path)).parent.name in TORCH_FREE:
        torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def plugins_of_one_test() -> Iterator[None]:
    """A plug-in that a test loads ends with it: the next one may have a file of the same name, and finds no other's."""
    modules, path = {name for name in sys.modules if name.startswith("bench_plugin_")}, list(sys.path)
    yield
    loaded = {name for name in sys.modules if name.startswith("bench_plugin_")} - modules
    if not loaded:
        return
    sys.path[:] = path
    for name in loaded:
        del sys.modules[name]
    for registry in (MODELS, DATASETS, SAMPLERS, METRICS):
        registry._entries = {  # type: ignore[attr-defined]
            name: entry for name, entry in registry._entries.items() if entry.factory.__module__ not in loaded
        }
