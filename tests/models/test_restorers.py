"""The supervised networks of paper B's comparison, against their published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.models.restorers import ConvAutoencoder, DnCNN


def images(channels: int, side: int) -> Tensor:
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("network", "count"), [(ConvAutoencoder(), 4_307_011), (DnCNN(), 669_312)])
def test_parameters_at_three_colours_are_the_published_ones(network: nn.Module, count: int) -> None:
    assert sum(each.numel() for each in network.parameters()) == count


@pytest.mark.parametrize("network", [ConvAutoencoder(1, 8), DnCNN(1, 5, 8)])
def test_small_grey_versions_keep_the_shape_and_learn(network: nn.Module) -> None:
    clean: Tensor = network(images(1, 16))
    torch.autograd.backward(clean.square().mean())

    assert clean.shape == (2, 1, 16, 16)
    assert all(each.grad is not None for each in network.parameters())


def test_the_autoencoder_answers_between_0_and_1() -> None:
    with torch.no_grad():
        clean = ConvAutoencoder(1, 8)(images(1, 16) * 50 - 25)

    assert clean.min() >= 0
    assert clean.max() <= 1


def test_the_autoencoder_refuses_sides_it_would_change() -> None:
    with pytest.raises(ValueError, match="a 28x28 image cannot be halved 4 times; use sides that are multiples of 16"):
        ConvAutoencoder(1, 8)(images(1, 28))


def test_dncnn_subtracts_what_its_last_layer_says() -> None:
    network, noisy = DnCNN(1, 5, 8).eval(), images(1, 13)
    nn.init.zeros_(network.dncnn[-1].weight)  # type: ignore[arg-type]

    with torch.no_grad():
        assert torch.equal(network(noisy), noisy)


def test_dncnn_has_norms_in_all_but_the_first_and_the_last_of_its_twenty_layers_and_no_bias() -> None:
    kinds = [type(layer) for layer in DnCNN().dncnn]

    assert kinds.count(nn.Conv2d) == 20
    assert kinds[:3] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert kinds.count(nn.BatchNorm2d) == 18
    assert not any(layer.bias is not None for layer in DnCNN().dncnn if isinstance(layer, nn.Conv2d))
