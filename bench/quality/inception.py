"""The Inception network of the FID, as pytorch-fid defines it, arranged for speed.

The graph is Inception v3 (Szegedy et al. 2016) with the TensorFlow peculiarities that pytorch-fid ports: average
pools that do not count their padding, and a max pool in the last block where the paper has an average. It computes
what pytorch-fid's network computes, to float32 rounding, in less than half the time:

    - every batch norm is folded into its convolution;
    - an average pool followed by a 1x1 convolution is done the other way round, on fewer channels (both are linear);
    - the 1x1 convolutions that read the same input are one;
    - channels last, 4 images at a time: larger batches leave the processor's cache.

Weights are looked up, checked and never downloaded: `bench fetch inception` puts them in their place.
Shape legend: B images of 3 channels, 299 x 299, scaled as the recipe says; 2048 features.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BadCheckpoint, MissingWeights
from bench.files import file_hash
from bench.quality.inception_file import SHA256 as SHA256
from bench.quality.inception_file import not_there, weights_path

State: TypeAlias = Mapping[str, Tensor]
Folded: TypeAlias = tuple[Tensor, Tensor]

FEATURES = 2048
EPS = 1e-3
"""Of the batch norms."""


class Conv(nn.Module):
    """A convolution with its batch norm folded in, and a ReLU unless a pool comes first."""

    def __init__(self, folded: Folded, stride: int = 1, *, padded: bool = True, relu: bool = True) -> None:
        super().__init__()
        weight, bias = folded
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.stride = stride
        self.padding = tuple(size // 2 for size in weight.shape[2:]) if padded else (0, 0)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return x.relu_() if self.relu else x


class Heads(nn.Module):
    """The 1x1 convolutions that read the same input, as one; the last may be an average pool's."""

    def __init__(self, folded: Sequence[Folded], *, pooled: bool) -> None:
        super().__init__()
        self.sizes = [len(bias) for _, bias in folded]
        self.conv = Conv(_stacked(folded), relu=False)
        self.pooled = pooled

    def forward(self, x: Tensor) -> list[Tensor]:
        parts = list(self.conv(x).split(self.sizes, dim=1))
        if self.pooled:
            # The bias of the convolution passes through an average unchanged.
            parts[-1] = functional.avg_pool2d(parts[-1], 3, 1, 1, count_include_pad=False)
        return [functional.relu(part) for part in parts]


class Mixed(nn.Module):
    """An Inception block without stride: heads, the chains that follow them, everything side by side."""

    def __init__(self, state: State, name: str, chains: Sequence[Sequence[str | tuple[str, str]]], *, max_pool: bool):
        """chains: names of the convolutions of each branch after the first; a pair is computed side by side."""
        super().__init__()
        firsts = ["branch1x1", *(str(chain[0]) for chain in chains)]
        pool = fold(state, f"{name}.branch_pool")
        own = [fold(state, f"{name}.{each}") for each in firsts]
        self.heads = Heads(own if max_pool else [*own, pool], pooled=not max_pool)
        self.pool = Conv(pool) if max_pool else None
        self.chains = nn.ModuleList(
            nn.Sequential(*(_link(state, name, each) for each in chain[1:])) for chain in chains
        )

    def forward(self, x: Tensor) -> Tensor:
        heads = self.heads(x)
        chained = [chain(head) for chain, head in zip(self.chains, heads[1:], strict=False)]
        pooled = heads[-1] if self.pool is None else self.pool(functional.max_pool2d(x, 3, 1, 1))
        return torch.cat([heads[0], *chained, pooled], dim=1)


class Fork(nn.Module):
    """Two convolutions of one input, side by side."""

    def __init__(self, left: Conv, right: Conv) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], dim=1)


class Reduction(nn.Module):
    """An Inception block with stride 2: two chains and a max pool."""

    def __init__(self, state: State, name: str, chains: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(
            nn.Sequential(
                *(Conv(fold(state, f"{name}.{each}")) for each in chain[:-1]),
                Conv(fold(state, f"{name}.{chain[-1]}"), 2, padded=False),
            )
            for chain in chains
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(chain(x) for chain in self.chains), functional.max_pool2d(x, 3, 2)], dim=1)


class FidInception(nn.Module):
    """[B, 3, 299, 299] -> [B, 2048], float32."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Conv(fold(state, "Conv2d_1a_3x3"), 2, padded=False),
            Conv(fold(state, "Conv2d_2a_3x3"), padded=False),
            Conv(fold(state, "Conv2d_2b_3x3")),
            nn.MaxPool2d(3, 2),
            Conv(fold(state, "Conv2d_3b_1x1")),
            Conv(fold(state, "Conv2d_4a_3x3"), padded=False),
            nn.MaxPool2d(3, 2),
            *(Mixed(state, f"Mixed_5{each}", CHAINS_5, max_pool=False) for each in "bcd"),
            Reduction(state, "Mixed_6a", (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"))),
            *(Mixed(state, f"Mixed_6{each}", CHAINS_6, max_pool=False) for each in "bcde"),
            Reduction(state, "Mixed_7a", (("branch3x3_1", "branch3x3_2"), CHAIN_7X7X3)),
            Mixed(state, "Mixed_7b", CHAINS_7, max_pool=False),
            Mixed(state, "Mixed_7c", CHAINS_7, max_pool=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(dtype=self.dtype, memory_format=torch.channels_last)
        maps: Tensor = self.blocks(x)
        return maps.to(torch.float32).mean(dim=(2, 3))

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        return next(self.parameters()).dtype


CHAINS_5 = (("branch5x5_1", "branch5x5_2"), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"))
CHAINS_6 = (
    ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
    tuple(f"branch7x7dbl_{each}" for each in (1, 2, 3, 4, 5)),
)
CHAINS_7: tuple[tuple[str | tuple[str, str], ...], ...] = (
    ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
    ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
)
CHAIN_7X7X3 = tuple(f"branch7x7x3_{each}" for each in (1, 2, 3, 4))


def load_inception(path: Path | None = None, *, sha256: str = SHA256) -> FidInception:
    """The network with its published weights, in eval mode and float32.

    Raises MissingWeights where the file is not there, BadCheckpoint where it is another file.
    """
    path = weights_path() if path is None else path
    if not path.is_file():
        raise MissingWeights(not_there(path, sha256))
    found = file_hash(path)
    if found != sha256:
        raise BadCheckpoint(
            f"{path}: its SHA-256 begins {found[:12]}, that of the Inception weights {sha256[:12]}; a FID of other "
            "weights is no FID; delete the file and run `bench fetch inception`"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return build_inception(state)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{path}: holds no Inception weights ({type(error).__name__}: {error})") from error


def build_inception(state: State) -> FidInception:
    """The network from pytorch-fid's state dict, in eval mode, channels last. Raises KeyError for a missing tensor."""
    network = FidInception(state).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def fold(state: State, name: str) -> Folded:
    """The convolution `name` with its batch norm in inference: weight [out, in, h, w] and bias [out]."""
    weight, mean, variance = (state[f"{name}.{each}"] for each in ("conv.weight", "bn.running_mean", "bn.running_var"))
    gain = state[f"{name}.bn.weight"].double() / (variance.double() + EPS).sqrt()
    folded = weight.double() * gain[:, None, None, None]
    bias = state[f"{name}.bn.bias"].double() - mean.double() * gain
    return folded.float(), bias.float()


def _stacked(folded: Sequence[Folded]) -> Folded:
    weights, biases = zip(*folded, strict=True)
    return torch.cat(weights), torch.cat(biases)


def _link(state: State, name: str, link: str | tuple[str, str]) -> nn.Module:
    if isinstance(link, str):
        return Conv(fold(state, f"{name}.{link}"))
    return Fork(*(Conv(fold(state, f"{name}.{each}")) for each in link))
