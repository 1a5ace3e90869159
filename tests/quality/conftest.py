"""pytorch-fid's own network with seeded weights (the published ones are a download), and a subject that is a toy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec, Weights
from bench.data.digits import load_digits
from bench.quality import digits_cnn
from bench.quality.features import real
from bench.quality.recipe import feature_recipe
from bench.registry import MODELS, load_builtins
from bench.subject import Subject, Workspace, build_subject
from bench.suite.schema import Cell, Conditions, Effort, Ref

SIZE = 107
"""Smaller than 299 and large enough for every layer of Inception: ten times cheaper."""


def smooth_pictures(n: int, size: int, seed: int, channels: int = 3) -> Tensor:
    """Random pictures [n, channels, size, size] in [0, 1] with structure at several scales."""
    draw = torch.Generator().manual_seed(seed)
    picture = torch.zeros(n, channels, size, size)
    for grain in (2, 4, 8, 16):
        noise = torch.rand(n, channels, grain, grain, generator=draw)
        picture += nn.functional.interpolate(noise, size=(size, size), mode="bilinear") * grain**-0.5
    low, high = picture.amin(dim=(1, 2, 3), keepdim=True), picture.amax(dim=(1, 2, 3), keepdim=True)
    return (picture - low) / (high - low)


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Tensor]:
    return smooth_pictures


def seeded_state(shown: Tensor) -> dict[str, Tensor]:
    """A state dict as pytorch-fid's file holds it: He-initialised, with batch norms that know pictures like these."""
    from pytorch_fid import inception

    with patch.object(inception, "load_state_dict_from_url"), patch.object(nn.Module, "load_state_dict"):
        network = inception.fid_inception_v3()
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=draw)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain average over what it is shown
            module.weight.data.uniform_(0.5, 1.5, generator=draw)
            module.bias.data.uniform_(-0.5, 0.5, generator=draw)
    with torch.no_grad():
        network.train()(2 * shown - 1)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="session")
def inception_state() -> dict[str, Tensor]:
    return seeded_state(smooth_pictures(12, SIZE, seed=99))


@pytest.fixture(scope="session")
def full_size_state() -> dict[str, Tensor]:
    """Weights whose features are of order one for pictures of 32 pixels at full size."""
    pictures = smooth_pictures(12, 32, seed=99)
    return seeded_state(nn.functional.interpolate(pictures, size=(299, 299), mode="bilinear"))


@pytest.fixture(scope="session")
def pytorch_fid_network() -> Callable[..., Any]:
    """Builds pytorch-fid's InceptionV3 from a state; arguments as it takes them."""
    from pytorch_fid import inception

    def build(state: dict[str, Tensor], **options: Any) -> Any:
        with patch.object(inception, "load_state_dict_from_url", return_value=state):
            return inception.InceptionV3(**options).eval()

    return build


@pytest.fixture(scope="session")
def inception_file(inception_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    torch.save(inception_state, path)
    return path


@pytest.fixture(scope="session")
def full_size_file(full_size_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pt_inception_full.pth"
    torch.save(full_size_state, path)
    return path


class Shrink(nn.Module):
    """A denoiser that gives back a part of what it sees, and counts the images it was shown."""

    def __init__(self, part: float = 0.5) -> None:
        super().__init__()
        self.part = nn.Parameter(torch.tensor(part))
        self.seen = 0

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.seen += len(x_t)
        return self.part * x_t


def toy_denoiser(part: float = 0.5, weights: str = "shipped") -> Denoiser:
    """A trained toy, as far as its passport says."""
    trained = Weights("trained", "toy", sha256="ab" * 32, ema=True)
    return Denoiser(Shrink(part), (1, 16, 16), Prediction.X0, ScheduleSpec(), trained)


@pytest.fixture(scope="session")
def digits_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the classifier's features of the real digits, so that not every test computes them."""
    cache = tmp_path_factory.mktemp("digits-cache")
    how = feature_recipe("tf", "digits-cnn", digits_cnn.SHA256, channels=1)
    torch.set_num_threads(Conditions().threads)  # as the toy subjects have, or they would not find it
    for split in ("train", "test"):
        real(load_digits(split), how, cache, "cpu").moments()
    return cache


def build_toy(
    folder: Path,
    *,
    model: dict[str, Any] | None = None,
    sampler: dict[str, Any] | None = None,
    data: Ref | None = Ref(name="digits"),  # noqa: B008 - frozen
    seed: int = 0,
    denoiser: Denoiser | None = None,
    **conditions: Any,
) -> Subject:
    """A subject of the toy denoiser on digits, whose run and cache lie in the folder."""
    load_builtins()
    MODELS.add("toy-denoiser", toy_denoiser)
    cell = Cell(
        id="toy/cell",
        suite="toy",
        model=Ref(name="toy-denoiser", params=model or {}),
        sampler=Ref(name="ddim", params={"timesteps": 2, **(sampler or {})}),
        data=data,
        conditions=Conditions(**conditions),
        seed=seed,
        factors={},
        metrics=(),
        effort=Effort(),
    )
    subject = build_subject(cell, Workspace(folder / "run", folder / "cache"))
    return subject if denoiser is None else replace(subject, denoiser=denoiser)


@pytest.fixture
def toy_subject(tmp_path: Path, digits_cache: Path) -> Callable[..., Subject]:
    """Builds toy subjects beside a cache that knows the real digits; keyword arguments change the cell."""

    def build(*, folder: Path = tmp_path, **changes: Any) -> Subject:
        shutil.copytree(digits_cache, folder / "cache", dirs_exist_ok=True)
        return build_toy(folder, **changes)

    return build
