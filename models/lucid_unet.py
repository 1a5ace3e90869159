"""The U-Net that paper B calls its baseline: the widespread PyTorch one with linear attention, as of its 1.8 releases.

It is not the network of Ho et al., though the counts happen to be near: here blocks take the timestep as a scale and
a shift, attention is linear at every level but the deepest, and the image's first feature map is joined again at the
end. Releases from 1.9 on add learned keys to attention and from 2.0 on another norm, and are other networks.

Module names spell the state-dict keys of 1.8 checkpoints (`downs.0.2.to_qkv.weight`). At 3x64x64: 35,710,339
parameters in 274 tensors.

Shape legend: B images, C channels, H x W pixels, E width of the time embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ParamError
from bench.models.attention import FullAttention, LinearAttention
from bench.models.image_size import check_image_size
from bench.models.time_embedding import TimeMlp

NORM_GROUPS = 8


@dataclass(frozen=True)
class LucidSizes:
    """Everything that decides the network's shape; the defaults are paper B's baseline."""

    image_size: int = 64
    channels: int = 3
    width: int = 64
    """Channels at full resolution; every level down doubles them (multipliers 1, 2, 4, 8)."""
    depth: int = 4
    """Resolutions."""

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ParamError(f"depth must be at least 1, got {self.depth}")
        if self.width < NORM_GROUPS or self.width % NORM_GROUPS:
            raise ParamError(f"width must be a multiple of {NORM_GROUPS}, the groups of its norms; got {self.width}")
        check_image_size((self.image_size, self.image_size), self.depth)

    def level_channels(self, level: int) -> int:
        """Channels that a level's blocks on the way down take: level 0 is full resolution."""
        return self.width << max(0, level - 1)

    def below_channels(self, level: int) -> int:
        """Channels that a level hands on downwards."""
        return self.width << level


class Block(nn.Module):
    """3x3 convolution, group norm, an optional scale and shift, swish."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.GroupNorm(NORM_GROUPS, out_channels)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """x [B, C_in, H, W]; scale, shift [B, C_out, 1, 1] -> [B, C_out, H, W]."""
        h: Tensor = self.norm(self.proj(x))
        if scale is not None and shift is not None:
            h = h * (scale + 1) + shift
        return F.silu(h)


class ResidualBlock(nn.Module):
    """Two blocks with a shortcut around them; the timestep scales and shifts the first."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * out_channels))
        self.block1 = Block(in_channels, out_channels)
        self.block2 = Block(out_channels, out_channels)
        self.res_conv = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """x [B, C_in, H, W], temb [B, E] -> [B, C_out, H, W]."""
        scale, shift = self.mlp(temb)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = self.block2(self.block1(x, scale, shift)) + self.res_conv(x)
        return out


class Level(nn.ModuleList):
    """One resolution on one side: 0 and 1 are residual blocks, 2 is attention, 3 leads to the next resolution."""

    def first(self, x: Tensor, temb: Tensor) -> Tensor:
        out: Tensor = self[0](x, temb)
        return out

    def second(self, x: Tensor, temb: Tensor) -> Tensor:
        h: Tensor = self[1](x, temb)
        out: Tensor = self[2](h) + h
        return out

    def leave(self, x: Tensor) -> Tensor:
        out: Tensor = self[3](x)
        return out


class LucidUNet(nn.Module):
    """(x_t [B, C, H, W], t [B]) -> [B, C, H, W]."""

    def __init__(self, sizes: LucidSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, time_width, bottom = sizes.width, 4 * sizes.width, sizes.below_channels(sizes.depth - 1)
        self.init_conv = nn.Conv2d(sizes.channels, width, 7, padding=3)
        self.time_mlp = TimeMlp(width, time_width)
        self.downs = nn.ModuleList(_down_level(level, sizes, time_width) for level in range(sizes.depth))
        self.mid_block1 = ResidualBlock(bottom, bottom, time_width)
        self.mid_attn = FullAttention(bottom)
        self.mid_block2 = ResidualBlock(bottom, bottom, time_width)
        self.ups = nn.ModuleList(_up_level(level, sizes, time_width) for level in reversed(range(sizes.depth)))
        self.final_res_block = ResidualBlock(2 * width, width, time_width)
        self.final_conv = nn.Conv2d(width, sizes.channels, 1)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        check_image_size(x_t.shape[2:], self.sizes.depth)
        temb = self.time_mlp(t)
        h = start = self.init_conv(x_t)
        features: list[Tensor] = []
        for level in cast("list[Level]", list(self.downs)):
            features.append(level.first(h, temb))
            features.append(level.second(features[-1], temb))
            h = level.leave(features[-1])
        h = self.mid_block1(h, temb)
        h = self.mid_block2(self.mid_attn(h) + h, temb)
        for level in cast("list[Level]", list(self.ups)):
            h = level.first(torch.cat([h, features.pop()], dim=1), temb)
            h = level.second(torch.cat([h, features.pop()], dim=1), temb)
            h = level.leave(h)
        out: Tensor = self.final_conv(self.final_res_block(torch.cat([h, start], dim=1), temb))
        return out


def _down_level(level: int, sizes: LucidSizes, time_width: int) -> Level:
    here, below = sizes.level_channels(level), sizes.below_channels(level)
    # Every 2x2 pixels become four times the channels, which a 1x1 convolution mixes.
    leave = (
        nn.Conv2d(here, below, 3, padding=1)
        if level == sizes.depth - 1
        else nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * here, below, 1))
    )
    blocks = [ResidualBlock(here, here, time_width) for _ in range(2)]
    return Level([*blocks, _attention(here, level, sizes), leave])


def _up_level(level: int, sizes: LucidSizes, time_width: int) -> Level:
    """Mirror of a level on the way down: it works at the width that came from below."""
    above, here = sizes.level_channels(level), sizes.below_channels(level)
    convolution = nn.Conv2d(here, above, 3, padding=1)
    leave = convolution if level == 0 else nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)
    blocks = [ResidualBlock(here + above, here, time_width) for _ in range(2)]
    return Level([*blocks, _attention(here, level, sizes), leave])


def _attention(channels: int, level: int, sizes: LucidSizes) -> nn.Module:
    return FullAttention(channels) if level == sizes.depth - 1 else LinearAttention(channels)
