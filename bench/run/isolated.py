"""Visits in fresh worker processes, with the parent asleep while a worker measures.

A job is sent only after the answer to the last one was saved and the progress was drawn, and the parent then blocks
on the worker's pipe until there is an answer, the worker is dead, or its time is over. Nothing else wakes it.
"""

from __future__ import annotations

import math
import re
import select
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contracts import MetricKind
from bench.errors import ParamError, WorkerDied
from bench.files import own_folder
from bench.run.descendants import adopting
from bench.run.environment import available_processors, worker_environment
from bench.run.executor import Beginning, Dropped, Ended, Happening, Setting
from bench.run.messages import CannotStart, Done, Event, Ready, check_answer
from bench.run.outcome import Circumstances, missed, utc_text
from bench.run.process import WorkerProcess
from bench.run.schedule import WorkerPlan, together
from bench.run.wall import utc_now
from bench.store.files import LOGS
from bench.store.record import Status

CELL_TIMEOUT_S: Mapping[MetricKind, float] = {"exact": 1800.0, "memory": 3600.0, "timing": 3600.0, "quality": 86_400.0}
"""How long one visit may take when nothing else is asked for."""
START_TIMEOUT_S = 300.0
"""How long a worker may take for its imports; on a cold network disk torch takes a minute."""
MEMORY_WORKERS = 2
"""Memory is measured in this many processes at once where there are processors for them: only bytes are read."""
LONGEST_SLEEP_S = 86_400.0
"""poll(2) counts milliseconds in 32 bits; a later deadline is waited for in several sleeps."""

_LOG = re.compile(r"worker-(\d{1,9})-.*\.log")

Steps = Generator[Happening | WorkerProcess, None, None]
"""Happenings to pass on, and, when nothing can go on, the worker that must be heard first."""


def side_by_side(plan: WorkerPlan, processors: int, memory_workers: int = MEMORY_WORKERS) -> int:
    """How many workers with plans like this one run at the same time on so many processors."""
    if not plan.shares:
        return 1
    workers = together(plan.threads, processors)
    return min(memory_workers, workers) if plan.kind == "memory" else workers


@dataclass(frozen=True, eq=False)
class _Lane:
    """One worker's plan in progress."""

    plan: WorkerPlan
    steps: Steps


@dataclass(frozen=True)
class IsolatedExecutor:
    """Runs each plan in a fresh process; when that dies, a new one does what is left."""

    cell_timeout_s: float | None = None
    """For every visit; None chooses by kind."""
    builder: str | None = None
    """`module:function` that builds subjects instead of `bench.subject`; the module must be a plug-in."""
    memory_workers: int = MEMORY_WORKERS

    def __post_init__(self) -> None:
        if self.cell_timeout_s is not None and not 0 < self.cell_timeout_s < math.inf:
            raise ParamError(f"cell timeout: {self.cell_timeout_s}, expected a number of seconds above 0")

    def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
        """All lanes advance until their workers are busy; then wait for one of those, and so on."""
        with adopting():
            yield from self._lanes(plans, setting)

    def _lanes(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
        queue = deque(plans)
        lanes: list[_Lane] = []
        try:
            while queue or lanes:
                if queue and self._may_begin(queue[0], lanes):
                    plan = queue.popleft()
                    lanes.append(_Lane(plan, self._steps(plan, setting)))
                    continue
                busy: list[WorkerProcess] = []
                for lane in tuple(lanes):
                    while (step := next(lane.steps, None)) is not None and not isinstance(step, WorkerProcess):
                        yield step
                    if step is None:
                        lanes.remove(lane)
                    else:
                        busy.append(step)
                if busy and len(busy) == len(lanes) and not (queue and self._may_begin(queue[0], lanes)):
                    _sleep_until_heard(busy)
        finally:
            for lane in lanes:
                lane.steps.close()

    def _may_begin(self, plan: WorkerPlan, lanes: Sequence[_Lane]) -> bool:
        """Whether a plan may run beside the lanes there are: alone, or as one of several that may share."""
        if not lanes:
            return True
        together = side_by_side(plan, available_processors(), self.memory_workers)
        return len(lanes) < together and all(lane.plan.shares for lane in lanes)

    def _steps(self, plan: WorkerPlan, setting: Setting) -> Steps:
        """All visits of one plan, one after another, with as many workers as it takes."""
        worker: WorkerProcess | None = None
        hopeless: str | None = None
        try:
            for visit in plan.visits:
                if not setting.wanted(visit):
                    yield Dropped(visit)
                    continue
                yield Beginning(visit)
                started, begin = utc_text(utc_now()), time.perf_counter()
                try:
                    if hopeless is not None:
                        raise WorkerDied(hopeless)
                    if worker is not None and worker.says_more():
                        worker.kill()
                        worker = None
                    if worker is None:
                        worker = self._start(plan, setting)
                        hopeless = "it cannot start"  # until it has
                        hopeless = _why_not_ready((yield from _heard(worker)))
                        if hopeless is not None:
                            raise WorkerDied(hopeless)
                    worker.send(visit, self._timeout_s(plan.kind))
                    done = yield from _heard(worker)
                    if not isinstance(done, Done):
                        raise WorkerDied("the worker's answer was garbled")
                    check_answer(done, visit, setting.run)
                    records, keep = done.records, done.clean
                except WorkerDied as death:
                    if hopeless is not None:
                        hopeless = str(death)
                    around = Circumstances(setting.run, started, time.perf_counter() - begin, {})
                    records, keep = missed(visit, Status.FAILED, f"WorkerDied: {death}", around), False
                if worker is not None and not keep:
                    worker.kill()
                    worker = None
                yield Ended(visit, records)
            if worker is not None:
                worker.quit()
                worker = None
        finally:
            if worker is not None:
                worker.kill()

    def _timeout_s(self, kind: MetricKind) -> float:
        return CELL_TIMEOUT_S[kind] if self.cell_timeout_s is None else self.cell_timeout_s

    def _start(self, plan: WorkerPlan, setting: Setting) -> WorkerProcess:
        log = _new_log(own_folder(setting.run_dir, LOGS), plan.kind)
        arguments = [
            *("--run", setting.run, "--run-dir", str(setting.run_dir.absolute()), "--log", f"{LOGS}/{log.name}"),
            *(word for plugin in setting.plugins for word in ("--plugin", plugin)),
            *(() if self.builder is None else ("--builder", self.builder)),
        ]
        return WorkerProcess(arguments, worker_environment(plan.threads, plan.device), log, START_TIMEOUT_S)


def _heard(worker: WorkerProcess) -> Generator[WorkerProcess, None, Event]:
    """The worker's next answer; yields the worker for as long as there is none. Raises WorkerDied."""
    while (event := worker.answer()) is None:
        yield worker
    return event


def _why_not_ready(event: Event) -> str | None:
    """Why a new worker cannot work; None when it can."""
    if isinstance(event, CannotStart):
        return f"it cannot start: {event.reason}"
    return None if isinstance(event, Ready) else "the worker's answer was garbled"


def _sleep_until_heard(workers: Sequence[WorkerProcess]) -> None:
    """Block until a worker said something, ended, or ran out of time."""
    poll = select.poll()
    for worker in workers:
        for fd in worker.fds:
            poll.register(fd, select.POLLIN)
    left_s = min(worker.deadline for worker in workers) - time.monotonic()
    poll.poll(math.ceil(1000 * min(max(0.0, left_s), LONGEST_SLEEP_S)))


def _new_log(folder: Path, kind: MetricKind) -> Path:
    """The name after the last one, so that a run that was continued keeps all its logs, whichever were removed."""
    names = (_LOG.fullmatch(path.name) for path in folder.iterdir())
    number = max((int(name[1]) + 1 for name in names if name is not None), default=0)
    return folder / f"worker-{number:03d}-{kind}.log"
