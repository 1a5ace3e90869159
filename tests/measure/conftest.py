"""Toys the tests of this room share: exact clocks, a sampler of three lines, and subjects built by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.contracts import Denoiser, Network, Observe, Predict, Prediction, ScheduleSpec, StepNoise, Weights
from bench.subject import Subject, Workspace
from bench.suite.schema import Conditions


@dataclass
class FakeClock:
    """Time passes only when someone says so, and in binary fractions, so that sums are exact."""

    time_s: float = 1024.0

    def now(self) -> float:
        return self.time_s

    def synchronize(self) -> None:
        return

    def work(self, seconds: float) -> None:
        self.time_s += seconds


@dataclass
class FakeAsyncDevice:
    """A device that only queues what it is given, and works when it is waited for."""

    waits: bool = True
    """False is the mistake: a clock that does not wait."""
    time_s: float = 1024.0
    queued_s: float = 0.0

    def now(self) -> float:
        return self.time_s

    def synchronize(self) -> None:
        if self.waits:
            self.time_s += self.queued_s
            self.queued_s = 0.0

    def work(self, seconds: float) -> None:
        self.queued_s += seconds


@dataclass(frozen=True)
class ToyWalk:
    """Visits its timesteps and moves half-way to the predicted image, with a little noise."""

    timesteps: tuple[int, ...]
    order: int = 1

    def __call__(self, predict: Predict, x_T: Tensor, noise: StepNoise, observe: Observe | None = None) -> Tensor:
        x_t = x_T
        for step, t in enumerate(self.timesteps):
            for _ in range(self.order):
                pred_x0, _ = predict(x_t, t)
            x_t = 0.5 * x_t + 0.5 * pred_x0.clamp(-1, 1) + 0.01 * noise(step)
            if observe is not None:
                observe(step, t, x_t, pred_x0)
        return x_t


@dataclass
class Calls:
    """A network that answers nothing much and remembers what it was asked."""

    clock: FakeClock | FakeAsyncDevice | None = None
    seconds: Callable[[int, int], float] = lambda call, t: 0.0
    """(number of the call, t) -> how long it takes on the clock."""
    asked: list[tuple[Tensor, int]] = field(default_factory=list)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        if self.clock is not None:
            self.clock.work(self.seconds(len(self.asked), int(t[0])))
        self.asked.append((x_t.clone(), int(t[0])))
        return 0.5 * x_t


SubjectMaker = Callable[..., Subject]


@pytest.fixture
def make_subject(tmp_path: Path) -> SubjectMaker:
    def make(
        network: Network,
        *,
        timesteps: tuple[int, ...] | None = (3, 2, 1, 0),
        order: int = 1,
        stage: Callable[[int], int] | None = None,
        image_shape: tuple[int, int, int] = (1, 4, 4),
        num_train_timesteps: int = 4,
        **conditions: object,
    ) -> Subject:
        spec = ScheduleSpec(num_train_timesteps=num_train_timesteps, beta_start=0.1, beta_end=0.3)
        denoiser = Denoiser(network, image_shape, Prediction.EPSILON, spec, Weights("random"), stage=stage)
        sampler = None if timesteps is None else ToyWalk(timesteps, order)
        return Subject(
            denoiser,
            sampler,
            None,
            Conditions.model_validate(conditions),
            seed=0,
            workspace=Workspace(tmp_path, tmp_path),
        )

    return make


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def async_device() -> Callable[[bool], FakeAsyncDevice]:
    return lambda waits: FakeAsyncDevice(waits)


@pytest.fixture
def calls() -> Callable[..., Calls]:
    return Calls


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
