"""Doing one visit in this process: build the subject, check what the metric needs, measure, make records.

The one place of the measuring side that catches every exception: whatever a model or a metric raises becomes the
record of its own cell, and the others go on. Torch-free unless the builder is the real one.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.contracts import Denoiser, Measurement, Need, Scalar, notes_of
from bench.errors import MeasurementError, OutOfMemory
from bench.files import sync_folder
from bench.registry import METRICS, check_params
from bench.run.outcome import (
    Circumstances,
    is_expected,
    is_out_of_memory,
    measured,
    missed,
    utc_text,
    verdict,
)
from bench.run.schedule import Visit, unmet_need
from bench.run.spare_memory import spare_fraction
from bench.run.wall import utc_now
from bench.store.record import InputFile, Record, Status
from bench.suite.schema import Cell

SPARE_MEMORY = 0.25
"""Fraction of the machine's or container's memory that subjects kept for their next visit must leave free."""


class Measurable(Protocol):
    """What a builder gives: `bench.subject.Subject`, or a stand-in that needs no torch."""

    @property
    def denoiser(self) -> Denoiser: ...

    def claim_threads(self) -> None: ...

    def facts(self) -> Mapping[str, Scalar]: ...

    def input_files(self) -> tuple[InputFile, ...]: ...


Builder = Callable[[Cell, Path], Measurable]
"""(cell, folder of the run) -> what is measured."""


def build(cell: Cell, run_dir: Path) -> Measurable:
    """The real builder; imports torch."""
    from bench.subject import Workspace, build_subject

    return build_subject(cell, Workspace(run_dir=run_dir, cache_dir=run_dir.parents[1] / ".cache"))


@dataclass(frozen=True)
class Performed:
    """What one visit left behind."""

    records: tuple[Record, ...]
    clean: bool
    """False when this process should not measure anything else: memory ran out, or a device may be in a bad state."""


class Performer:
    """Does visits one after another and keeps built subjects for the next visit while there is memory for them."""

    def __init__(self, run: str, run_dir: Path, log: str, builder: Builder = build) -> None:
        """log: name of the log file, for reasons; the tracebacks go to stderr."""
        self._run = run
        self._run_dir = run_dir
        self._log = log
        self._builder = builder
        self._subjects: OrderedDict[str, Measurable] = OrderedDict()
        # What is there now stays: later collections need not look at it, so they take microseconds.
        gc.freeze()

    def perform(self, visit: Visit) -> Performed:
        """Measure, whatever happens. KeyboardInterrupt passes through."""
        started, begin = utc_text(utc_now()), time.perf_counter()
        try:
            found = self._attempt(visit, started, begin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: every failure becomes a record
            traceback.print_exc(file=sys.stderr)
            status, reason = verdict(error)
            if not is_expected(error):
                reason = f"{reason} (traceback in {self._log})"
            clean = not is_out_of_memory(error) and (is_expected(error) or visit.cell.conditions.device == "cpu")
            around = Circumstances(self._run, started, time.perf_counter() - begin, {})
            return Performed(missed(visit, status, reason, around), clean)
        return Performed(found, clean=True)

    def _attempt(self, visit: Visit, started: str, begin: float) -> tuple[Record, ...]:
        try:
            return self._once(visit, started, begin)
        except (MemoryError, RuntimeError, OutOfMemory) as error:
            if not is_out_of_memory(error) or not self._subjects.keys() - {visit.cell.id}:
                raise
        # Perhaps it only did not fit beside the subjects of other cells.
        self._forget_all()
        return self._once(visit, started, begin)

    def _once(self, visit: Visit, started: str, begin: float) -> tuple[Record, ...]:
        unmet = unmet_need(visit.cell, visit.spec)
        if unmet is None:
            subject = self._subject(visit)
            unmet = _unmet_by_weights(subject, visit)
            if unmet is None:
                return self._measure(visit, subject, started, begin)
        around = Circumstances(self._run, started, time.perf_counter() - begin, {})
        return missed(visit, Status.SKIPPED, unmet, around)

    def _measure(self, visit: Visit, subject: Measurable, started: str, begin: float) -> tuple[Record, ...]:
        entry = METRICS.get(visit.metric.name)
        params = check_params(entry, visit.metric.params)
        subject.claim_threads()
        with _no_garbage_collection(visit.spec.kind == "timing"):
            measurements = tuple(entry.factory(subject, visit.effort, **params))
        if Need.DATA in visit.spec.needs:
            measurements = _noted(measurements, notes_of(subject))
        around = Circumstances(
            self._run,
            started,
            time.perf_counter() - begin,
            subject.facts(),
            subject.input_files(),
        )
        records = measured(visit, measurements, around)
        for name in {record.artifact for record in records if record.artifact is not None}:
            _secure(self._run_dir / name)
        return records

    def _subject(self, visit: Visit) -> Measurable:
        """The cell's subject, built now or kept from its last visit."""
        cell = visit.cell
        if cell.id in self._subjects:
            self._subjects.move_to_end(cell.id)
            return self._subjects[cell.id]
        if visit.spec.kind == "exact":
            # The exact numbers of a cell follow one another, and no later visit comes back to it.
            self._subjects.clear()
            gc.collect()
            subject = self._subjects[cell.id] = self._builder(cell, self._run_dir)
            return subject
        while self._subjects and spare_fraction() < SPARE_MEMORY:
            self._subjects.popitem(last=False)
            _collect_everything()
        subject = self._subjects[cell.id] = self._builder(cell, self._run_dir)
        gc.collect()
        gc.freeze()
        return subject

    def close(self) -> None:
        """Forget all subjects; for a process that goes on to do other things."""
        self._subjects.clear()
        gc.unfreeze()

    def _forget_all(self) -> None:
        self._subjects.clear()
        _collect_everything()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def _noted(measurements: tuple[Measurement, ...], notes: tuple[str, ...]) -> tuple[Measurement, ...]:
    """The measurements with what the data set says to their readers; what is no measurement stays as it is,
    to be refused in its place."""
    return tuple(
        replace(each, warnings=(*each.warnings, *(note for note in notes if note not in each.warnings)))
        if isinstance(each, Measurement)
        else each
        for each in measurements
    )


def _secure(artifact: Path) -> None:
    """See that a file which a record is going to name is there and on disk. Raises MeasurementError or OSError."""
    if not artifact.is_file():
        raise MeasurementError(f"the metric names the artifact {artifact.name!r}, but did not write it")
    fd = os.open(artifact, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(artifact.parent)


def _unmet_by_weights(subject: Measurable, visit: Visit) -> str | None:
    if Need.TRAINED_WEIGHTS in visit.spec.needs and subject.denoiser.weights.origin == "random":
        return (
            f"{visit.spec.name} needs {Need.TRAINED_WEIGHTS} and {visit.cell.model.name!r} has random ones; "
            "its pictures would be noise: give the model a checkpoint with `weights:`"
        )
    return None


@contextmanager
def _no_garbage_collection(wanted: bool) -> Iterator[None]:
    """Collect now and not again until the end of the block, so that no collection falls into a timed region."""
    if not wanted:
        yield
        return
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _collect_everything() -> None:
    gc.unfreeze()
    gc.collect()
