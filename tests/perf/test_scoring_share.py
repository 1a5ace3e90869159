"""What scoring every step of a denoising walk costs beside the network, on a quiet machine.

`python -m pytest tests/perf/test_scoring_share.py -m perf --benchmark-enable`

The limit is checked only with --benchmark-enable, on the median of interleaved pairs: SSIM and a perceptual score of
both pictures of a step take at most 15 % of the network's time at 32x32. The network is the small one that ships for
photographs; larger ones leave more room.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.data.photos import load_photos
from bench.quality import perceptual
from bench.quality.curves import CHUNKS, ScoreTable
from bench.quality.perceptual import build_lpips
from bench.quality.preprocess import to_unit
from bench.quality.score_names import ScoreName
from bench.registry import MODELS, load_builtins

pytestmark = pytest.mark.perf

MAX_SHARE = 0.15
PAIRS = 15


def alex() -> Any:
    """LPIPS on a seeded AlexNet: it costs what the published one costs, which is a download."""
    import lpips

    torch.manual_seed(0)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        module = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = {f"features.{name.split('.', 1)[1]}": tensor for name, tensor in module.net.state_dict().items()}
    return build_lpips("alex", state)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.mark.parametrize("scores", [("ssim", "gmsd"), ("ssim", "lpips[alex]")])
def test_scoring_both_pictures_of_a_step_takes_a_small_part_of_the_networks_time(
    scores: tuple[ScoreName, ...], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    network = alex()
    monkeypatch.setattr(perceptual, "load_lpips", lambda net: network)
    load_builtins()
    torch.set_num_threads(1)
    denoiser: Any = MODELS.get("lucid-unet").factory(config="photos", weights="random")
    denoiser.network.eval()
    images: Tensor = load_photos()[0 : CHUNKS["large"]]
    clean, t = to_unit(images), torch.full((len(images),), 150)
    shares = []
    with torch.inference_mode():
        table = ScoreTable(clean, scores, 1)
        for pair in range(PAIRS + 1):
            of_network = seconds(lambda: denoiser.network(images, t))
            of_scores = seconds(lambda: table.see(1, clean, clean))
            if pair:
                shares.append(of_scores / of_network)
    share = statistics.median(shares)

    print(f"{' and '.join(scores)}: {share:.1%} of the network's time")
    if request.config.getoption("--benchmark-enable"):
        assert share <= MAX_SHARE
