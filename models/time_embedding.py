"""The diffusion timestep as a vector, for networks that it scales and shifts."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn


class TimeMlp(nn.Sequential):
    """Sines and cosines of the timestep through two linear layers: t [B] -> [B, out_width].

    The layers sit at 1 and 3 with a GELU between, 0 being the part without weights.
    """

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__(Sinusoid(width), nn.Linear(width, out_width), nn.GELU(), nn.Linear(out_width, out_width))

    def forward(self, t: Tensor) -> Tensor:
        embedding = self[0](t).to(cast(nn.Linear, self[1]).weight.dtype)
        out: Tensor = self[3](self[2](self[1](embedding)))
        return out


class Sinusoid(nn.Module):
    """Sines, then cosines, at width / 2 frequencies falling from 1 to 1/10000: t [B] -> [B, width] float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float32) * -(math.log(10_000.0) / (half - 1))
        # Not a buffer, so that casting the network leaves it alone: t = 999 has no exact bfloat16.
        self.frequencies = exponents.exp()

    def forward(self, t: Tensor) -> Tensor:
        if self.frequencies.device != t.device:
            self.frequencies = self.frequencies.to(t.device)
        angles = t.to(torch.float32)[:, None] * self.frequencies[None, :]
        return torch.cat([angles.sin(), angles.cos()], dim=1)
