"""A registry of toys, so that the tests of the suite format stand on nothing but the format."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from bench.registry import (
    DATASETS,
    METRICS,
    MODELS,
    SAMPLERS,
    register_dataset,
    register_metric,
    register_model,
    register_sampler,
)
from bench.suite.expand import expand
from bench.suite.read import parse_suite
from bench.suite.schema import Cell


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models `net` and `plain`, data `dots`, samplers `walk` and `jump`, metrics `clock`, `count` and `blur`."""
    for registry in (MODELS, DATASETS, SAMPLERS, METRICS):
        monkeypatch.setattr(registry, "_entries", {})

    @register_model("net")
    def net(skip: Literal["zero", "copy"] = "zero", exponent: float = 2, widths: tuple[int, ...] = (8, 16)) -> Any: ...

    @register_model("plain")
    def plain(depth: int, note: str | None = None) -> Any: ...

    @register_dataset("dots")
    def dots(split: Literal["train", "test"] = "test") -> Any: ...

    @register_sampler("walk")
    def walk(schedule: Any, timesteps: int = 10, eta: float = 0.0, clip: bool = True) -> Any: ...

    @register_sampler("jump")
    def jump(schedule: Any, timesteps: int = 10, clip: bool = False) -> Any: ...

    @register_metric("clock", unit="s", better="lower", kind="timing")
    def clock(subject: Any, effort: Any) -> Any: ...

    @register_metric("count", unit="1", better=None, kind="exact")
    def count(subject: Any, effort: Any, images: int = 10, kind: Literal["a", "b"] = "a") -> Any: ...

    @register_metric("blur", unit="1", better="lower", kind="quality")
    def blur(subject: Any, effort: Any, images: int) -> Any: ...


@pytest.fixture
def cells(toys: None) -> tuple[Cell, ...]:
    """Two skips by two exponents by two samplers, and one plain network."""
    return expand(
        parse_suite(
            "schema: 1\nsuite: toy\ntitle: T\nmetrics: [clock]\ngrid:\n"
            "  - model: {name: net, skip: {each: [zero, copy]}, exponent: {each: [0, 2]}}\n"
            "    sampler: {each: [{name: walk, clip: true}, {name: jump, clip: false}]}\n"
            "  - {model: {name: plain, depth: 2}, conditions: {threads: 2}}\n",
            "toy.yaml",
        )
    )
