"""What a batch is trained on: a denoiser's prediction along its chain, or a restorer's clean image.

Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Network, Restorer
from bench.diffusion.network_output import training_call
from bench.diffusion.parameterization import training_target
from bench.diffusion.restoring import as_noisy
from bench.diffusion.schedule import NoiseSchedule, build_schedule
from bench.errors import ParamError
from bench.train.recipe import ObjectiveSpec, Recipe
from bench.train.schemes import Draw, Interval, constant_intervals


class DepthNetwork(Protocol):
    """A network that can be run with its deepest levels left out."""

    def at_depth(self, x_t: Tensor, t: Tensor, num_skipped: int) -> Tensor: ...


class Objective(Protocol):
    """What is learned. The properties may be plain or frozen fields."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def schedule(self) -> NoiseSchedule: ...
    @property
    def num_depths(self) -> int:
        """N, the number of depths that a batch's k is drawn from."""
        ...

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Of constant k(t), for the aligned scheme."""
        ...

    def loss(self, x0: Tensor, draw: Draw) -> Tensor:
        """Mean squared error of a batch [B, C, H, W] in [-1, 1]; draws its noise from the draw's generator."""
        ...


@dataclass(frozen=True, eq=False)
class Denoising:
    """The network's own kind of prediction at the batch's timesteps."""

    network: nn.Module
    denoiser: Denoiser
    schedule: NoiseSchedule
    full: bool
    """Never skip a level."""
    num_depths: int = 1
    intervals: tuple[Interval, ...] = ()

    def loss(self, x0: Tensor, draw: Draw) -> Tensor:
        noise = torch.randn(x0.shape, generator=draw.generator).to(x0.device)
        t = draw.t.to(x0.device)
        x_t = self.schedule.q_sample(x0, t, noise)
        alpha_bar = self.schedule.alpha_bar_of(t)[:, None, None, None]
        target = training_target(x0, noise, alpha_bar, self.denoiser.prediction)
        network: Network = self.network
        if not self.full or self.denoiser.stage is not None:
            num_skipped = 0 if self.full else draw.num_skipped
            network = partial(_depth(self.network).at_depth, num_skipped=num_skipped)
        return (training_call(network, x_t, t) - target).square().mean()


@dataclass(frozen=True, eq=False)
class Restoring:
    """The clean image in [0, 1] from a noisy one whose level is drawn for each image."""

    network: nn.Module
    spec: ObjectiveSpec
    schedule: NoiseSchedule
    num_depths: int = 1
    intervals: tuple[Interval, ...] = ()

    def loss(self, x0: Tensor, draw: Draw) -> Tensor:
        noisy, sigma = self._noisy(x0, draw)
        clean = training_call(self.network, noisy, sigma, "the restorer")
        return (clean - (x0 + 1.0) / 2.0).square().mean()

    def _noisy(self, x0: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Noisy images about [0, 1], and the standard deviation [B] of their noise."""
        if self.spec.sigma is not None:
            noise = torch.randn(x0.shape, generator=draw.generator).to(x0.device)
            sigma = torch.full((len(x0),), self.spec.sigma, device=x0.device)
            return (x0 + 1.0) / 2.0 + self.spec.sigma * noise, sigma
        levels = torch.tensor(self.spec.t_start) - 1  # so many steps of noise end at this timestep of 0..T-1
        t = levels[torch.randint(len(levels), (len(x0),), generator=draw.generator)].to(x0.device)
        noise = torch.randn(x0.shape, generator=draw.generator).to(x0.device)
        return as_noisy(self.schedule.q_sample(x0, t, noise), t, self.schedule)


def build_objective(recipe: Recipe, model: Denoiser | Restorer) -> Objective:
    """What this recipe teaches this model. Raises ParamError when the two do not fit."""
    if isinstance(model, Restorer):
        return _restoring(recipe, model)
    if recipe.objective.kind != "denoise":
        raise ParamError(
            f"{recipe.recipe}: {recipe.model.name!r} is a denoiser; train it with objective.kind 'denoise'"
        )
    network = cast(nn.Module, model.network)
    schedule = build_schedule(model.schedule)
    intervals = _intervals(recipe, model, schedule)
    deepest = max((each.num_skipped for each in intervals), default=0)
    depths = _num_depths(network) if recipe.scheme.depths == "uniform" else 1 + deepest
    return Denoising(network, model, schedule, recipe.scheme.depths == "full", depths, intervals)


def _restoring(recipe: Recipe, restorer: Restorer) -> Restoring:
    where, schedule = recipe.recipe, build_schedule(restorer.schedule)
    if recipe.objective.kind != "restore" or recipe.scheme.depths != "full":
        raise ParamError(
            f"{where}: {recipe.model.name!r} is a restorer; train it with objective.kind 'restore' and depths 'full'"
        )
    if not isinstance(restorer.restore, nn.Module):
        raise ParamError(f"{where}: {recipe.model.name!r} has nothing that could be trained")
    if recipe.objective.problem:
        raise ParamError(f"{where}: objective: {recipe.objective.problem}")
    deepest = max(recipe.objective.t_start, default=1)
    if deepest > schedule.num_train_timesteps:
        raise ParamError(f"{where}: t_start {deepest} is beyond the {schedule.num_train_timesteps} steps of the chain")
    return Restoring(restorer.restore, recipe.objective, schedule)


def _intervals(recipe: Recipe, denoiser: Denoiser, schedule: NoiseSchedule) -> tuple[Interval, ...]:
    if recipe.scheme.depths != "aligned":
        return ()
    if denoiser.stage is None:
        raise ParamError(f"{recipe.recipe}: scheme.depths 'aligned' needs a model that skips levels")
    if recipe.model.params.get("skip_exponent") != recipe.scheme.skip_exponent:
        raise ParamError(
            f"{recipe.recipe}: scheme.skip_exponent is {recipe.scheme.skip_exponent} but the model's is "
            f"{recipe.model.params.get('skip_exponent')}; they must be the same c"
        )
    return constant_intervals(denoiser.stage, schedule.num_train_timesteps)


def _depth(network: nn.Module) -> DepthNetwork:
    if not hasattr(network, "at_depth"):
        raise ParamError(f"{type(network).__name__} cannot run at a chosen depth; use scheme.depths 'full'")
    return cast(DepthNetwork, network)


def _num_depths(network: nn.Module) -> int:
    _depth(network)
    return int(cast(int, network.num_depths))
