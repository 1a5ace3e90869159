"""What `bench inspect` says about a model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights
from bench.errors import UserError
from bench.measure.inspect import inspect_denoiser


class Network(nn.Module):
    """Two convolutions at t < 250, one above; counts its evaluations as a solver would."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        self.dropout = nn.Dropout()
        self.ode_nfe = 0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        times = 2 if int(t[0]) < 250 else 1
        for _ in range(times):
            self.ode_nfe += 1
            x = self.dropout(self.layer(x))
        return x


def denoiser(network: Callable[[Tensor, Tensor], Tensor], *, staged: bool = True) -> Denoiser:
    def stage(t: int) -> int:
        return 0 if t < 250 else 1

    return Denoiser(
        network,
        (1, 4, 4),
        Prediction.V,
        ScheduleSpec(),
        Weights("random"),
        paper="toy",
        stage=stage if staged else None,
    )


def test_every_stage_is_counted_with_its_share_of_the_chain() -> None:
    facts = inspect_denoiser(denoiser(Network()))

    assert [(s.use.stage, s.use.calls, s.ode_nfe) for s in facts.stages] == [(0, 250, 2), (1, 750, 1)]
    assert [[count.macs for count in s.macs] for s in facts.stages] == [[288] * 3, [144] * 3]
    assert facts.walk_macs("dispatch") == 250 * 288 + 750 * 144
    assert (facts.nfe, facts.parameters.total, facts.parameters.weight_bytes) == (1000, 9, 36)


def test_another_shape_can_be_asked_for() -> None:
    facts = inspect_denoiser(denoiser(Network(), staged=False), (1, 8, 8))

    assert facts.stages[0].macs[0].macs == 64 * 9
    assert facts.image_shape == (1, 8, 8)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4)])
def test_a_shape_the_network_cannot_take_is_refused_with_the_one_it_can(shape: tuple[int, int, int]) -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            return out

    with pytest.raises(UserError, match="it was made for 1x4x4; give it --shape 1x4x4") as raised:
        inspect_denoiser(denoiser(Picky(), staged=False), shape)

    assert "\n" not in str(raised.value)


def test_the_network_is_as_it_was_afterwards() -> None:
    network = Network().train()

    inspect_denoiser(denoiser(network))

    assert network.training
    assert network.dropout.training
    assert network.layer.weight.requires_grad


def test_a_plain_function_can_be_inspected() -> None:
    facts = inspect_denoiser(denoiser(lambda x, t: x @ x, staged=False))

    assert [(count.counter, count.macs) for count in facts.stages[0].macs] == [
        ("dispatch", 64),
        ("fvcore", 64),
        ("thop-like", 0),
    ]


def test_the_json_is_plain_and_whole() -> None:
    facts = inspect_denoiser(denoiser(Network()))

    said = json.loads(json.dumps(facts.as_json(), allow_nan=False))

    assert said["stages"][1] == {
        "stage": 1,
        "calls": 750,
        "timestep": 625,
        "ode_nfe": 1,
        "macs": {"dispatch": 144, "fvcore": 144, "thop-like": 144},
        "not_counted": {},
        "warnings": [],
    }
    assert said["walk_macs"]["dispatch"] == facts.walk_macs("dispatch")
    assert said["parameters"]["trainable"] == 9


def test_the_lines_name_every_counters_convention_and_each_stage() -> None:
    lines = inspect_denoiser(denoiser(Network())).lines()

    said = dict(lines)
    assert said["parameters"] == "9 in 1 tensor, 9 trainable"
    assert said["stage 1 MACs dispatch"] == "144"
    assert said["stage 1 runs"] == "at 750 of 1,000 timesteps; counted at t = 625"
    assert {"dispatch counts", "fvcore counts", "thop-like counts"} <= said.keys()


def test_a_plain_network_has_lines_without_stages() -> None:
    lines = inspect_denoiser(denoiser(Network(), staged=False)).lines()

    assert not [name for name, _ in lines if name.startswith("stage")]
    assert ("MACs dispatch", "144") in lines
