"""MACs counted module by module, by the rules of the widespread counter `thop` (0.1.1), for tables printed with it.

Published "GFLOPS" of diffusion networks are often its figures. They follow from the kinds of modules and their
input and output sizes alone, so functions (attention products, F.interpolate, softplus as a function) are not seen.
The rules, per module and call, x the input and y the output:

Conv*, ConvTranspose*       elements of y x (channels of x / groups) x kernel elements; the bias is not counted.
                            For transposed convolutions this is stride^2 (in 2-d) times the real number.
Linear                      elements of y x in_features
BatchNorm*, InstanceNorm*,
LayerNorm, SyncBatchNorm    2 x elements of x, twice that when affine; GroupNorm and RMSNorm nothing
PReLU                       elements of x, in eval mode
Softmax                     3 x features - 1 for each row along its dimension
AvgPool*                    elements of y
AdaptiveAvgPool*            elements of y x (window + 1), cut to a whole number
Upsample and its kinds      elements of y x 1 (nearest), 5 (linear), 11 (bilinear), 259 (bicubic); trilinear nothing
everything else             nothing

A subclass of a counted kind counts nothing, because the rules go by the exact kind. A module below a counted one is
not looked at. A module that runs several times counts every time, which is how solver steps come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from bench.contracts import Network
from bench.errors import UnsupportedOperator
from bench.measure.counters import plain_execution

Rule = Callable[[Any, Tensor, Tensor], int]
"""(module, its first input, its output) -> MACs by the rules above."""

UPSAMPLE_FACTORS = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 224 + 35}
"""Operations per element of the output."""


def count_modules(network: Network, x_t: Tensor, t: Tensor) -> int:
    """Run the network once and add up its modules by the rules above; 0 for a network that is not a module.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode.
    Raises UnsupportedOperator for recurrent modules, which the rules here leave out.
    """
    return _count(network, x_t, t, lambda: True)


def count_modules_inside(network: Network, x_t: Tensor, t: Tensor, inside: Callable[[], bool]) -> int:
    """The same of the calls of modules at which `inside` says so."""
    return _count(network, x_t, t, inside)


def _count(network: Network, x_t: Tensor, t: Tensor, inside: Callable[[], bool]) -> int:
    """MACs of every module that has a rule, over all its calls."""
    if not isinstance(network, nn.Module):
        return 0
    total = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        if inside():
            total += RULES[type(module)](module, inputs[0], output)

    handles = [module.register_forward_hook(count) for module in _counted_modules(network)]
    try:
        with plain_execution():
            network(x_t, t)
    finally:
        for handle in handles:
            handle.remove()
    return total


def _counted_modules(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that have a rule and do not stand below one that has; each once."""
    waiting = [network]
    seen: set[nn.Module] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            raise UnsupportedOperator(f"the module counter has no rule for {type(module).__name__}")
        if type(module) in RULES:
            yield module
        else:
            waiting.extend(module.children())


def _convolution(module: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel()) * (int(x.shape[1]) // int(module.groups)) * int(math.prod(module.weight.shape[2:]))


def _linear(module: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel()) * int(module.in_features)


def _normalisation(module: Any, x: Tensor, y: Tensor) -> int:
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return 2 * int(x.numel()) * (2 if affine else 1)


def _input_elements(module: Any, x: Tensor, y: Tensor) -> int:
    return int(x.numel())


def _output_elements(module: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel())


def _softmax(module: Any, x: Tensor, y: Tensor) -> int:
    features = int(x.shape[-1 if module.dim is None else module.dim])
    return int(x.numel()) // features * (3 * features - 1)


def _adaptive_average(module: Any, x: Tensor, y: Tensor) -> int:
    window = math.prod(size / kept for size, kept in zip(x.shape[2:], y.shape[2:], strict=True))
    return int((window + 1) * y.numel())


def _upsample(module: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel()) * UPSAMPLE_FACTORS.get(module.mode, 0)


RULES: Mapping[type[nn.Module], Rule] = {
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution
    ),
    nn.Linear: _linear,
    **dict.fromkeys(
        (
            nn.BatchNorm1d,
            nn.BatchNorm2d,
            nn.BatchNorm3d,
            nn.SyncBatchNorm,
            nn.InstanceNorm1d,
            nn.InstanceNorm2d,
            nn.InstanceNorm3d,
            nn.LayerNorm,
        ),
        _normalisation,
    ),
    nn.PReLU: _input_elements,
    nn.Softmax: _softmax,
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _output_elements),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_average),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsample),
}
