"""How large a network is, counted over memory and not over names: a weight that is used twice is counted once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from bench.contracts import Measurement, Network
from bench.measure.agreement import check_network
from bench.subject import Subject


@dataclass(frozen=True)
class ParameterCount:
    """Sizes of a network; all zero for one that is not a module."""

    total: int
    """Elements of all parameters."""
    trainable: int
    """Those of them that want gradients."""
    buffers: int
    """Elements that belong to the network and are not parameters (running means, tables)."""
    tensors: int
    """How many parameter tensors."""
    weight_bytes: int
    """What parameters and buffers take in memory in their present precision."""


def count_parameters(network: Network) -> ParameterCount:
    """Count what a network holds. Tensors that are the same piece of memory count once."""
    if not isinstance(network, nn.Module):
        return ParameterCount(0, 0, 0, 0, 0)
    # One set of places for both, so that a buffer that is a view of a parameter is not counted again.
    seen: set[tuple[object, ...]] = set()
    parameters = tuple(_unique(network.parameters(), seen))
    buffers = tuple(_unique(network.buffers(), seen))
    return ParameterCount(
        total=sum(each.numel() for each in parameters),
        trainable=sum(each.numel() for each in parameters if each.requires_grad),
        buffers=sum(each.numel() for each in buffers),
        tensors=len(parameters),
        weight_bytes=sum(each.numel() * each.element_size() for each in (*parameters, *buffers)),
    )


def parameters(subject: Subject) -> Iterator[Measurement]:
    """at={"which": "total" | "trainable" | "buffers" | "tensors"}.

    trainable: as the factory made the network, before the harness switched gradients off. Raises MeasurementError
    for a network that is none: what cannot denoise is not counted either.
    """
    check_network(subject)
    count = count_parameters(subject.denoiser.network)
    trainable = count.trainable if subject.trainable is None else subject.trainable
    for which, value in (
        ("total", count.total),
        ("trainable", trainable),
        ("buffers", count.buffers),
        ("tensors", count.tensors),
    ):
        yield Measurement("parameters", "count", (float(value),), at={"which": which})


def weight_bytes(subject: Subject) -> tuple[Measurement, ...]:
    """Bytes of parameters and buffers in the precision of the conditions. Raises MeasurementError as `parameters`."""
    check_network(subject)
    count = count_parameters(subject.denoiser.network)
    return (Measurement("weight_bytes", "bytes", (float(count.weight_bytes),)),)


def _unique(tensors: Iterable[Tensor], seen: set[tuple[object, ...]]) -> Iterator[Tensor]:
    """The tensors whose piece of memory has not been seen; adds to `seen`."""
    for tensor in tensors:
        storage = tensor.untyped_storage().data_ptr()
        # Empty and meta tensors have no address; they are told apart by themselves.
        place = (storage, tensor.storage_offset(), tensor.numel()) if storage else (id(tensor),)
        if place not in seen:
            seen.add(place)
            yield tensor
