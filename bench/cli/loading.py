"""Plug-ins as the command line loads them: what an installed one cannot do is said, and stops nobody."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.cli.streams import complain
from bench.registry import broken_plugins, load_plugins


def load_registry(plugins: Iterable[str] = ()) -> tuple[Path, ...]:
    """`load_plugins`, and a line on standard error for every installed plug-in that is broken."""
    files = load_plugins(plugins)
    for sentence in broken_plugins():
        complain(f"note: {sentence}")
    return files
