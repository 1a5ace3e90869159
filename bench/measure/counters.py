"""Multiply-accumulates of one network call, counted where torch dispatches its operators.

Every operator that runs is seen, whether a module, a function or a library called it, so attention and products
written by hand are in. One multiply-add is 1 MAC (FLOPs = 2 x MACs). What is not a matrix product or a convolution
holds none (`free_operators` says why, family by family), and an operator that is neither is an error: a count with a
hole in it is not given. Multiplications with padding zeros and with masked attention scores count like any other,
as they do in every published figure.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from bench.contracts import Network
from bench.errors import UnsupportedOperator
from bench.measure.free_operators import is_free

Formula = Callable[[tuple[Any, ...], Any], int]
"""(positional arguments, result) -> MACs."""


@dataclass(frozen=True)
class DispatchCount:
    """MACs of one call, by operator."""

    by_operator: Mapping[str, int]
    """`aten` operator name -> MACs, for operators that have any."""
    inside: int = 0
    """Those of them that ran while `inside` said so."""

    @property
    def total(self) -> int:
        return sum(self.by_operator.values())


def count_dispatched(
    network: Network, x_t: Tensor, t: Tensor, inside: Callable[[], bool] = lambda: False
) -> DispatchCount:
    """Run the network once and count the MACs of every operator it runs.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode.
    inside: asked at every operator whether it belongs to the share that is counted by itself.
    Raises UnsupportedOperator naming the first operator that has neither a formula nor a place among the free ones.
    """
    mode = _CountingMode(inside)
    with plain_execution(), mode:
        network(x_t, t)
    return DispatchCount(dict(mode.macs), mode.macs_inside)


@contextlib.contextmanager
def plain_execution() -> Iterator[None]:
    """No gradients, and the plain operators: inference mode, fused transformer layers and compiled code hide what runs.

    A network that compiles itself, or a part of it, runs as it is written.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # Nothing has been compiled where the compiler was not loaded, and loading it takes seconds.
    compiled = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), eager:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextlib.contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """The network in eval mode for a while; each of its modules gets its own mode back afterwards."""
    if not isinstance(network, nn.Module):
        yield
        return
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


class _CountingMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator after autograd, before the kernel."""

    def __init__(self, inside: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()
        self.macs_inside = 0
        self._inside = inside

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments = kwargs or {}
        if not isinstance(func, OpOverload):
            raise UnsupportedOperator(_no_formula(str(func)))
        namespace, _, name = func._schema.name.partition("::")
        formula = FORMULAS.get(name) if namespace == "aten" else None
        if formula is None and not is_free(namespace, name):
            # A network that enters inference mode itself hands its compound operators over whole.
            with self:
                result = func.decompose(*args, **arguments)
            if result is NotImplemented:
                raise UnsupportedOperator(_no_formula(func._schema.name))
            return result
        result = func(*args, **arguments)
        if formula is not None:
            macs = formula(args, result)
            self.macs[name] += macs
            self.macs_inside += macs if self._inside() else 0
        return result


def _no_formula(operator: str) -> str:
    return (
        f"the MAC counter has no formula for the operator {operator}; add one to bench/measure/counters.py, or to "
        "free_operators.py if it holds no multiply-add"
    )


def _convolution(args: tuple[Any, ...], out: Any) -> int:
    """Weight [C_out, C_in / groups, *kernel], or [C_in, C_out / groups, *kernel] when transposed.

    Each output element of a convolution, or input element of a transposed one, meets weight[0] once.
    """
    x, weight, transposed = args[0], args[1], args[6]
    return int((x if transposed else out).numel()) * int(math.prod(weight.shape[1:]))


def _linear(args: tuple[Any, ...], out: Any) -> int:
    """x [..., K] with weight [N, K]."""
    return int(out.numel()) * int(args[1].shape[-1])


def _product(first: int) -> Formula:
    """[..., M, K] with [..., K, N], of which the left factor is argument `first`: each result element takes K."""

    def macs(args: tuple[Any, ...], out: Any) -> int:
        return int(out.numel()) * int(args[first].shape[-1])

    return macs


def _summed_product(args: tuple[Any, ...], out: Any) -> int:
    """addbmm: [B, M, K] with [B, K, N], summed over B."""
    batch, _, inner = args[1].shape
    return int(out.numel()) * int(batch) * int(inner)


def _inner(args: tuple[Any, ...], out: Any) -> int:
    """Two vectors [K]."""
    return int(args[0].numel())


def _attention(args: tuple[Any, ...], out: Any) -> int:
    """q [B, H, L, D], k [B, Hk, S, D], v [B, Hk, S, E]: scores q k^T, then their product with v.

    A causal mask halves nothing: the scores above the diagonal count, as they do in the unfused form.
    """
    q, k, v = args[0], args[1], args[2]
    batch_heads_length = int(math.prod(q.shape[:-1]))
    return batch_heads_length * int(k.shape[-2]) * (int(q.shape[-1]) + int(v.shape[-1]))


def _recurrent_layer(args: tuple[Any, ...], out: Any) -> int:
    """One direction of one LSTM layer, x [T, B, I] with weights [4 H, I] and [4 H, H]: every row meets both."""
    x, *weights = args[:3]
    return _rows(x) * sum(int(weight.numel()) for weight in weights)


def _recurrent_stack(args: tuple[Any, ...], out: Any) -> int:
    """All layers and directions, x [..., I] with a list of weights; the vectors among them are biases."""
    return _rows(args[0]) * sum(int(weight.numel()) for weight in args[1] if weight.dim() == 2)


def _rows(x: Any) -> int:
    return int(x.numel()) // int(x.shape[-1])


ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
"""What scaled_dot_product_attention becomes on one device or another, where it is not written out as two products."""

FORMULAS: Mapping[str, Formula] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "linear": _linear,
    "mm": _product(0),
    "bmm": _product(0),
    "mv": _product(0),
    "addmm": _product(1),
    "_addmm_activation": _product(1),
    "baddbmm": _product(1),
    "addmv": _product(1),
    "addbmm": _summed_product,
    "dot": _inner,
    "vdot": _inner,
    **dict.fromkeys(ATTENTION, _attention),
    "mkldnn_rnn_layer": _recurrent_layer,
    "_cudnn_rnn": _recurrent_stack,
}
"""`aten` operator name -> formula. In-place variants (`addmm_`) are not dispatched in a forward pass without one of
these names; if one ever is, it is an error and not a zero."""
