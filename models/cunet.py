"""The continuous U-Net as Calvo-Ordoñez et al. describe it.

Every block of the U is a dynamic block: its output is the position x(1) of x'' = f(x, x', t, t~), started from the
incoming features x(0) = X0 at the velocity x'(0) = g(X0). The diffusion timestep t scales and shifts the inside of f,
norms are group norms, f has a residual connection, and resolution changes by strided convolutions. The published code
computes another network, `bench.models.cunet_released`. Where the description leaves a choice, the choice made here is
named in models/missing_u.md.

Shape legend: B images, C channels, H x W pixels, E width of the time embedding, t~ the time of the ODE in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ParamError
from bench.models.attention import FullAttention
from bench.models.image_size import check_image_size
from bench.models.ode import OdeBlock, OdeSolver
from bench.models.time_embedding import TimeMlp

Attention = Literal["two", "five", "none"]
"""two: after the deepest blocks above the bottom, on both sides. five: also at the bottom and at the second level."""

NORM_GROUPS = 8


@dataclass(frozen=True)
class CUNetSizes:
    """Everything that decides the network's shape."""

    image_size: int = 64
    channels: int = 3
    width: int = 16
    """Channels of x at full resolution, and as many of x'; every level down doubles them."""
    depth: int = 5
    """Resolutions, full size and bottom included."""
    attention: Attention = "two"
    residual: bool = True
    """The residual connection inside f."""

    def __post_init__(self) -> None:
        if self.attention not in get_args(Attention):
            raise ParamError(f"attention: expected one of {', '.join(get_args(Attention))}, got {self.attention!r}")
        if self.depth < 1 + len(self.attention_levels) or self.depth < 1:
            raise ParamError(
                f"depth must be at least {1 + len(self.attention_levels)} with attention {self.attention!r}, "
                f"got {self.depth}"
            )
        if self.width < NORM_GROUPS or self.width % NORM_GROUPS:
            raise ParamError(f"width must be a multiple of {NORM_GROUPS}, the groups of its norms; got {self.width}")
        check_image_size((self.image_size, self.image_size), self.depth)

    @property
    def attention_levels(self) -> tuple[int, ...]:
        """Levels with attention after their blocks, down and up; level depth - 1, the bottom, has one block."""
        bottom = self.depth - 1
        return {"none": (), "two": (bottom - 1,), "five": (1, bottom - 1, bottom)}[self.attention]

    def level_channels(self, level: int) -> int:
        """Channels of x at level 0 (full resolution) to depth - 1 (bottom)."""
        return self.width << level


class Acceleration(nn.Module):
    """The right-hand side of x'' = f(x, x', t, t~), written as a first-order system of (x, x')."""

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        both = 2 * channels
        self.norm1 = nn.GroupNorm(NORM_GROUPS, both)
        self.conv1 = nn.Conv2d(both, both, 3, padding=1)
        # t~ as one more constant input plane of conv1, which comes to a bias that grows with t~.
        self.time_rate = nn.Parameter(torch.empty(1, both, 1, 1).uniform_(-1.0, 1.0) * both**-0.5)
        self.norm2 = nn.GroupNorm(NORM_GROUPS, both)
        self.conv2 = nn.Conv2d(both, channels, 3, padding=1)
        self.res_conv = nn.Conv2d(both, channels, 1) if residual else None

    def forward(self, t: float | Tensor, state: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """state [B, 2C, H, W] is x, then x'; scale, shift [B, 2C, 1, 1] -> (x', x'') in the same layout."""
        velocity = state[:, state.shape[1] // 2 :]
        h = F.relu(self.conv1(self.norm1(state)) + self.time_rate * t)
        h = self.conv2(self.norm2(h) * (scale + 1) + shift)
        if self.res_conv is not None:
            h = h + self.res_conv(state)
        return torch.cat([velocity, h], dim=1)


class InitialVelocity(nn.Module):
    """g: X0 [B, C, H, W] -> x'(0), the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(NORM_GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(NORM_GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv1(self.norm1(x)))
        out: Tensor = self.conv2(self.norm2(h))
        return out


class DynamicBlock(nn.Module):
    """X0 [B, C, H, W] -> x(1), the same shape."""

    def __init__(self, channels: int, time_width: int, residual: bool, solver: OdeSolver) -> None:
        super().__init__()
        self.channels = channels
        self.initial_velocity = InitialVelocity(channels)
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 4 * channels))
        self.ode = OdeBlock(Acceleration(channels, residual), solver)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """temb: [B, E]."""
        # t does not change while the block is integrated, so its scale and shift are made once.
        scale, shift = self.mlp(temb)[:, :, None, None].chunk(2, dim=1)
        state = torch.cat([x, self.initial_velocity(x)], dim=1)
        end: Tensor = self.ode(state, scale, shift)
        return end[:, : self.channels]


class Level(nn.Module):
    """A dynamic block, and attention with a shortcut where the level has it."""

    def __init__(self, level: int, sizes: CUNetSizes, solver: OdeSolver) -> None:
        super().__init__()
        channels = sizes.level_channels(level)
        self.block = DynamicBlock(channels, 16 * sizes.width, sizes.residual, solver)
        self.attention = FullAttention(channels) if level in sizes.attention_levels else None

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h: Tensor = self.block(x, temb)
        return h if self.attention is None else h + self.attention(h)


class CUNet(nn.Module):
    """(x_t [B, C, H, W], t [B]) -> [B, C, H, W]."""

    def __init__(self, sizes: CUNetSizes, solver: OdeSolver | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        solver = solver or OdeSolver()
        sides = range(sizes.depth - 1)
        channels = [sizes.level_channels(level) for level in range(sizes.depth)]
        self.time_mlp = TimeMlp(8 * sizes.width, 16 * sizes.width)
        self.conv_in = nn.Conv2d(sizes.channels, sizes.width, 3, padding=1)
        self.down = nn.ModuleList(Level(level, sizes, solver) for level in sides)
        self.shrink = nn.ModuleList(
            nn.Conv2d(channels[level], channels[level + 1], 3, stride=2, padding=1) for level in sides
        )
        self.bottom = Level(sizes.depth - 1, sizes, solver)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(channels[level + 1], channels[level], 2, stride=2) for level in sides
        )
        self.join = nn.ModuleList(nn.Conv2d(2 * channels[level], channels[level], 1) for level in sides)
        self.up = nn.ModuleList(Level(level, sizes, solver) for level in sides)
        self.norm_out = nn.GroupNorm(NORM_GROUPS, sizes.width)
        self.conv_out = nn.Conv2d(sizes.width, sizes.channels, 3, padding=1)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        check_image_size(x_t.shape[2:], self.sizes.depth)
        temb = self.time_mlp(t)
        x = self.conv_in(x_t)
        features: list[Tensor] = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            features.append(level(x, temb))
            x = shrink(features[-1])
        x = self.bottom(x, temb)
        for index in reversed(range(len(features))):
            x = torch.cat([self.grow[index](x), features[index]], dim=1)
            x = self.up[index](self.join[index](x), temb)
        out: Tensor = self.conv_out(F.relu(self.norm_out(x)))
        return out
