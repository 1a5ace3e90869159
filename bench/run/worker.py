"""The measuring process: `python -m bench.run.worker`. Reads jobs, measures, answers; started by `isolated.py` only.

Answers go to a file descriptor of their own, because libraries print: stdout and stderr are the log file. The process
ends when its jobs end, and the kernel ends it when its parent dies.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from bench.errors import BenchError
from bench.registry import load_plugins
from bench.run.messages import CannotStart, Done, Event, Ready, decode_job, encode_event
from bench.run.outcome import one_line
from bench.run.perform import Builder, Performer, build

PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve jobs until there are no more. Exit code 0, or 1 when it could not start."""
    options = _options(arguments)
    if not _die_with(options.parent):
        return 1
    faulthandler.enable()
    jobs = _take_stdin()
    os.set_inheritable(options.events, False)
    os.register_at_fork(after_in_child=lambda: _fall_silent(jobs.fileno(), options.events))
    try:
        load_plugins(options.plugin)
        builder = _builder(options.builder)
    except (BenchError, ImportError) as error:
        _send(options.events, CannotStart(one_line(f"{type(error).__name__}: {error}")))
        return 1
    performer = Performer(options.run, options.run_dir, options.log, builder)
    _send(options.events, Ready())
    for line in jobs:
        performed = performer.perform(decode_job(line))
        sys.stdout.flush()
        _send(options.events, Done(performed.records, performed.clean))
        if not performed.clean:
            break
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.run.worker", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="process that must be alive")
    parser.add_argument("--events", type=int, required=True, help="file descriptor for answers")
    parser.add_argument("--run", required=True, help="run id")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--log", required=True, help="name of the log file, for reasons")
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--builder", help="module:function that builds subjects instead of bench.subject")
    return parser.parse_args(arguments)


def _die_with(parent: int) -> bool:
    """Ask the kernel to kill this process when its parent dies; False when it is dead already."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def _take_stdin() -> BinaryIO:
    """The stream of jobs; whoever reads stdin from now on finds it empty."""
    jobs = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return os.fdopen(jobs, "rb")


def _fall_silent(*channels: int) -> None:
    """In a process that a metric or a library forks: it is no worker, so it finds no jobs and answers to nobody."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for channel in channels:
        os.dup2(nothing, channel, inheritable=False)
    os.close(nothing)


def _builder(name: str | None) -> Builder:
    """The real builder, with torch imported now rather than in the first visit; or a stand-in."""
    if name is None:
        import bench.subject  # noqa: F401

        return build
    module, _, attribute = name.partition(":")
    builder: Builder = getattr(sys.modules[module], attribute)
    return builder


def _send(fd: int, event: Event) -> None:
    data = memoryview(encode_event(event))
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    sys.exit(main())
