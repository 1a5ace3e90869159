"""The two supervised networks that paper B compares diffusion with: one call, no timestep, noisy image to clean image.

They follow the configurations of the paper's public notebook. Images are in [0, 1] here, as there; at 3 colours the
autoencoder has 4,307,011 parameters and the residual network 669,312. Both are blind: they take the noise's standard
deviation, as every restorer does, and do not read it.

Shape legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from bench.models.image_size import check_image_size

AUTOENCODER_HALVINGS = 4

Cut = Literal["always", "at-test", "never"]
"""When the noisy input is cut to [0, 1] before it is looked at. The notebook cuts always for the autoencoder, and for
the residual network when it is tested but not when it is trained."""


class ConvAutoencoder(nn.Module):
    """Four strided convolutions down, four transposed ones up, nothing joined across: noisy [B, C, H, W] -> clean.

    Input and output in [0, 1]. H and W must be multiples of 16, otherwise the output would have another size.
    """

    def __init__(self, channels: int = 3, width: int = 64, cut: Cut = "always") -> None:
        super().__init__()
        self.cut: Cut = cut
        widths = (channels, *(width << halving for halving in range(AUTOENCODER_HALVINGS)))
        pairs = list(pairwise(widths))
        down = [layer for a, b in pairs for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())]
        up = [
            layer for a, b in reversed(pairs) for layer in (nn.ConvTranspose2d(b, a, 4, stride=2, padding=1), nn.ReLU())
        ]
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*up[:-1], nn.Sigmoid())

    def forward(self, noisy: Tensor, sigma: Tensor | None = None) -> Tensor:
        check_image_size(noisy.shape[2:], AUTOENCODER_HALVINGS + 1)
        out: Tensor = self.decoder(self.encoder(cut_noisy(noisy, self.cut, self.training)))
        return out


class DnCNN(nn.Module):
    """Convolutions that predict the noise, which is subtracted (Zhang et al. 2017): noisy [B, C, H, W] -> clean.

    Images in [0, 1]; the output is not cut. Any H and W. Batch norms are in the layers between the first and the
    last; no layer has a bias.
    """

    def __init__(self, channels: int = 3, depth: int = 20, width: int = 64, cut: Cut = "at-test") -> None:
        super().__init__()
        self.cut: Cut = cut
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.dncnn = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1, bias=False))

    def forward(self, noisy: Tensor, sigma: Tensor | None = None) -> Tensor:
        seen = cut_noisy(noisy, self.cut, self.training)
        out: Tensor = seen - self.dncnn(seen)
        return out


def cut_noisy(noisy: Tensor, cut: Cut, training: bool) -> Tensor:
    """The noisy image, cut to [0, 1] or as it is."""
    return noisy.clamp(0.0, 1.0) if cut == "always" or (cut == "at-test" and not training) else noisy
