"""Hashes that are slow to compute, kept under what they depend on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.errors import SaveError
from bench.files import read_regular, write_whole

MAX_BYTES: Final = 4096
"""Of one remembered text."""


def remembered(key: str, compute: Callable[[], str]) -> str:
    """The SHA-256 that `compute` gives, from the cache when it was computed for this key before.

    key: hex digest of everything the result depends on. The cache is ~/.cache/denoiser-bench/hashes; where it cannot
    be read or written, the result is computed every time.
    """
    return remembered_text(key, "[0-9a-f]{64}", compute)


def remembered_text(key: str, pattern: str, compute: Callable[[], str]) -> str:
    """As `remembered`, for a short ASCII text that the pattern matches."""
    path = _folder() / key
    with suppress(OSError, UnicodeDecodeError):
        text = read_regular(path, MAX_BYTES).decode("ascii")
        if re.fullmatch(pattern, text):
            return text
    value = compute()
    with suppress(SaveError):
        write_whole(path, value)
    return value


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "denoiser-bench" / "hashes"
