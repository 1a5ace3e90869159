"""Everything one can say about a model without running a benchmark: what `bench inspect` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import torch

from bench.contracts import Denoiser, Network, Weights
from bench.diffusion.network_output import watched_call
from bench.errors import MeasurementError, UserError
from bench.measure.counters import evaluating, plain_execution
from bench.measure.evaluations import ode_use
from bench.measure.macs import CONVENTIONS, CounterName, MacCount, Uncounted, count_each
from bench.measure.parameters import ParameterCount, count_parameters
from bench.measure.stages import StageUse, stage_uses
from bench.units import choose_scale, plural, write

PROBE_SEED = 0


@dataclass(frozen=True)
class StageFacts:
    """One variant of the network: all there is for most models."""

    use: StageUse
    """Which stage, at how many training timesteps, and the one it was counted at."""
    counts: tuple[MacCount | Uncounted, ...]
    """MACs of one call at batch 1, by counter, or why it has none."""
    ode_nfe: int | None
    """Vector-field evaluations of one call at batch 1; 0 without solvers, None where they cannot be counted."""
    ode_reason: str = ""
    """Why they cannot."""

    @property
    def macs(self) -> tuple[MacCount, ...]:
        """The counters that can count."""
        return tuple(count for count in self.counts if isinstance(count, MacCount))

    @property
    def reasons(self) -> dict[str, str]:
        """Counter, or `ode_nfe` -> why it has no number."""
        reasons: dict[str, str] = {count.counter: count.reason for count in self.counts if isinstance(count, Uncounted)}
        if self.ode_nfe is None:
            reasons["ode_nfe"] = self.ode_reason
        return reasons


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
        """MACs of one walk over the whole training chain at batch 1, by one counter; None where it has no number."""
        counts = [(stage.use.calls, count) for stage in self.stages for count in stage.macs if count.counter == counter]
        return sum(calls * count.macs for calls, count in counts) if len(counts) == len(self.stages) else None

    def as_json(self) -> dict[str, object]:
        """Every number, for programs; plain lists, dictionaries and scalars. null stands beside its reason."""
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
                    "macs": {
                        count.counter: count.macs if isinstance(count, MacCount) else None for count in stage.counts
                    },
                    "reasons": stage.reasons,
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
            if stage.ode_nfe is None:
                rows.append((f"{mark}ODE NFE", f"not counted: {stage.ode_reason}"))
            else:
                rows.append((f"{mark}ODE NFE", f"{stage.ode_nfe:,} vector-field evaluations in one call"))
            for count in stage.counts:
                if isinstance(count, Uncounted):
                    rows.append((f"{mark}MACs {count.counter}", f"not counted: {count.reason}"))
                    continue
                rows.append((f"{mark}MACs {count.counter}", _with_prefix(count.macs, "MAC")))
                rows.extend((f"{mark}note", warning) for warning in count.warnings)
        for counter in self.conventions:
            whole = self.walk_macs(counter)
            if whole is not None:
                rows.append((f"whole-walk MACs {counter}", _with_prefix(whole, "MAC")))
        rows.extend((f"{counter} counts", text) for counter, text in self.conventions.items())
        return rows


def inspect_denoiser(
    denoiser: Denoiser,
    image_shape: tuple[int, int, int] | None = None,
    counters: Iterable[CounterName] = ("dispatch", "fvcore", "thop-like"),
) -> Facts:
    """Count a model as its factory made it, at batch 1 on an image of noise of the given (C, H, W) shape.

    image_shape: the model's own when None. The network runs in eval mode and gets its own mode back. A counter that
    cannot count it leaves its reason. Raises UserError when the network cannot take such an image or does not answer
    as a denoiser must.
    """
    shape = image_shape or denoiser.image_shape
    x_t = torch.randn(1, *shape, generator=torch.Generator().manual_seed(PROBE_SEED))
    asked = tuple(counters)
    chain = range(denoiser.schedule.num_train_timesteps)
    facts = []
    with evaluating(denoiser.network):
        for use in stage_uses(denoiser, chain):
            t = torch.full((1,), use.timestep, dtype=torch.int64)
            _try(denoiser, x_t, t)
            facts.append(count_stage(denoiser.network, use, x_t, t, asked))
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


def count_stage(
    network: Network, use: StageUse, x_t: torch.Tensor, t: torch.Tensor, counters: Iterable[CounterName]
) -> StageFacts:
    """What every counter says about one call, a number or the reason why it has none.

    x_t: [1, C, H, W] of the network's own dtype and device. t: [1] int64. The network must be in eval mode.
    """
    counts = count_each(network, x_t, t, counters)
    try:
        return StageFacts(use, counts, ode_use(network, x_t, t).evaluations)
    except MeasurementError as error:
        return StageFacts(use, counts, None, str(error))


def _with_prefix(value: int, unit: str) -> str:
    """Digit for digit, and in short where that is shorter: `35,746,307` or `6,221,856,768 (6.222 G)`."""
    exact, short = f"{value:,}", write(value, choose_scale([value], unit))
    return exact if short == exact else f"{exact} ({short})"


def _try(denoiser: Denoiser, x_t: torch.Tensor, t: torch.Tensor) -> None:
    """One plain call, so that a shape the network cannot take, or an answer that is none, is told from a counter."""
    shape = "x".join(str(size) for size in x_t.shape[1:])
    own = "x".join(str(size) for size in denoiser.image_shape)
    advice = f"it was made for {own}; give it --shape {own}"
    try:
        with plain_execution():
            watched_call(denoiser.network, x_t, t)
    except MeasurementError as error:
        raise UserError(f"{error}; {advice}" if shape != own else str(error)) from error
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"the model cannot take a {shape} image: {reason}; {advice}") from error
