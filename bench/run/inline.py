"""Visits in the calling process: for tests, notebooks and debuggers. Nothing is fresh, limited or protected."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from bench.run.executor import Beginning, Dropped, Ended, Happening, Setting
from bench.run.perform import Builder, Performer, build
from bench.run.schedule import WorkerPlan
from bench.store.record import Record

WARNING = "measured inside the calling program, not in a fresh process; run it with `bench run` before quoting it"
"""Stands with every time and every memory figure."""


@dataclass(frozen=True)
class InlineExecutor:
    """Does all visits here, one after another."""

    builder: Builder = build

    def run(self, plans: Sequence[WorkerPlan], setting: Setting) -> Generator[Happening, None, None]:
        for worker in plans:
            with closing(Performer(setting.run, setting.run_dir, "stderr", self.builder)) as performer:
                for visit in worker.visits:
                    if not setting.wanted(visit):
                        yield Dropped(visit)
                        continue
                    yield Beginning(visit)
                    records = performer.perform(visit).records
                    if worker.kind in ("timing", "memory"):
                        records = tuple(_warned(record) for record in records)
                    yield Ended(visit, records)


def _warned(record: Record) -> Record:
    return replace(record, warnings=(*record.warnings, WARNING)) if record.values else record
