"""Results of expensive stages, each in a folder named by everything that changes it: samples -> features -> moments.

A stage is cut into parts (shards of images) that are written whole or not at all, so that a killed run goes on at the
next part, two machines can share the work by copying parts together, and a result of other weights, another recipe
or older code is never picked up: it lies under another name. Everything here can be deleted and made again.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import SaveError
from bench.quality.moments import write_arrays

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Stage:
    """The parts of one stage, in one folder."""

    folder: Path

    @property
    def key(self) -> str:
        """The address: every identity that is built on this stage holds it."""
        return self.folder.name

    def read(self, part: str, *names: str) -> Arrays | None:
        """A part's arrays of these names, or None when one is not there or damaged (it is then to be made again)."""
        try:
            with self._path(part).open("rb") as file, np.load(file, allow_pickle=False) as data:
                return {name: data[name] for name in names}  # reading checks the archive's check sums
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            return None

    def write(self, part: str, arrays: Arrays) -> None:
        """Write a part, whole or not at all. Raises SaveError when the disk does not take it."""
        write_arrays(self._path(part), arrays)

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.npz"


def open_stage(cache_dir: Path, kind: str, identity: Mapping[str, object]) -> Stage:
    """The stage of this identity, whose folder then exists and holds the identity to be read by people.

    Raises SaveError when the cache cannot be written.
    """
    text = json.dumps(identity, sort_keys=True, indent=1, allow_nan=False)
    stage = Stage(cache_dir / kind / sha256(text.encode()).hexdigest()[:24])
    readable = stage.folder / "identity.json"
    try:
        stage.folder.mkdir(parents=True, exist_ok=True)
        if not readable.is_file():
            temporary = readable.with_name(f".identity.{os.getpid()}")
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(readable)
    except OSError as error:
        raise SaveError(f"{stage.folder}: cannot save stages here: {error.strerror or error}") from error
    return stage


def code_fingerprint(objects: Iterable[object], packages: Iterable[str]) -> str:
    """16 hex digits of the code that the given objects run, as far as it lies in the given packages.

    Follows what their modules use to other modules of the packages. Comments, docstrings and layout do not count, so
    that only a changed computation makes old results stale.
    """
    tops = tuple(packages)
    pending = {module_of(each) for each in objects}
    known: dict[str, str] = {}
    while pending:
        name = pending.pop()
        module = sys.modules.get(name)
        if name in known or module is None or not _within(name, tops):
            continue
        known[name] = _code(module)
        pending |= {module_of(value) for value in vars(module).values()} - known.keys()
    listing = "\n".join(f"{name} {known[name]}" for name in sorted(known))
    return sha256(listing.encode()).hexdigest()[:16]


def module_of(value: object) -> str:
    """Name of the module that a module, class, function or instance comes from; empty where that is unknown."""
    if isinstance(value, ModuleType):
        return value.__name__
    own = getattr(value, "__module__", None)
    return own if isinstance(own, str) else ""


def _within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _code(module: ModuleType) -> str:
    """Hash of a module's code, or its name where it has no source."""
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py"):
        return module.__name__
    stat = Path(file).stat()
    return _syntax_hash(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _syntax_hash(file: str, size: int, mtime_ns: int) -> str:
    """Hash of a file's syntax tree without docstrings. size, mtime_ns: for the cache to see that it changed."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string that stands by itself says something to people and does nothing.
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
