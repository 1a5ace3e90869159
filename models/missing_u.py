"""The models of paper B, by the names a suite writes. Imports torch only inside the factories.

Sizes come from `config`; `depth`, `width`, `channels` and `image_size` replace single ones of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.contracts import Denoiser, Prediction, ScheduleSpec
from bench.models import landmarks
from bench.models.checkpoints.places import missing_weights
from bench.models.seeded import from_seed_0
from bench.models.shapes import (
    Channels,
    Config,
    Depth,
    ImageSize,
    Schedule,
    Shape,
    SolverSteps,
    Tolerance,
    Width,
    shipped_name,
    size_problems,
    sized,
)
from bench.outlook import ModelFacts
from bench.registry import register_model

if TYPE_CHECKING:
    from torch import nn

Predicts = Literal["epsilon", "x0", "v"]
Attention = Literal["two", "five", "none"]
Norm = Literal["instance", "group"]
Blocks = Literal["residual", "no-residual", "no-residual-released"]
Solver = Literal[
    "euler",
    "midpoint",
    "heun2",
    "heun3",
    "rk4",
    "explicit_adams",
    "implicit_adams",
    "dopri5",
    "dopri8",
    "bosh3",
    "fehlberg2",
    "adaptive_heun",
]

NORM_GROUPS = 8
"""Of the group norms: channels are a multiple of it."""

PAPER_B = "Calvo-Ordoñez et al., The Missing U for Efficient Diffusion Models"

LUCID_SHAPES: Mapping[Config, Shape] = {
    "digits": Shape(16, 1, 8, 3),
    "photos": Shape(32, 3, 8, 4),
    "paper": Shape(64, 3, 64, 4),
}
CUNET_SHAPES: Mapping[Config, Shape] = {
    "digits": Shape(16, 1, 8, 3),
    "photos": Shape(32, 3, 8, 4),
    "paper": Shape(64, 3, 16, 5),
}


@dataclass(frozen=True)
class _Sizes:
    """The arguments that all factories here share."""

    config: Config
    depth: int | None
    width: int | None
    channels: int | None
    image_size: int | None
    prediction: Predicts
    noise_schedule: Schedule
    weights: str

    def name(self, kind: str, shapes: Mapping[Config, Shape]) -> str | None:
        """The checkpoint that ships, or None: those that do were trained at the sizes of a config, for v and sigmoid.

        The solver is no part of it: any may be tried on the same weights, and is another network on them.
        """
        fits = (self.prediction, self.noise_schedule) == ("v", "sigmoid")
        return shipped_name(kind, self.shape(shapes), shapes) if fits else None

    def shape(self, shapes: Mapping[Config, Shape]) -> Shape:
        """The config's sizes with those given in their place."""
        return sized(shapes[self.config], self.depth, self.width, self.channels, self.image_size)

    def missing(self, kind: str, shapes: Mapping[Config, Shape]) -> Iterator[str]:
        """The sentence for a plan, when the checkpoint is not there."""
        return missing_weights(self.weights, self.name(kind, shapes))


@dataclass(frozen=True)
class _Kind:
    """What can be said of one of the networks here before it is built. Each method takes the factory's arguments."""

    shapes: Mapping[Config, Shape]
    name: Callable[..., str]
    """The beginning of the shipped checkpoint's name."""
    landmarks: Callable[..., landmarks.Landmarks]
    """Of a shape and the arguments that are no sizes."""
    problems: Callable[..., Iterator[str]]
    """Of a shape and the arguments that are no sizes: why such a network cannot be built."""

    def missing(self, **params: Any) -> Iterator[str]:
        sizes, more = _split(params)
        return sizes.missing(self.name(**more), self.shapes)

    def conflicts(self, **params: Any) -> Iterator[str]:
        sizes, more = _split(params)
        return self.problems(sizes.shape(self.shapes), **more)

    def facts(self, **params: Any) -> ModelFacts:
        shape = _split(params)[0].shape(self.shapes)
        return ModelFacts((shape.channels, shape.image_size, shape.image_size))

    def misfits(self, **params: Any) -> Iterator[str]:
        sizes, more = _split(params)
        shape = sizes.shape(self.shapes)
        return landmarks.misfits(
            sizes.weights, sizes.name(self.name(**more), self.shapes), self.landmarks(shape, **more)
        )


def _split(params: Mapping[str, Any]) -> tuple[_Sizes, dict[str, Any]]:
    """The sizes that all networks here share, and the rest."""
    names = {field.name for field in fields(_Sizes)}
    shared = {name: value for name, value in params.items() if name in names}
    return _Sizes(**shared), {name: value for name, value in params.items() if name not in names}


def _released_kind(attention: Attention, norm: Norm, blocks: Blocks, **_: object) -> str:
    parts = ["cunet-released", *_attention_name(attention), *(["group"] if norm == "group" else [])]
    return "-".join(parts + ([blocks] if blocks != "residual" else []))


def _cunet_kind(attention: Attention, residual: bool, **_: object) -> str:
    return "-".join(["cunet", *_attention_name(attention), *([] if residual else ["no-residual"])])


def _lucid_landmarks(shape: Shape) -> landmarks.Landmarks:
    return landmarks.lucid_unet(shape)


def _released_landmarks(
    shape: Shape, attention: Attention, norm: Norm, blocks: Blocks, **_: object
) -> landmarks.Landmarks:
    return landmarks.cunet_released(shape, attention, norm, blocks)


def _cunet_landmarks(shape: Shape, attention: Attention, residual: bool, **_: object) -> landmarks.Landmarks:
    return landmarks.cunet(shape, attention, residual)


def _lucid_problems(shape: Shape) -> Iterator[str]:
    return size_problems(shape, multiple=NORM_GROUPS)


def _released_problems(shape: Shape, attention: Attention, norm: Norm, **_: object) -> Iterator[str]:
    doubled = replace(shape, width=2 * shape.width)
    least, bottom = (4 if attention == "five" else 2), (2 if norm == "instance" else 1)
    multiple = NORM_GROUPS if norm == "group" else 1
    return size_problems(doubled, multiple=multiple, least_depth=least, least_bottom=bottom, halves=True)


def _cunet_problems(shape: Shape, attention: Attention, **_: object) -> Iterator[str]:
    least = {"none": 1, "two": 2, "five": 4}[attention]
    return size_problems(shape, multiple=NORM_GROUPS, least_depth=least)


_LUCID = _Kind(LUCID_SHAPES, lambda: "lucid-unet", _lucid_landmarks, _lucid_problems)
_RELEASED = _Kind(CUNET_SHAPES, _released_kind, _released_landmarks, _released_problems)
_CUNET = _Kind(CUNET_SHAPES, _cunet_kind, _cunet_landmarks, _cunet_problems)


@register_model(
    "lucid-unet",
    missing=_LUCID.missing,
    conflicts=_LUCID.conflicts,
    facts=_LUCID.facts,
    wrong_weights=_LUCID.misfits,
)
def lucid_unet(
    config: Config = "digits",
    depth: Depth | None = None,
    width: Width | None = None,
    channels: Channels | None = None,
    image_size: ImageSize | None = None,
    prediction: Predicts = "v",
    noise_schedule: Schedule = "sigmoid",
    weights: str = "shipped",
) -> Denoiser:
    """Paper B's baseline: the U-Net with linear attention of the public PyTorch implementation, as of its 1.8 releases.

    config: `digits` is 1x16x16 with 3 levels of width 8 to 32, `photos` 3x32x32 with 4 of width 8 to 64, `paper`
    3x64x64 with 4 of width 64 to 512 (35,710,339 parameters). depth (levels), width (at full resolution, a multiple of
    8), channels and image_size replace the config's. prediction, noise_schedule: what the output means and the noise
    it was trained with; paper B's code uses v and sigmoid. weights: `shipped` (digits and photos as they are only),
    the name of a shipped checkpoint, `random` (may be timed, never scored), or the path of a checkpoint.
    """
    from bench.models.lucid_unet import LucidSizes, LucidUNet

    shape = sized(LUCID_SHAPES[config], depth, width, channels, image_size)
    sizes = LucidSizes(shape.image_size, shape.channels, shape.width, shape.depth)
    asked = _Sizes(config, depth, width, channels, image_size, prediction, noise_schedule, weights)
    shipped = asked.name("lucid-unet", LUCID_SHAPES)
    return _load(lambda: LucidUNet(sizes), shape, weights, shipped, prediction, noise_schedule)


@register_model(
    "cunet-released",
    missing=_RELEASED.missing,
    conflicts=_RELEASED.conflicts,
    facts=_RELEASED.facts,
    wrong_weights=_RELEASED.misfits,
)
def cunet_released(
    config: Config = "digits",
    attention: Attention = "two",
    norm: Norm = "instance",
    blocks: Blocks = "residual",
    solver: Solver = "rk4",
    steps: SolverSteps = 1,
    tolerance: Tolerance = 1e-3,
    coupled: bool = False,
    depth: Depth | None = None,
    width: Width | None = None,
    channels: Channels | None = None,
    image_size: ImageSize | None = None,
    prediction: Predicts = "v",
    noise_schedule: Schedule = "sigmoid",
    weights: str = "shipped",
) -> Denoiser:
    """The continuous U-Net that paper B's public code computes: first order, and the same output at every timestep.

    config: `digits` is 1x16x16 with 3 levels, `photos` 3x32x32 with 4, `paper` 3x64x64 with 5 (8,811,875 parameters).
    attention: in `two`, `five` or no places. norm: `instance`, or `group` in the vector fields. blocks: `residual`;
    `no-residual` drops the residual only; `no-residual-released` is the older network behind the printed "no resblocks"
    rows. solver, steps, tolerance: how each block is integrated from 0 to 1; rk4 is the 3/8 rule. coupled: let an
    adaptive solver treat the batch as one, so that each image depends on the others. depth (levels), width (half the
    channels at full resolution), channels, image_size, prediction, noise_schedule and weights as for lucid-unet.
    """
    from bench.models.cunet_released import ReleasedCUNet, ReleasedSizes
    from bench.models.ode import OdeSolver

    shape = sized(CUNET_SHAPES[config], depth, width, channels, image_size)
    sizes = ReleasedSizes(shape.image_size, shape.channels, shape.width, shape.depth, attention, norm, blocks)
    ode = OdeSolver(solver, steps, tolerance, coupled=coupled)
    asked = _Sizes(config, depth, width, channels, image_size, prediction, noise_schedule, weights)
    shipped = asked.name(_released_kind(attention, norm, blocks), CUNET_SHAPES)
    return _load(lambda: ReleasedCUNet(sizes, ode), shape, weights, shipped, prediction, noise_schedule)


@register_model(
    "cunet",
    missing=_CUNET.missing,
    conflicts=_CUNET.conflicts,
    facts=_CUNET.facts,
    wrong_weights=_CUNET.misfits,
)
def cunet(
    config: Config = "digits",
    attention: Attention = "two",
    residual: bool = True,
    solver: Solver = "rk4",
    steps: SolverSteps = 1,
    tolerance: Tolerance = 1e-3,
    adjoint: bool = False,
    coupled: bool = False,
    depth: Depth | None = None,
    width: Width | None = None,
    channels: Channels | None = None,
    image_size: ImageSize | None = None,
    prediction: Predicts = "v",
    noise_schedule: Schedule = "sigmoid",
    weights: str = "shipped",
) -> Denoiser:
    """The continuous U-Net that paper B describes: second-order blocks x'' = f(x, x', t, t~) that know the timestep.

    config: `digits` is 1x16x16 with 3 levels, `photos` 3x32x32 with 4, `paper` 3x64x64 with 5. attention, residual:
    ablations. solver, steps, tolerance: how each block is integrated from 0 to 1. adjoint: gradients by solving
    backwards, in memory that does not grow with the steps. coupled: let an adaptive solver treat the batch as one, so
    that each image depends on the others. width: channels of x at full resolution, a multiple of 8. depth (levels),
    channels, image_size, prediction, noise_schedule and weights as for lucid-unet.
    """
    from bench.models.cunet import CUNet, CUNetSizes
    from bench.models.ode import OdeSolver

    shape = sized(CUNET_SHAPES[config], depth, width, channels, image_size)
    sizes = CUNetSizes(shape.image_size, shape.channels, shape.width, shape.depth, attention, residual)
    ode = OdeSolver(solver, steps, tolerance, adjoint, coupled)
    asked = _Sizes(config, depth, width, channels, image_size, prediction, noise_schedule, weights)
    shipped = asked.name(_cunet_kind(attention, residual), CUNET_SHAPES)
    return _load(lambda: CUNet(sizes, ode), shape, weights, shipped, prediction, noise_schedule)


def _attention_name(attention: Attention) -> list[str]:
    return {"two": [], "five": ["five-attentions"], "none": ["no-attention"]}[attention]


def _load(
    build: Callable[[], nn.Module],
    shape: Shape,
    weights: str,
    shipped: str | None,
    prediction: Predicts,
    noise_schedule: Schedule,
) -> Denoiser:
    """Build the network from seed 0, give it its weights, and say everything the walk must know."""
    from bench.models.checkpoints.shipped import load_weights

    network = from_seed_0(build)
    image_shape = (shape.channels, shape.image_size, shape.image_size)
    predicts = Prediction(prediction)
    loaded, inputs = load_weights(network, weights, shipped=shipped, prediction=predicts, image_shape=image_shape)
    return Denoiser(network, image_shape, predicts, ScheduleSpec(noise_schedule), loaded, paper=PAPER_B, inputs=inputs)
