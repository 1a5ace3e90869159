"""The two sides of a comparison: where results come from, and what is known of the place they were measured in.

A side is a run's folder, a suite's folder (its latest run), a results folder (the latest run of every suite), a file
of records, or what pytest-benchmark writes. A file of records knows its machine when the `run.json` of its run lies
beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.contracts import MetricSpec
from bench.errors import StoreError, UserError
from bench.store.files import RECORDS_FILE, RUN_FILE, Records, Run, latest_run, load_info, load_records, load_run
from bench.store.record import Record, RunInfo
from bench.units import plural
from bench.verdict.foreign import is_pytest_benchmark, read_pytest_benchmark


@dataclass(frozen=True)
class Side:
    """Results, and the runs they come from."""

    name: str
    """As the user gave it."""
    records: tuple[Record, ...]
    """Those that count, of every status."""
    runs: Mapping[str, RunInfo] = field(default_factory=dict)
    """Run id -> what it says about itself; empty for a bare file of records."""
    specs: Mapping[str, MetricSpec] = field(default_factory=dict)
    """Metrics that no registry knows."""
    folders: tuple[Path, ...] = ()
    """Of the runs, for those who want to read them whole."""
    damaged: int = 0
    """Lines that could not be read."""
    cut: tuple[Record, ...] = ()
    """The first record of each visit of which the file has no whole attempt; they do not count."""

    def run_of(self, record: Record) -> RunInfo | None:
        """The run a record belongs to; one that was carried over was measured under the same conditions."""
        return self.runs.get(record.run)


def load_side(path: Path) -> Side:
    """Raises StoreError or UserError saying what was found and what was expected."""
    if path.is_dir():
        return _folder(path)
    if path.name in (RUN_FILE, RECORDS_FILE) and (path.parent / RUN_FILE).is_file() and path.is_file():
        return _folder(path.parent)
    if not path.exists():
        raise UserError(f"{path}: not there; expected a run's folder, a file of records or pytest-benchmark's JSON")
    if is_pytest_benchmark(path):
        return _foreign(path)
    found = load_records(path)
    if not found.current and found.damaged:
        first = found.damaged[0]
        raise StoreError(
            f"{path}: no line of it is a record (line {first.number}: {first.reason}), and it is not "
            "pytest-benchmark's JSON"
        )
    info = _info_beside(path)
    runs = {} if info is None else {record.run: info for record in found.current if record.run == info.id}
    return measured(Side(str(path), found.current, runs, damaged=len(found.damaged), cut=_cut(found)))


def measured(side: Side) -> Side:
    """The side itself. Raises StoreError when no record of it counts: an empty file says nothing of any change."""
    if side.records:
        return side
    if side.damaged:
        raise StoreError(f"{side.name}: no line of it is a record ({plural(side.damaged, 'line')} cannot be read)")
    if side.cut:
        raise StoreError(f"{side.name}: no record in it belongs to a whole measurement; run the suite again")
    raise StoreError(f"{side.name}: no record in it; was it written, and is it the file or folder you mean?")


def _cut(found: Records) -> tuple[Record, ...]:
    return tuple(attempt.records[0] for attempt in found.cut)


def _folder(path: Path) -> Side:
    return of_runs(path, [load_run(each) for each in runs_in(path)])


def runs_in(path: Path) -> tuple[Path, ...]:
    """The folders of the runs that a folder stands for. Raises UserError when there is none."""
    if (path / RUN_FILE).is_file():
        return (path,)
    latest = latest_run(path.parent, path.name) if path.name else None
    if latest is not None:
        return (latest,)
    try:
        suites = sorted(each.name for each in path.iterdir() if each.is_dir())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    found = [run for suite in suites if (run := latest_run(path, suite)) is not None]
    if not found:
        raise UserError(f"{path}: no run in there; expected a folder with {RUN_FILE}, such as results/SUITE/RUN")
    return tuple(found)


def of_runs(path: Path, runs: Sequence[Run]) -> Side:
    """Runs that were loaded before."""
    return Side(
        str(path),
        tuple(record for run in runs for record in run.records),
        {run.info.id: run.info for run in runs},
        folders=tuple(run.path for run in runs),
        damaged=sum(len(run.damaged) for run in runs),
        cut=tuple(record for run in runs for record in _cut(run.found)),
    )


def _info_beside(path: Path) -> RunInfo | None:
    """`run.json` in the folder of a file of records, where there is one."""
    return load_info(path.parent) if (path.parent / RUN_FILE).is_file() else None


def _foreign(path: Path) -> Side:
    records, info, specs = read_pytest_benchmark(path)
    return Side(str(path), records, {info.id: info}, specs)
