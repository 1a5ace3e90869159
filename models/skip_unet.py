"""The DDPM U-Net that skips its k(t) deepest levels at noisy timesteps (Giladi et al.).

Skipping k levels of N means: go down through levels 0..N-1-k only, make something in place of what the skipped part
would have given ("the missing branch"), and come up again. There are no extra parameters, so weights of the plain
U-Net fit. The four ways to fill the missing branch:

zero               zeros; the middle block does not run.
duplicate          the last feature map of the way down once more, channels repeated to fit; no middle block.
interpolate        as the paper writes it: that feature map bicubically reduced to the middle's size, through the middle
                   block, and bicubically enlarged again.
interpolate-coded  as the authors' public code computes it: the reduced map is tiled back to the level's resolution
                   *before* the middle block, which then runs at that resolution.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ParamError
from bench.models.skip_schedule import skip_table
from bench.models.unet import UNet, UNetSizes

Skip = Literal["zero", "duplicate", "interpolate", "interpolate-coded"]


class SkipUNet(UNet):
    """(x_t [B, C, H, W], t [B]) -> [B, C, H, W], at a depth that t decides.

    `skip_exponent` is c of k(t); 0 runs the whole network at every t and equals `UNet` bit for bit. Samples of one
    batch may stand at timesteps of different k: each is computed at its own depth.
    """

    def __init__(self, sizes: UNetSizes, skip: Skip, skip_exponent: float, num_train_timesteps: int = 1000) -> None:
        super().__init__(sizes)
        if skip not in get_args(Skip):
            raise ParamError(f"skip: expected one of {', '.join(get_args(Skip))}, got {skip!r}")
        self.skip: Skip = skip
        self.skip_exponent = skip_exponent
        self.table = skip_table(sizes.num_levels, skip_exponent, num_train_timesteps)
        self._check_widths()

    @property
    def num_depths(self) -> int:
        """N, the number of depths `at_depth` takes."""
        return self.sizes.num_levels

    def num_skipped_levels(self, t: int) -> int:
        """k(t) for a timestep of the training chain."""
        return self.table[t]

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        depths = {self.table[step] for step in t.tolist()}
        if len(depths) == 1:
            return self.at_depth(x_t, t, depths.pop())
        skipped = torch.tensor([self.table[step] for step in t.tolist()], device=t.device)
        out = torch.empty_like(x_t)
        for depth in depths:
            chosen = skipped == depth
            out[chosen] = self.at_depth(x_t[chosen], t[chosen], depth).to(out.dtype)
        return out

    def at_depth(self, x_t: Tensor, t: Tensor, num_skipped: int) -> Tensor:
        """The network with its `num_skipped` deepest levels left out, whatever t is; 0 <= num_skipped <= N - 1."""
        if not 0 <= num_skipped < self.sizes.num_levels:
            raise ParamError(f"can skip 0 to {self.sizes.num_levels - 1} levels, not {num_skipped}")
        return self.walk(x_t, t, num_levels=self.sizes.num_levels - num_skipped)

    def cross(self, h: Tensor, temb: Tensor, num_levels: int) -> Tensor:
        """h [B, C, H, W], the last map of the way down -> what the first level on the way up expects from below."""
        if num_levels == self.sizes.num_levels:
            return super().cross(h, temb, num_levels)
        width = self.sizes.channels(num_levels)
        if self.skip == "zero":
            return h.new_zeros(h.shape[0], width, h.shape[2], h.shape[3])
        if self.skip == "duplicate":
            return _repeat_channels(h, width)
        core = self.sizes.resolution(self.sizes.num_levels - 1)
        small = _repeat_channels(_bicubic(h, core), width)
        if self.skip == "interpolate":
            return _bicubic(self.mid(small, temb), h.shape[-1])
        tiles = h.shape[-1] // core
        out: Tensor = self.mid(small.repeat(1, 1, tiles, tiles), temb)
        return out

    def _check_widths(self) -> None:
        """Every depth must be computable; otherwise say at construction which is not."""
        sizes = self.sizes
        for level in range(sizes.num_levels - 1):
            have, want = sizes.channels(level), sizes.channels(level + 1)
            if self.skip != "zero" and want % have:
                raise ParamError(
                    f"skip {self.skip!r} repeats the {have} channels of level {level} to {want}, which is not a "
                    "multiple; choose channel_multipliers that divide each other, or skip 'zero'"
                )
            if self.skip.startswith("interpolate") and want != sizes.channels(sizes.num_levels):
                raise ParamError(
                    f"skip {self.skip!r} runs the middle block in place of level {level + 1}, so that level must be as "
                    f"wide as the middle ({sizes.channels(sizes.num_levels)} channels), not {want}"
                )


def _bicubic(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bicubic", align_corners=False)


def _repeat_channels(x: Tensor, width: int) -> Tensor:
    return x.repeat(1, width // x.shape[1], 1, 1)
