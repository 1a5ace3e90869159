"""What every test may count on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TORCH_FREE = frozenset({"analysis", "cli", "gate", "report", "store", "suite", "verdict"})
"""Rooms whose tests never build a subject themselves."""


@pytest.fixture(autouse=True)
def subnormal_numbers(request: pytest.FixtureRequest) -> None:
    """Building a subject makes the whole process flush subnormal numbers; tests of other rooms find them whole."""
    torch = sys.modules.get("torch")
    if torch is not None and Path(str(request.path)).parent.name in TORCH_FREE:
        torch.set_flush_denormal(False)
