"""The parent's hold on one side: start its process, ask and wait, end it and all it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError, WorkerDied
from bench.gate import arm
from bench.gate.trees import Tree, environment, plugin_of
from bench.run.environment import worker_environment

START_S = 300.0
"""For the imports; on a cold network disk torch takes a minute."""
GRACE_S = 5.0
LAST_WORDS = 4096
"""Bytes of a log that are searched for what a dead process said last."""
MAX_ANSWER_BYTES = 256 << 20
"""Of one answer, which may hold an image."""


@dataclass(frozen=True)
class Side:
    """What a process of one side is started from."""

    tree: Tree
    python: Path
    head: Tree
    """Head's tree, which search paths and plug-ins must not lead into on the other side."""

    def plugin(self, plugin: str) -> str:
        """A plug-in as this side has it. Raises UserError when it has none."""
        return plugin if self.tree == self.head else plugin_of(plugin, self.tree, self.head)


class ArmProcess:
    """One fresh process of one side. While it works the parent sleeps; while it waits it sleeps itself."""

    def __init__(
        self, side: Side, name: str, arguments: Sequence[str], log: Path, *, threads: int, device: str
    ) -> None:
        """Returns at once; `ask` waits for the imports.

        name: the role it plays, `base` or `head`. arguments: of `arm`, besides its pipes.
        """
        self.name = name
        self._log = log
        self._heard = bytearray()
        self._closed = False
        self._answers, write = os.pipe()
        os.set_blocking(self._answers, False)
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [
                        *(str(side.python), "-P", "-u", str(Path(arm.__file__))),
                        *("--parent", str(os.getpid()), "--answers", str(write), *arguments),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=side.tree.folder,
                    env=environment(side.tree, side.head.root, worker_environment(threads, device)),
                    pass_fds=(write,),
                    start_new_session=True,
                    bufsize=0,
                )
        except OSError as error:
            os.close(self._answers)
            raise UserError(f"{side.python}: {name} cannot be started: {error.strerror or error}") from error
        except BaseException:
            os.close(self._answers)
            raise
        finally:
            os.close(write)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, do: str, **job: Any) -> None:
        """Give it something to do. Raises WorkerDied."""
        assert self._process.stdin is not None  # it was asked for
        try:
            self._process.stdin.write(json.dumps({"do": do, **job}).encode("ascii") + b"\n")
        except BrokenPipeError:
            raise WorkerDied(self._last_words()) from None

    def hear(self, timeout_s: float) -> Mapping[str, Any]:
        """Its answer to what it was told. Raises WorkerDied when it ends, hangs, or says that it failed."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        until = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            if len(self._heard) > MAX_ANSWER_BYTES:
                raise WorkerDied(f"{self.name}: an answer longer than {MAX_ANSWER_BYTES:,} bytes (log: {self._log})")
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise WorkerDied(f"{self.name}: no answer after {timeout_s:g} s (log: {self._log})")
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                raise WorkerDied(self._last_words())
            self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            answer: Mapping[str, Any] = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("expected an object")
        except (ValueError, RecursionError) as error:
            raise WorkerDied(f"{self.name}: its answer was garbled: {error} (log: {self._log})") from error
        if "error" in answer:
            raise WorkerDied(f"{self.name}: {answer['error']}")
        return answer

    def ask(self, do: str, timeout_s: float, **job: Any) -> Mapping[str, Any]:
        """Tell and hear."""
        self.tell(do, **job)
        return self.hear(timeout_s)

    def close(self) -> None:
        """End it now, with everything it started."""
        if self._closed:
            return
        self._closed = True
        self._end()
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.close()
        os.close(self._answers)

    def _end(self) -> None:
        if self._process.returncode is not None:
            return
        # Before the process is reaped its number cannot belong to anyone else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)

    def _last_words(self) -> str:
        until = time.monotonic() + GRACE_S  # a process that is just dying has an exit code of its own
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                break
            time.sleep(0.02)
        self._end()
        with self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_WORDS))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        said = f"; it last said: {lines[-1][:200]}" if lines else ""
        return f"{self.name}: the process ended with {self._process.returncode}{said} (log: {self._log})"
