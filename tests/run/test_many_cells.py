"""Thousands of cells: no leak of memory or files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.suite.schema import Cell

MakeCell = Callable[..., Cell]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.slow
def test_five_thousand_cells_leak_nothing(inline: Any, make_cell: MakeCell) -> None:
    def cells(first: int) -> list[Cell]:
        return [make_cell({"level": level}) for level in range(first, first + 2500)]

    inline.run(*cells(0))
    memory, files = resident_bytes(), open_files()

    outcome = inline.run(*cells(2500))

    assert (outcome.ok, outcome.measured) == (2500, 2500)
    assert open_files() == files
    assert resident_bytes() - memory < 40e6
