"""The DDPM U-Net of Ho et al. 2020, appendix B, for any image size, width and depth.

Module names spell the state-dict keys that public checkpoints of this network use (`down.1.attn.0.q.weight`),
so such a file loads without renaming. At the CIFAR-10 sizes: 35,746,307 parameters in 328 tensors.

Shape legend: B images, C channels, H x W pixels, E width of the time embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ParamError


@dataclass(frozen=True)
class UNetSizes:
    """Everything that decides a U-Net's shape. The defaults are the CIFAR-10 network of Ho et al."""

    image_size: int = 32
    """Height and width of the square images; halved at every level but the last."""
    in_channels: int = 3
    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """Width of each level as a multiple of base_channels; their number is the number of levels N."""
    blocks_per_level: int = 2
    """Residual blocks on the way down; the way up has one more."""
    attention_levels: tuple[int, ...] = (1,)
    """Levels with self-attention after every residual block; the middle always has one."""
    dropout: float = 0.1
    norm_groups: int = 32
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        halvings = 1 << (self.num_levels - 1)
        if self.image_size % halvings:
            raise ParamError(
                f"image_size {self.image_size} cannot be halved {self.num_levels - 1} times; "
                f"use a multiple of {halvings} or fewer channel_multipliers"
            )
        if self.base_channels % self.norm_groups:
            raise ParamError(f"base_channels {self.base_channels} is not a multiple of norm_groups {self.norm_groups}")
        missing = [level for level in self.attention_levels if not 0 <= level < self.num_levels]
        if missing:
            raise ParamError(f"attention_levels {missing} do not exist; the levels are 0 to {self.num_levels - 1}")

    @property
    def num_levels(self) -> int:
        """N, the number of resolutions."""
        return len(self.channel_multipliers)

    def channels(self, level: int) -> int:
        """Width at a level; level N stands for the middle, as wide as the deepest level."""
        return self.base_channels * self.channel_multipliers[min(level, self.num_levels - 1)]

    def resolution(self, level: int) -> int:
        """Height and width in pixels at a level."""
        return self.image_size >> level


class TimeEmbedding(nn.Module):
    """Sines and cosines of the timestep through two linear layers: t [B] -> [B, E]."""

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        half = base_channels // 2
        exponents = torch.arange(half, dtype=torch.float32) * -(math.log(10_000.0) / (half - 1))
        # Not a buffer, so that a cast leaves it alone: in bfloat16 the angle at t = 999 would be off by a radian.
        self.frequencies = exponents.exp()
        width = 4 * base_channels
        self.dense = nn.ModuleList([nn.Linear(base_channels, width), nn.Linear(width, width)])

    def forward(self, t: Tensor) -> Tensor:
        if self.frequencies.device != t.device:
            self.frequencies = self.frequencies.to(t.device)
        angles = t.to(torch.float32)[:, None] * self.frequencies[None, :]
        first, second = (cast(nn.Linear, layer) for layer in self.dense)
        embedding = torch.cat([angles.sin(), angles.cos()], dim=1).to(first.weight.dtype)
        hidden: Tensor = second(F.silu(first(embedding)))
        return hidden


class ResidualBlock(nn.Module):
    """Norm, swish, 3x3 convolution, twice, with the time embedding added between and a shortcut around."""

    def __init__(self, in_channels: int, out_channels: int, sizes: UNetSizes) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels, sizes)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.temb_proj = nn.Linear(4 * sizes.base_channels, out_channels)
        self.norm2 = _norm(out_channels, sizes)
        self.dropout = nn.Dropout(sizes.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.widens = in_channels != out_channels

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """x [B, C_in, H, W], temb [B, E] already through swish -> [B, C_out, H, W]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        shortcut: Tensor = self.nin_shortcut(x) if self.widens else x
        out: Tensor = shortcut + h
        return out


class AttentionBlock(nn.Module):
    """Single-head self-attention over the H*W positions, with 1x1 convolutions and a shortcut."""

    def __init__(self, channels: int, sizes: UNetSizes) -> None:
        super().__init__()
        self.norm = _norm(channels, sizes)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> the same shape."""
        batch, channels, height, width = x.shape
        normed = self.norm(x)
        q, k, v = (layer(normed).reshape(batch, channels, height * width) for layer in (self.q, self.k, self.v))
        # Written as two batched products, which every counter of multiply-accumulates sees.
        scores = torch.bmm(q.transpose(1, 2), k) * channels**-0.5
        mixed = torch.bmm(v, scores.softmax(dim=2).transpose(1, 2)).reshape(batch, channels, height, width)
        out: Tensor = x + self.proj_out(mixed)
        return out


class Downsample(nn.Module):
    """Halve the resolution with a strided 3x3 convolution, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Double the resolution by repeating pixels, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class Level(nn.Module):
    """One resolution on one side of the U: residual blocks, each followed by attention where the level has it."""

    def __init__(self, blocks: Iterable[ResidualBlock], attention: Iterable[AttentionBlock], resize: nn.Module | None):
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.attn = nn.ModuleList(attention)
        if isinstance(resize, Downsample):
            self.downsample = resize
        elif isinstance(resize, Upsample):
            self.upsample = resize

    def apply_block(self, index: int, x: Tensor, temb: Tensor) -> Tensor:
        """Residual block `index`, and its attention if there is one."""
        h: Tensor = self.block[index](x, temb)
        return self.attn[index](h) if len(self.attn) else h


class Middle(nn.Module):
    """The bottom of the U: residual, attention, residual."""

    def __init__(self, channels: int, sizes: UNetSizes) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, sizes)
        self.attn_1 = AttentionBlock(channels, sizes)
        self.block_2 = ResidualBlock(channels, channels, sizes)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        out: Tensor = self.block_2(self.attn_1(self.block_1(x, temb)), temb)
        return out


class UNet(nn.Module):
    """(x_t [B, C, H, W], t [B]) -> [B, C, H, W]; the whole network at every timestep."""

    def __init__(self, sizes: UNetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.temb = TimeEmbedding(sizes.base_channels)
        self.conv_in = nn.Conv2d(sizes.in_channels, sizes.base_channels, 3, padding=1)
        self.down = nn.ModuleList(_down_level(level, sizes) for level in range(sizes.num_levels))
        self.mid = Middle(sizes.channels(sizes.num_levels), sizes)
        self.up = nn.ModuleList(_up_level(level, sizes) for level in range(sizes.num_levels))
        self.norm_out = _norm(sizes.base_channels, sizes)
        self.conv_out = nn.Conv2d(sizes.base_channels, sizes.in_channels, 3, padding=1)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.walk(x_t, t, num_levels=self.sizes.num_levels)

    def walk(self, x_t: Tensor, t: Tensor, num_levels: int) -> Tensor:
        """Down through the first `num_levels` levels, across, and up again."""
        temb = F.silu(self.temb(t))
        features = self.descend(x_t, temb, num_levels)
        h = self.cross(features[-1], temb, num_levels)
        return self.ascend(h, features, temb, num_levels)

    def descend(self, x_t: Tensor, temb: Tensor, num_levels: int) -> list[Tensor]:
        """Every feature map the way up will want, in the order they were made."""
        features = [self.conv_in(x_t)]
        for index in range(num_levels):
            level = cast(Level, self.down[index])
            for block in range(len(level.block)):
                features.append(level.apply_block(block, features[-1], temb))
            # The last level in use is not left downwards, so its downsampling does not run.
            if index < num_levels - 1:
                features.append(level.downsample(features[-1]))
        return features

    def cross(self, h: Tensor, temb: Tensor, num_levels: int) -> Tensor:
        """What the deepest level in use gets from below; here always the middle block."""
        out: Tensor = self.mid(h, temb)
        return out

    def ascend(self, h: Tensor, features: list[Tensor], temb: Tensor, num_levels: int) -> Tensor:
        """Join each feature map again on the way up, last made first."""
        for index in reversed(range(num_levels)):
            level = cast(Level, self.up[index])
            for block in range(len(level.block)):
                h = level.apply_block(block, torch.cat([h, features.pop()], dim=1), temb)
            if index > 0:
                h = level.upsample(h)
        out: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return out


def _norm(channels: int, sizes: UNetSizes) -> nn.GroupNorm:
    return nn.GroupNorm(sizes.norm_groups, channels, eps=sizes.norm_eps)


def _down_level(level: int, sizes: UNetSizes) -> Level:
    width = sizes.channels(level)
    first = sizes.base_channels if level == 0 else sizes.channels(level - 1)
    return Level(
        [ResidualBlock(first if index == 0 else width, width, sizes) for index in range(sizes.blocks_per_level)],
        [AttentionBlock(width, sizes) for _ in range(sizes.blocks_per_level) if level in sizes.attention_levels],
        Downsample(width) if level < sizes.num_levels - 1 else None,
    )


def _up_level(level: int, sizes: UNetSizes) -> Level:
    """One more block than on the way down: the extra one joins the feature that entered the level."""
    width = sizes.channels(level)
    entered = sizes.base_channels if level == 0 else sizes.channels(level - 1)
    joined = [width] * sizes.blocks_per_level + [entered]
    from_below = [sizes.channels(level + 1)] + [width] * sizes.blocks_per_level
    return Level(
        [ResidualBlock(h + skip, width, sizes) for h, skip in zip(from_below, joined, strict=True)],
        [AttentionBlock(width, sizes) for _ in joined if level in sizes.attention_levels],
        Upsample(width) if level > 0 else None,
    )
