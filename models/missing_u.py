"""The models of paper B, by the names a suite writes. Imports torch only inside the factories.

Sizes come from `config`; `depth`, `width`, `channels` and `image_size` replace single ones of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.contracts import Denoiser, Prediction, ScheduleSpec
from bench.registry import register_model
from models.checkpoints.places import missing_weights
from models.seeded import from_seed_0
from models.shapes import Config, Schedule, Shape, shipped_name, sized

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
        shape = sized(shapes[self.config], self.depth, self.width, self.channels, self.image_size)
        return shipped_name(kind, shape, shapes) if fits else None

    def missing(self, kind: str, shapes: Mapping[Config, Shape]) -> Iterator[str]:
        """The sentence for a plan, when the checkpoint is not there."""
        return missing_weights(self.weights, self.name(kind, shapes))


def _lucid_missing(**params: Any) -> Iterator[str]:
    return _Sizes(**params).missing("lucid-unet", LUCID_SHAPES)


def _released_missing(
    attention: Attention, norm: Norm, blocks: Blocks, solver: Solver, steps: int, tolerance: float, coupled: bool,
    **sizes: Any,
) -> Iterator[str]:  # fmt: skip
    return _Sizes(**sizes).missing(_released_kind(attention, norm, blocks), CUNET_SHAPES)


def _cunet_missing(
    attention: Attention, residual: bool, solver: Solver, steps: int, tolerance: float, adjoint: bool, coupled: bool,
    **sizes: Any,
) -> Iterator[str]:  # fmt: skip
    return _Sizes(**sizes).missing(_cunet_kind(attention, residual), CUNET_SHAPES)


def _released_kind(attention: Attention, norm: Norm, blocks: Blocks) -> str:
    parts = ["cunet-released", *_attention_name(attention), *(["group"] if norm == "group" else [])]
    return "-".join(parts + ([blocks] if blocks != "residual" else []))


def _cunet_kind(attention: Attention, residual: bool) -> str:
    return "-".join(["cunet", *_attention_name(attention), *([] if residual else ["no-residual"])])


@register_model("lucid-unet", missing=_lucid_missing)
def lucid_unet(
    config: Config = "digits",
    depth: int | None = None,
    width: int | None = None,
    channels: int | None = None,
    image_size: int | None = None,
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
    from models.lucid_unet import LucidSizes, LucidUNet

    shape = sized(LUCID_SHAPES[config], depth, width, channels, image_size)
    sizes = LucidSizes(shape.image_size, shape.channels, shape.width, shape.depth)
    asked = _Sizes(config, depth, width, channels, image_size, prediction, noise_schedule, weights)
    shipped = asked.name("lucid-unet", LUCID_SHAPES)
    return _load(lambda: LucidUNet(sizes), shape, weights, shipped, prediction, noise_schedule)


@register_model("cunet-released", missing=_released_missing)
def cunet_released(
    config: Config = "digits",
    attention: Attention = "two",
    norm: Norm = "instance",
    blocks: Blocks = "residual",
    solver: Solver = "rk4",
    steps: int = 1,
    tolerance: float = 1e-3,
    coupled: bool = False,
    depth: int | None = None,
    width: int | None = None,
    channels: int | None = None,
    image_size: int | None = None,
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
    from models.cunet_released import ReleasedCUNet, ReleasedSizes
    from models.ode import OdeSolver

    shape = sized(CUNET_SHAPES[config], depth, width, channels, image_size)
    sizes = ReleasedSizes(shape.image_size, shape.channels, shape.width, shape.depth, attention, norm, blocks)
    ode = OdeSolver(solver, steps, tolerance, coupled=coupled)
    asked = _Sizes(config, depth, width, channels, image_size, prediction, noise_schedule, weights)
    shipped = asked.name(_released_kind(attention, norm, blocks), CUNET_SHAPES)
    return _load(lambda: ReleasedCUNet(sizes, ode), shape, weights, shipped, prediction, noise_schedule)


@register_model("cunet", missing=_cunet_missing)
def cunet(
    config: Config = "digits",
    attention: Attention = "two",
    residual: bool = True,
    solver: Solver = "rk4",
    steps: int = 1,
    tolerance: float = 1e-3,
    adjoint: bool = False,
    coupled: bool = False,
    depth: int | None = None,
    width: int | None = None,
    channels: int | None = None,
    image_size: int | None = None,
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
    from models.cunet import CUNet, CUNetSizes
    from models.ode import OdeSolver

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
    from models.checkpoints.shipped import load_weights

    network = from_seed_0(build)
    image_shape = (shape.channels, shape.image_size, shape.image_size)
    predicts = Prediction(prediction)
    loaded, inputs = load_weights(network, weights, shipped=shipped, prediction=predicts, image_shape=image_shape)
    return Denoiser(network, image_shape, predicts, ScheduleSpec(noise_schedule), loaded, paper=PAPER_B, inputs=inputs)
