"""Hashes that are slow to compute, kept under what they depend on."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def remembered(key: str, compute: Callable[[], str]) -> str:
    """The SHA-256 that `compute` gives, from the cache when it was computed for this key before.

    key: hex digest of everything the result depends on. The cache is ~/.cache/denoiser-bench/hashes; where it cannot
    be read or written, the result is computed every time.
    """
    path = _folder() / key
    with suppress(OSError, UnicodeDecodeError):
        known = path.read_text(encoding="ascii")
        if re.fullmatch("[0-9a-f]{64}", known):
            return known
    value = compute()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{key}.{secrets.token_hex(4)}.partial")
        partial.write_text(value, encoding="ascii")
        partial.replace(path)
    return value


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "denoiser-bench" / "hashes"
