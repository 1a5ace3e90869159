"""A repository with a cell whose calls take a scripted time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import scripted

WriteSide = Callable[..., None]


@pytest.fixture
def write_side() -> WriteSide:
    """write_side(folder, seconds=..., parameters=..., pixel=..., broken=...): one version of the code."""
    return scripted.write_side


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit; the current folder of the test."""
    root = tmp_path / "repository"
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    scripted.write_repository(root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return root
