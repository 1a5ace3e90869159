"""Everything one can say about a model without running a benchmark: what `bench inspect` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

import torch

from bench.contracts import Denoiser, Network, Weights
from bench.errors import MeasurementError, UserError
from bench.measure.counters import evaluating, plain_execution
from bench.measure.evaluations import count_ode_evaluations
from bench.measure.macs import CONVENTIONS, CounterName, MacCount, count_macs
from bench.measure.parameters import ParameterCount, count_parameters
from bench.measure.stages import StageUse, stage_uses
from bench.units import choose_scale, plural, write

PROBE_SEED = 0
UNCHECKED = "not held against the dispatcher's count, which there is none of: operators without a rule count as 0"


@dataclass(frozen=True)
class StageFacts:
    """One variant of the network: all there is for most models."""

    use: StageUse
    """Which stage, at how many training timesteps, and the one it was counted at."""
    macs: tuple[MacCount, ...]
    """Of one call at batch 1, by counter."""
    ode_nfe: int
    """Vector-field evaluations of one call at batch 1; 0 without solvers."""
    uncounted: Mapping[str, str] = field(default_factory=dict)
    """Counter -> why it cannot count this network."""


@dataclass(frozen=True)
class Facts:
    """What a model is and costs."""

    image_shape: tuple[int, int, int]
    """(C, H, W) that was counted at."""
    prediction: str
    num_train_timesteps: int
    weights: Weights
    paper: str
    parameters: ParameterCount
    """Weight bytes are in it."""
    nfe: int
    """Network calls of one walk over the whole training chain; a sampler with fewer timesteps makes as many calls as
    it has timesteps times its order."""
    stages: tuple[StageFacts, ...]
    """Full network first; stages that no timestep runs are not there."""
    conventions: Mapping[CounterName, str]
    """Counter -> what it counts."""

    def walk_macs(self, counter: str) -> int | None:
        """MACs of one walk over the whole training chain at batch 1, by one counter; None where it cannot count."""
        if any(counter in stage.uncounted for stage in self.stages):
            return None
        return sum(
            stage.use.calls * count.macs for stage in self.stages for count in stage.macs if count.counter == counter
        )

    def as_json(self) -> dict[str, object]:
        """Every number, for programs; plain lists, dictionaries and scalars."""
        return {
            "paper": self.paper,
            "image_shape": list(self.image_shape),
            "batch_size": 1,
            "prediction": self.prediction,
            "num_train_timesteps": self.num_train_timesteps,
            "weights": asdict(self.weights),
            "parameters": asdict(self.parameters),
            "nfe": self.nfe,
            "conventions": dict(self.conventions),
            "stages": [
                {
                    "stage": stage.use.stage,
                    "calls": stage.use.calls,
                    "timestep": stage.use.timestep,
                    "ode_nfe": stage.ode_nfe,
                    "macs": {count.counter: count.macs for count in stage.macs},
                    "not_counted": dict(stage.uncounted),
                    "warnings": [warning for count in stage.macs for warning in count.warnings],
                }
                for stage in self.stages
            ],
            "walk_macs": {counter: self.walk_macs(counter) for counter in self.conventions},
        }

    def lines(self) -> list[tuple[str, str]]:
        """(what, how much), for people, in the order to read them."""
        held = self.parameters
        shape = "x".join(str(size) for size in self.image_shape)
        rows = [
            ("paper", self.paper or "none named"),
            ("image", f"1x{shape}, batch 1"),
            ("prediction", self.prediction),
            ("weights", " ".join(filter(None, (self.weights.origin, self.weights.source)))),
            ("parameters", f"{held.total:,} in {plural(held.tensors, 'tensor')}, {held.trainable:,} trainable"),
            ("buffers", f"{held.buffers:,} elements"),
            ("weight bytes", _with_prefix(held.weight_bytes, "bytes")),
            ("NFE", f"{self.nfe:,} network calls over the whole training chain"),
        ]
        for stage in self.stages:
            use = stage.use
            mark = f"stage {use.stage} " if len(self.stages) > 1 else ""
            if mark:
                rows.append(
                    (f"{mark}runs", f"at {use.calls:,} of {self.nfe:,} timesteps; counted at t = {use.timestep}")
                )
            rows.append((f"{mark}ODE NFE", f"{stage.ode_nfe:,} vector-field evaluations in one call"))
            for count in stage.macs:
                rows.append((f"{mark}MACs {count.counter}", _with_prefix(count.macs, "MAC")))
                rows.extend((f"{mark}note", warning) for warning in count.warnings)
            rows.extend((f"{mark}MACs {counter}", f"not counted: {why}") for counter, why in stage.uncounted.items())
        rows.extend(
            (f"whole-walk MACs {counter}", _with_prefix(whole, "MAC"))
            for counter in self.conventions
            if (whole := self.walk_macs(counter)) is not None
        )
        rows.extend((f"{counter} counts", text) for counter, text in self.conventions.items())
        return rows


def inspect_denoiser(
    denoiser: Denoiser,
    image_shape: tuple[int, int, int] | None = None,
    counters: Iterable[CounterName] = ("dispatch", "fvcore", "thop-like"),
) -> Facts:
    """Count a model as its factory made it, at batch 1 on an image of noise of the given (C, H, W) shape.

    image_shape: the model's own when None. The network runs in eval mode and gets its own mode back. A counter that
    cannot count the network is left out with its reason. Raises UserError when the network cannot take such an image.
    """
    shape = image_shape or denoiser.image_shape
    x_t = torch.randn(1, *shape, generator=torch.Generator().manual_seed(PROBE_SEED))
    asked = tuple(counters)
    chain = range(denoiser.schedule.num_train_timesteps)
    facts = []
    with evaluating(denoiser.network):
        _try(denoiser, x_t)
        for use in stage_uses(denoiser, chain):
            t = torch.full((1,), use.timestep, dtype=torch.int64)
            counts, uncounted = _counts(denoiser.network, x_t, t, asked)
            facts.append(StageFacts(use, counts, count_ode_evaluations(denoiser.network, x_t, t), uncounted))
    return Facts(
        image_shape=shape,
        prediction=denoiser.prediction.value,
        num_train_timesteps=len(chain),
        weights=denoiser.weights,
        paper=denoiser.paper,
        parameters=count_parameters(denoiser.network),
        nfe=len(chain),
        stages=tuple(facts),
        conventions={counter: CONVENTIONS[counter] for counter in asked},
    )


def _counts(
    network: Network, x_t: torch.Tensor, t: torch.Tensor, asked: tuple[CounterName, ...]
) -> tuple[tuple[MacCount, ...], dict[str, str]]:
    """What the counters count, and why the others cannot."""
    try:
        return count_macs(network, x_t, t, asked), {}
    except MeasurementError:
        reasons: dict[str, str] = {}
    for counter in asked:
        try:
            count_macs(network, x_t, t, (counter,))
        except MeasurementError as error:
            reasons[counter] = str(error)
    counts = count_macs(network, x_t, t, tuple(counter for counter in asked if counter not in reasons))
    if "dispatch" in reasons:
        counts = tuple(replace(count, warnings=(*count.warnings, UNCHECKED)) for count in counts)
    return counts, reasons


def _with_prefix(value: int, unit: str) -> str:
    """Digit for digit, and in short where that is shorter: `35,746,307` or `6,221,856,768 (6.222 G)`."""
    exact, short = f"{value:,}", write(value, choose_scale([value], unit))
    return exact if short == exact else f"{exact} ({short})"


def _try(denoiser: Denoiser, x_t: torch.Tensor) -> None:
    """One plain call, so that a shape the network cannot take is told from a counter that fails."""
    shape = "x".join(str(size) for size in x_t.shape[1:])
    own = "x".join(str(size) for size in denoiser.image_shape)
    advice = f"it was made for {own}; give it --shape {own}"
    try:
        with plain_execution():
            output = denoiser.network(x_t, torch.zeros(1, dtype=torch.int64))
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"the model cannot take a {shape} image: {reason}; {advice}") from error
    if not isinstance(output, torch.Tensor):
        raise UserError(f"the model made a {type(output).__name__} of an image; a denoiser must return one tensor")
    if output.shape != x_t.shape:
        raise UserError(
            f"the model made {tuple(output.shape)} of {tuple(x_t.shape)}, not an image of the same shape; {advice}"
        )
