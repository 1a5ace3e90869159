"""InstanceNorm2d at the speed of the fastest operator that computes the same.

torch's CPU kernel for instance norm takes three to five times as long as its kernel for group norm with one channel a
group, which is the same formula. The quick ways run in inference mode only: training and counters, which go by the
kind of module, see the plain module.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """norm(x) for x [B, C, H, W], by the quickest of several equal ways."""
    if not (isinstance(norm, nn.InstanceNorm2d) and _replaceable(norm, x)):
        out: Tensor = norm(x)
        return out
    if x.is_contiguous():
        return F.group_norm(x, x.shape[1], eps=norm.eps)
    # In channels_last layout group norm goes channel by channel on small maps, and on large ones takes the variance as
    # a difference of means, which is off by 0.003 where the mean is 30 times the spread.
    centred = x - x.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True)
    return centred.mul_(variance.add_(norm.eps).rsqrt_())


def _replaceable(norm: nn.InstanceNorm2d, x: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and torch.is_inference_mode_enabled()
        and not norm.affine
        and not norm.track_running_stats
        and x.device.type == "cpu"
        and x.dtype == torch.float32
    )
