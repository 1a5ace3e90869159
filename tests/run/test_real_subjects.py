"""The real builder inside of real workers; imports torch there and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.run.isolated import IsolatedExecutor
from bench.store.files import load_run
from bench.store.record import Status
from bench.suite.schema import Cell, Ref

MakeCell = Callable[..., Cell]


def real_cell(make_cell: MakeCell, *metrics: str, **model: Any) -> Cell:
    cell = make_cell(
        {"level": 1}, metrics, sampler=Ref(name="ddim", params={"timesteps": 2}), data=Ref(name="digits"),
        effort={"rounds": 1, "processes": 1},
    )  # fmt: skip
    params = {"config": "digits", "weights": "random", **model}
    return cell.model_copy(update={"model": Ref(name="ddpm-unet", params=params)})


def test_real_model_is_counted_in_a_worker(bench: Any, make_cell: MakeCell) -> None:
    good = real_cell(make_cell, "parameters", "nfe")
    bad = real_cell(make_cell, "parameters", weights="nowhere.safetensors").model_copy(update={"id": "toy/bad"})

    outcome = bench.run(good, bad, executor=IsolatedExecutor())

    records = load_run(outcome.path).records
    assert {record.values for record in records if record.metric == "nfe"} == {(2.0,)}
    (total,) = (record for record in records if record.at.get("which") == "total" and record.cell == good.id)
    assert total.values[0] > 100_000
    assert total.subject["weights.origin"] == "random"
    assert total.subject["threads.found"] == 1
    (missing,) = (record for record in records if record.cell == bad.id)
    assert missing.status is Status.SKIPPED
    assert "nowhere.safetensors" in (missing.reason or "")


@pytest.mark.slow
def test_real_model_is_timed_and_weighed(bench: Any, make_cell: MakeCell, tmp_path: Path) -> None:
    cell = real_cell(make_cell, "latency", "step_time", "peak_memory")

    outcome = bench.run(cell, executor=IsolatedExecutor())

    records = load_run(outcome.path).records
    assert {record.metric for record in records} == {"latency", "step_time", "peak_memory"}
    assert all(record.status is Status.OK for record in records)
    assert bench.run(cell, executor=IsolatedExecutor()).measured == 0
