"""Sizes of networks, counted over memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.measure.parameters import ParameterCount, count_parameters, parameters, weight_bytes
from bench.models.unet import UNet, UNetSizes
from bench.subject import Subject


def test_parameters_buffers_and_bytes_are_counted_apart() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    network[0].requires_grad_(False)

    # Convolution 6 + 2, norm 2 + 2; buffers: two means of 2 in float32 and an int64 step count.
    assert count_parameters(network) == ParameterCount(12, 4, 5, 4, weight_bytes=12 * 4 + 4 * 4 + 8)


def test_a_parameter_used_twice_counts_once() -> None:
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    network[1].weight = network[0].weight

    assert count_parameters(network).total == 9


def test_parameters_that_are_views_of_one_memory_count_once() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = nn.Parameter(first.weight.detach())
    network = nn.Sequential(first, second)
    network.register_buffer("again", first.weight.detach())

    found = count_parameters(network)

    assert (found.total, found.tensors, found.buffers, found.weight_bytes) == (9, 1, 0, 36)


def test_different_parts_of_one_memory_count_each() -> None:
    memory = torch.zeros(10)
    network = nn.ParameterList([nn.Parameter(memory[:4]), nn.Parameter(memory[4:])])

    assert count_parameters(network).total == 10


def test_tensors_without_memory_are_told_apart() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))

    assert count_parameters(network).total == 24


def test_a_plain_function_holds_nothing() -> None:
    assert count_parameters(lambda x, t: x) == ParameterCount(0, 0, 0, 0, 0)


def test_the_cifar_network_has_the_published_size() -> None:
    with torch.device("meta"):
        network = UNet(UNetSizes())

    found = count_parameters(network)

    assert (found.total, found.tensors) == (35_746_307, 328)


def test_the_metric_remembers_what_was_trainable(make_subject: Callable[..., Subject]) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x

    subject = make_subject(Network().requires_grad_(False).to(torch.bfloat16))
    object.__setattr__(subject, "trainable", 6)

    found = {measurement.at["which"]: measurement.values for measurement in parameters(subject)}

    assert found == {"total": (6.0,), "trainable": (6.0,), "buffers": (0.0,), "tensors": (2.0,)}
    assert weight_bytes(subject)[0].values == (12.0,)
