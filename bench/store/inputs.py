"""Files whose content a number depends on: how they were, and whether they still are."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path

from bench.store.record import InputFile


class Inputs:
    """Looks at files, and reads none of them twice while it does not change."""

    def __init__(self) -> None:
        self._known: dict[str, InputFile] = {}

    def describe(self, path: Path) -> InputFile:
        """Size, time and hash of a file. Raises OSError when it cannot be read."""
        stat = path.stat()
        known = self._known.get(str(path))
        if known is None or (known.size, known.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
            known = InputFile(str(path), stat.st_size, stat.st_mtime_ns, digest)
            self._known[str(path)] = known
        return known

    def describe_all(self, paths: Iterable[Path]) -> tuple[InputFile, ...]:
        """Every file once, in the given order."""
        return tuple(self.describe(path) for path in dict.fromkeys(paths))

    def unchanged(self, recorded: InputFile) -> bool:
        """Whether a file still is what it was: same size and time, or else the same content."""
        path = Path(recorded.path)
        try:
            stat = path.stat()
            if stat.st_size != recorded.size:
                return False
            return stat.st_mtime_ns == recorded.mtime_ns or self.describe(path).sha256 == recorded.sha256
        except OSError:
            return False
