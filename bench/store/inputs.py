"""Files whose content a number depends on: how they were, and whether they still are.

Paths are recorded relative to places that every machine has (`{python}/sklearn/...`, `{project}/models/...`,
`{data}/...`, `{home}/...`), so that results say nothing about the machine's folders and survive a moved clone.
"""

from __future__ import annotations

import errno
import os
import sysconfig
from collections.abc import Iterable, Iterator
from hashlib import sha256
from math import inf
from pathlib import Path
from stat import S_ISREG

from bench.files import file_hash
from bench.store.record import InputFile

MAX_FILES = 4_000_000
"""Of a folder that is compared with how it was: more than any data set has, and less than a whole disk."""


class Inputs:
    """Looks at files, and reads none of them twice while it does not change."""

    def __init__(self) -> None:
        self._known: dict[str, InputFile] = {}
        self._folders: dict[Path, InputFile] = {}

    def describe(self, path: Path) -> InputFile:
        """Size, time and hash of a file, or of what a folder holds. Raises OSError when it cannot be read.

        A folder is looked at once, because it may hold hundreds of thousands of files.
        """
        if path.is_dir():
            if path not in self._folders:
                self._folders[path] = _describe_folder(path)
            return self._folders[path]
        stat = path.stat()
        known = self._known.get(str(path))
        if known is None or (known.size, known.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            known = InputFile(portable(path), stat.st_size, stat.st_mtime_ns, file_hash(path))
            self._known[str(path)] = known
        return known

    def describe_all(self, paths: Iterable[Path]) -> tuple[InputFile, ...]:
        """Every file once, in the given order."""
        return tuple(self.describe(path) for path in dict.fromkeys(paths))

    def unchanged(self, recorded: InputFile) -> bool:
        """Whether a file still is what it was: same size and time, or else the same content."""
        path = located(recorded.path)
        try:
            if path.is_dir():
                if path not in self._folders:
                    self._folders[path] = _describe_folder(path, MAX_FILES)
                return self._folders[path].sha256 == recorded.sha256
            stat = path.stat()
            # A device has no end and a pipe has no content; a stranger's record may name either.
            if not S_ISREG(stat.st_mode) or stat.st_size != recorded.size:
                return False
            return stat.st_mtime_ns == recorded.mtime_ns or self.describe(path).sha256 == recorded.sha256
        except (OSError, ValueError):  # ValueError: a null byte in the name
            return False


def portable(path: Path) -> str:
    """A path as it is recorded: under the first place that holds it, or as it is."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolving links would name another place
    for name, place in _places():
        if absolute.is_relative_to(place):
            return f"{{{name}}}/{absolute.relative_to(place).as_posix()}"
    return str(absolute)


def located(recorded: str) -> Path:
    """The path that a recorded one means on this machine."""
    for name, place in _places():
        if recorded.startswith(f"{{{name}}}/"):
            return place / recorded.removeprefix(f"{{{name}}}/")
    return Path(recorded)


def _places() -> Iterator[tuple[str, Path]]:
    """Innermost first: an environment may lie inside the project, and both inside the home folder."""
    yield "python", Path(sysconfig.get_path("purelib"))
    if "BENCH_DATA" in os.environ:
        yield "data", Path(os.path.abspath(os.environ["BENCH_DATA"]))  # noqa: PTH100 - as above
    yield "project", Path(__file__).parents[2]
    yield "home", Path.home()


def _describe_folder(folder: Path, most: float = inf) -> InputFile:
    """A folder of many files by their names, sizes and times; reading a data set anew for each run would take hours.

    Raises OSError when it holds more than `most` things.
    """
    lines, newest, size = [], 0, 0
    files = []
    for number, each in enumerate(folder.rglob("*")):
        if number >= most:
            raise OSError(errno.E2BIG, f"more than {most:,} things in one folder")
        if each.is_file():
            files.append(each)
    for path in sorted(files):
        stat = path.stat()
        lines.append(f"{path.relative_to(folder).as_posix()} {stat.st_size} {stat.st_mtime_ns}")
        newest, size = max(newest, stat.st_mtime_ns), size + stat.st_size
    return InputFile(portable(folder), size, newest, sha256(os.fsencode("\n".join(lines))).hexdigest())
