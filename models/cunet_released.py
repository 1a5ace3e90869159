"""The continuous U-Net of Calvo-Ordoñez et al. as its public code computes it.

Described as a second-order ODE network conditioned on the timestep, it computes something else: every block integrates
the first-order dx/dt~ = x + F(x) in one rk4 step, F is convolution and softplus after instance norms, and no timestep
reaches it, so the output is the same at every t. `bench.models.cunet` is the network that the text describes. The
differences, each with the test that pins it, are listed in models/missing_u.md.

Module names spell the state-dict keys of the public checkpoints (`odeblock_down1.odefunc.conv1.weight`). At 3x64x64:
8,811,875 parameters in 67 tensors, 256,000 of them a frozen table that nothing reads.

Shape legend: B images, C channels, H x W pixels, E width of the time table.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ParamError
from bench.models.attention import FullAttention
from bench.models.image_size import check_image_size
from bench.models.instance_norm import normalise
from bench.models.ode import OdeBlock, OdeSolver

Attention = Literal["two", "five", "none"]
"""two: after the deepest encoder and the first decoder block. five: also at the bottom and at the second level."""
Norm = Literal["instance", "group"]
"""group: GroupNorm(8) in the vector fields, as one notebook of the public code has it."""
Blocks = Literal["residual", "no-residual", "no-residual-released"]
"""residual: F(x) + x. no-residual: F(x), nothing else changed. no-residual-released: the network behind the printed
"no resblocks" rows: an older one, with F(x), a 1x1 second convolution and time embeddings added between the blocks."""

NORM_GROUPS = 8


@dataclass(frozen=True)
class ReleasedSizes:
    """Everything that decides the network's shape; the defaults are the published one."""

    image_size: int = 64
    channels: int = 3
    width: int = 16
    """Half the channels at full resolution; every level down doubles them."""
    depth: int = 5
    """Resolutions, full size and bottom included."""
    attention: Attention = "two"
    norm: Norm = "instance"
    blocks: Blocks = "residual"
    num_train_timesteps: int = 1000

    def __post_init__(self) -> None:
        for name, kind in (("attention", Attention), ("norm", Norm), ("blocks", Blocks)):
            if getattr(self, name) not in get_args(kind):
                raise ParamError(f"{name}: expected one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        if self.depth < 2 or (self.attention == "five" and self.depth < 4):
            least = 4 if self.attention == "five" else 2
            raise ParamError(f"depth must be at least {least} with attention {self.attention!r}, got {self.depth}")
        if self.width < 1 or (self.norm == "group" and 2 * self.width % NORM_GROUPS):
            raise ParamError(f"width must be positive, and a multiple of 4 with norm 'group'; got {self.width}")
        check_image_size(
            (self.image_size, self.image_size), self.depth, least_bottom=2 if self.norm == "instance" else 1
        )

    def level_channels(self, level: int) -> int:
        """Channels at level 0 (full resolution) to depth - 1 (bottom)."""
        return 2 * self.width << level


class ReleasedField(nn.Module):
    """F(x) + x, or F(x): the right-hand side of a block's ODE. It does not look at t~."""

    def __init__(self, channels: int, sizes: ReleasedSizes) -> None:
        super().__init__()
        self.residual = sizes.blocks == "residual"
        kernel = 1 if sizes.blocks == "no-residual-released" else 3
        self.norm1 = _norm(channels, sizes)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = _norm(channels, sizes)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, t: float | Tensor, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> dx/dt~, the same shape."""
        h = F.softplus(self.conv1(normalise(self.norm1, x)))
        h = F.softplus(self.conv2(normalise(self.norm2, h)))
        return h + x if self.residual else h


class InitialVelocity(nn.Module):
    """Image -> the state that the first block integrates; named for a role that it does not have."""

    def __init__(self, sizes: ReleasedSizes) -> None:
        super().__init__()
        # An instance norm at the very input: the network cannot see an image's mean colour or its noise scale.
        self.norm1 = nn.InstanceNorm2d(sizes.channels)
        self.conv1 = nn.Conv2d(sizes.channels, sizes.width, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(sizes.width)
        self.conv2 = nn.Conv2d(sizes.width, 2 * sizes.width, 1)

    def forward(self, x_t: Tensor) -> Tensor:
        h = F.softplus(self.conv1(normalise(self.norm1, x_t)))
        return F.softplus(self.conv2(normalise(self.norm2, h)))


class ReleasedCUNet(nn.Module):
    """(x_t [B, C, H, W], t [B]) -> [B, C, H, W]; t is only read by the blocks "no-residual-released"."""

    def __init__(self, sizes: ReleasedSizes, solver: OdeSolver | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        solver = solver or OdeSolver()
        depth = sizes.depth
        for name in attention_places(sizes):
            self.add_module(f"attention_{name}", FullAttention(sizes.level_channels(_place_level(name, depth))))
        self.time_embed = nn.Embedding(sizes.num_train_timesteps, 16 * sizes.width)
        self.time_embed.weight.data = time_table(sizes.num_train_timesteps, 16 * sizes.width)
        self.time_embed.requires_grad_(False)
        self.initial_velocity = InitialVelocity(sizes)
        for block in block_names(depth):
            channels = sizes.level_channels(_place_level(block, depth))
            self.add_module(f"odeblock_{block}", OdeBlock(ReleasedField(channels, sizes), solver))
            if sizes.blocks == "no-residual-released":
                self.add_module(_time_mlp_name(block), _time_mlp(16 * sizes.width, channels))
        for level in range(depth - 1):
            channels = sizes.level_channels(level)
            self.add_module(down_name(level, depth), nn.Conv2d(channels, 2 * channels, 1))
            self.add_module(up_name(level, depth), nn.Conv2d(3 * channels, channels, 1))
        self.classifier = nn.Conv2d(2 * sizes.width, sizes.channels, 1)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        sizes, depth = self.sizes, self.sizes.depth
        check_image_size(x_t.shape[2:], depth, least_bottom=2 if sizes.norm == "instance" else 1)
        x = self._timed("down1", self.initial_velocity(x_t), t)
        features: list[Tensor] = []
        for level in range(depth - 1):
            x = self._block(f"down{level + 1}", f"encoder{level + 1}", x)
            features.append(x)
            below = "embedding" if level == depth - 2 else f"down{level + 2}"
            x = F.softplus(self._timed(below, self._run(down_name(level, depth), x), t))
            x = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        x = self._block("embedding", "bottleneck", x)
        for level in reversed(range(depth - 1)):
            place = depth - 1 - level
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = torch.cat([x, features.pop()], dim=1)
            x = F.softplus(self._timed(f"up{place}", self._run(up_name(level, depth), x), t))
            x = self._block(f"up{place}", f"decoder{place}", x)
        return self._run("classifier", x)

    def _block(self, block: str, place: str, x: Tensor) -> Tensor:
        """An ODE block and the attention after it, where there is one; the attention has no shortcut."""
        x = self._run(f"odeblock_{block}", x)
        name = f"attention_{place}"
        return self._run(name, x) if name in self._modules else x

    def _run(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = cast(nn.Module, self._modules[name])(x)
        return out

    def _timed(self, block: str, x: Tensor, t: Tensor) -> Tensor:
        """x with a block's time embedding added, in the one kind of network that has them."""
        if self.sizes.blocks != "no-residual-released":
            return x
        return x + self._run(_time_mlp_name(block), self.time_embed(t))[:, :, None, None]


def time_table(num_train_timesteps: int, width: int) -> Tensor:
    """[T, E]: sine and cosine alternate, with frequencies 10000^(-4i/E) for the pairs i = 0..E/2 - 1.

    The published table steps through the frequencies twice as fast as the one of Vaswani et al.
    """
    frequencies = 10_000.0 ** (-4.0 * torch.arange(width // 2, dtype=torch.float64) / width)
    # The angles are float32, as in the published table: at t = 999 that shows in the fifth digit.
    angles = torch.arange(num_train_timesteps)[:, None] * frequencies.float()
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(num_train_timesteps, width)


def block_names(depth: int) -> tuple[str, ...]:
    """The ODE blocks in the order they run."""
    sides = range(1, depth)
    return (*(f"down{i}" for i in sides), "embedding", *(f"up{i}" for i in sides))


def attention_places(sizes: ReleasedSizes) -> tuple[str, ...]:
    """Where attention stands: encoders are counted from the top, decoders from the bottom."""
    deepest = sizes.depth - 1
    if sizes.attention == "none":
        return ()
    if sizes.attention == "two":
        return (f"encoder{deepest}", "decoder1")
    return ("encoder2", f"encoder{deepest}", "bottleneck", "decoder1", f"decoder{deepest - 1}")


def down_name(level: int, depth: int) -> str:
    """The 1x1 convolution that leaves a level downwards."""
    return f"conv_down{level + 1}_{'embed' if level == depth - 2 else level + 2}"


def up_name(level: int, depth: int) -> str:
    """The 1x1 convolution that joins a level with what comes from below."""
    place = depth - 1 - level
    return "conv_up_embed_1" if place == 1 else f"conv_up{place - 1}_{place}"


def _place_level(name: str, depth: int) -> int:
    """The level of a block or an attention, by its name."""
    if name in ("embedding", "bottleneck"):
        return depth - 1
    number = int(name.lstrip(ascii_letters))
    return number - 1 if name.startswith(("down", "encoder")) else depth - 1 - number


def _time_mlp_name(block: str) -> str:
    if block == "embedding":
        return "te_emb"
    return f"te{block.removeprefix('down')}" if block.startswith("down") else f"te_{block}"


def _time_mlp(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, channels), nn.SiLU(), nn.Linear(channels, channels))


def _norm(channels: int, sizes: ReleasedSizes) -> nn.Module:
    return nn.InstanceNorm2d(channels) if sizes.norm == "instance" else nn.GroupNorm(NORM_GROUPS, channels)
