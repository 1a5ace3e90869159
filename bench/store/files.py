"""A results folder: `results/<suite>/<run-id>/` with `run.json`, `records.jsonl`, `logs/` and `artifacts/`.

`run.json` appears together with its folder, before the first measurement, and never changes. `records.jsonl` only
grows. One program at a time may write below `results/<suite>/`; anyone may read at any time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.errors import StoreError, UserError
from bench.store.attempts import Attempt, Key, current, cut
from bench.store.lines import DamagedLine, cannot_save, read_lines, sync_folder
from bench.store.record import SCHEMA, Record, RunInfo

RUN_FILE = "run.json"
RECORDS_FILE = "records.jsonl"
LOGS = "logs"
ARTIFACTS = "artifacts"
PROBE_BYTES = 65_536
"""Room that must be there before anything is measured."""

_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_STAMP = "%Y%m%d-%H%M%S"
_NEW = ".new"


@dataclass(frozen=True)
class Records:
    """What a file of records says."""

    attempts: dict[Key, Attempt]
    """The last whole attempt at everything."""
    damaged: tuple[DamagedLine, ...]
    """Lines that were skipped; reports say how many."""
    superseded: int
    """Readable records that a later attempt replaced, or that a cut attempt left."""
    cut: tuple[Attempt, ...] = ()
    """Of what no whole attempt is there; nothing of it counts."""

    @property
    def current(self) -> tuple[Record, ...]:
        """The records that count, of every status."""
        return tuple(record for attempt in self.attempts.values() for record in attempt.records)


@dataclass(frozen=True)
class Run:
    """A whole run as it lies on disk."""

    path: Path
    info: RunInfo
    found: Records

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that count, of every status."""
        return self.found.current

    @property
    def damaged(self) -> tuple[DamagedLine, ...]:
        """Lines that were skipped; reports say how many."""
        return self.found.damaged


def load_records(path: Path) -> Records:
    """The records of a file such as `records.jsonl` or a committed baseline. Raises StoreError when it is not there."""
    if not path.exists():
        raise StoreError(f"{path}: no such file of records")
    return _records(path)


def _records(path: Path) -> Records:
    lines = read_lines(path)
    attempts = current(lines.records)
    counted = sum(len(attempt.records) for attempt in attempts.values())
    return Records(attempts, lines.damaged, len(lines.records) - counted, cut(lines.records))


def load_run(path: Path) -> Run:
    """A run folder. Raises StoreError saying what is wrong with it and what to do."""
    return Run(path, load_info(path), _records(path / RECORDS_FILE))


def load_info(path: Path) -> RunInfo:
    """`run.json` of a run folder. Raises StoreError when it is missing, damaged or newer than this program."""
    file = path / RUN_FILE
    try:
        data: dict[str, Any] = json.loads(file.read_bytes().decode("utf-8"))
        found = data.pop("checksum")
        if found != _checksum(data):
            raise StoreError(f"{file}: does not match its checksum; run the suite again")
        if data["schema"] > SCHEMA:
            raise StoreError(f"{file}: format {data['schema']} is newer than this program's {SCHEMA}; update it")
        return RunInfo(**data)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: not a run folder: it has no {RUN_FILE}; run `bench run` first") from error
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{file}: damaged: {type(error).__name__}: {error}; run the suite again") from error


def _checksum(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def _info_text(info: RunInfo) -> str:
    """`run.json`: indented for people; ASCII, so that any text survives any tool."""
    data = asdict(info)
    return json.dumps(data | {"checksum": _checksum(data)}, indent=1) + "\n"


def run_ids(root: Path, suite: str) -> tuple[str, ...]:
    """The runs of a suite, oldest first."""
    folder = root / suite
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(
            entry.name for entry in folder.iterdir() if _RUN_ID.fullmatch(entry.name) and (entry / RUN_FILE).is_file()
        )
    )


def latest_run(root: Path, suite: str) -> Path | None:
    """The folder of a suite's newest run, or None when there is none."""
    ids = run_ids(root, suite)
    return root / suite / ids[-1] if ids else None


def new_run_id(now: datetime, token: str, existing: Iterable[str]) -> str:
    """An id that sorts after all existing ones, even when the clock went back.

    token: six hex digits that tell apart two machines whose folders are merged.
    """
    latest = max(existing, default=None)
    if latest is not None:
        after = datetime.strptime(latest[:15], _STAMP).replace(tzinfo=now.tzinfo) + timedelta(seconds=1)
        now = max(now, after)
    return f"{now.strftime(_STAMP)}-{token}"


@contextmanager
def writing(root: Path, suite: str, holder: str) -> Iterator[Path]:
    """The folder `root/suite`, made if needed, proved to be writable, and ours alone until the end of the block.

    holder: a few words about this program, shown to another one that wants to write. Raises SaveError when nothing can
    be saved there and UserError when another program holds the folder.
    """
    folder = root / suite
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_save(folder, error) from error
    try:
        try:
            _lock(fd, folder)
            probe(folder)
            os.ftruncate(fd, 0)
            os.pwrite(fd, holder.encode("utf-8", "backslashreplace"), 0)
        except OSError as error:
            raise cannot_save(folder, error) from error
        yield folder
    finally:
        os.close(fd)


def _lock(fd: int, folder: Path) -> None:
    """Take the lock; the kernel gives it back when this process ends, however it ends."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 500, 0).decode("utf-8", "replace").strip() or "another program"
        raise UserError(
            f"{folder}: {holder} is writing results of this suite; wait until it ends or use another results folder"
        ) from None


def probe(folder: Path) -> None:
    """Prove that a folder is writable: write, sync and remove a small file. Raises OSError."""
    file = folder / ".probe"
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            if os.write(fd, bytes(PROBE_BYTES)) < PROBE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def new_run(folder: Path, info: RunInfo) -> Iterator[Path]:
    """A run in the making: the block may put records and artifacts into the folder it is given.

    At its end `folder/<info.id>` appears with `run.json` and all of that in it, or, when anything fails, not at all.
    `folder` must be held with `writing`. Raises SaveError.
    """
    new = folder / _NEW
    try:
        if new.exists():
            shutil.rmtree(new)  # of a program that was killed right here
        (new / LOGS).mkdir(parents=True)
        (new / ARTIFACTS).mkdir()
        with (new / RUN_FILE).open("x", encoding="ascii") as file:
            file.write(_info_text(info))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_save(folder, error) from error
    yield new
    try:
        sync_folder(new / ARTIFACTS)
        sync_folder(new)
        new.rename(folder / info.id)
        sync_folder(folder)
    except OSError as error:
        raise cannot_save(folder, error) from error


def bring_artifacts(attempt: Attempt, source: Path, target: Path) -> bool:
    """Whether all files that an attempt's records name are now in another run's folder too.

    Artifacts are never changed once written, so they are linked where the file system can. Raises SaveError.
    """
    for name in {record.artifact for record in attempt.records if record.artifact is not None}:
        there, here = source / name, target / name
        if not there.is_file():
            return False
        try:
            here.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(there, here)
        except OSError as error:
            raise cannot_save(target, error) from error
    return True


def _link_or_copy(there: Path, here: Path) -> None:
    if here.exists():
        return
    try:
        os.link(there, here)
    except OSError:
        partial = here.with_name(f"{here.name}.partial")
        shutil.copyfile(there, partial)
        partial.rename(here)
