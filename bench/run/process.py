"""The parent's hold on one worker process: start it, send it a visit, hear from it, end it and all it started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from bench.errors import WorkerDied
from bench.run.messages import Event, decode_event, encode_job
from bench.run.outcome import one_line
from bench.run.schedule import Visit
from bench.store.lines import cannot_save

TERM_GRACE_S = 2.0
"""How long a worker may take to end after SIGTERM, and the kernel after SIGKILL."""
QUIT_GRACE_S = 10.0
"""How long a worker with no more jobs may take to end by itself."""
MAX_LOG_BYTES = 1 << 20
"""A longer log keeps its first and its last half of this."""


class WorkerProcess:
    """One fresh interpreter in a session of its own.

    Between `send` and the answer the parent does nothing at all: `fds` become readable when there is something to
    hear, and only then, or at `deadline`, is `answer` worth calling.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, timeout_s: float) -> None:
        """Start `python -m bench.run.worker`. timeout_s: for its imports. Raises SaveError when there can be no log."""
        self.log = log
        self.deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._busy = False
        self._heard = bytearray()
        self._log_begin = 0
        self._ended = False
        self._events, write = os.pipe()
        os.set_blocking(self._events, False)
        try:
            with _new_log(log) as output:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-u", "-m", "bench.run.worker"),
                        *("--parent", str(os.getpid()), "--events", str(write), *arguments),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    pass_fds=(write,),
                    start_new_session=True,
                    bufsize=0,
                )
        except BaseException:
            os.close(self._events)
            raise
        finally:
            os.close(write)
        self._pidfd = _pidfd(self._process.pid)

    @property
    def fds(self) -> tuple[int, ...]:
        """What to wait for: answers, and the end of the process (a grandchild may keep the pipe of answers open)."""
        return (self._events,) if self._pidfd is None else (self._events, self._pidfd)

    def send(self, visit: Visit, timeout_s: float) -> None:
        """Give a worker that waits for a job its next one."""
        self._busy = True
        self._timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self._log_begin = self.log.stat().st_size
        assert self._process.stdin is not None  # it was asked for
        data = memoryview(encode_job(visit))
        try:
            while data:
                data = data[os.write(self._process.stdin.fileno(), data) :]
        except BrokenPipeError:
            return  # it died; `answer` says how

    def answer(self) -> Event | None:
        """What the worker said, or None when it said nothing yet. Raises WorkerDied when it will say nothing more."""
        dead = self._pidfd is not None and _readable(self._pidfd, 0.0)
        closed = self._hear()
        line, newline, rest = self._heard.partition(b"\n")
        if newline:
            self._heard = rest
            return decode_event(bytes(line))
        if dead or closed:
            raise WorkerDied(self._last_words(self.kill()))
        if time.monotonic() >= self.deadline:
            self.terminate()
            raise WorkerDied(
                f"stopped after {self._timeout_s:g} s {'without an answer' if self._busy else 'of starting'}; "
                f"raise --cell-timeout if it needs longer (log: {self._log_name})"
            )
        return None

    def quit(self) -> None:
        """Let a worker that waits for a job end by itself, and make sure of it."""
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.close()
        self._wait(QUIT_GRACE_S)
        self.kill()

    def terminate(self) -> None:
        """End the worker: with SIGTERM, or with SIGKILL when it does not listen."""
        self._signal(signal.SIGTERM)
        self._wait(TERM_GRACE_S)
        self.kill()

    def kill(self) -> int | None:
        """End the worker and all processes of its session now, and tidy up. The exit code, negative for a signal."""
        if self._ended:
            return self._process.returncode
        # Before the process is reaped its number cannot belong to anyone else.
        self._signal(signal.SIGKILL)
        try:
            self._process.wait(TERM_GRACE_S)
        except subprocess.TimeoutExpired:
            return None  # stuck inside the kernel; it dies when the kernel lets go of it
        self._ended = True
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.close()
        os.close(self._events)
        if self._pidfd is not None:
            os.close(self._pidfd)
        _trim(self.log)
        return self._process.returncode

    @property
    def _log_name(self) -> str:
        return f"{self.log.parent.name}/{self.log.name}"

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _wait(self, timeout_s: float) -> None:
        """Until the process has ended, without reaping it; at most timeout_s."""
        if self._pidfd is not None:
            _readable(self._pidfd, timeout_s)
            return
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and self._process.poll() is None:
            time.sleep(0.02)

    def _hear(self) -> bool:
        """Take in what has been said so far; True when nothing more can come."""
        while True:
            try:
                chunk = os.read(self._events, 1 << 16)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._heard += chunk

    def _last_words(self, code: int | None) -> str:
        words = _last_line(self.log, self._log_begin)
        said = f"; it last said: {words}" if words else ""
        return f"{how_it_ended(code)}{'' if self._busy else ' while it started'}{said} (log: {self._log_name})"


def how_it_ended(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "hung inside the kernel"
    if code == -signal.SIGKILL:
        return "killed (9), likely out of memory"
    if code < 0:
        return f"crashed ({-code}, {signal.strsignal(-code)})"
    return f"ended with exit code {code} and no answer"


def _pidfd(pid: int) -> int | None:
    """A file descriptor that is readable when a process has ended; None where the system does not give one."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _new_log(log: Path) -> BinaryIO:
    try:
        return log.open("xb")
    except OSError as error:
        raise cannot_save(log.parent, error) from error


def _last_line(log: Path, begin: int) -> str:
    """The last line written since `begin`, or what Python says first when it crashes; empty when nothing was said."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - 8192))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return one_line((fatal or lines)[-1])[:200] if lines else ""


def _trim(log: Path) -> None:
    """Keep the beginning and the end of a log that is too long."""
    size = log.stat().st_size
    if size <= MAX_LOG_BYTES:
        return
    half = MAX_LOG_BYTES // 2
    with log.open("r+b") as file:
        file.seek(size - half)
        tail = file.read()
        file.seek(half)
        file.write(f"\n[... {size - 2 * half} bytes left out ...]\n".encode() + tail)
        file.truncate()
