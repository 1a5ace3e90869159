"""The training loop: Adam on the denoising objective, an EMA of the weights, resumable after a kill.

Levels that a batch skips get no gradient at all (`set_to_none`), and Adam leaves weights without a gradient exactly
where they are, in every torch version from 2.0 on. Older versions left zeros there and Adam's momentum went on moving
the skipped levels; papers trained with those differ in that.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.contracts import Dataset, Denoiser, Restorer
from bench.errors import NonFiniteOutput
from bench.train.objectives import Objective, build_objective
from bench.train.recipe import OptimizerSpec, Recipe
from bench.train.schemes import Draw, draw_batch
from bench.train.state import TrainState, load_state, save_state
from bench.version import __version__

CURVE_POINTS = 60
"""Points kept of the loss curve."""


@dataclass(frozen=True)
class Progress:
    """What the caller is told after every step."""

    step: int
    steps: int
    loss: float
    seconds: float
    """Training time so far, over all resumptions."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training."""

    ema: dict[str, Tensor]
    curve: tuple[tuple[float, float], ...]
    seconds: float
    made_with: dict[str, str]


def learning_rate(step: int, steps: int, spec: OptimizerSpec) -> float:
    """Learning rate of a step, 0-based: a linear rise over `warmup`, then a line to `final_lr`."""
    rise = min(1.0, (step + 1) / spec.warmup) if spec.warmup else 1.0
    final = spec.lr if spec.final_lr is None else spec.final_lr
    fall = max(0, step - spec.warmup) / max(1, steps - spec.warmup)
    return rise * (spec.lr + (final - spec.lr) * fall)


def ema_decay(step: int, decay: float) -> float:
    """Decay used at a step, 0-based: smaller at first, so that the average forgets the random start."""
    return min(decay, (1 + step) / (10 + step))


def train(
    recipe: Recipe,
    model: Denoiser | Restorer,
    data: Dataset,
    *,
    state_path: Path,
    device: str = "cpu",
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Run the recipe to its end, from `state_path` when it holds an earlier part of the same training.

    The weights after a kill and a resumption are those of an uninterrupted training, bit for bit on one machine.
    Raises ParamError when the recipe's scheme or objective does not fit the network, NonFiniteOutput when the loss
    does, BadCheckpoint for a state that cannot be continued, SaveError when one cannot be written.
    """
    objective = build_objective(recipe, model)
    network = objective.network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.optimizer.lr, betas=recipe.optimizer.betas)
    ema = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    state = load_state(state_path, recipe, network, optimizer) or TrainState(0, 0.0, ())
    if state.step:
        network.load_state_dict(state.network)
        optimizer.load_state_dict(state.optimizer)
        ema = {name: tensor.to(device) for name, tensor in state.ema.items()}
    images = data[0 : len(data)].to(device)
    curve, recent = list(state.curve), list(state.recent)
    stride = max(1, recipe.train.steps // CURVE_POINTS)
    started = time.perf_counter() - state.seconds
    for step in range(state.step, recipe.train.steps):
        draw = draw_batch(
            step,
            seed=recipe.seed,
            num_images=len(images),
            num_train_timesteps=objective.schedule.num_train_timesteps,
            num_depths=objective.num_depths,
            scheme=recipe.scheme,
            train=recipe.train,
            intervals=objective.intervals,
        )
        loss = _step(objective, optimizer, images, draw, step, recipe)
        _update_ema(ema, network, ema_decay(step, recipe.train.ema))
        recent.append(loss)
        seconds = time.perf_counter() - started
        if (step + 1) % stride == 0 or step + 1 == recipe.train.steps:
            curve.append((float(step + 1), sum(recent) / len(recent)))
            recent = []
        on_step(Progress(step + 1, recipe.train.steps, loss, seconds))
        if (step + 1) % recipe.train.save_every == 0 or step + 1 == recipe.train.steps:
            snapshot = TrainState(
                step + 1, seconds, tuple(curve), tuple(recent), network.state_dict(), optimizer.state_dict(), ema
            )
            save_state(state_path, recipe, snapshot)
    made_with = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "bench": __version__,
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
    }
    return Trained(
        {name: tensor.cpu() for name, tensor in ema.items()},
        tuple(curve),
        time.perf_counter() - started,
        made_with,
    )


def _step(
    objective: Objective, optimizer: torch.optim.Adam, images: Tensor, draw: Draw, step: int, recipe: Recipe
) -> float:
    """One optimiser step; returns the mean squared error of the batch."""
    # Dropout draws from the global generator; seeding it here makes a resumed step the same step.
    torch.manual_seed(draw.generator.initial_seed())
    x0 = images[draw.images.to(images.device)]
    x0 = torch.where(draw.flip.to(x0.device)[:, None, None, None], x0.flip(-1), x0)
    optimizer.zero_grad(set_to_none=True)
    loss = objective.loss(x0, draw)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(objective.network.parameters(), recipe.optimizer.gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, recipe.train.steps, recipe.optimizer)
    optimizer.step()
    value = float(loss.detach())
    if value != value or value in (float("inf"), float("-inf")):
        raise NonFiniteOutput(f"{recipe.recipe}: the loss became {value} at step {step}; lower optimizer.lr")
    return value


@torch.no_grad()
def _update_ema(ema: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            ema[name].lerp_(tensor, 1 - decay)
        else:
            ema[name].copy_(tensor)
