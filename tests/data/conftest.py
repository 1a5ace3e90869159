from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remembered hashes go where the test can see them, and the user's own data is not found by accident."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.downloads.DEFAULT_ROOT", str(tmp_path / "no-data"))


@pytest.fixture
def save_image() -> Callable[..., None]:
    """save_image(path, size=(w, h), mode="RGB", value=0 .. or array): one image file, folders made as needed."""

    def save(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", value: object = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(value) if isinstance(value, np.ndarray) else Image.new(mode, size, value)  # type: ignore[arg-type]
        image.save(path)

    return save
