"""How much memory there is to spare: of the machine, and of the container or control group this process lives in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNLIMITED = 1 << 60
"""Limits above this mean that there is none (version 1 writes the largest page-aligned number)."""


def spare_fraction(root: Path = Path("/")) -> float:
    """The smallest fraction of a memory limit that is free, from 0 to 1; 1 when no limit is known.

    root: where `proc` and `sys` lie.
    """
    return min((max(0.0, free) / limit for free, limit in _limits(root)), default=1.0)


def _limits(root: Path) -> Iterator[tuple[float, float]]:
    """(free, limit) in bytes of everything that limits this process."""
    machine = _table(root / "proc" / "meminfo")
    if machine.get("MemTotal:"):
        yield machine.get("MemAvailable:", machine["MemTotal:"]), machine["MemTotal:"]
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            yield from _groups(root / "sys/fs/cgroup", group, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            folder = root / "sys/fs/cgroup/memory"
            yield from _groups(folder, group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _groups(folder: Path, group: str, limit: str, usage: str, cache: str) -> Iterator[tuple[float, float]]:
    """The group and those that hold it. Inside a container the outermost one it sees is its own."""
    names = PurePosixPath(group.lstrip("/"))
    for place in (folder / names, *(folder / each for each in names.parents)):
        most, used = _number(place / limit), _number(place / usage)
        if most is not None and used is not None and 0 < most < UNLIMITED:
            # Pages of files that were not read lately are given back when memory runs short.
            yield most - used + min(used, _table(place / "memory.stat").get(cache, 0)), most


def _table(path: Path) -> dict[str, int]:
    """`name number` or `name: number kB` a line, in bytes."""
    rows = (line.split() for line in _text(path).splitlines())
    return {
        row[0]: int(row[1]) * (1024 if row[2:] == ["kB"] else 1) for row in rows if len(row) > 1 and row[1].isdigit()
    }


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
