"""Suites of fake cells, and ways to run them. Nothing here imports torch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.registry import load_plugins
from bench.run.executor import Executor
from bench.run.fate import RunOutcome
from bench.run.inline import InlineExecutor
from bench.run.isolated import IsolatedExecutor
from bench.run.progress import Step
from bench.run.runner import run_suite
from bench.run.schedule import Visit
from bench.store.record import Record
from bench.suite.schema import Cell, Suite

PLUGIN = str(Path(__file__).with_name("fake_plugin.py"))
BUILDER = "bench_plugin_fake_plugin:build"

load_plugins([PLUGIN])

MakeCell = Callable[..., Cell]
MakeSuite = Callable[..., Suite]


fake = sys.modules["bench_plugin_fake_plugin"]


def processes_of(folder: Path) -> list[int]:
    """Living processes whose command line names a folder (a worker's names its run's), once the dying are dead."""
    until = time.monotonic() + 5
    while found := [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _names(entry, folder)]:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return found


def _names(process: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def survivors() -> Callable[[Path], list[int]]:
    return processes_of


@dataclass
class Heard:
    """A progress that remembers what it was told, in order."""

    events: list[tuple[str, Any]] = field(default_factory=list)

    def start(self, visits: Sequence[Visit]) -> None:
        self.events.append(("start", len(visits)))

    def cell(self, step: Step) -> None:
        self.events.append(("cell", step))

    def ended(self, visit: Visit, records: Sequence[Record]) -> None:
        self.events.append(("ended", (visit, tuple(records))))

    def note(self, text: str) -> None:
        self.events.append(("note", text))

    def finish(self, summary: str) -> None:
        self.events.append(("finish", summary))

    def of(self, name: str) -> list[Any]:
        return [content for event, content in self.events if event == name]


@dataclass
class Bench:
    """One results folder, and what was done in it."""

    results: Path
    ledger: Path
    executor: Executor
    heard: Heard = field(default_factory=Heard)

    def run(self, *cells: Cell, suite: Suite | None = None, **options: Any) -> RunOutcome:
        """Run cells as `bench run` does."""
        self.heard = Heard()
        options = {"executor": self.executor, "progress": self.heard, "plugins": [PLUGIN], **options}
        return run_suite(suite or fake.suite_of(), cells, results=self.results, **options)

    @property
    def executions(self) -> list[tuple[str, str]]:
        """(cell id, metric) of every execution so far."""
        if not self.ledger.exists():
            return []
        rows = [line.split("\t") for line in self.ledger.read_text().splitlines()]
        return [(row[0], row[1]) for row in rows]

    @property
    def pids(self) -> list[str]:
        """The process of every execution so far."""
        return [line.split("\t")[2] for line in self.ledger.read_text().splitlines()]


@pytest.fixture
def make_cell() -> MakeCell:
    return fake.cell_of  # type: ignore[no-any-return]


@pytest.fixture
def make_suite() -> MakeSuite:
    return fake.suite_of  # type: ignore[no-any-return]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Runs in worker processes with fake subjects."""
    ledger = tmp_path / "ledger.tsv"
    monkeypatch.setenv("FAKE_LEDGER", str(ledger))
    yield Bench(tmp_path / "results", ledger, IsolatedExecutor(builder=BUILDER))


@pytest.fixture
def inline(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same inside of this process, without waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    bench.executor = InlineExecutor(builder=fake.build)
    return bench
