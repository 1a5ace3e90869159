"""What a network does in one call, held against the agreement: x_t and t are only read, one tensor like x_t comes back.

The whole check takes a copy of x_t and waits for the device, so it stands where nothing is timed: at the first call of
each timestep and batch size, and at one call of each stage before a network is counted.

Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.contracts import Network
from bench.errors import MeasurementError

LONGEST_KEY = 40
"""Characters of a dictionary's key in a sentence."""
_BITS: Mapping[int, torch.dtype] = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of an element -> the whole numbers of that size."""


def watched_call(network: Network, x_t: Tensor, t: Tensor) -> Tensor:
    """One network call and the whole check of it.

    x_t: [B, C, H, W] in the network's own precision. t: [B] int64. Returns the output, [B, C, H, W]. Raises
    MeasurementError when the output is not as `checked_output` wants it, when the network changed x_t or t in place,
    which would change the walk or every later call at that timestep, and when it left eval mode, which wakes dropout.
    """
    evaluating = not _in_training(network)
    before = {"x_t": (x_t, x_t.clone()), "t": (t, t.clone())}
    output = network(x_t, t)
    for name, (tensor, copy) in before.items():
        if not _same_bits(tensor, copy):
            raise _changed(name)
    if evaluating and _in_training(network):
        raise MeasurementError(
            "the network put itself, or a part of it, into training mode while it was called; leave train() out of "
            "its forward"
        )
    return checked_output(output, before["x_t"][1])


def training_call(network: Network, x_t: Tensor, t: Tensor, maker: str = "the network") -> Tensor:
    """One call of a network that is trained, with the same check of it; costs microseconds, so every step has it.

    Raises MeasurementError as `watched_call`.
    """
    before = {"x_t": (x_t, x_t._version), "t": (t, t._version)}
    output = network(x_t, t)
    for name, (tensor, version) in before.items():
        if tensor._version != version:
            raise _changed(name, maker)
    return checked_output(output, x_t, maker=maker, training=True)


def checked_output(
    output: object, x_t: Tensor, *, maker: str = "the network", any_float: bool = False, training: bool = False
) -> Tensor:
    """The output, when it is one dense tensor of floating numbers, of x_t's shape and device, without a graph.

    Its dtype must be x_t's or float32: other precisions (autocast inside, float64 tables) would be measured under the
    name of one that was not used. any_float: take every floating dtype, because the caller converts. training: a graph
    is allowed. Looks at no element, so it costs a microsecond. Raises MeasurementError saying what came back instead
    and how to mend it.
    """
    if not isinstance(output, Tensor):
        raise MeasurementError(
            f"{maker} made {_kind(output)}; a denoiser must return one tensor like x_t{_how_to_wrap(output, x_t)}"
        )
    problem = _storage_problem(output, x_t) or _dtype_problem(output, x_t, any_float)
    if problem:
        raise MeasurementError(f"{maker} made {problem}")
    if output.shape != x_t.shape:
        raise MeasurementError(
            f"{maker} made {tuple(output.shape)} of {tuple(x_t.shape)}; "
            f"a denoiser must keep the shape{_which_part(output, x_t)}"
        )
    if output.requires_grad and not training:
        raise MeasurementError(
            f"{maker} made a tensor that requires a gradient, so every step would keep its graph; "
            "return output.detach()"
        )
    return output


def _changed(name: str, maker: str = "the network") -> MeasurementError:
    return MeasurementError(
        f"{maker} changed its argument {name} in place, and whoever called it goes on with {name}; "
        f"let it work on a copy: inplace=False in its first layer, or {name}.clone()"
    )


def _in_training(network: Network) -> bool:
    return isinstance(network, nn.Module) and any(module.training for module in network.modules())


def _storage_problem(output: Tensor, x_t: Tensor) -> str:
    """What is wrong with how and where the numbers lie, or nothing."""
    if output.is_nested:
        return "a nested tensor; a denoiser must return a dense one"
    if output.layout is not torch.strided:
        return f"a tensor of layout {_short(output.layout)}; return output.to_dense()"
    if output.is_meta:
        return "a tensor on the meta device, which has a shape and no numbers"
    if output.device != x_t.device:
        return f"a tensor on {output.device}, but x_t is on {x_t.device}; return output.to(x_t.device)"
    return ""


def _dtype_problem(output: Tensor, x_t: Tensor, any_float: bool) -> str:
    """What is wrong with the kind of number, or nothing."""
    if output.is_complex():
        return f"{_short(output.dtype)} numbers; a denoiser must return real ones: return output.real, if that is meant"
    if not output.is_floating_point():
        return f"{_short(output.dtype)} numbers; a denoiser must return floating ones: return output.to(x_t.dtype)"
    if any_float or output.dtype in (x_t.dtype, torch.float32):
        return ""
    return (
        f"{_short(output.dtype)} of {_short(x_t.dtype)}, so it does not compute in the precision of the conditions; "
        "return output.to(x_t.dtype) if a part of it is meant to, or set conditions.dtype"
    )


def _kind(output: object) -> str:
    """`a tuple`, `None`, `a UNet2DOutput`."""
    if output is None:
        return "None"
    name = type(output).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def _how_to_wrap(output: object, x_t: Tensor) -> str:
    """What to write around the network, as far as its answer shows it."""
    if output is None:
        return "; does its forward end with `return`?"
    if type(output).__module__.partition(".")[0] == "numpy":
        return ": return torch.from_numpy(...) of it"
    place = _place_of_tensor(output, x_t)
    if not place:
        return ""
    return f": wrap it in an nn.Module whose forward returns network(x_t, t){place}"


def _place_of_tensor(output: object, x_t: Tensor) -> str:
    """`.sample`, `[0]` or `['pred']`: where in the output a tensor lies, the one of the right shape if there is one."""
    places: list[tuple[str, Tensor]] = []
    if isinstance(getattr(output, "sample", None), Tensor):
        return ".sample"
    if isinstance(output, Mapping):
        places = [(f"[{_short_key(key)}]", value) for key, value in output.items() if isinstance(value, Tensor)]
    elif isinstance(output, tuple | list):
        places = [(f"[{index}]", value) for index, value in enumerate(output) if isinstance(value, Tensor)]
    elif hasattr(output, "__dict__"):
        places = [(f".{name}", value) for name, value in vars(output).items() if isinstance(value, Tensor)]
    fitting = [place for place, value in places if not value.is_nested and value.shape == x_t.shape]
    return next(iter(fitting), places[0][0] if places else "")


def _which_part(output: Tensor, x_t: Tensor) -> str:
    """A network with learned variances answers with both."""
    if output.dim() == 4 and output.shape == (x_t.shape[0], 2 * x_t.shape[1], *x_t.shape[2:]):
        return f" (twice the channels: if it predicts its variance too, return output[:, :{x_t.shape[1]}])"
    return ""


def _same_bits(tensor: Tensor, copy: Tensor) -> bool:
    """Equal to the last bit, NaN included."""
    if tensor.shape != copy.shape or tensor.dtype != copy.dtype:
        return False
    bits = _BITS[copy.element_size()]
    return torch.equal(tensor.view(bits), copy.view(bits))


def _short(name: object) -> str:
    """`float32` for torch.float32."""
    return str(name).removeprefix("torch.")


def _short_key(key: object) -> str:
    text = repr(key)
    return text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}..."
