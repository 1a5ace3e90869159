"""A results folder: `results/<suite>/<run-id>/` with `run.json`, `records.jsonl`, `logs/` and `artifacts/`.

`run.json` appears together with its folder, before the first measurement, and never changes. `records.jsonl` only
grows. One program at a time may write below `results/<suite>/`; anyone may read at any time.

The results folder itself may be a link, to a larger disk. Below it nothing is written through one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.errors import StoreError, UserError
from bench.files import (
    open_own,
    open_regular,
    own_folder,
    prove_room,
    read_regular,
    sync_folder,
    whole_file,
    write_whole,
)
from bench.store.attempts import Attempt, Key, current, cut
from bench.store.fields import ARTIFACTS, sentence
from bench.store.lines import CONTINUE_ADVICE, DamagedLine, cannot_save, read_lines
from bench.store.record import NewerFormat, Record, RunInfo, decode, info_of

RUN_FILE = "run.json"
RECORDS_FILE = "records.jsonl"
LOGS = "logs"
MAX_RUN_BYTES = 8 << 20
"""Of `run.json`, which holds the text of the suite."""
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
        data = decode(read_regular(file, MAX_RUN_BYTES).decode("utf-8"))
        written = data.pop("checksum")
        if written != _checksum(data):
            raise StoreError("does not match its checksum")
        return info_of(data)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: not a run folder: it has no {RUN_FILE}; run `bench run` first") from error
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error.strerror}") from error
    except NewerFormat as error:
        raise StoreError(f"{file}: {error}") from error
    except StoreError as error:
        raise StoreError(f"{file}: {error}; run the suite again") from error
    except KeyError as error:
        raise StoreError(f"{file}: damaged: it has no {error}; run the suite again") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{file}: damaged: {sentence(error)}; run the suite again") from error


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
    be saved there, or not there but only through a link, and UserError when another program holds the folder.
    """
    folder = own_folder(root, suite)
    try:
        fd = open_own(folder / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise cannot_save(folder, error) from error
    try:
        try:
            _lock(fd, folder)
            prove_room(folder, PROBE_BYTES)
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


@contextmanager
def new_run(folder: Path, info: RunInfo) -> Iterator[Path]:
    """A run in the making: the block may put records and artifacts into the folder it is given.

    At its end `folder/<info.id>` appears with `run.json` and all of that in it, or, when anything fails, not at all.
    `folder` must be held with `writing`. Raises SaveError.
    """
    new = folder / _NEW
    try:
        _remove(new)  # of a program that was killed right here
        (new / LOGS).mkdir(parents=True)
        (new / ARTIFACTS).mkdir()
    except OSError as error:
        raise cannot_save(folder, error) from error
    write_whole(new / RUN_FILE, _info_text(info), advice=CONTINUE_ADVICE)
    yield new
    try:
        sync_folder(new / ARTIFACTS)
        sync_folder(new)
        new.rename(folder / info.id)
        sync_folder(folder)
    except OSError as error:
        raise cannot_save(folder, error) from error


def _remove(path: Path) -> None:
    """Whatever has this name; a link is removed, not followed. Raises OSError."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass


def continue_run(folder: Path, run_id: str) -> Path:
    """The folder of a run that is to be written into, with its places for logs and artifacts.

    Raises SaveError when one of them is a link.
    """
    for part in (LOGS, ARTIFACTS):
        own_folder(folder, run_id, part)
    return folder / run_id


def bring_artifacts(attempt: Attempt, source: Path, target: Path) -> bool:
    """Whether all files that an attempt's records name are now in another run's folder too.

    Artifacts are never changed once written, so they are linked where the file system can. Raises SaveError.
    """
    for name in {record.artifact for record in attempt.records if record.artifact is not None}:
        there, here = source / name, target / name
        if not _is_own_file(there, source):
            return False
        own_folder(target, *Path(name).parent.parts)
        try:
            _link_or_copy(there, here)
        except OSError as error:
            raise cannot_save(target, error) from error
    return True


def _is_own_file(path: Path, run: Path) -> bool:
    """Whether a file lies in a run's folder itself: a link may lead to any file of the user."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and path.parent.resolve().is_relative_to(run.resolve())
    except OSError:
        return False


def _link_or_copy(there: Path, here: Path) -> None:
    if here.exists():
        return
    try:
        os.link(there, here, follow_symlinks=False)
    except OSError:
        with open_regular(there) as content, whole_file(here, advice=CONTINUE_ADVICE) as copy:
            shutil.copyfileobj(content, copy)
