"""Whether a report must be written again; light, because an unchanged suite is answered without drawing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from stat import S_ISREG

from bench.store.files import RECORDS_FILE


def is_current(run_dir: Path, pages: Sequence[Path]) -> bool:
    """Whether these pages were written after the run's last record and after the last change of the reading side.

    A link is no page: nobody knows what it leads to.
    """
    try:
        stats = [page.lstat() for page in pages]
        if not all(S_ISREG(stat.st_mode) for stat in stats):
            return False
        written = min(stat.st_mtime_ns for stat in stats)
        return all(source.stat().st_mtime_ns < written for source in (run_dir / RECORDS_FILE, *_reading_side()))
    except (OSError, ValueError):  # a page that is not there, or no page at all
        return False


def _reading_side() -> Iterator[Path]:
    """The files that decide what a report of given records looks like."""
    bench = Path(__file__).parents[1]
    yield bench / "units.py"
    for room in ("report", "verdict", "analysis", "store"):
        yield from (path for path in (bench / room).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from Path(str(files("suites") / "published")).glob("*.yaml")
