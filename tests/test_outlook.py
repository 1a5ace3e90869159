"""What names say of themselves before they are built is what they do when they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.contracts import ScheduleSpec, Value
from bench.outlook import Work
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, Registry, check_params, load_builtins
from bench.suite.schema import Cell, Conditions, Effort, Ref

SPACINGS = ("leading", "trailing", "linspace", "ddim_uniform", "ddim_quad")


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The registered names, on a machine without any data."""
    load_builtins()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))


def lacks(registry: Registry[Any], name: str, **params: Value) -> tuple[str, ...]:
    return registry.get(name).lacks(params)


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("timesteps", [1, 30, 256, 1000])
def test_a_sampler_calls_the_network_when_it_says(name: str, spacing: str, timesteps: int) -> None:
    entry = SAMPLERS.get(name)
    params = check_params(entry, {"spacing": spacing, "timesteps": timesteps})
    sampler = entry.factory(ScheduleSpec(), **params)

    assert entry.outlook.calls is not None
    assert entry.outlook.calls(1000, **params) == sampler.timesteps
    assert sampler.order == 1


@pytest.mark.parametrize("config", ["digits", "cifar10"])
@pytest.mark.parametrize("skip_exponent", [0.0, 0.5, 2.0, 5.0])
def test_a_network_that_skips_levels_does_it_when_it_says(config: str, skip_exponent: float) -> None:
    entry = MODELS.get("skip-unet")
    params = check_params(entry, {"config": config, "skip_exponent": skip_exponent, "weights": "random"})
    built: Any = entry.factory(**params)

    assert entry.outlook.stages is not None
    at = entry.outlook.stages.at(**params)
    assert [at(t) for t in range(1000)] == [built.stage(t) for t in range(1000)]


def test_every_model_with_stages_says_so_beforehand() -> None:
    """Of those that ship; a plug-in need not."""
    for entry in MODELS:
        if "weights" in entry.parameters():
            built: Any = entry.factory(**check_params(entry, {"weights": "random"}))
            assert (getattr(built, "stage", None) is None) == (entry.outlook.stages is None), entry.name


@pytest.mark.parametrize(
    ("registry", "name", "params", "part"),
    [
        (MODELS, "ddpm-unet", {"config": "cifar10"}, "no weights are shipped for this configuration"),
        (MODELS, "skip-unet", {"config": "cifar10", "weights": "ddpm-cifar10"}, "run `bench fetch ddpm-cifar10`"),
        (DATASETS, "cifar10", {}, "run `bench fetch cifar10`"),
        (DATASETS, "mnist", {}, "run `bench fetch mnist`"),
        (DATASETS, "folder", {"path": "celeba", "image_size": 64}, "celeba: no such folder or archive"),
    ],
)
def test_what_is_missing_is_one_sentence(
    registry: Registry[Any], name: str, params: Mapping[str, Value], part: str
) -> None:
    (sentence,) = lacks(registry, name, **params)

    assert part in sentence
    assert "\n" not in sentence


def test_what_ships_is_never_missing() -> None:
    assert lacks(MODELS, "ddpm-unet") + lacks(MODELS, "skip-unet", skip="interpolate-coded") == ()
    assert lacks(MODELS, "skip-unet", config="cifar10", weights="random") == ()
    assert lacks(DATASETS, "digits") + lacks(DATASETS, "photos") == ()


def test_the_sentence_is_the_one_the_loader_ends_with() -> None:
    for name in ("cifar10", "mnist"):
        entry = DATASETS.get(name)
        with pytest.raises(Exception) as caught:
            entry.factory(**check_params(entry, {}))
        assert lacks(DATASETS, name) == (str(caught.value),)


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    def make(data: Ref | None) -> Cell:
        return Cell(
            id="s/c-1", suite="s", model=Ref(name="ddpm-unet"), sampler=Ref(name="ddim"), data=data,
            conditions=Conditions(), seed=0, factors={}, metrics=(), effort=Effort(),
        )  # fmt: skip

    return make


def test_a_picture_metric_says_that_the_network_or_the_reference_split_is_missing(
    make_cell: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    (root / "mnist").mkdir(parents=True)
    for kind in ("images-idx3", "labels-idx1"):
        (root / "mnist" / f"t10k-{kind}-ubyte").touch()
    monkeypatch.setenv("BENCH_DATA", str(root))
    mnist = make_cell(Ref(name="mnist", params={"split": "test"}))

    def sentences(**params: Value) -> tuple[str, ...]:
        return METRICS.get("frechet").lacks(params, cell=mnist)

    assert sentences(reference="test") == sentences(reference="own") == ()
    (train,) = sentences(reference="train")
    assert "train-images-idx3-ubyte" in train
    (network,) = sentences(reference="own", features="inception")
    assert "`bench fetch inception`" in network


def test_metrics_say_how_much_they_ask_of_the_network() -> None:
    effort = Effort(warmup=1, repeats=2, rounds=3, processes=4)

    def work(name: str, **params: Value) -> Work:
        entry = METRICS.get(name)
        assert entry.outlook.work is not None
        return entry.outlook.work(effort, **check_params(entry, params))

    assert work("latency") == Work(walks=(1 + 2) * 3 * 4)
    assert work("step_time", calls_per_value=5) == Work(calls_per_stage=(1 + 2 * 5) * 3 * 4)
    assert work("frechet", images=1000) == Work(samples=1024)
    assert work("kid", images=50_000, recipe="paper-a-as-coded") == Work(samples=49_664)
    assert work("samples", images=60) == Work(samples=64)
