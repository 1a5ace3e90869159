"""Step times that lie in results: what one network call takes on this machine, measured in earlier runs.

Read for estimates only. A record counts when it is of the same network and the same conditions on the same kind of
machine; the batch size may be another, and is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import median

from bench.contracts import Scalar
from bench.errors import StoreError
from bench.registry import MODELS
from bench.run.environment import machine
from bench.store.attempts import current
from bench.store.files import RECORDS_FILE, RUN_FILE, load_info
from bench.store.lines import read_lines
from bench.store.record import Record, Status
from bench.suite.schema import Cell

METRIC = "step_time"
SAME_MACHINE = ("cpu", "logical_cores", "cpu_quota", "gpu")
"""Facts that must agree."""
SAME_CONDITIONS = ("device", "dtype", "threads", "compile", "memory_format")
LONGEST_CALL_S = 1e6
"""What took longer, or no time at all, was not a call."""
MOST_RUNS = 100
"""The newest ones are looked at."""

Network = tuple[tuple[str, str], ...]
"""What step times depend on: model, arguments and conditions, each as text."""


@dataclass(frozen=True)
class StepTimes:
    """One network's calls, stage by stage."""

    run: Path
    batch_size: int
    values: Mapping[int, tuple[float, ...]]
    """Stage -> seconds of one call of a batch."""
    disturbed: bool = False
    """Whether most visits were made with a warning, such as that other programs ran."""

    def seconds(self, stage: int) -> float:
        """Of one image in one call at this stage."""
        return median(self.values[stage]) / self.batch_size

    @property
    def n(self) -> int:
        """Values behind the stage that has the fewest."""
        return min(map(len, self.values.values()))


class KnownTimes:
    """The step times below a results folder, read once; those of each network with the newest first."""

    def __init__(self, results: Path) -> None:
        self._found: dict[Network, list[StepTimes]] = {}
        facts = machine()
        for run in _newest(results):
            try:
                info = load_info(run)
            except StoreError:
                continue  # a report of that run says so
            if all(info.machine.get(name) == facts.get(name) for name in SAME_MACHINE):
                for network, times in _times_of(run):
                    self._found.setdefault(network, []).append(times)

    def find(self, cell: Cell, stages: frozenset[int], batch_size: int) -> StepTimes | None:
        """Of a network at all these stages, in the batch closest to the wanted one; the newest of several."""
        return min(
            (
                times
                for times in self._found.get(network_of(cell.factors, cell.conditions.model_dump()), ())
                if stages <= times.values.keys()
            ),
            key=lambda times: distance(times.batch_size, batch_size),
            default=None,
        )


def distance(batch_size: int, wanted: int) -> float:
    """How far two batch sizes are apart: 8 is as far from 64 as from 1."""
    return abs(log2(batch_size / wanted))


def network_of(factors: Mapping[str, Scalar], conditions: Mapping[str, Scalar]) -> Network:
    """What the step times of a cell depend on. Weights and arguments that only choose when a stage runs do not."""
    name = str(factors["model"])
    outlook = MODELS.get(name).outlook if name in MODELS else None
    chosen = outlook.stages.chosen_by if outlook is not None and outlook.stages is not None else frozenset()
    left_out = {f"model.{each}" for each in ("weights", *chosen)}
    mine = {each: value for each, value in factors.items() if each.split(".")[0] == "model" and each not in left_out}
    around = {each: conditions.get(each) for each in SAME_CONDITIONS}
    return tuple(sorted((each, json.dumps(value)) for each, value in {**mine, **around}.items()))


def _newest(results: Path) -> list[Path]:
    """Run folders, the newest first: `<suite>/<run>`, also one folder deeper, where results are kept by kind."""
    found = (path.parent for pattern in (f"*/*/{RUN_FILE}", f"*/*/*/{RUN_FILE}") for path in results.glob(pattern))
    return sorted(found, key=lambda path: path.name, reverse=True)[:MOST_RUNS]


def _times_of(run: Path) -> Iterator[tuple[Network, StepTimes]]:
    """One for each cell whose step times were measured."""
    by_cell: dict[str, list[Record]] = {}
    for record in _records(run):
        by_cell.setdefault(record.cell, []).append(record)
    for records in by_cell.values():
        values: dict[int, list[float]] = {}
        warned = 2 * sum(bool(record.warnings) for record in records) > len(records)
        for record in records:
            stage = record.at.get("stage")
            if isinstance(stage, int) and all(0 < value < LONGEST_CALL_S for value in record.values):
                values.setdefault(stage, []).extend(record.values)
        batch = records[0].conditions.get("batch_size")
        if values and isinstance(batch, int) and batch > 0 and "model" in records[0].factors:
            whole = {stage: tuple(found) for stage, found in sorted(values.items())}
            yield network_of(records[0].factors, records[0].conditions), StepTimes(run, batch, whole, warned)


def _records(run: Path) -> Iterator[Record]:
    """Those that count. Other metrics' lines are not even parsed: a plan has no time for them."""
    try:
        lines = read_lines(run / RECORDS_FILE, containing=f'"metric":"{METRIC}"'.encode())
    except StoreError:
        return
    for attempt in current(lines.records).values():
        if attempt.status is Status.OK:
            yield from attempt.records
