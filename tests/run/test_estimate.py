"""How long a plan takes, by step times of earlier runs: the right ones, composed as the walk composes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.registry import load_builtins
from bench.run.environment import describe_run
from bench.run.estimate import Estimate, commands, estimate, network_text
from bench.run.step_times import KnownTimes
from bench.store import lines
from bench.store.files import new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import SCHEMA, Record, Repeated, Status, from_line
from bench.suite.expand import expand
from bench.suite.read import parse_suite
from bench.suite.schema import Cell, Conditions
from bench.suite.workload import workload

SUITE = """\
schema: 1
suite: s
title: T
conditions: {{threads: 1, batch_size: {batch}}}
effort: {{warmup: 0, repeats: 1, rounds: 2, processes: 1}}
grid:
  - model: {{name: {model}, weights: random}}
    data: digits
    sampler: {{name: ddim, timesteps: {timesteps}}}
metrics: [{metrics}]
"""
SECONDS = {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}
"""Of one call at each stage, in a batch of 2."""


def cell_of(
    metrics: str, model: str = "skip-unet, skip: zero, skip_exponent: 1", batch: int = 2, timesteps: int = 4
) -> Cell:
    load_builtins()
    text = SUITE.format(metrics=metrics, model=model, batch=batch, timesteps=timesteps)
    (cell,) = expand(parse_suite(text, "s.yaml"))
    return cell


def drawing(**changes: Any) -> Cell:
    """A cell with weights, whose 64 samples are drawn."""
    cell = cell_of("samples", **changes)
    params = {**cell.model.params, "weights": "shipped"}
    return cell.model_copy(
        update={
            "model": cell.model.model_copy(update={"params": params}),
            "factors": {**cell.factors, "model.weights": "shipped"},
        }
    )


def record_of(cell: Cell, stage: int, values: tuple[float, ...]) -> Record:
    return Record(
        schema=SCHEMA, run="", cell=cell.id, suite="s", factors=dict(cell.factors),
        conditions=cell.conditions.model_dump(), metric="step_time", metric_params={}, unit="s",
        at={"stage": stage, "calls": 1, "timestep": 0}, part="p0r0", values=values, nfe=1,
        status=Status.OK, reason=None, warnings=(), subject={}, inputs=(), effort={}, seed=0,
        started="2026-11-20T10:00:00Z", duration_s=1.0,
        artifact=None, siblings=len(SECONDS),
    )  # fmt: skip


def put(
    results: Path,
    cell: Cell,
    seconds: dict[int, float] = SECONDS,
    run: str = "20261120-100000-aaaaaa",
    machine: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A run that measured the cell's step times."""
    info = replace(describe_run("s", "s.yaml", "", "bench run s", "now"), id=run)
    info = replace(info, machine={**info.machine, **(machine or {})})
    records = [
        replace(record_of(cell, stage, (value, 99.0, value)), run=run, siblings=len(seconds), **changes)
        for stage, value in seconds.items()
    ]
    with (
        writing(results, "s", "test") as folder,
        new_run(folder, info) as path,
        LineWriter(path / "records.jsonl") as writer,
    ):
        writer.append([replace(records[0], metric="latency", at={}, siblings=1), *records])
    return results / "s" / run


def found(results: Path, cells: Sequence[Cell], processors: int = 1) -> Estimate:
    return estimate(workload(cells), KnownTimes(results), processors)


def test_drawing_takes_the_calls_of_each_stage_times_its_median_for_each_image(tmp_path: Path) -> None:
    """Four steps at t = 750, 500, 250, 0 with c = 1 meet k = 3, 2, 1, 0 once each: (4 + 3 + 2 + 1) s / 2 an image."""
    cell = drawing()
    run = put(tmp_path, cell)
    answer = found(tmp_path, [cell])

    assert answer.drawing_s == pytest.approx(64 * 5.0)
    assert (answer.alone_s, answer.wall_s, answer.unknown) == (0.0, answer.drawing_s, ())
    (source,) = answer.sources
    assert (source.times.run, source.times.batch_size, source.times.n) == (run, 2, 3)
    assert source.network == "skip-unet (config = digits, skip = zero)"


def test_weights_and_the_exponent_do_not_change_what_a_call_takes(tmp_path: Path) -> None:
    """c = 5 has k = 3 from t = 243 on: 3 of 4 steps. Its times were measured with random weights and another c."""
    put(tmp_path, cell_of("step_time"))
    answer = found(tmp_path, [drawing(model="skip-unet, skip: zero, skip_exponent: 5")])

    assert answer.drawing_s == pytest.approx(64 * (4.0 + 3 * 1.0) / 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "skip-unet, skip: duplicate, skip_exponent: 1"},
        {"model": "skip-unet, config: cifar10, skip: zero, skip_exponent: 1"},
        {"model": "ddpm-unet"},
    ],
)
def test_times_of_another_network_do_not_count(tmp_path: Path, changes: dict[str, Any]) -> None:
    put(tmp_path, cell_of("step_time", **changes), {0: 1.0} if changes["model"] == "ddpm-unet" else SECONDS)
    answer = found(tmp_path, [drawing()])

    assert answer.sources == ()
    (unknown,) = answer.unknown
    assert (unknown.network, unknown.network_calls) == ("skip-unet (config = digits, skip = zero)", 64 * 4)


CUDA = Conditions(device="cuda", threads=1, batch_size=2).model_dump()


@pytest.mark.parametrize(
    ("machine", "changes"),
    [
        ({"cpu": "another"}, {}),
        ({"logical_cores": 999}, {}),
        ({}, {"status": Status.FAILED, "values": (), "reason": "it died"}),
        ({}, {"conditions": CUDA}),
    ],
)
def test_times_of_another_machine_or_device_and_failures_do_not_count(
    tmp_path: Path, machine: dict[str, Any], changes: dict[str, Any]
) -> None:
    put(tmp_path, drawing(), machine=machine, **changes)

    assert found(tmp_path, [drawing()]).sources == ()


def test_the_batch_closest_to_the_drawn_one_counts_and_of_equal_ones_the_newest(tmp_path: Path) -> None:
    old, new = dict.fromkeys(SECONDS, 64.0), dict.fromkeys(SECONDS, 128.0)
    put(tmp_path, cell_of("step_time", batch=64), old, run="20261120-100000-aaaaaa")
    put(tmp_path, cell_of("step_time", batch=64), new, run="20261121-100000-aaaaaa")
    put(tmp_path, cell_of("step_time", batch=1), run="20261122-100000-aaaaaa")
    answer = found(tmp_path, [drawing()])

    assert answer.drawing_s == pytest.approx(64 * 4 * 2.0)
    assert [source.times.run.name for source in answer.sources] == ["20261121-100000-aaaaaa"]
    assert answer.sources[0].closer is None


def test_a_run_that_lacks_a_stage_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, drawing(), {0: 9.0, 3: 9.0}, run="20261122-100000-aaaaaa")
    put(tmp_path, drawing(), run="20261120-100000-aaaaaa")

    assert [each.times.run.name for each in found(tmp_path, [drawing()]).sources] == ["20261120-100000-aaaaaa"]


def test_times_of_small_batches_are_told_to_be_far_off_with_the_command_that_is_closer(tmp_path: Path) -> None:
    put(tmp_path, cell_of("step_time", batch=1))
    (source,) = found(tmp_path, [drawing()]).sources

    assert source.closer is not None
    assert commands([source.closer]) == ("bench run drawing -k config=digits -k skip=zero",)


def test_timed_walks_and_calls_take_whole_batches(tmp_path: Path) -> None:
    """Two walks of 10 s, and for step_time 2 x 5 calls at each of four stages; batches of 2 as they were measured."""
    put(tmp_path, cell_of("step_time"))
    answer = found(tmp_path, [cell_of("latency, step_time")])

    assert answer.alone_s == pytest.approx(2 * 10.0 + 2 * 5 * 10.0)
    assert answer.drawing_s == 0.0


def test_drawing_is_divided_between_workers_and_timing_is_not(tmp_path: Path) -> None:
    put(tmp_path, cell_of("step_time"))
    cells = [drawing(), drawing(timesteps=2), cell_of("latency")]
    answer = found(tmp_path, cells, processors=4)

    assert answer.workers == 2
    assert answer.wall_s == pytest.approx(answer.drawing_s / 2 + answer.alone_s)
    assert found(tmp_path, cells, processors=1).workers == 1


def test_a_network_with_stages_that_it_does_not_name_is_not_composed(tmp_path: Path) -> None:
    plain = drawing(model="ddpm-unet")
    put(tmp_path, plain, {0: 1.0, 1: 2.0})

    assert [each.network for each in found(tmp_path, [plain]).unknown] == [network_text(plain)]


def test_damaged_runs_and_lines_are_passed_over(tmp_path: Path) -> None:
    run = put(tmp_path, drawing())
    with (run / "records.jsonl").open("a") as file:
        file.write('{"metric":"step_time","values":[1e-9]}\n')
    (tmp_path / "s" / "20261130-100000-aaaaaa").mkdir()
    (tmp_path / "s" / "20261130-100000-aaaaaa" / "run.json").write_text("{")

    assert found(tmp_path, [drawing()]).drawing_s == pytest.approx(64 * 5.0)


@pytest.mark.parametrize("batch", [0, -4, None, "8"])
def test_times_of_batches_that_cannot_be_are_passed_over(tmp_path: Path, batch: object) -> None:
    cell = drawing()
    put(tmp_path, cell, conditions={**cell.conditions.model_dump(), "batch_size": batch})

    assert found(tmp_path, [cell]).sources == ()


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e149])
def test_times_that_cannot_be_are_passed_over(tmp_path: Path, seconds: float) -> None:
    put(tmp_path, drawing(), dict.fromkeys(SECONDS, seconds))

    assert found(tmp_path, [drawing()]).sources == ()


def test_results_kept_one_folder_deeper_are_found(tmp_path: Path) -> None:
    put(tmp_path / "published", drawing())

    assert len(found(tmp_path, [drawing()]).sources) == 1


def test_disturbed_measurements_are_told(tmp_path: Path) -> None:
    put(tmp_path, drawing(), warnings=("other programs ran",))

    assert [source.times.disturbed for source in found(tmp_path, [drawing()]).sources] == [True]


def test_one_command_measures_several_networks_and_a_whole_suite_needs_no_factors(tmp_path: Path) -> None:
    kinds = ("zero", "duplicate", "interpolate")
    models = [f"skip-unet, skip: {kind}, skip_exponent: 1, config: cifar10" for kind in kinds]
    unknown = found(tmp_path, [drawing(model=model) for model in models]).unknown
    targets = [each.target for each in unknown if each.target is not None]

    assert commands(targets) == (
        "bench run drawing -k config=cifar10 -k skip=zero -k skip=duplicate -k skip=interpolate",
    )


def test_a_network_that_no_suite_measures_has_no_command(tmp_path: Path) -> None:
    (unknown,) = found(tmp_path, [drawing(model="lucid-unet, width: 16")]).unknown

    assert unknown.target is None


def test_an_estimate_reads_only_step_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, drawing())
    parsed: list[str] = []

    def noting(line: str, repeated: Repeated) -> Record:
        parsed.append(line)
        return from_line(line, repeated)

    monkeypatch.setattr(lines, "from_line", noting)
    found(tmp_path, [drawing()])

    assert len(parsed) == len(SECONDS)
