"""What every test may count on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGIN_FILE = "bench_plugin_"
"""Begins the module name of a plug-in that was loaded from a file."""
TORCH_FREE = frozenset({"analysis", "cli", "gate", "report", "store", "suite", "verdict"})
"""Rooms whose tests never build a subject themselves."""


@pytest.fixture(autouse=True)
def subnormal_numbers(request: pytest.FixtureRequest) -> None:
    """Building a subject makes the whole process flush subnormal numbers; tests of other rooms find them whole."""
    torch = sys.modules.get("torch")
    if torch is not None and Path(str(request.path)).parent.name in TORCH_FREE:
        torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def forgotten_plugins() -> Iterator[None]:
    """Plug-in files that a test loads are unknown to the next one, which may have a file of the same name."""
    before, path = {name for name in sys.modules if name.startswith(PLUGIN_FILE)}, list(sys.path)
    yield
    loaded = {name for name in sys.modules if name.startswith(PLUGIN_FILE)} - before
    if loaded:
        sys.path[:] = path  # the folder of a plug-in is searched first while it is loaded
        from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, Registry

        registries: tuple[Registry[Any], ...] = (MODELS, DATASETS, SAMPLERS, METRICS)
        for registry in registries:
            for entry in list(registry):
                if entry.origin.partition(":")[0] in loaded:
                    del registry._entries[entry.name]
        for name in loaded:
            del sys.modules[name]
