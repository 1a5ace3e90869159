"""Results of expensive stages, each in a folder named by everything that changes it: samples -> features -> moments.

A stage is cut into parts (shards of images) that are written whole or not at all, so that a killed run goes on at the
next part, machines with the same kernels can share the work by copying parts together, and a result of other weights,
another recipe, other kernels or older code is never picked up: it lies under another name. Everything here can be
deleted and made again.

Nothing here is believed because it is there. Every part holds the hash of its arrays and of where it belongs; one that
was damaged, altered or put under another name counts as absent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from bench.errors import StoreError
from bench.files import NotAFile, own_folder, read_regular, write_whole
from bench.quality.arrays import Arrays, digest_of, read_arrays, write_arrays

SEAL = "seal"
"""The member of a part that holds its hash."""
MADE_BY = "made_by"
"""The member that names the machine a part was made on: whoever uses it on another one says so."""
IDENTITY = "identity.json"
MAX_PART_BYTES = 1 << 28
"""Of one part where its reader does not say how large it must be."""
MAX_IDENTITY_BYTES = 1 << 20
MAX_MAKERS = 100
MAX_MAKER_CHARACTERS = 100


@dataclass(frozen=True)
class Stage:
    """The parts of one stage, in one folder."""

    folder: Path

    @property
    def key(self) -> str:
        """The address: every identity that is built on this stage holds it."""
        return self.folder.name

    def read(self, part: str, *names: str, max_bytes: int = MAX_PART_BYTES) -> Arrays | None:
        """A part's arrays of these names, or None when one is not there or not what was written (make it again then).

        max_bytes: of all arrays of the part together; one that holds more was not written by us.
        """
        try:
            arrays = read_arrays(self._path(part), max_bytes=max_bytes)
        except (OSError, StoreError):
            return None
        seal = arrays.pop(SEAL, None)
        if seal is None or str(seal) != self._seal(part, arrays) or not arrays.keys() >= set(names):
            return None
        return {name: arrays[name] for name in names}

    def seal_of(self, part: str) -> str | None:
        """The hash that a part says it has, which `read` compares; None when there is no such part."""
        try:
            seal = read_arrays(self._path(part), max_bytes=MAX_PART_BYTES, names=(SEAL,)).get(SEAL)
        except (OSError, StoreError):
            return None
        return None if seal is None or seal.shape else str(seal)

    def write(self, part: str, arrays: Arrays) -> None:
        """Write a part, whole or not at all. Raises SaveError when the disk does not take it."""
        path = self._path(part)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        write_arrays(path, {**arrays, SEAL: np.array(self._seal(part, arrays))})

    def _seal(self, part: str, arrays: Arrays) -> str:
        return digest_of(f"{self.key}/{part}", arrays)

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.npz"


def open_stage(cache_dir: Path, kind: str, identity: Mapping[str, object]) -> Stage:
    """The stage of this identity, whose folder then exists and holds the identity to be read by people.

    The cache must be a folder of its own, not a link; whatever stands in the way below it is removed. A folder whose
    identity is not the one it is named by is emptied: what lies in it was made of something else.
    Raises SaveError when the cache cannot be written.
    """
    text = json.dumps(identity, sort_keys=True, indent=1, allow_nan=False)
    key = sha256(text.encode()).hexdigest()[:24]
    own_folder(cache_dir.parent, cache_dir.name)
    for folder in (cache_dir / kind, cache_dir / kind / key):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            folder.unlink(missing_ok=True)
    stage = Stage(own_folder(cache_dir.parent, cache_dir.name, kind, key))
    readable = stage.folder / IDENTITY
    content = f"{text}\n".encode()
    try:
        if not readable.is_symlink() and read_regular(readable, MAX_IDENTITY_BYTES) == content:
            return stage
        _empty(stage.folder)
    except FileNotFoundError:
        pass
    except (NotAFile, OSError):
        _empty(stage.folder)
    write_whole(readable, content)
    return stage


def makers_of(arrays: Arrays) -> tuple[str, ...]:
    """The machines that a part names, as plain words."""
    names = map(str, arrays[MADE_BY].ravel()[:MAX_MAKERS])
    return tuple("".join(c if c.isprintable() else "?" for c in name[:MAX_MAKER_CHARACTERS]) for name in names)


def _empty(folder: Path) -> None:
    """Remove what a folder of ours holds; links in it are removed, not followed."""
    for path in tuple(folder.iterdir()):
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
