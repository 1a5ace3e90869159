"""SSIM, PSNR, MSE and GMSD against scikit-image and against slow versions written another way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from bench.errors import MeasurementError, ParamError
from bench.quality.score_names import HIGHER, MEANING, SCORE_NAMES
from bench.quality.scores import prepare_score, score_pictures
from bench.quality.similarity import Mse, Psnr, Ssim

VARIANTS: dict[str, dict[str, Any]] = {
    "ssim": {},
    "ssim[wang2004]": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
}
OFFLINE = ("ssim", "ssim[wang2004]", "psnr", "mse", "gmsd")


def pairs(channels: int, size: int, count: int = 6) -> tuple[Tensor, Tensor]:
    """Clean pictures with flat and with busy parts, and restored ones from nearly equal to far away."""
    draw = torch.Generator().manual_seed(size + channels)
    clean = torch.rand(count, channels, size, size, generator=draw)
    clean[:, :, : size // 2] = clean[:, :, :1, :1]  # flat and bright or dark: what float32 variances get wrong
    amount = torch.logspace(-4, 0, count)[:, None, None, None]
    return clean, (clean + amount * torch.randn(clean.shape, generator=draw)).clamp(0, 1)


def by_skimage(image: Tensor, clean: Tensor, **options: Any) -> float:
    one, other = (each.double().permute(1, 2, 0).numpy() for each in (image, clean))
    return float(structural_similarity(other, one, data_range=1.0, channel_axis=2, **options))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (3, 41)])
def test_ssim_is_that_of_scikit_image(variant: Any, channels: int, size: int) -> None:
    clean, images = pairs(channels, size)
    expected = [by_skimage(*each, **VARIANTS[variant]) for each in zip(images, clean, strict=True)]

    found = score_pictures(variant, images, clean)

    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6, rtol=0)


def test_pictures_that_are_not_square_are_filtered_along_the_right_axis() -> None:
    clean, images = torch.rand(1, 1, 16, 40), torch.rand(1, 1, 16, 40)

    assert float(Ssim(clean)(images)) == pytest.approx(by_skimage(images[0], clean[0]), abs=1e-6)


def test_the_two_variants_are_different_numbers() -> None:
    clean, images = pairs(1, 32)

    assert float((Ssim(clean)(images) - Ssim(clean, "wang2004")(images)).abs().max()) > 0.005


def test_psnr_and_mse_are_those_of_scikit_image() -> None:
    clean, images = pairs(3, 16)
    arrays = [(each.double().numpy(), other.double().numpy()) for each, other in zip(clean, images, strict=True)]

    expected = [peak_signal_noise_ratio(each, other, data_range=1.0) for each, other in arrays]
    np.testing.assert_allclose(Psnr(clean)(images).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(Mse(clean)(images).numpy(), [mean_squared_error(*each) for each in arrays], rtol=1e-5)


def slow_gmsd(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """As the paper writes it, with scipy's convolutions."""
    kernel = np.array([[1.0, 0.0, -1.0]] * 3) / 3

    def magnitude(image: NDArray[np.float64]) -> NDArray[np.float64]:
        grey = image[0] if len(image) == 1 else 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        small = (grey[::2, ::2] + grey[1::2, ::2] + grey[::2, 1::2] + grey[1::2, 1::2]) / 4
        across, down = (ndimage.convolve(small, each, mode="constant") for each in (kernel, kernel.T))
        return np.asarray(np.sqrt(across**2 + down**2))

    a, b = magnitude(one), magnitude(other)
    c = 170 / 255**2
    return float(np.std((2 * a * b + c) / (a**2 + b**2 + c)))


@pytest.mark.parametrize("channels", [1, 3])
def test_gmsd_is_as_published(channels: int) -> None:
    clean, images = pairs(channels, 32)
    expected = [slow_gmsd(*each) for each in zip(images.double().numpy(), clean.double().numpy(), strict=True)]

    np.testing.assert_allclose(score_pictures("gmsd", images, clean).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", OFFLINE)
def test_equal_pictures_have_the_best_score_and_noise_makes_it_worse(name: Any) -> None:
    clean, _ = pairs(1, 16, count=1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    scores = [float(score_pictures(name, (clean + a * noise).clamp(0, 1), clean)) for a in (0.0, 0.05, 0.2, 0.5)]
    best = {"ssim": 1.0, "ssim[wang2004]": 1.0, "psnr": 120.0, "mse": 0.0, "gmsd": 0.0}[name]

    assert scores[0] == pytest.approx(best, abs=1e-9)
    assert sorted(scores, reverse=name in HIGHER) == scores
    assert len(set(scores)) == 4


@pytest.mark.parametrize("name", OFFLINE)
def test_each_picture_is_scored_by_itself(name: Any) -> None:
    clean, images = pairs(3, 32)
    whole = score_pictures(name, images, clean)

    alone = torch.cat([score_pictures(name, images[i : i + 1], clean[i : i + 1]) for i in range(len(clean))])
    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OFFLINE)
def test_several_sets_are_compared_with_the_same_clean_pictures(name: Any) -> None:
    clean, images = pairs(1, 16)
    score = prepare_score(name, clean)

    together = score(torch.cat([images, clean]))

    torch.testing.assert_close(together, torch.cat([score(images), score(clean)]), rtol=1e-6, atol=1e-9)


def test_pictures_out_of_range_or_smaller_than_the_window_are_refused() -> None:
    good = torch.rand(1, 1, 16, 16)

    with pytest.raises(MeasurementError, match=r"must lie in \[0, 1\]"):
        score_pictures("ssim", good * 2 - 1, good)
    with pytest.raises(MeasurementError, match=r"must lie in \[0, 1\]"):
        score_pictures("ssim", good, good * 255)
    with pytest.raises(MeasurementError, match="7x7 window and the pictures are 6x6"):
        prepare_score("ssim", good[:, :, :6, :6])
    with pytest.raises(MeasurementError, match="11x11 window and the pictures are 10x10"):
        prepare_score("ssim[wang2004]", good[:, :, :10, :10])


def test_pictures_that_are_no_whole_sets_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no whole sets of pictures"):
        Ssim(torch.rand(2, 1, 16, 16))(torch.rand(3, 1, 16, 16))
    with pytest.raises(MeasurementError, match="no whole sets of pictures"):
        Mse(torch.rand(2, 1, 16, 16))(torch.rand(2, 3, 16, 16))


def test_a_nan_is_no_score() -> None:
    clean = torch.rand(2, 1, 16, 16)
    images = clean.clone()
    images[1, 0, 8, 8] = torch.nan

    for name in OFFLINE:
        found = prepare_score(name, clean)(images)
        assert torch.isfinite(found[0]) and not torch.isfinite(found[1]), name


def test_every_name_is_explained_and_an_unknown_one_refused() -> None:
    assert set(MEANING) == set(SCORE_NAMES)
    unknown: Any = "sim"
    with pytest.raises(ParamError, match=r"no score named 'sim'; did you mean 'ssim'"):
        prepare_score(unknown, torch.rand(1, 1, 16, 16))


def test_importing_the_names_imports_no_torch() -> None:
    code = "import sys, bench.quality.score_names; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
