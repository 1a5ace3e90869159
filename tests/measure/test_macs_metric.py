"""The macs metric: stage by stage, counter beside counter, with a sentence where they differ."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contracts import Measurement
from bench.measure.counters import count_dispatched
from bench.measure.macs import CONVENTIONS, CounterName, count_macs, macs
from bench.models.skip_unet import SkipUNet
from bench.models.unet import UNetSizes
from bench.subject import Subject

ALL: tuple[CounterName, ...] = ("dispatch", "fvcore", "thop-like")
X = torch.ones(1, 4, 8, 8)
T = torch.zeros(1, dtype=torch.int64)


class TwoStages(nn.Module):
    """Two convolutions at small timesteps, one at large ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1)
        self.second = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h: Tensor = self.first(x)
        return self.second(h) if int(t[0]) < 2 else h


def by_counter(measurements: Iterable[Measurement]) -> dict[tuple[Any, ...], float]:
    return {(found.at["stage"], found.at["calls"], found.at["counter"]): found.values[0] for found in measurements}


def test_each_stage_is_counted_at_its_own_timestep_with_the_calls_of_the_walk(
    make_subject: Callable[..., Subject],
) -> None:
    subject = make_subject(TwoStages().eval(), stage=lambda t: 0 if t < 2 else 1, timesteps=(3, 3, 2, 0))

    found = by_counter(macs(subject, ["dispatch", "thop-like"]))

    assert found == {
        (0, 1, "dispatch"): 2 * 144.0,
        (0, 1, "thop-like"): 2 * 144.0,
        (1, 3, "dispatch"): 144.0,
        (1, 3, "thop-like"): 144.0,
    }


def test_the_sum_over_stages_is_the_sum_over_all_calls_of_the_walk(make_subject: Callable[..., Subject]) -> None:
    network = TwoStages().eval()
    subject = make_subject(network, stage=lambda t: 0 if t < 2 else 1, timesteps=(3, 2, 2, 1, 0))

    composed = sum(int(str(each.at["calls"])) * each.values[0] for each in macs(subject, ["dispatch"]))

    x_t = torch.zeros(1, 1, 4, 4)
    assert composed == sum(count_dispatched(network, x_t, torch.tensor([t])).total for t in (3, 2, 2, 1, 0))


def test_without_a_sampler_the_calls_are_those_of_the_whole_chain(make_subject: Callable[..., Subject]) -> None:
    subject = make_subject(TwoStages().eval(), stage=lambda t: 0 if t < 1 else 1, timesteps=None)

    assert by_counter(macs(subject, ["dispatch"])) == {(0, 1, "dispatch"): 288.0, (1, 3, "dispatch"): 144.0}


def test_a_network_in_half_precision_costs_the_same_macs(make_subject: Callable[..., Subject]) -> None:
    network = nn.Conv2d(1, 1, 3, padding=1)
    wanted = by_counter(macs(make_subject(_TimeBlind(network).eval()), ALL))

    half = by_counter(macs(make_subject(_TimeBlind(network).eval().to(torch.bfloat16), dtype="bfloat16"), ALL))

    assert half == wanted
    assert set(wanted.values()) == {144.0}


def test_counters_are_given_in_the_order_asked_for() -> None:
    counts = count_macs(_TimeBlind(nn.Conv2d(4, 4, 1)), X, T, ("thop-like", "dispatch"))

    assert [count.counter for count in counts] == ["thop-like", "dispatch"]


def test_every_counter_names_its_convention() -> None:
    assert set(CONVENTIONS) == set(ALL)


def test_fused_attention_explains_the_difference_to_fvcore() -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        q = x.flatten(2).transpose(1, 2)[:, None].contiguous()
        return F.scaled_dot_product_attention(q, q, q)

    said = warnings_of_fvcore(network)

    assert said == (
        "fvcore counts 32,768 MACs fewer in convolutions and products: it does not count scaled_dot_product_attention",
    )


def test_rounded_einsum_explains_the_difference_to_fvcore() -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        q = x.flatten(2).transpose(1, 2)
        return torch.einsum("bnd,bmd->bnm", q, q)

    assert warnings_of_fvcore(network) == (
        "fvcore counts 1 MACs more in convolutions and products: "
        "it reads the cost of einsum from a text rounded to four digits",
    )


def test_a_difference_without_a_known_reason_is_said_too() -> None:
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x @ x

    said = warnings_of_fvcore(lambda x, t: Hidden.apply(x))

    assert said == (
        "fvcore counts 2,048 MACs fewer in convolutions and products: "
        "for a reason it does not report; believe the dispatcher's count",
    )


def test_agreement_is_not_remarked_upon() -> None:
    assert warnings_of_fvcore(lambda x, t: F.conv2d(x, torch.ones(4, 4, 1, 1)) @ x) == ()


@pytest.mark.parametrize(
    ("skip", "published"),
    [
        ("zero", (6.2390, 6.0195, 5.3131, 2.2489)),
        ("duplicate", (6.2390, 6.0195, 5.3131, 2.2489)),
        ("interpolate-coded", (6.2390, 6.1900, 6.0196, 5.4770)),
    ],
)
@pytest.mark.slow
def test_the_cifar_network_costs_what_fvcore_is_known_to_count(
    skip: Any, published: tuple[float, ...], make_subject: Callable[..., Subject]
) -> None:
    """Giladi et al.'s network at every depth, batch 1, 3x32x32, in units of 1e9."""
    network = SkipUNet(UNetSizes(), skip, 2.0).eval()
    subject = make_subject(
        network,
        stage=network.num_skipped_levels,
        image_shape=(3, 32, 32),
        num_train_timesteps=1000,
        timesteps=tuple(reversed(range(1000))),
    )

    found = list(macs(subject, ["dispatch", "fvcore"]))

    fvcore = [each for each in found if each.at["counter"] == "fvcore"]
    assert [round(each.values[0] / 1e9, 4) for each in fvcore] == list(published)
    assert [each.at["calls"] for each in fvcore] == [134, 159, 207, 500]
    assert all(each.warnings == () for each in found)


class _TimeBlind(nn.Module):
    """A layer that does not look at the timestep."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


def warnings_of_fvcore(network: Callable[[Tensor, Tensor], Tensor]) -> tuple[str, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, fvcore = count_macs(network, X, T, ("dispatch", "fvcore"))
    return fvcore.warnings
