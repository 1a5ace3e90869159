"""The thop-like counter: its rules on paper, and against thop itself where that is installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UnsupportedOperator
from bench.measure.counters import count_dispatched, evaluating
from bench.measure.module_counter import count_modules

X = torch.ones(1, 4, 8, 8)
T = torch.zeros(1, dtype=torch.int64)
ELEMENTS = 4 * 8 * 8


class Row(nn.Module):
    """Layers in a row; the timestep does not matter."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class OwnConv(nn.Conv2d):
    """A subclass, which the rules do not know."""


class Attention(nn.Module):
    """Products as functions, with linear layers around them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        mixed: Tensor = self.out(F.scaled_dot_product_attention(q, k, v))
        return x + mixed.transpose(1, 2).reshape(x.shape)


class Ode(nn.Module):
    """One layer, four times, as a Runge-Kutta step calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.InstanceNorm2d(4))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        for _ in range(4):
            x = x + 0.25 * F.softplus(self.field(x))
        return x


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "convolution; the bias is free": (lambda: Row(nn.Conv2d(4, 6, 3, padding=1)), 64 * 6 * 4 * 9),
    "grouped and strided": (lambda: Row(nn.Conv2d(4, 6, 3, 2, padding=1, groups=2)), 16 * 6 * 2 * 9),
    "transposed, by its output": (lambda: Row(nn.ConvTranspose2d(4, 6, 4, 2, padding=1)), 256 * 6 * 4 * 16),
    "linear": (lambda: Row(nn.Linear(8, 3)), 32 * 8 * 3),
    "batch norm": (lambda: Row(nn.BatchNorm2d(4)), 4 * ELEMENTS),
    "instance norm": (lambda: Row(nn.InstanceNorm2d(4)), 2 * ELEMENTS),
    "instance norm, affine": (lambda: Row(nn.InstanceNorm2d(4, affine=True)), 4 * ELEMENTS),
    "layer norm": (lambda: Row(nn.LayerNorm(8)), 4 * ELEMENTS),
    "layer norm without weights": (lambda: Row(nn.LayerNorm(8, elementwise_affine=False)), 2 * ELEMENTS),
    "group norm counts nothing": (lambda: Row(nn.GroupNorm(2, 4)), 0),
    "activations": (lambda: Row(nn.PReLU(), nn.ReLU(), nn.LeakyReLU(), nn.SiLU(), nn.Dropout()), ELEMENTS),
    "softmax": (lambda: Row(nn.Softmax(dim=1)), 64 * (3 * 4 - 1)),
    "average pool": (lambda: Row(nn.AvgPool2d(2)), 64),
    "max pool": (lambda: Row(nn.MaxPool2d(2)), 0),
    "adaptive average pool": (lambda: Row(nn.AdaptiveAvgPool2d(2)), 16 * 17),
    "adaptive average pool, uneven": (lambda: Row(nn.AdaptiveAvgPool2d((3, 5))), 316),
    "upsample, nearest": (lambda: Row(nn.Upsample(scale_factor=2)), 4 * ELEMENTS),
    "upsample, bilinear": (lambda: Row(nn.Upsample(scale_factor=2, mode="bilinear")), 11 * 4 * ELEMENTS),
    "upsample, bicubic": (lambda: Row(nn.Upsample(scale_factor=2, mode="bicubic")), 259 * 4 * ELEMENTS),
    "a subclass counts nothing": (lambda: Row(OwnConv(4, 4, 1)), 0),
    "attention products are not seen": (Attention, 64 * 4 * 12 + 64 * 4 * 4),
    "solver steps count each": (Ode, 4 * (64 * 4 * 4 * 9 + 2 * ELEMENTS)),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETS[name][0]()


@pytest.mark.parametrize("name", NETS)
def test_the_rules_are_the_written_ones(name: str) -> None:
    network = made(name)

    with evaluating(network):
        assert count_modules(network, X, T) == NETS[name][1]


@pytest.mark.parametrize("name", NETS)
def test_thop_gives_the_same(name: str) -> None:
    assert count_modules(made(name).eval(), X, T) == by_thop(made(name), X, T)


def test_thop_gives_the_same_for_the_ddpm_unet() -> None:
    from bench.models.unet import UNet, UNetSizes

    network = UNet(UNetSizes(image_size=16, in_channels=1, base_channels=32)).eval()
    x = torch.ones(1, 1, 16, 16)

    counted = count_modules(network, x, T)

    assert counted == by_thop(network, x, T)
    assert counted < count_dispatched(network, x, T).total


def test_thop_gives_the_same_for_a_stage_of_a_skipping_network() -> None:
    from bench.models.skip_unet import SkipUNet
    from bench.models.unet import UNetSizes

    network = SkipUNet(UNetSizes(image_size=16, in_channels=1, base_channels=32), "interpolate", 2.0).eval()
    x, t = torch.ones(1, 1, 16, 16), torch.tensor([300])

    assert count_modules(network, x, t) == by_thop(network, x, t)


def test_a_shared_module_counts_once_for_each_call() -> None:
    layer = nn.Conv2d(4, 4, 1)

    assert count_modules(Row(layer, layer), X, T) == 2 * 64 * 16


def test_a_network_that_is_one_counted_module_is_counted() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(8, 8)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            out: Tensor = self.net(x)
            return out

    assert count_modules(Alone(), X, T) == 32 * 64


def test_a_plain_function_has_no_modules() -> None:
    assert count_modules(lambda x, t: x @ x, X, T) == 0


def test_recurrent_modules_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedOperator, match="no rule for GRU"):
        count_modules(Row(nn.GRU(8, 8)), X, T)


def test_hooks_are_gone_afterwards_even_when_the_network_fails() -> None:
    network = Row(nn.Conv2d(3, 4, 1))

    with pytest.raises(RuntimeError):
        count_modules(network, X, T)

    assert not network.layers[0]._forward_hooks


def by_thop(network: nn.Module, x: Tensor, t: Tensor) -> int:
    """What thop itself says."""
    if importlib.util.find_spec("thop") is None:
        pytest.skip("thop is not installed; the rules are also tested on paper")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses distutils
        profile: Any = importlib.import_module("thop").profile
        counted, _ = profile(network, (x, t), verbose=False)
    return int(counted)
