"""What the catalogue promises, held against what the metrics give."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

import bench.measure.catalogue
from bench.contracts import Need
from bench.errors import ParamError
from bench.measure.macs import CONVENTIONS
from bench.registry import METRICS, check_params, metric_spec
from bench.subject import Subject
from bench.suite.schema import Effort

UNITS_AND_KINDS: Mapping[str, tuple[str, str]] = {
    "latency": ("s", "timing"),
    "cold_start": ("s", "memory"),
    "step_time": ("s", "timing"),
    "macs": ("MAC", "exact"),
    "parameters": ("count", "exact"),
    "weight_bytes": ("bytes", "exact"),
    "nfe": ("calls", "exact"),
    "ode_nfe": ("calls", "exact"),
    "ode_macs": ("MAC", "exact"),
    "checkpoint_bytes": ("bytes", "exact"),
    "stages": ("1", "exact"),
    "peak_memory": ("bytes", "memory"),
}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


@pytest.mark.parametrize("name", UNITS_AND_KINDS)
def test_every_metric_gives_what_it_is_registered_for(name: str, make_subject: Callable[..., Subject]) -> None:
    entry = METRICS.get(name)

    found = tuple(entry.factory(make_subject(Network().eval()), Effort(), **check_params(entry, {})))

    spec = metric_spec(name)
    assert (spec.unit, spec.kind) == UNITS_AND_KINDS[name]
    assert found
    assert {(each.metric, each.unit) for each in found} == {(name, spec.unit)}
    assert len({tuple(sorted(each.at.items())) for each in found}) == len(found)
    assert all(torch.isfinite(torch.tensor(each.values)).all() for each in found)


@pytest.mark.parametrize("name", sorted(set(UNITS_AND_KINDS) - {"latency", "cold_start", "nfe"}))
def test_a_metric_that_needs_no_sampler_works_without_one(name: str, make_subject: Callable[..., Subject]) -> None:
    entry = METRICS.get(name)

    assert tuple(entry.factory(make_subject(Network().eval(), timesteps=None), Effort(), **check_params(entry, {})))
    assert Need.SAMPLER not in metric_spec(name).needs


@pytest.mark.parametrize("name", ["latency", "cold_start", "nfe"])
def test_a_metric_of_a_walk_says_that_it_needs_a_sampler(name: str) -> None:
    assert metric_spec(name).needs == {Need.SAMPLER}


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "macs",
            {"counters": ("thop",)},
            "expected one of 'dispatch', 'fvcore', 'thop-like', got 'thop'; did you mean",
        ),
        ("step_time", {"calls_per_value": 2.5}, "expected a whole number"),
        ("latency", {"repeats": 3}, "takes no parameter 'repeats'"),
    ],
)
def test_a_wrong_argument_is_found_before_anything_runs(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError, match=message):
        check_params(METRICS.get(name), params)


def test_the_catalogue_and_the_kernels_readings_import_no_torch() -> None:
    code = (
        "import bench.measure.catalogue, bench.measure.stability, bench.measure.contamination, "
        "bench.measure.process_memory, bench.measure.free_operators, sys; "
        "from bench.registry import METRICS; [entry.parameters() for entry in METRICS]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_catalogue_offers_exactly_the_counters_there_are() -> None:
    assert set(get_args(bench.measure.catalogue.Counter)) == set(CONVENTIONS)
