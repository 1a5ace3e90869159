"""The FID engine against pytorch-fid, as ratios in one process.

Run alone on a quiet machine: `python -m pytest tests/perf/test_fid_ratios.py -m perf -s`. Rounds time all variants one
after another, in shuffled order; the figures are medians of the rounds' ratios. A slow machine fails nothing, a
variant that computes something else does. Weights are random and seeded: they cost what the published ones cost.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference_fid import pytorch_fid_of_moments
from torch import Tensor, nn

from bench.quality import extractors
from bench.quality.extractors import Extractor, extract
from bench.quality.frechet import frechet_distance, frechet_of_features
from bench.quality.inception import build_inception
from bench.quality.moments import moments_of
from bench.quality.recipe import Dtype, feature_recipe

pytestmark = [pytest.mark.perf, pytest.mark.filterwarnings("ignore")]

IMAGES = 48
"""Of 32 x 32, in each timed call."""
THEIR_BATCH = 50
"""pytorch-fid's default."""


def test_inception_features_ratio_to_pytorch_fid() -> None:
    state = seeded_state()
    theirs = pytorch_fid(state)
    images = torch.rand(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(1)).mul(255).round().div(255)
    runs: dict[str, Callable[[], Tensor]] = {"pytorch-fid": lambda: features_of(theirs, images)}
    runs["ours"] = ours(state, "float32", images)
    runs["ours compiled"] = ours(state, "float32", images, compile=True)
    for dtype in ("bfloat16", "float16"):
        if extractors.reduced_precision_pays(dtype, torch.device("cpu")):
            runs[dtype] = ours(state, dtype, images)
        else:
            print(f"\n  {dtype}: this processor has no units for it, and we refuse it")
    outputs = {name: run() for name, run in runs.items()}

    report(f"Inception features of {IMAGES} images, {torch.get_num_threads()} threads", ratios(runs, 5))
    scale = float(outputs["pytorch-fid"].abs().max())
    for name, found in outputs.items():
        error = float((found - outputs["pytorch-fid"]).abs().max()) / scale
        print(f"  {name:18} largest error {error:.1e} of the feature scale")
        assert error <= (0.5 if name in extractors.DTYPES else 1e-4)


@pytest.mark.parametrize(("n", "rounds"), [(10_000, 3), (1000, 3), (256, 3)])
def test_frechet_distance_ratio_to_pytorch_fid(n: int, rounds: int) -> None:
    a, b = spectrum(n, 1), spectrum(n, 2)
    first, second = moments_of(a), moments_of(b)
    centred = (a.astype(np.float64), b.astype(np.float64))
    runs: dict[str, Callable[[], float]] = {
        "pytorch-fid": lambda: pytorch_fid_of_moments(first.mu, first.cov, second.mu, second.cov),
        "from moments": lambda: frechet_distance(first, second).value,
    }
    if n <= a.shape[1]:
        runs["from features"] = lambda: frechet_of_features(*centred).value
    values = {name: run() for name, run in runs.items()}

    report(f"Fréchet distance, 2048 features, n = {n}, {torch.get_num_threads()} threads", ratios(runs, rounds))
    for name, value in values.items():
        assert value == pytest.approx(values["pytorch-fid"], rel=1e-9 if n > 2048 else 1e-5), name


def ratios(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time of the first over time of each, round by round."""
    order, reference = random.Random(0), next(iter(runs))
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        seconds = {}
        for name in order.sample(list(runs), len(runs)):
            began = time.perf_counter()
            runs[name]()
            seconds[name] = time.perf_counter() - began
        for name, taken in seconds.items():
            found[name].append(seconds[reference] / taken)
    return found


def report(title: str, found: Mapping[str, list[float]]) -> None:
    print(f"\n{title}, median of {len(next(iter(found.values())))} ratios:")
    for name, values in found.items():
        print(f"  {name:18} {statistics.median(values):7.2f}x  [{min(values):.2f}, {max(values):.2f}]")


def seeded_state() -> dict[str, Tensor]:
    """A state dict as pytorch-fid's file holds it, with batch norms that keep features of order one."""
    from pytorch_fid import inception

    with patch.object(inception, "load_state_dict_from_url"), patch.object(nn.Module, "load_state_dict"):
        network = inception.fid_inception_v3()
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=draw)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        shown = torch.rand(8, 3, 32, 32, generator=draw)
        network.train()(2 * nn.functional.interpolate(shown, size=(299, 299), mode="bilinear") - 1)
    return dict(network.state_dict())


def pytorch_fid(state: dict[str, Tensor]) -> Any:
    from pytorch_fid import inception

    with patch.object(inception, "load_state_dict_from_url", return_value=state):
        return inception.InceptionV3().eval()


def features_of(network: Any, images: Tensor) -> Tensor:
    """As pytorch-fid's get_activations does it, without its files."""
    with torch.no_grad():
        return torch.cat([network(part)[0].squeeze(3).squeeze(2) for part in torch.split(images, THEIR_BATCH)])


def ours(state: dict[str, Tensor], dtype: Dtype, images: Tensor, *, compile: bool = False) -> Callable[[], Tensor]:
    network: Any = build_inception(state).to(extractors.DTYPES[dtype])
    called = torch.compile(network, options={"freezing": True}) if compile else network
    extractor = Extractor("inception", "00", 2048, dtype, torch.device("cpu"), called)
    how = feature_recipe("tf", "inception", "00", channels=3, dtype=dtype)
    return lambda: extract(extractor, how, images)


def spectrum(n: int, seed: int) -> NDArray[np.float32]:
    """Features with a falling spectrum, as Inception's have."""
    draw = np.random.default_rng(seed).standard_normal((n, 2048), dtype=np.float32)
    return np.asarray(draw * (np.arange(1, 2049) ** -0.5) + 0.1 * seed, np.float32)
