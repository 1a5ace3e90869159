"""Whether a report must be written again; light, because an unchanged suite is answered without drawing anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from stat import S_ISREG

from bench.code_identity import imported_files
from bench.registry import CATALOGUES
from bench.store.files import RECORDS_FILE

BENCH = Path(__file__).parents[1]
PRINTED = Path(str(files("bench.suites") / "published"))
PAGE = ("bench.report.page", "bench.report.html", "bench.report.markdown")


def is_current(run_dir: Path, pages: Sequence[Path]) -> bool:
    """Whether these pages were written after the run's last record and after the last change of what makes them.

    Pages that are, although other files changed, are dated now, so that this is asked once. A link is no page: nobody
    knows what it leads to.
    """
    try:
        stats = [page.lstat() for page in pages]
        if not all(S_ISREG(stat.st_mode) for stat in stats):
            return False
        written = min(stat.st_mtime_ns for stat in stats)
        if (run_dir / RECORDS_FILE).stat().st_mtime_ns >= written:
            return False
        changed = frozenset(path for path in _sources() if path.stat().st_mtime_ns >= written)
        if changed:
            # Which of them a page is made with takes a second to find out.
            if not changed.isdisjoint(page_sources()):
                return False
            for page in pages:
                os.utime(page, follow_symlinks=False)
        return True
    except (OSError, ValueError):  # a page that is not there, or no page at all
        return False


def page_sources() -> frozenset[Path]:
    """The files that decide what a report of given records looks like: code, templates, printed tables.

    Of the catalogues a page shows what they say of what they register; it calls nothing of it.
    """
    code = imported_files(PAGE, also_inside_functions=True)
    rooms = {path.parent for path in code} - {BENCH}
    beside = {path for path in _sources() if path.suffix not in (".py", ".md") and rooms & {*path.parents}}
    printed = {path for path in _sources() if path.parent == PRINTED}
    return code | imported_files(CATALOGUES, also_inside_functions=False) | beside | printed


def _sources() -> Iterator[Path]:
    """Every file of this package, the code of the models that ship with it, and the tables that papers printed."""
    yield from (path for path in BENCH.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from Path(str(files("bench.models"))).rglob("*.py")
    yield from PRINTED.glob("*.yaml")
