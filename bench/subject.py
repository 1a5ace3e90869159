"""What is measured: a denoiser on its device, with its sampler and its data, ready to be called.

`build_subject` resolves the names of a cell, checks that the parts fit, and fixes everything about the process that
can change a number (threads, TF32, denormals). Everything here runs under `torch.inference_mode`.

Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contracts import Dataset, Denoiser, Network, Observe, Restorer, Sampler, Scalar, StepNoise, Value, notes_of
from bench.diffusion.network_output import checked_output, watched_call
from bench.diffusion.noise import NoiseStream, batch_noise, first_noise_hash
from bench.diffusion.parameterization import to_x0_eps
from bench.diffusion.restoring import as_denoiser
from bench.diffusion.schedule import NoiseSchedule, build_schedule
from bench.errors import MeasurementError, ParamError, Unsupported, UserError
from bench.registry import DATASETS, MODELS, SAMPLERS, Registry, check_params
from bench.store.inputs import Inputs
from bench.store.record import InputFile
from bench.suite.schema import Cell, Conditions, Ref

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
LAYOUTS: Mapping[str, torch.memory_format] = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
PARALLEL_GRAIN = 32768
"""Elements that torch gives one thread at least, in elementwise work."""
TRAJECTORY = "trajectory"
"""The noise stream that `noised` draws from, apart from the one that walks start with."""

_INPUTS = Inputs()


@dataclass(frozen=True)
class Workspace:
    """Where a metric may write."""

    run_dir: Path
    """The run's own folder: artifacts that a record names."""
    cache_dir: Path
    """Results of expensive stages, shared by all runs; anything in it can be made again."""


@dataclass
class CallCounter:
    """What has been done with the network so far. The one thing about a subject that changes."""

    count: int = 0
    """Calls."""
    unwatched: bool = False
    """No call is watched for what it changes just now, because it is timed or its memory is read."""
    checked: bool = False
    """One call of every stage has been watched, by `bench.measure.agreement`."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One cell, ready to run. The network is on its device, in its precision, in eval mode and without gradients."""

    denoiser: Denoiser
    """Its network is the eager one, placed; counters run this."""
    sampler: Sampler | None
    """None when the cell names none; metrics that need one say so with Need.SAMPLER."""
    data: Dataset | None
    """None when the cell names none."""
    conditions: Conditions
    seed: int
    workspace: Workspace
    compiled: Network | None = None
    """The network as `predict` calls it when conditions.compile is set."""
    trainable: int | None = None
    """Parameter elements that wanted gradients before they were switched off; None when not known."""
    frozen: frozenset[str] = frozenset()
    """Names of the parameters that wanted none: training leaves them as they are."""
    cell: Cell | None = None
    """What it was built from: stages that outlive a run are addressed by its names and arguments."""
    calls: CallCounter = field(default_factory=CallCounter)
    _timesteps: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False)

    def predict(self, x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """One network call: (pred_x0, eps), converted from what the network itself predicts.

        x_t: [B, C, H, W] float32 on the subject's device. t: one timestep of the training chain for the whole batch.
        Both results are [B, C, H, W] float32. Raises MeasurementError when the network breaks the agreement of
        `bench.diffusion.network_output`: the first call of each timestep and batch size is watched, which no timed
        region holds; after that only the kind and the shape of the output are looked at.
        """
        with torch.inference_mode():
            network = self.denoiser.network if self.compiled is None else self.compiled
            x_in = x_t.to(self.dtype, memory_format=self._layout)
            timesteps = self._timesteps.get((t, x_t.shape[0]))
            if timesteps is None:
                timesteps = self._new_timesteps(t, x_t.shape[0])
                output = self._first_call(network, x_in, timesteps)
            else:
                output = network(x_in, timesteps)
            self.calls.count += 1
            if type(output) is not Tensor or output.shape != x_t.shape:
                output = checked_output(output, x_in)
            output = output.to(torch.float32, memory_format=torch.contiguous_format)
            return to_x0_eps(output, x_t, self.schedule.alpha_bar(t), self.denoiser.prediction)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """For a while no copy of x_t is made: for a first walk that is itself timed, or whose memory is read.

        Whoever asks for it lets `bench.measure.agreement.check_network` look afterwards.
        """
        before = self.calls.unwatched
        self.calls.unwatched = True
        try:
            yield
        finally:
            self.calls.unwatched = before

    def noise(self, lo: int, hi: int) -> NoiseStream:
        """All the noise of one walk of the images lo..hi-1, on the subject's device; image i's is always the same."""
        steps = None if self.sampler is None else len(self.sampler.timesteps)
        return NoiseStream(self.seed, lo, hi, self.denoiser.image_shape, self.device, steps)

    def start(self, lo: int, hi: int) -> Tensor:
        """x_T of the images lo..hi-1: [B, C, H, W] float32."""
        return self.noise(lo, hi).start()

    def reverse(self, x_T: Tensor, noise: StepNoise, observe: Observe | None = None) -> Tensor:
        """Walk from x_T [B, C, H, W] to x_0 with the cell's sampler. Raises MeasurementError when it has none."""
        if self.sampler is None:
            raise MeasurementError("this cell has no sampler; give it one with `sampler: {name: ddim}`")
        with torch.inference_mode():
            return self.sampler(self.predict, x_T, noise, observe)

    def sample(self, lo: int, hi: int, observe: Observe | None = None) -> Tensor:
        """x_0 of the images lo..hi-1: [B, C, H, W] float32 on the subject's device, as the sampler leaves it."""
        noise = self.noise(lo, hi)
        return self.reverse(noise.start(), noise.step, observe)

    def noised(self, lo: int, hi: int, t: int) -> Tensor:
        """What the network meets at timestep t: the images lo..hi-1 noised, or plain noise where there is no data set.

        Indices beyond the data set begin again at its first image, with other noise. [B, C, H, W] float32.
        """
        shape = self.denoiser.image_shape
        noise = batch_noise(self.seed, lo, hi, TRAJECTORY, shape)
        if self.data is None:
            return noise.to(self.device)
        return self.schedule.q_sample(_images(self.data, lo, hi), t, noise).to(self.device)

    def claim_threads(self) -> None:
        """Set the thread count of the conditions again: another cell of this process may have set its own."""
        if torch.get_num_threads() != self.conditions.threads:
            torch.set_num_threads(self.conditions.threads)

    @cached_property
    def device(self) -> torch.device:
        """Where the network is; on CUDA the current device."""
        return torch.device(self.conditions.device)

    @cached_property
    def dtype(self) -> torch.dtype:
        """Of the network's weights and activations."""
        return DTYPES[self.conditions.dtype]

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """The tables of the denoiser's noise schedule."""
        return build_schedule(self.denoiser.schedule)

    @cached_property
    def call_timesteps(self) -> tuple[int, ...]:
        """The timestep of every network call of one walk, in order.

        Counted, not believed: the sampler walks with a stand-in for the network that gives (x_t, zeros). Where there
        is no sampler, the whole training chain, descending.
        """
        if self.sampler is None:
            return tuple(reversed(range(self.denoiser.schedule.num_train_timesteps)))
        called: list[int] = []
        zeros = torch.zeros(1, *self.denoiser.image_shape)

        def stand_in(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            called.append(t)
            return x_t, zeros

        with torch.inference_mode():
            self.sampler(stand_in, zeros, lambda step: zeros)
        return tuple(called)

    def facts(self) -> Mapping[str, Scalar]:
        """What a stranger must know about this subject to judge a number; every key is always there.

        first_noise.sha256: of image 0's x_T, which two comparable results share. flush_denormal: found by trying, on
        every thread. weights.denormals: how many weights are too small to be normal numbers; they are slow on some
        processors when flush_denormal is off.
        """
        self.claim_threads()
        weights, data = self.denoiser.weights, self.data
        return {
            "weights.origin": weights.origin,
            "weights.source": weights.source,
            "weights.sha256": weights.sha256,
            "weights.ema": weights.ema,
            "weights.steps": weights.steps,
            "weights.denormals": self._denormals,
            "data.fingerprint": None if data is None else data.fingerprint,
            "data.split": None if data is None else data.split,
            "paper": self.denoiser.paper,
            "threads.found": torch.get_num_threads(),
            "flush_denormal": _denormals_are_flushed(),
            "tf32": bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
            "first_noise.sha256": first_noise_hash(self.seed, self.denoiser.image_shape),
        }

    def notes(self) -> tuple[str, ...]:
        """What the data set says to every reader of a number that is made with it."""
        return notes_of(self.data)

    def input_files(self) -> tuple[InputFile, ...]:
        """The checkpoint and the data files, with their hashes; each is read once per process while it does not change.

        Raises MeasurementError when one cannot be read any more.
        """
        paths = (*self.denoiser.inputs, *(() if self.data is None else self.data.inputs))
        try:
            return _INPUTS.describe_all(paths)
        except OSError as error:
            raise MeasurementError(f"{error.filename}: cannot be read any more: {error.strerror}") from error

    @cached_property
    def _layout(self) -> torch.memory_format:
        return LAYOUTS[self.conditions.memory_format]

    @cached_property
    def _denormals(self) -> int:
        return sum(count_denormals(parameter) for parameter in module_parameters(self.denoiser.network))

    def _new_timesteps(self, t: int, batch: int) -> Tensor:
        """t [B] int64, made once for each timestep and batch size so that no step pays for it."""
        timesteps = torch.full((batch,), t, dtype=torch.int64, device=self.device)
        self._timesteps[t, batch] = timesteps
        return timesteps

    def _first_call(self, network: Network, x_t: Tensor, timesteps: Tensor) -> Tensor:
        if self.calls.unwatched:
            return checked_output(network(x_t, timesteps), x_t)
        try:
            return watched_call(network, x_t, timesteps)
        except MeasurementError:
            self._timesteps.clear()  # one of them may have been changed, and the next call is watched again
            raise


def build_subject(cell: Cell, workspace: Workspace) -> Subject:
    """Everything a cell names, built, checked against each other and placed.

    Sets the process's threads, TF32 and denormal handling. Raises Unsupported when this machine lacks the device or
    the model cannot take the data's images, and UserError (unknown names, wrong arguments, missing files) as the
    factories do.
    """
    prepare_process(cell.conditions)
    model = _built(MODELS, cell.model)
    if not isinstance(model, Denoiser | Restorer):
        raise UserError(
            f"model {cell.model.name!r}: its factory gave a {type(model).__name__}, expected a Denoiser or a Restorer"
        )
    data = None if cell.data is None else _built_once(cell.data)
    denoiser = as_denoiser(model, None if data is None else data.image_shape)
    if data is not None and tuple(data.image_shape) != tuple(denoiser.image_shape):
        assert cell.data is not None  # it was just built
        raise Unsupported(
            f"model {cell.model.name!r} takes {_shape(denoiser.image_shape)} images, "
            f"but {cell.data.name!r} has {_shape(data.image_shape)}; choose data or a model of the same shape"
        )
    sampler = None if cell.sampler is None else _built(SAMPLERS, cell.sampler, denoiser.schedule)
    if sampler is not None:
        _check_timesteps(sampler, denoiser.schedule.num_train_timesteps)
    trainable = sum(each.numel() for each in module_parameters(denoiser.network) if each.requires_grad)
    frozen = frozen_parameters(denoiser.network)
    network = place(denoiser.network, cell.conditions)
    compiled = torch.compile(network) if cell.conditions.compile else None
    placed = replace(denoiser, network=network)
    return Subject(placed, sampler, data, cell.conditions, cell.seed, workspace, compiled, trainable, frozen, cell)


def prepare_process(conditions: Conditions) -> None:
    """Set what holds for the whole process: threads, no TF32, no autotuning, denormals flushed to zero.

    Threads that exist keep their own denormal setting, so this belongs before the first parallel operation.
    Raises Unsupported when the device is not there or the threads cannot be had.
    """
    if conditions.device == "cuda" and not torch.cuda.is_available():
        raise Unsupported("conditions.device is 'cuda', but torch finds no CUDA device here; use device: cpu")
    torch.set_flush_denormal(True)
    torch.set_num_threads(conditions.threads)
    found = torch.get_num_threads()
    if found != conditions.threads:
        raise Unsupported(f"conditions.threads is {conditions.threads}, but torch gives {found}; use threads: {found}")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def place(network: Network, conditions: Conditions) -> Network:
    """The network in eval mode, without gradients, on the device and in the precision and layout of the conditions.

    A module is changed in place. A plain function cannot be moved or cast: it is left as it is on the CPU in float32
    and refused elsewhere with Unsupported. Raises MeasurementError when the module stays in training mode.
    """
    if not isinstance(network, nn.Module):
        if conditions.device != "cpu" or conditions.dtype != "float32":
            raise Unsupported(
                f"the network is a {type(network).__name__}, not an nn.Module, and cannot be moved to "
                f"{conditions.device} in {conditions.dtype}; use device: cpu and dtype: float32"
            )
        return network
    network.eval().requires_grad_(False)
    training = [name or type(network).__name__ for name, module in network.named_modules() if module.training]
    if training:
        raise MeasurementError(f"{training[0]} is still in training mode after eval(); its train() must obey")
    network.to(device=torch.device(conditions.device), dtype=DTYPES[conditions.dtype])
    return network.to(memory_format=LAYOUTS[conditions.memory_format])


def module_parameters(network: Network) -> Iterator[nn.Parameter]:
    """The parameters of a network that is a module; none of a plain function."""
    return network.parameters() if isinstance(network, nn.Module) else iter(())


def frozen_parameters(network: Network) -> frozenset[str]:
    """Names of the parameters that want no gradient; none of a plain function."""
    if not isinstance(network, nn.Module):
        return frozenset()
    return frozenset(name for name, parameter in network.named_parameters() if not parameter.requires_grad)


def count_denormals(weights: Tensor) -> int:
    """How many elements are nonzero but too small to be normal numbers of their type.

    Reads the bits: arithmetic would see them as zero where denormals are flushed. 0 for types it does not know.
    """
    masks = {
        torch.float32: (torch.int32, 0x7F800000, 0x007FFFFF),
        torch.float16: (torch.int16, 0x7C00, 0x03FF),
        torch.bfloat16: (torch.int16, 0x7F80, 0x007F),
    }
    if weights.dtype not in masks:
        return 0
    integer, exponent, mantissa = masks[weights.dtype]
    bits = weights.detach().view(integer)
    return int(((bits & exponent) == 0).logical_and_((bits & mantissa) != 0).sum())


def _built(registry: Registry[Any], ref: Ref, *positional: object) -> Any:
    entry = registry.get(ref.name)
    return entry.factory(*positional, **check_params(entry, ref.params))


def _built_once(ref: Ref) -> Dataset:
    """A data set, shared by all cells of the process that name the same one: it never changes, and can be large."""
    entry = DATASETS.get(ref.name)
    return _dataset(entry.factory, tuple(sorted(check_params(entry, ref.params).items())))


@lru_cache(maxsize=4)
def _dataset(factory: Any, params: tuple[tuple[str, Value], ...]) -> Dataset:
    dataset: Dataset = factory(**dict(params))
    return dataset


def _images(data: Dataset, lo: int, hi: int) -> Tensor:
    """Images lo..hi-1, the data set repeated as often as it takes."""
    size = len(data)
    pieces = []
    while lo < hi:
        first = lo % size
        last = min(size, first + hi - lo)
        pieces.append(data[first:last])
        lo += last - first
    return torch.cat(pieces)


def _check_timesteps(sampler: Sampler, num_train_timesteps: int) -> None:
    outside = [t for t in sampler.timesteps if not 0 <= t < num_train_timesteps]
    if outside or not sampler.timesteps:
        found = f"visits timestep {outside[0]}" if outside else "visits no timestep"
        raise ParamError(f"the sampler {found}; the model's chain has 0 to {num_train_timesteps - 1}")


def _denormals_are_flushed() -> bool:
    """Whether a product below the smallest normal number becomes zero, on every thread of the pool."""
    tiny = torch.full((PARALLEL_GRAIN * torch.get_num_threads(),), 1e-30)
    return not bool((tiny * 1e-10).any())


def _shape(shape: tuple[int, int, int]) -> str:
    return "x".join(str(size) for size in shape)
