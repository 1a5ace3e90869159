"""A results folder as `bench run suites/speedup.yaml` would leave it, with numbers that are made up but fixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.results import collect
from bench.contracts import Scalar
from bench.report.document import Report
from bench.report.grids import Measured
from bench.report.page import build_section
from bench.report.steadiness import unsteady
from bench.store.attempts import current
from bench.store.files import Records, Run, load_run, new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import Record, RunInfo, Status
from bench.suite.read import parse_suite
from bench.suite.schema import Cell, Conditions, Effort, Ref, Suite

MakeMeasured = Callable[..., Measured]
MakeReport = Callable[..., Report]

SKIPS = ("zero", "duplicate", "interpolate")
EXPONENTS = (0.0, 1.0, 2.0, 3.0, 5.0)
MACS = {
    "zero": (6.2390e9, 6.0195e9, 5.3131e9, 2.2489e9),
    "duplicate": (6.2390e9, 6.0195e9, 5.3131e9, 2.2489e9),
    "interpolate": (6.2390e9, 6.1900e9, 6.0196e9, 5.4770e9),
}
"""Multiply-accumulates of one call at k = 0..3."""
SECONDS = {
    "zero": (2.41e-3, 2.13e-3, 1.66e-3, 0.86e-3),
    "duplicate": (2.42e-3, 2.15e-3, 1.67e-3, 0.88e-3),
    "interpolate": (2.44e-3, 2.31e-3, 2.02e-3, 1.66e-3),
}
"""Time of one step at k = 0..3."""

SUITE = """\
schema: 1
suite: speedup
title: Time saved by skipping U-Net levels
reproduces: {paper: adaptive-skip, table: 2}

conditions: {device: cpu, threads: 1, dtype: float32, batch_size: 1}
effort: {warmup: 1, repeats: 2, rounds: 5, processes: 2}
seed: 0

grid:
  - model:
      name: skip-unet
      skip: {each: [zero, duplicate, interpolate]}
      skip_exponent: {each: [0, 1, 2, 3, 5]}
    data: {name: digits}
    sampler: {name: ddpm, timesteps: 1000}

metrics: [latency, step_time, macs, stages, parameters]

tables:
  - id: table2
    caption: Time saved against c = 0 of the same skip type
    rows: model.skip
    columns: model.skip_exponent
    value: {metric: latency, relative: time_saved, to: {model.skip_exponent: 0}}
    beside:
      - {metric: step_time, reduce: composed, relative: time_saved, to: {model.skip_exponent: 0}, label: composed}
      - {metric: macs, reduce: total, relative: time_saved, to: {model.skip_exponent: 0}, label: MAC limit}
    published: {paper: adaptive-skip, table: "2"}
  - id: seconds
    caption: One walk of 1000 steps
    rows: [model.skip, model.skip_exponent]
    values:
      - {metric: latency, label: time of one walk}
      - {metric: latency, relative: speedup, to: {model.skip_exponent: 0}, label: speed-up}
      - {metric: macs, reduce: total, label: MACs of one walk}
      - {metric: parameters, at: {which: total}, reduce: value, label: parameters}

figures:
  - id: saved
    caption: Time saved, measured and printed
    kind: bars
    x: model.skip_exponent
    series: model.skip
    value: {metric: latency, relative: time_saved, to: {model.skip_exponent: 0}}
    beside:
      - {metric: macs, reduce: total, relative: time_saved, to: {model.skip_exponent: 0}, label: MAC limit}
    published: {paper: adaptive-skip, table: "2"}
  - id: stages
    caption: Levels skipped at each timestep, k(t)
    kind: stages
    series: model.skip_exponent
  - id: levels
    caption: Time of one step at each number of skipped levels
    kind: stage_times
    series: model.skip

notes: ["The digits network is smaller than the paper's, so its times are bound by layers sooner than by arithmetic."]
"""


def k_of(t: int, c: float) -> int:
    """k(t) of eq. (1) with N = 4."""
    return min(3, math.floor(4 - 4 * math.pow(1 - t / 1000, c)))


@dataclass(frozen=True)
class Synthetic:
    """A run folder and what it was made from."""

    path: Path
    suite: Suite
    cells: tuple[Cell, ...]


def make_cells(suite: Suite) -> tuple[Cell, ...]:
    """The 15 cells, as expansion makes them."""
    return tuple(
        Cell(
            id=f"speedup/skip={skip},skip_exponent={c:g}-{index:08x}",
            suite="speedup",
            model=Ref(name="skip-unet", params={"skip": skip, "skip_exponent": c}),
            sampler=Ref(name="ddpm", params={"timesteps": 1000}),
            data=Ref(name="digits"),
            conditions=Conditions(),
            seed=0,
            factors={
                "model": "skip-unet",
                "model.skip": skip,
                "model.skip_exponent": c,
                "model.config": "digits",
                "data": "digits",
                "data.split": "test",
                "sampler": "ddpm",
                "sampler.timesteps": 1000,
            },
            metrics=suite.metrics,
            effort=Effort(warmup=1, repeats=2, rounds=5, processes=2),
        )
        for index, (skip, c) in enumerate((skip, c) for skip in SKIPS for c in EXPONENTS)
    )


def base_record(cell: Cell) -> Record:
    """Everything of a record that does not depend on the metric."""
    skip = str(cell.factors["model.skip"])
    subject: Mapping[str, Scalar] = {
        "weights.origin": "trained",
        "weights.source": f"models/weights/digits-skip-{skip}.safetensors",
        "weights.sha256": {"zero": "a3", "duplicate": "b4", "interpolate": "c5"}[skip] * 32,
        "weights.ema": True,
        "weights.steps": 3500,
        "data.fingerprint": "d6" * 32,
        "data.split": "test",
        "paper": "Giladi et al.",
        "threads.found": 1,
    }
    return Record(
        schema=1,
        run="20261120-101500-ab12cd",
        cell=cell.id,
        suite="speedup",
        factors=cell.factors,
        conditions=cell.conditions.model_dump(),
        metric="latency",
        metric_params={},
        unit="s",
        at={},
        part="",
        values=(1.0,),
        nfe=None,
        status=Status.OK,
        reason=None,
        warnings=(),
        subject=subject,
        inputs=(),
        effort={"warmup": 1, "repeats": 2, "rounds": 5, "processes": 2},
        seed=0,
        started="2026-11-20T10:15:04Z",
        duration_s=4.2,
        artifact=None,
    )


def make_records(cells: tuple[Cell, ...]) -> Iterator[Record]:
    """Exact metrics of every cell, then the interleaved rounds: two processes, five rounds, drift in each."""
    rng = np.random.default_rng(20261120)
    for cell in cells:
        base = base_record(cell)
        skip, c = str(cell.factors["model.skip"]), float(str(cell.factors["model.skip_exponent"]))
        depth = [k_of(t, c) for t in range(1000)]
        yield replace(base, metric="stages", unit="1", values=tuple(map(float, depth)))
        for which, count in (("total", 1_234_567.0), ("trainable", 1_234_567.0)):
            yield replace(
                base, metric="parameters", unit="parameters", at={"which": which}, values=(count,), siblings=2
            )
        for stage in sorted(set(depth)):
            for counter in ("fvcore", "dispatch"):
                at = {"stage": stage, "calls": depth.count(stage), "counter": counter}
                siblings = 2 * len(set(depth))
                yield replace(base, metric="macs", unit="MAC", at=at, values=(MACS[skip][stage],), siblings=siblings)
    for process in range(2):
        placed = rng.normal(1, 0.004)
        for turn in range(5):
            drift = 1 + 0.03 * math.sin(1.7 * turn + process)
            for cell in cells:
                base = base_record(cell)
                skip, c = str(cell.factors["model.skip"]), float(str(cell.factors["model.skip_exponent"]))
                depth = [k_of(t, c) for t in range(1000)]
                part = f"p{process}r{turn}"
                walk = sum(SECONDS[skip][k] for k in depth) * drift * placed
                noise = np.abs(rng.normal(0, 0.006, 2)) + 1
                warnings: tuple[str, ...] = ()
                if cell.id.startswith("speedup/skip=interpolate,skip_exponent=5") and process == 1 and turn == 3:
                    noise[1] *= 1.4
                    warnings = ("the machine was busy during 1 of 2 repeats; close other programs",)
                yield replace(base, part=part, values=tuple(walk * noise), nfe=1000, warnings=warnings)
                for stage in sorted(set(depth)):
                    seconds = SECONDS[skip][stage] * drift * placed * (1 + np.abs(rng.normal(0, 0.01, 2)))
                    at = {"stage": stage, "calls": depth.count(stage), "timestep": depth.index(stage)}
                    yield replace(
                        base, metric="step_time", part=part, at=at, values=tuple(seconds), siblings=len(set(depth))
                    )


def make_info(suite_text: str = SUITE) -> RunInfo:
    return RunInfo(
        schema=1,
        id="20261120-101500-ab12cd",
        suite="speedup",
        suite_path="suites/speedup.yaml",
        suite_text=suite_text,
        suite_sha256="0" * 64,
        command="bench run suites/speedup.yaml",
        started="2026-11-20T10:15:00Z",
        bench_version="0.1.0",
        code_sha256="1" * 64,
        git_commit="78ab84c0" * 5,
        git_dirty=False,
        machine={
            "cpu": "Intel(R) Xeon(R) Processor @ 2.10GHz",
            "logical_cores": 2,
            "affinity": "0-1",
            "memory_bytes": 24_696_061_952,
            "os": "Debian GNU/Linux 12",
            "kernel": "6.1.0",
            "gpu": None,
        },
        packages={"python": "3.11.2", "torch": "2.15.0", "numpy": "2.4.6"},
        environment={"OMP_NUM_THREADS": "1"},
    )


def write_run(root: Path, info: RunInfo, records: Iterator[Record] | tuple[Record, ...]) -> Path:
    """A run folder below `root`."""
    with (
        writing(root, info.suite, "a test") as folder,
        new_run(folder, info) as path,
        LineWriter(path / "records.jsonl") as writer,
    ):
        writer.append(tuple(records))
    return root / info.suite / info.id


@pytest.fixture(scope="session")
def speedup(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """The whole run: 15 cells, nothing missing."""
    suite = parse_suite(SUITE, "suites/speedup.yaml")
    cells = make_cells(suite)
    path = write_run(tmp_path_factory.mktemp("results"), make_info(), make_records(cells))
    assert not load_run(path).damaged
    return Synthetic(path, suite, cells)


@pytest.fixture(scope="session")
def cells(speedup: Synthetic) -> tuple[Cell, ...]:
    return speedup.cells


@pytest.fixture
def measured(speedup: Synthetic) -> MakeMeasured:
    """measured(change, planned): the synthetic run after `change` of its records, and the cells that were planned."""

    def make(
        change: Callable[[Iterable[Record]], Iterable[Record]] = tuple, planned: Iterable[Cell] = speedup.cells
    ) -> Measured:
        run = load_run(speedup.path)
        # An attempt keeps its number of siblings; a test that drops records of an attempt drops all of them.
        records = tuple(change(run.records))
        results = collect(records, tuple(planned))
        return Measured(results, run.info, records, unsteady(results))

    return make


@pytest.fixture(scope="session")
def report(speedup: Synthetic) -> MakeReport:
    """report(change): the page of the synthetic run after `change` of its records. Made once for each change."""
    made: dict[object, Report] = {}

    def make(change: Callable[[Iterable[Record]], Iterable[Record]] = tuple) -> Report:
        if change not in made:
            run = load_run(speedup.path)
            found = Records(current(change(run.records)), (), 0)
            changed = Run(run.path, run.info, found)
            section = build_section(changed, speedup.suite, speedup.cells, "results/speedup/20261120-101500-ab12cd")
            made[change] = Report(section.title, (section,), "bench 0.1.0")
        return made[change]

    return make


@pytest.fixture
def plain_info() -> RunInfo:
    return make_info()


@pytest.fixture
def plain_records() -> tuple[Record, ...]:
    """One walk of two cells."""
    return tuple(
        replace(
            base_record(cell),
            cell=cell.id,
            factors={"model": "skip-unet", "model.skip": cell.factors["model.skip"]},
            part=f"p0r{turn}",
            values=(1.0 + turn / 100,),
        )
        for cell in make_cells(parse_suite(SUITE, "suites/speedup.yaml"))[:10:5]
        for turn in range(6)
    )


@pytest.fixture
def write() -> Callable[..., Path]:
    """write(root, info, records): a run folder."""
    return write_run
