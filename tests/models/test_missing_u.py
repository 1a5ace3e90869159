"""The models of paper B as a suite names them."""

from __future__ import annotations

import subprocess
import sys
import typing

import pytest
import torch
from torch import nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights
from bench.errors import MissingWeights, ParamError
from bench.models import cunet, cunet_released, missing_u, ode
from bench.registry import MODELS, check_params

NAMES = ("lucid-unet", "cunet", "cunet-released")


def build(name: str, **params: str | int | float | bool) -> Denoiser:
    entry = MODELS.get(name)
    return entry.factory(**check_params(entry, {"weights": "random", **params}))


def parameters(denoiser: Denoiser) -> int:
    assert isinstance(denoiser.network, nn.Module)
    return sum(each.numel() for each in denoiser.network.parameters())


def test_naming_them_does_not_import_torch() -> None:
    code = "import bench.models.missing_u, sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "params", "count"),
    [
        ("lucid-unet", {}, 210_945),
        ("cunet", {}, 203_209),
        ("cunet-released", {}, 287_809),
        ("cunet-released", {"attention": "none"}, 254_913),
        ("cunet-released", {"blocks": "no-residual-released"}, 262_017),
        ("cunet-released", {"attention": "none", "blocks": "no-residual-released"}, 229_121),
    ],
)
def test_digits_versions_are_of_one_size_and_keep_the_shape(name: str, params: dict[str, str], count: int) -> None:
    denoiser = build(name, **params)
    x_t = torch.randn(2, *denoiser.image_shape)

    with torch.inference_mode():
        out = denoiser.network(x_t, torch.tensor([0, 999]))

    assert denoiser.image_shape == (1, 16, 16)
    assert out.shape == x_t.shape
    assert parameters(denoiser) == count


@pytest.mark.parametrize(
    ("name", "count"), [("lucid-unet", 35_710_339), ("cunet", 8_810_579), ("cunet-released", 8_811_875)]
)
def test_paper_versions_have_the_paper_sizes(name: str, count: int) -> None:
    denoiser = build(name, config="paper")

    assert denoiser.image_shape == (3, 64, 64)
    assert parameters(denoiser) == count


@pytest.mark.parametrize("name", NAMES)
def test_single_sizes_replace_those_of_the_config(name: str) -> None:
    denoiser = build(name, depth=2, width=16, channels=3, image_size=32)

    with torch.inference_mode():
        assert denoiser.network(torch.zeros(1, 3, 32, 32), torch.tensor([4])).shape == (1, 3, 32, 32)
    assert denoiser.image_shape == (3, 32, 32)
    assert parameters(denoiser) != parameters(build(name))


@pytest.mark.parametrize("name", NAMES)
def test_objective_and_schedule_are_those_of_the_public_code_unless_asked_otherwise(name: str) -> None:
    plain, other = build(name), build(name, prediction="epsilon", noise_schedule="linear")

    assert (plain.prediction, plain.schedule) == (Prediction.V, ScheduleSpec("sigmoid"))
    assert (other.prediction, other.schedule) == (Prediction.EPSILON, ScheduleSpec("linear"))
    assert plain.paper == missing_u.PAPER_B
    assert plain.weights == Weights("random")


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_are_always_the_same_and_leave_the_generator_alone(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build(name)
    assert torch.equal(torch.rand(3), expected)
    second = build(name)

    assert isinstance(first.network, nn.Module)
    assert isinstance(second.network, nn.Module)
    for mine, other in zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("name", ["cunet", "cunet-released"])
def test_the_solver_of_the_blocks_is_a_parameter(name: str) -> None:
    denoiser = build(name, solver="midpoint", steps=3)
    assert isinstance(denoiser.network, nn.Module)
    blocks = [module for module in denoiser.network.modules() if isinstance(module, ode.OdeBlock)]

    with torch.inference_mode():
        denoiser.network(torch.zeros(1, 1, 16, 16), torch.tensor([4]))

    assert [block.ode_nfe for block in blocks] == [6] * 5


def test_suites_may_name_every_solver_and_every_variant_there_is() -> None:
    assert set(typing.get_args(missing_u.Solver)) == set(ode.SOLVERS)
    assert missing_u.Attention == cunet.Attention == cunet_released.Attention
    assert missing_u.Norm == cunet_released.Norm
    assert missing_u.Blocks == cunet_released.Blocks


@pytest.mark.parametrize("name", NAMES)
def test_sizes_without_shipped_weights_say_so(name: str) -> None:
    for params in ({"width": 16}, {"config": "paper"}, {"prediction": "epsilon"}, {"noise_schedule": "linear"}):
        with pytest.raises(MissingWeights, match="no weights are shipped for this configuration"):
            build(name, weights="shipped", **params)


@pytest.mark.parametrize(
    ("name", "params", "checkpoint"),
    [
        ("lucid-unet", {}, "digits-lucid-unet"),
        ("lucid-unet", {"config": "photos"}, "photos-lucid-unet"),
        ("cunet", {"config": "photos"}, "photos-cunet"),
        ("cunet", {}, "digits-cunet"),
        ("cunet", {"solver": "euler", "steps": 8}, "digits-cunet"),
        ("cunet", {"attention": "none", "residual": False}, "digits-cunet-no-attention-no-residual"),
        ("cunet-released", {}, "digits-cunet-released"),
        ("cunet-released", {"attention": "none"}, "digits-cunet-released-no-attention"),
        ("cunet-released", {"blocks": "no-residual-released"}, "digits-cunet-released-no-residual-released"),
        ("cunet-released", {"norm": "group", "attention": "two"}, "digits-cunet-released-group"),
    ],
)
def test_each_variant_asks_for_a_checkpoint_of_its_own(
    name: str, params: dict[str, str | int | bool], checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.models.checkpoints import shipped

    asked: list[str | None] = []

    def record(network: nn.Module, weights: str, *, shipped: str | None, **_: object) -> tuple[Weights, tuple[()]]:
        asked.append(shipped)
        return Weights("random"), ()

    monkeypatch.setattr(shipped, "load_weights", record)
    build(name, weights="shipped", **params)

    assert asked == [checkpoint]


def test_impossible_sizes_are_mistakes_of_the_suite() -> None:
    with pytest.raises(ParamError, match="a 26x26 image cannot be halved 2 times"):
        build("cunet", image_size=26)
    with pytest.raises(ParamError, match="solver: expected one of"):
        build("cunet", solver="rk5")


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_told_of_missing_weights_before_anything_is_built(name: str) -> None:
    entry = MODELS.get(name)

    assert entry.lacks({"weights": "random", "config": "paper"}) == ()
    (sentence,) = entry.lacks({"config": "paper"})
    assert sentence.startswith("no weights are shipped for this configuration")


def test_a_plan_asks_for_the_checkpoint_that_the_factory_loads() -> None:
    assert MODELS.get("cunet").lacks({}) == MODELS.get("lucid-unet").lacks({}) == ()
    (sentence,) = MODELS.get("cunet-released").lacks({"norm": "group", "blocks": "no-residual"})
    assert "digits-cunet-released-group-no-residual.safetensors: the shipped weights are not there" in sentence
