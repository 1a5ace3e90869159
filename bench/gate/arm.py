"""One side of a gate: a script that builds cells and times calls when it is told to, and sleeps on its pipe otherwise.

Both sides run this same file, by its path, each with an interpreter that finds its own `bench` and `models`; so the
timing is the same and only what is timed differs. It uses little of `bench`, and only when asked, because the base may
be an older one. Jobs come as lines of JSON on stdin, answers go to a descriptor of their own.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import gc
import hashlib
import json
import math
import os
import resource
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

PR_SET_PDEATHSIG = 1


class Timed(Protocol):
    """One cell, ready to be called."""

    def call(self, index: int) -> float:
        """Seconds of one call with the index-th input; inputs are made before the clock starts."""
        ...

    def exact(self, metrics: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Exact numbers: {metric, params, unit, values, at} for each, or {metric, params, error}."""
        ...

    def sample(self) -> bytes:
        """The first images, as float32 in the machine's byte order; empty where there are none."""
        ...


class SubjectCell:
    """A cell of a suite, built by whatever `bench` this interpreter finds."""

    def __init__(self, cell: Any, folder: Path) -> None:
        from bench.subject import Workspace, build_subject

        self.cell = cell
        self.subject = build_subject(cell, Workspace(run_dir=folder, cache_dir=folder))
        self.batch: int = cell.conditions.batch_size
        self.subject.claim_threads()
        steps = self.subject.call_timesteps
        self.middle = steps[len(steps) // 2]

    def call(self, index: int) -> float:
        """A whole walk where the cell has a sampler, else one network call in the middle of the chain."""
        low = index * self.batch
        if self.subject.sampler is None:
            x_t = self.subject.noised(low, low + self.batch, self.middle)
            return self._timed(lambda: self.subject.predict(x_t, self.middle)[0])
        noise = self.subject.noise(low, low + self.batch)
        start = noise.start()
        return self._timed(lambda: self.subject.reverse(start, noise.step))

    def _timed(self, once: Callable[[], Any]) -> float:
        self._wait()
        begin = time.perf_counter()
        found = once()
        self._wait()
        seconds = time.perf_counter() - begin
        if not bool(found.isfinite().all()):
            raise ValueError(
                "a call ended in NaN or infinity, whose arithmetic may cost another time than that of numbers"
            )
        return seconds

    def _wait(self) -> None:
        if self.subject.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.subject.device)

    def exact(self, metrics: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from bench.registry import METRICS, check_params

        found: list[dict[str, Any]] = []
        for metric in metrics:
            name = metric["name"]
            asked = {"metric": name, "params": metric["params"]}
            try:
                entry = METRICS.get(name)
                params = check_params(entry, {key: _listed(value) for key, value in metric["params"].items()})
                made = list(entry.factory(self.subject, self.cell.effort, **params))
            except Exception as error:  # noqa: BLE001 - one metric that fails must not hide the others
                found.append({**asked, "error": f"{type(error).__name__}: {error}"})
                continue
            found += [{**asked, "unit": each.unit, "values": list(each.values), "at": dict(each.at)} for each in made]
        return found

    def sample(self) -> bytes:
        if self.subject.sampler is None:
            x_t = self.subject.noised(0, self.batch, self.middle)
            images = self.subject.predict(x_t, self.middle)[0]
        else:
            images = self.subject.sample(0, self.batch)
        data: bytes = images[:1].detach().cpu().numpy().astype("float32").tobytes()
        return data


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Arm:
    """What this process knows, and what it does when told to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cells: tuple[Any, ...] = ()
        self.timed: Timed | None = None
        self.repeat = 1
        self.next = 0

    def open(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Import everything and say which cells the suite has here."""
        import bench
        from bench.registry import load_plugins
        from bench.suite.expand import expand
        from bench.suite.read import read_suite
        from bench.suite.select import select

        load_plugins(self.options.plugin)
        self.cells = select(expand(read_suite(self.options.suite)), self.options.select)
        if self.options.builder is None:
            import bench.subject
        cells = [
            {"id": cell.id, "factors": dict(cell.factors), "conditions": cell.conditions.model_dump()}
            for cell in self.cells
        ]
        return {"cells": cells, "bench": str(bench.__file__)}

    def files(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Where the modules come from that are loaded by now."""
        found = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        return {"files": sorted(file for file in found if isinstance(file, str))}

    def pin(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Stay on these processors from now on, with every thread that is made later."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, job["cores"])
        return {}

    def build(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Build a cell in place of the last one."""
        self.timed = None
        gc.unfreeze()
        gc.collect()
        cell = self.cells[job["cell"]]
        self.timed = self._builder()(cell, Path(self.options.folder))
        self.repeat, self.next = 1, 0
        gc.collect()
        gc.freeze()
        gc.disable()
        return {}

    def _builder(self) -> Callable[[Any, Path], Timed]:
        if self.options.builder is None:
            return SubjectCell
        module, _, attribute = self.options.builder.partition(":")
        builder: Callable[[Any, Path], Timed] = getattr(sys.modules[module], attribute)
        return builder

    def exact(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Exact numbers, and the first image with its hash."""
        timed = self._built()
        image = timed.sample()
        return {
            "numbers": timed.exact(job["metrics"]),
            "sha256": hashlib.sha256(image).hexdigest(),
            "image": base64.b64encode(image).decode("ascii"),
        }

    def warm(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Untimed calls; says how long the last of them took. repeat: calls that make up one value from now on."""
        self.repeat = job["repeat"]
        seconds = [self._value() for _ in range(job["calls"])]
        return {"seconds": seconds[-1]}

    def slot(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The median of some values, each of one or more calls, and what this process used meanwhile."""
        before = resource.getrusage(resource.RUSAGE_SELF)
        values = [self._value() for _ in range(job["calls"])]
        after = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": statistics.median(values),
            "values": values,
            "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "switches": after.ru_nivcsw - before.ru_nivcsw,
        }

    def _value(self) -> float:
        timed = self._built()
        total = 0.0
        for _ in range(self.repeat):
            total += timed.call(self.next)
            self.next += 1
        if not (math.isfinite(total) and total > 0):
            raise ValueError(f"a call took {total} s")
        return total

    def _built(self) -> Timed:
        if self.timed is None:
            raise RuntimeError("no cell was built")
        return self.timed


def main() -> int:
    """Serve jobs until there are no more."""
    options = _options()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != options.parent:
        return 1
    jobs = _take_stdin()
    os.set_inheritable(options.answers, False)
    arm = Arm(options)
    for line in jobs:
        job = json.loads(line)
        try:
            answer = getattr(arm, job["do"])(job)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border: whatever a model raises is an answer
            traceback.print_exc(file=sys.stderr)
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
        _send(options.answers, answer)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="arm", description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--answers", type=int, required=True, help="file descriptor for answers")
    parser.add_argument("--suite", required=True)
    parser.add_argument("--folder", required=True, help="where a metric may write")
    parser.add_argument("--select", action="append", default=[])
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--builder", help="module:function that builds cells instead of bench.subject")
    return parser.parse_args()


def _take_stdin() -> BinaryIO:
    """The stream of jobs; whoever reads stdin from now on finds it empty."""
    jobs = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return os.fdopen(jobs, "rb")


def _send(fd: int, answer: Mapping[str, Any]) -> None:
    data = memoryview(json.dumps(answer, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    sys.exit(main())
