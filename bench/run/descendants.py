"""Processes that outlive the worker that started them, such as a daemon: found as children that we adopted, and ended.

A process whose parent ends is adopted by its nearest ancestor that asked for it (prctl(2), PR_SET_CHILD_SUBREAPER).
Whose it is, its environment says: every worker and what it starts carry the worker's mark. Only children of this
process are ever ended: their numbers cannot belong to anyone else before this process has waited for them.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "BENCH_WORKER_MARK"
"""Environment variable of a worker and of all that it starts."""
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
PATIENCE_S = 2.0
"""How long the kernel may take to end a process."""


def new_mark() -> str:
    """A mark that no other worker has, of this program or another."""
    return secrets.token_hex(16)


@contextmanager
def adopting() -> Iterator[None]:
    """In this block, orphans of workers become children of this process; at its end none of them is left.

    Orphans that hide their mark are ended too, but only where nobody else can have started them: this process had no
    children and no other thread when the block began.
    """
    before = frozenset(children())
    alone = not before and threading.active_count() == 1
    was_subreaper = _is_subreaper()
    _be_subreaper(True)
    try:
        yield
    finally:
        if alone:
            own = os.getsid(0)
            end_children(lambda pid: pid not in before and session_of(pid) not in (own, None))
        _be_subreaper(was_subreaper)


def end_marked(mark: str) -> None:
    """End every adopted process that carries this mark, and what it leaves behind in turn."""
    end_children(lambda pid: carries(pid, mark))


def end_children(chosen: Callable[[int], bool]) -> None:
    """End the children that are chosen, until there is none: those of an ended one are adopted next."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        doomed = [pid for pid in children() if chosen(pid)]
        if not doomed:
            return
        for pid in doomed:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in doomed:
            _wait(pid, until)


def children() -> list[int]:
    """The children of this process that have not been waited for."""
    tasks = Path("/proc/self/task")
    try:
        return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text("ascii").split()]
    except OSError:  # a kernel that does not list them, or a thread that ended just now
        return _children_by_parent()


def session_of(pid: int) -> int | None:
    """The session of a process; None when it has ended."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def carries(pid: int, mark: str) -> bool:
    """Whether a process was started with a mark in its environment."""
    try:
        return f"{MARK}={mark}".encode() in (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _children_by_parent() -> list[int]:
    me = str(os.getpid())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # State, parent, ... stand behind the name, which may hold anything (proc_pid_stat(5)).
            if (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1] == me:
                found.append(int(process.name))
    return found


def _wait(pid: int, until: float) -> None:
    """Until a child has ended and is forgotten, or time is up."""
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
        except ChildProcessError:
            return
        time.sleep(0.002)


def _prctl(option: int, argument: object) -> bool:
    libc = ctypes.CDLL(None)
    return hasattr(libc, "prctl") and libc.prctl(option, argument, 0, 0, 0) == 0


def _is_subreaper() -> bool:
    answer = ctypes.c_int(0)
    return _prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer)) and bool(answer.value)


def _be_subreaper(wanted: bool) -> None:
    _prctl(PR_SET_CHILD_SUBREAPER, int(wanted))
