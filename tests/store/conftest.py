"""Records and runs made in memory, and a results folder to put them into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.store.record import SCHEMA, Record, RunInfo, Status

RecordMaker = Callable[..., Record]

BASE = Record(
    schema=SCHEMA,
    run="20261120-101500-ab12cd",
    cell="toy/skip=zero-01234567",
    suite="toy",
    factors={"model": "skip-unet", "model.skip": "zero", "model.skip_exponent": 2.0, "data": None},
    conditions={"device": "cpu", "threads": 1},
    metric="latency",
    metric_params={},
    unit="s",
    at={},
    part="",
    values=(0.25, 0.5),
    nfe=10,
    status=Status.OK,
    reason=None,
    warnings=(),
    subject={"weights.origin": "random"},
    inputs=(),
    effort={"warmup": 1, "repeats": 2, "rounds": 5, "processes": 2},
    seed=0,
    started="2026-11-20T10:15:04.000000Z",
    duration_s=0.75,
    artifact=None,
)

INFO = RunInfo(
    schema=SCHEMA,
    id="20261120-101500-ab12cd",
    suite="toy",
    suite_path="suites/toy.yaml",
    suite_text="suite: toy\n",
    suite_sha256="0" * 64,
    command="bench run suites/toy.yaml",
    started="2026-11-20T10:15:00.000000Z",
    bench_version="0",
    code_sha256="1" * 64,
    git_commit=None,
    git_dirty=None,
    machine={"cpu": "Toy 3000", "logical_cores": 2, "memory_bytes": 8_000_000_000},
    packages={"python": "3.11", "torch": "2.15.0"},
    environment={"OMP_PROC_BIND": "close"},
)


@pytest.fixture
def record() -> RecordMaker:
    """A valid record with the given fields changed; a status without numbers brings its own reason."""

    def make(**changes: Any) -> Record:
        if changes.get("status", Status.OK) is not Status.OK:
            changes = {"values": (), "reason": "because", **changes}
        return replace(BASE, **changes)

    return make


@pytest.fixture
def info() -> RunInfo:
    return INFO
