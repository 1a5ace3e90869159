"""How a shipped checkpoint is made: one YAML file, read into frozen types. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from bench.suite.schema import Frozen, Ref


class OptimizerSpec(Frozen):
    """Adam with a linear warm-up and a linear fall to `final_lr` over the whole training."""

    lr: Annotated[float, Field(gt=0)] = 2e-4
    final_lr: Annotated[float, Field(ge=0)] | None = None
    """Learning rate at the last step; None keeps `lr` all the way, as both papers do."""
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises from 0."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the whole gradient."""


class SchemeSpec(Frozen):
    """How the number of skipped levels k and the timesteps t of a batch are drawn (Giladi et al., section 3.3).

    full: k = 0 always, the control. uniform: scheme 1, k uniform on 0..N-1 for each batch, whatever t is.
    aligned: scheme 2, one timestep chooses an interval of constant k(t), and the whole batch is drawn from it.
    """

    depths: Literal["full", "uniform", "aligned"] = "full"
    skip_exponent: float | None = None
    """c of k(t); needed by `aligned` only."""


class ObjectiveSpec(Frozen):
    """What a network learns.

    denoise: its own kind of prediction, at every timestep of its chain. restore: for restorers, from the noisy to the
    clean image in [0, 1], by the mean squared error, at one noise level or at several.
    """

    kind: Literal["denoise", "restore"] = "denoise"
    t_start: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """restore: noise levels, as steps of noise of the model's chain; each image gets one of them, all equally often."""
    sigma: Annotated[float, Field(gt=0)] | None = None
    """restore: or one standard deviation of the noise, for images in [0, 1]."""

    @property
    def problem(self) -> str:
        """What is wrong with the combination; empty when nothing is."""
        given = bool(self.t_start) + (self.sigma is not None)
        if self.kind == "denoise" and given:
            return "kind 'denoise' trains at every timestep and takes neither t_start nor sigma; remove them"
        if self.kind == "restore" and given != 1:
            return "kind 'restore' needs its noise, t_start: [50, 100] or sigma: 0.1, and not both"
        return ""


class TrainSpec(Frozen):
    """The length and size of a training."""

    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    """Decay of the exponential moving average of the weights, which is what is saved."""
    antithetic: bool = True
    """Timesteps in pairs (t, T-1-t), as in the DDIM code; off for aligned batches."""
    flip: bool = False
    """Random horizontal flips: never for digits, which it would turn into other signs."""
    save_every: Annotated[int, Field(ge=1)] = 250
    """Steps between resumable states; a kill loses at most so many."""


class Recipe(Frozen):
    """One training, from data to checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = Field(alias="schema")
    recipe: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    """Name of the recipe and of the checkpoint it makes."""
    title: str
    model: Ref
    data: Ref
    scheme: SchemeSpec = SchemeSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    train: TrainSpec
    optimizer: OptimizerSpec = OptimizerSpec()
    store_dtype: Literal["float32", "float16"] = "float32"
    """Precision of the saved weights; they are computed with in float32 either way."""
    seed: Annotated[int, Field(ge=0)] = 0
    notes: tuple[str, ...] = ()


def weights_file(recipe: Recipe, out_dir: Path) -> Path:
    """Where the trained weights of a recipe are written."""
    return out_dir / f"{recipe.recipe}.safetensors"
