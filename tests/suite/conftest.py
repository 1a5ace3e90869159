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
