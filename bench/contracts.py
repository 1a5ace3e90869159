"""The few types every room agrees on. Nothing here imports torch at run time.

Shape legend: B images, C channels, H x W pixels. Images are float32 in [-1, 1] wherever a
network is near, and in [0, 1] wherever a picture metric is near; each docstring says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from bench.errors import MissingWeights, printable
from bench.files import file_hash

if TYPE_CHECKING:
    from torch import Tensor

Scalar = str | int | float | bool | None
"""A value that can stand in a suite, a record and a table."""
Value = Scalar | tuple[Scalar, ...]
"""What a parameter in a suite can be: a scalar or a flat list of them."""


@dataclass(frozen=True)
class Range:
    """What an argument of a factory may be, both ends included; in its annotation: `Annotated[int, Range(1, 1000)]`.

    A suite that asks for anything else is refused when it is read, before anything is computed from it.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"between {self._text(self.low)} and {self._text(self.high)}"

    @staticmethod
    def _text(bound: float) -> str:
        return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


class Prediction(StrEnum):
    """What a network's output means. Converted once, in `bench.diffusion.parameterization`."""

    EPSILON = "epsilon"
    X0 = "x0"
    V = "v"


@dataclass(frozen=True)
class ScheduleSpec:
    """The noise schedule a network was trained with: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps."""

    kind: Literal["linear", "scaled_linear", "cosine", "sigmoid"] = "linear"
    """linear: Ho et al. 2020. scaled_linear: linear in the square root of beta (Rombach et al. 2022). cosine: Nichol &
    Dhariwal 2021. sigmoid: Jabri et al. 2022 (start -3, end 3, tau 1)."""
    num_train_timesteps: int = 1000
    beta_start: float = 1e-4
    """First beta of the two linear schedules; the others do not use it."""
    beta_end: float = 0.02
    """Last beta of the two linear schedules; the others do not use it."""
    zero_terminal_snr: bool = False
    """Rescaled so that nothing of the image is left at the last timestep, abar_{T-1} = 0 (Lin et al. 2023, algorithm
    1). There the noise says nothing about the image, so the network must predict x0 or v."""


@dataclass(frozen=True)
class Weights:
    """Where a network's numbers come from; printed under every table."""

    origin: Literal["pretrained", "trained", "random", "none"]
    """pretrained: published by others. trained: by `bench train`. random: may be timed, never scored. none: the method
    has no learned numbers."""
    source: str = ""
    """A file name, a recipe name or an address."""
    sha256: str | None = None
    """Of the file the weights were read from; None for random weights."""
    ema: bool = False
    """True when the weights are the exponential moving average."""
    steps: int | None = None
    """Training steps, when known."""

    @classmethod
    def of(
        cls,
        path: str | Path,
        origin: Literal["pretrained", "trained"] = "trained",
        *,
        ema: bool = False,
        steps: int | None = None,
    ) -> Weights:
        """Those of a file that a plug-in reads itself, by its name and hash. Name the file in `inputs` as well.

        Raises MissingWeights when there is no such file, or when it cannot be read.
        """
        try:
            return cls(origin, Path(path).name, file_hash(Path(path)), ema, steps)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise MissingWeights(f"{printable(path)}: cannot be read: {reason}; put the weights there") from error


Network = Callable[["Tensor", "Tensor"], "Tensor"]
"""(x_t [B, C, H, W] float32, t [B] int64) -> [B, C, H, W]; an nn.Module in practice."""


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A network and everything one must know to walk with it.

    A network whose shape of computation depends on the timestep (level skipping, early exit) says so with
    `stage`: the harness then times and counts every stage once and composes them over a schedule.
    """

    network: Network
    image_shape: tuple[int, int, int]
    """(C, H, W) of the images it was made for."""
    prediction: Prediction
    schedule: ScheduleSpec
    weights: Weights
    paper: str = ""
    """Which description the network follows, for the footnotes."""
    stage: Callable[[int], int] | None = None
    """stage(t) for t in 0..num_train_timesteps-1: which variant runs, 0 the full one. None: one variant."""
    inputs: tuple[Path, ...] = ()
    """Files whose content the numbers depend on (the checkpoint); a changed file makes old results stale."""


Restore = Callable[["Tensor", "Tensor"], "Tensor"]
"""(noisy [B, C, H, W] float32, sigma [B] float32) -> clean [B, C, H, W], for images in [0, 1].

noisy is the clean image plus noise of standard deviation sigma, not cut to [0, 1]. An nn.Module where something was
learned, so that it is placed and counted; a function otherwise."""


@dataclass(frozen=True, eq=False)
class Restorer:
    """A method that cleans an image in one call and walks no chain: a filter, or a network trained to.

    Where a suite names one, the harness makes a denoiser of it that predicts x_0: at timestep t it is given
    x_t / sqrt(abar_t) in [0, 1] and sigma_t = sqrt((1 - abar_t) / abar_t) / 2, so it meets the very noise that the
    denoisers meet, and is timed and counted as they are.
    """

    restore: Restore
    schedule: ScheduleSpec
    """The chain whose timesteps a suite counts in."""
    weights: Weights
    image_shape: tuple[int, int, int] | None = None
    """(C, H, W) it was made for; None: any."""
    tuned_at: int | None = None
    """Steps of noise whose sigma it is told whatever the image has: a method that was tuned for one noise level.
    None: the true sigma."""
    paper: str = ""
    """Where the method is described, for the footnotes."""
    inputs: tuple[Path, ...] = ()
    """Files whose content the numbers depend on (the checkpoint)."""


@runtime_checkable
class Dataset(Protocol):
    """Images in a stable order. The properties may be plain or frozen fields."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the content and of how it was prepared."""
        ...

    @property
    def split(self) -> str:
        """`train`, `test` or `all`."""
        ...

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files the images are read from."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice) -> Tensor:
        """Images lo:hi as [B, C, H, W] float32 in [-1, 1]."""
        ...


@runtime_checkable
class Noted(Protocol):
    """A data set, or what is built on one, that has something to say to every reader of its numbers."""

    def notes(self) -> tuple[str, ...]:
        """Plain sentences: files that were left out, what of the others is lost. May read every image."""
        ...


def notes_of(data: object) -> tuple[str, ...]:
    """The notes of a data set or subject, none where it has no such method."""
    return data.notes() if isinstance(data, Noted) else ()


Predict = Callable[["Tensor", int], "tuple[Tensor, Tensor]"]
"""(x_t, t) -> (pred_x0, eps): one network call, already converted from the network's own prediction."""
StepNoise = Callable[[int], "Tensor"]
"""step (0 is the first executed) -> standard normal noise [B, C, H, W] for that step."""


class Observe(Protocol):
    """Called once after every reverse step, never in a timed run."""

    def __call__(self, step: int, t: int, x_t: Tensor, pred_x0: Tensor) -> None:
        """step: 0-based, in execution order. t: the timestep just left. x_t: the iterate *after* the step."""
        ...


class Sampler(Protocol):
    """A reverse walk from x_T to x_0. The properties may be plain or frozen fields."""

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timesteps the network is called at, descending; one call each per order."""
        ...

    @property
    def order(self) -> int:
        """Network calls per step; nfe == len(timesteps) * order."""
        ...

    def __call__(self, predict: Predict, x_T: Tensor, noise: StepNoise, observe: Observe | None = None) -> Tensor:
        """x_0 [B, C, H, W]; observe=None and any observer give the same bits."""
        ...


@dataclass(frozen=True)
class Measurement:
    """One number as it was measured: raw values, never a mean."""

    metric: str
    unit: str
    values: tuple[float, ...]
    """Raw values in SI base units, in the order they were taken: one or more finite numbers, no truth values."""
    at: Mapping[str, Scalar] = field(default_factory=dict)
    """What the value is of, when a metric gives several: {"stage": 2}, {"t_start": 100}."""
    nfe: int | None = None
    """Network calls behind each value, as counted."""
    artifact: str | None = None
    """Name of a file with the full arrays, relative to the run's folder and below its `artifacts/`."""
    warnings: tuple[str, ...] = ()
    """Plain sentences a reader of the number must see."""


class Need(StrEnum):
    """What a metric cannot do without; an unmet need makes the cell SKIPPED with a sentence."""

    TRAINED_WEIGHTS = "trained weights"
    DATA = "a data set"
    SAMPLER = "a sampler"


MetricKind = Literal["exact", "timing", "memory", "quality"]
"""exact: same number on every machine. timing: interleaved rounds, two or more fresh processes, nothing else running.
memory: one fresh process per cell. quality: one process, batches free to choose."""


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is, without running it."""

    name: str
    unit: str
    better: Literal["lower", "higher"] | None
    kind: MetricKind
    needs: frozenset[Need] = frozenset()
    recipe: frozenset[str] = frozenset()
    """Keys of `at` that say how a number was made (`n`, `features`): numbers that differ in one cannot be compared."""
    facts: frozenset[str] = frozenset()
    """Keys of `at` that measuring finds out (`calls`, `sample_hash`), and that may differ from one time to the next."""
    judged: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    """Of some keys of `at`, the values that numbers of their own right have ({"statistic": {"value"}}). A number with
    another value (a spread, a floor, a curve) stands beside those, and no comparison judges it by itself."""

    def address(self, at: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
        """What a number is of. Unless the metric declares otherwise, that is all of `at`."""
        return {name: value for name, value in at.items() if name not in self.recipe and name not in self.facts}

    def stands_beside(self, at: Mapping[str, Scalar]) -> bool:
        """Whether a number is no number of its own right; a key that `at` lacks says nothing."""
        return any(name in at and at[name] not in values for name, values in self.judged.items())


AddressKey = tuple[tuple[str, bool, Scalar], ...]


def address_key(address: Mapping[str, Scalar]) -> AddressKey:
    """Equal for equal addresses, in whatever order their keys stand: 2 and 2.0 are one value, 1 and true are two."""
    return tuple((name, isinstance(value, bool), value) for name, value in sorted(address.items()))


MetricFunction = Callable[..., Iterable[Measurement]]
"""fn(subject, effort, **params) -> measurements."""
