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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    """Those of them that ran inside the modules asked about."""

    @property
    def total(self) -> int:
        return sum(self.by_operator.values())


def count_dispatched(network: Network, x_t: Tensor, t: Tensor, inside: Iterable[nn.Module] = ()) -> DispatchCount:
    """Run the network once and count the MACs of every operator it runs.

    x_t: [B, C, H, W] of the network's own dtype and device. t: [B] int64. The network must be in eval mode.
    inside: modules of the network whose share is counted by itself, each from the call of its forward to its return.
    Raises UnsupportedOperator naming the first operator that has neither a formula nor a place among the free ones.
    """
    mode = _CountingMode()
    with plain_execution(), _told_when_inside(mode, inside), mode:
        network(x_t, t)
    return DispatchCount(dict(mode.macs), mode.inside)


@contextlib.contextmanager
def _told_when_inside(mode: _CountingMode, modules: Iterable[nn.Module]) -> Iterator[None]:
    """The mode knows how many of these modules are running."""

    def enter(*_: Any) -> None:
        mode.depth += 1

    def leave(*_: Any) -> None:
        mode.depth -= 1

    handles = []
    for module in modules:
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def plain_execution() -> Iterator[None]:
    """No gradients, and the plain operators: inference mode and fused transformer layers hide what runs inside."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
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

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()
        self.depth = 0
        """How many of the modules asked about are running."""
        self.inside = 0

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
            self.inside += macs if self.depth else 0
        return result


def _no_formula(operator: str) -> str:
    return (
        f"the MAC counter has no formula for the operator {operator}; add one to bench/measure/counters.py, or to "
        "free_operators.py if it holds no multiply-add, or count without it: {name: macs, counters: [fvcore]}"
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
}
"""`aten` operator name -> formula. In-place variants (`addmm_`) are not dispatched in a forward pass without one of
these names; if one ever is, it is an error and not a zero."""
