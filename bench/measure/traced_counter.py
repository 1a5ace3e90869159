"""MACs as the library fvcore counts them, from a trace of one call: the counter most papers of the field name.

fvcore counts a multiply-add as one. To the products and convolutions it adds estimates for some elementwise work
(5 per element of an affine group norm's input, 1 per element of a nearest-neighbour enlargement, and so on), and it
leaves out operators it has no handle for, among them scaled_dot_product_attention.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bench.contracts import Network
from bench.errors import MeasurementError, UnsupportedOperator
from bench.measure.counters import plain_execution

PRODUCTS = frozenset({"conv", "linear", "addmm", "mm", "bmm", "matmul", "einsum"})
"""fvcore's names of what the dispatcher's count is made of; its other names are elementwise estimates."""


RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
"""Operators that are whole layers and have no handle in fvcore."""


@dataclass(frozen=True)
class TracedCount:
    """What fvcore says about one call."""

    by_operator: Mapping[str, int]
    """Its operator name -> MACs."""
    unsupported: Mapping[str, int]
    """`aten` operator name without namespace -> how often it ran uncounted; mostly elementwise operators."""

    @property
    def total(self) -> int:
        return sum(self.by_operator.values())

    @property
    def products(self) -> int:
        """Convolutions and matrix products alone, which the dispatcher's count can be held against."""
        return sum(macs for name, macs in self.by_operator.items() if name in PRODUCTS)


def count_traced(network: Network, x_t: Tensor, t: Tensor) -> TracedCount:
    """Trace the network once and count it with fvcore.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode.
    Raises MeasurementError when the network cannot be traced or trips one of fvcore's handles, and
    UnsupportedOperator when it holds recurrent layers, which fvcore passes over.
    """
    module = network if isinstance(network, nn.Module) else _Function(network)
    with warnings.catch_warnings(), plain_execution():
        # The library and torch's tracer warn of their own age and of every int() in the network.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, (x_t, t)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        try:
            counted, unsupported = analysis.by_operator(), analysis.unsupported_ops()
        except Exception as error:
            reason = str(error).split("\n")[0]
            raise MeasurementError(f"fvcore cannot count the network: {type(error).__name__}: {reason}") from error
    uncounted = {name.partition("::")[2]: count for name, count in unsupported.items()}
    recurrent = sorted(RECURRENT & uncounted.keys())
    if recurrent:
        raise UnsupportedOperator(f"fvcore counts nothing for {' and '.join(recurrent)}, which is made of products")
    return TracedCount({name: round(macs) for name, macs in counted.items()}, uncounted)


class _Function(nn.Module):
    """A plain function as a module, which the tracer wants."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor) -> Any:
        return self.network(x_t, t)
