"""The parent's hold on one worker process: start it, send it a visit, hear from it, end it and all it started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from bench.errors import WorkerDied
from bench.run.descendants import MARK, end_marked, new_mark
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
MAX_ANSWER_BYTES = 64 << 20
"""Of one answer; what is longer is no answer."""


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
        self._searched = 0
        self._log_begin = 0
        self._ended = False
        self._mark = new_mark()
        # Open to its end, so that the log can be read and cut even when somebody removes the file meanwhile.
        self._output = _new_log(log)
        self._events, write = os.pipe()
        os.set_blocking(self._events, False)
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-u", "-m", "bench.run.worker"),
                    *("--parent", str(os.getpid()), "--events", str(write), *arguments),
                ],
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env={**environment, MARK: self._mark},
                pass_fds=(write,),
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            os.close(self._events)
            self._output.close()
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
        self._log_begin = os.fstat(self._output.fileno()).st_size
        assert self._process.stdin is not None  # it was asked for
        data = memoryview(encode_job(visit))
        try:
            while data:
                data = data[os.write(self._process.stdin.fileno(), data) :]
        except BrokenPipeError:
            return  # it died; `answer` says how

    def answer(self) -> Event | None:
        """What the worker said, or None when it said nothing yet. Raises WorkerDied when it will say nothing more."""
        dead = self._has_ended()
        closed = self._hear()
        end = self._heard.find(b"\n", self._searched)
        if end >= 0:
            line = bytes(self._heard[:end])
            del self._heard[: end + 1]
            self._searched = 0
            return decode_event(line)
        self._searched = len(self._heard)
        if len(self._heard) > MAX_ANSWER_BYTES:
            raise WorkerDied(f"the worker's answer was garbled: longer than {MAX_ANSWER_BYTES:,} bytes")
        if dead or closed:
            raise WorkerDied(self._last_words())
        if time.monotonic() >= self.deadline:
            self.terminate()
            raise WorkerDied(
                f"stopped after {self._timeout_s:g} s {'without an answer' if self._busy else 'of starting'}; "
                f"raise --cell-timeout if it needs longer (log: {self._log_name})"
            )
        return None

    def says_more(self) -> bool:
        """Whether a worker that has no job said something: then nobody knows what it will answer to the next one."""
        self._hear()
        return bool(self._heard)

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
        """End the worker and all it started now, and tidy up. The exit code, negative for a signal."""
        if self._ended:
            return self._process.returncode
        # Before the process is reaped its number cannot belong to anyone else.
        self._signal(signal.SIGKILL)
        try:
            self._process.wait(TERM_GRACE_S)
        except subprocess.TimeoutExpired:
            return None  # stuck inside the kernel; it dies when the kernel lets go of it
        self._ended = True
        end_marked(self._mark)
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.close()
        os.close(self._events)
        if self._pidfd is not None:
            os.close(self._pidfd)
        with self._output, suppress(OSError):  # a log that stays long is no reason to end a run
            _trim(self._output)
        return self._process.returncode

    @property
    def _log_name(self) -> str:
        return f"{self.log.parent.name}/{self.log.name}"

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _has_ended(self) -> bool:
        """Whether the process has ended, without reaping it."""
        if self._pidfd is not None:
            return _readable(self._pidfd, 0.0)
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _wait(self, timeout_s: float) -> None:
        """Until the process has ended, without reaping it; at most timeout_s."""
        if self._pidfd is not None:
            _readable(self._pidfd, timeout_s)
            return
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and not self._has_ended():
            time.sleep(0.02)

    def _hear(self) -> bool:
        """Take in what has been said so far, but no endless answer; True when nothing more can come."""
        while len(self._heard) <= MAX_ANSWER_BYTES:
            try:
                chunk = os.read(self._events, 1 << 16)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._heard += chunk
        return False

    def _last_words(self) -> str:
        """How a worker ended that closed its channel: by itself, or by our hand when it goes on without one."""
        # A process that ends closes its files a moment before it has ended.
        self._wait(TERM_GRACE_S)
        by_itself = self._has_ended()
        words = _last_line(self._output, self._log_begin)
        code = self.kill()
        how = how_it_ended(code) if by_itself else "closed the channel of its answers and went on, so it was stopped"
        said = f"; it last said: {words}" if words else ""
        return f"{how}{'' if self._busy else ' while it started'}{said} (log: {self._log_name})"


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
    """A file of its own to write and read. Raises SaveError."""
    try:
        return log.open("x+b", buffering=0)
    except OSError as error:
        raise cannot_save(log.parent, error) from error


def _last_line(log: BinaryIO, begin: int) -> str:
    """The last line written since `begin`, or what Python says first when it crashes; empty when nothing was said."""
    size = os.fstat(log.fileno()).st_size
    start = max(begin, size - 8192)
    text = os.pread(log.fileno(), size - start, start).decode("utf-8", "replace") if size > start else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return one_line((fatal or lines)[-1])[:200] if lines else ""


def _trim(log: BinaryIO) -> None:
    """Keep the beginning and the end of a log that is too long."""
    size = os.fstat(log.fileno()).st_size
    if size <= MAX_LOG_BYTES:
        return
    half = MAX_LOG_BYTES // 2
    tail = os.pread(log.fileno(), half, size - half)
    log.seek(half)
    log.write(f"\n[... {size - 2 * half} bytes left out ...]\n".encode() + tail)
    log.truncate()
