"""Attention over the pixels of a feature map, in the two kinds that small diffusion U-Nets use.

Both follow the public U-Net whose checkpoints carry these names (`norm.g`, `to_qkv`, `to_out`). Products are written
as batched matrix products, which every counter of multiply-accumulates sees.

Shape legend: B images, C channels, H x W pixels, N = H * W, h heads of d channels each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 4
HEAD_CHANNELS = 32
INNER = HEADS * HEAD_CHANNELS
"""Channels inside an attention, whatever it is applied to."""


class RMSNorm(nn.Module):
    """Every pixel's channels scaled to a root mean square of 1, then by a learned factor a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.scale = channels**0.5

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.normalize(x, dim=1) * self.g * self.scale
        return out


class FullAttention(nn.Module):
    """Softmax attention of every pixel to every pixel: x [B, C, H, W] -> the same shape, without a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels)
        self.to_qkv = nn.Conv2d(channels, 3 * INNER, 1, bias=False)
        self.to_out = nn.Conv2d(INNER, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = _heads(self.to_qkv(self.norm(x)))
        scores = torch.bmm(q.transpose(1, 2), k) * HEAD_CHANNELS**-0.5
        mixed = torch.bmm(v, scores.softmax(dim=2).transpose(1, 2))
        out: Tensor = self.to_out(mixed.reshape(x.shape[0], INNER, *x.shape[2:]))
        return out


class LinearAttention(nn.Module):
    """Attention at a cost linear in the pixels: softmax over the keys' pixels and the queries' channels apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels)
        self.to_qkv = nn.Conv2d(channels, 3 * INNER, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(INNER, channels, 1), RMSNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = _heads(self.to_qkv(self.norm(x)))
        context = torch.bmm(k.softmax(dim=2), v.transpose(1, 2))
        mixed = torch.bmm(context.transpose(1, 2), q.softmax(dim=1) * HEAD_CHANNELS**-0.5)
        out: Tensor = self.to_out(mixed.reshape(x.shape[0], INNER, *x.shape[2:]))
        return out


def _heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, 3hd, H, W] -> q, k, v, each [B*h, d, N]."""
    batch = qkv.shape[0]
    q, k, v = (part.reshape(batch * HEADS, HEAD_CHANNELS, -1) for part in qkv.chunk(3, dim=1))
    return q, k, v
