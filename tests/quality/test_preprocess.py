"""Rounding, colour and resize, each against the program it is named after."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.errors import MeasurementError
from bench.quality.preprocess import grey_to_rgb, prepare, quantise, resize, scale, to_bytes, to_unit
from bench.quality.recipe import FeatureRecipe, RecipeName, feature_recipe


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def recipe(name: RecipeName, channels: int = 3) -> FeatureRecipe:
    return feature_recipe(name, "inception", "00", channels=channels)


def test_half_even_rounds_once_and_to_the_even_level() -> None:
    levels = torch.tensor([0.0, 0.5, 1.5, 2.5, 127.49, 127.51, 254.5, 255.0], dtype=torch.float64)

    assert quantise(levels / 255, "half-even").tolist() == [0, 0, 2, 2, 127, 128, 254, 255]


def test_half_up_is_what_save_image_writes() -> None:
    from torchvision.utils import save_image

    picture = torch.linspace(0, 1, 32 * 32).reshape(1, 1, 32, 32).expand(1, 3, 32, 32).contiguous()
    picture[0, 0, 0, :4] = torch.tensor([0.5, 1.5, 2.5, 254.5]) / 255
    file = io.BytesIO()
    save_image(picture, file, format="png")

    written = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)

    assert torch.equal(to_bytes(picture, "half-up")[0], written)


def test_bytes_survive_rounding_unchanged() -> None:
    every = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16)

    for how in ("half-even", "half-up"):
        assert torch.equal(quantise(every / 255, how), every)


def test_not_rounding_leaves_the_float() -> None:
    images = pictures(2, 3, 8, 8)

    assert torch.equal(quantise(images, "none"), images * 255)


def test_torch_bilinear_is_what_pytorch_fid_feeds_its_network() -> None:
    images = to_bytes(pictures(2, 3, 32, 32)).float() / 255  # as ToTensor gives a PNG
    theirs = 2 * functional.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False) - 1

    assert torch.allclose(prepare(images, recipe("tf")), theirs, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (299, 299), (320, 400), (1, 1)])
def test_tf1_bilinear_is_what_torch_fidelity_feeds_its_network(size: tuple[int, int]) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import (  # type: ignore[import-untyped]
        interpolate_bilinear_2d_like_tensorflow1x,
    )

    images = pictures(2, 3, *size)
    levels = to_bytes(images).float()
    theirs = (interpolate_bilinear_2d_like_tensorflow1x(levels, size=(299, 299), align_corners=False) - 128) / 128

    assert torch.equal(prepare(images, recipe("tf1")), theirs)


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (400, 320)])
def test_pil_bicubic_keeps_floats_and_takes_every_channel_by_itself(size: tuple[int, int]) -> None:
    images = pictures(2, 3, *size)
    levels = quantise(images, "half-even")

    found = resize(levels, "pil-bicubic")

    # The same kernel (Keys, a = -1/2) written independently.
    expected = functional.interpolate(levels, size=(299, 299), mode="bicubic", align_corners=False, antialias=True)
    assert torch.allclose(found, expected.clamp(0, 255), atol=0.02)
    assert found.frac().abs().max() > 0.1  # not rounded on the way
    assert found.min() >= 0 and found.max() <= 255


def test_the_three_resizes_are_not_the_same_recipe() -> None:
    levels = quantise(pictures(1, 3, 32, 32), "half-even")
    made = [resize(levels, how) for how in ("torch-bilinear", "tf1-bilinear", "pil-bicubic")]

    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (made[first] - made[second]).abs().max() > 1.0


def test_scales_map_levels_as_their_names_say() -> None:
    levels = torch.tensor([0.0, 128.0, 255.0])

    assert scale(levels, "2x-1").tolist() == pytest.approx([-1, 2 * 128 / 255 - 1, 1], abs=1e-6)
    assert scale(levels, "(x-128)/128").tolist() == [-1, 0, 127 / 128]


def test_grey_images_become_three_equal_channels() -> None:
    images = pictures(2, 1, 16, 16)

    prepared = prepare(images, recipe("tf", channels=1))

    assert prepared.shape == (2, 3, 299, 299)
    assert torch.equal(prepared[:, 0], prepared[:, 1])
    assert torch.equal(prepared[:, 0], prepared[:, 2])
    with pytest.raises(MeasurementError, match="got 3 channels"):
        grey_to_rgb(pictures(1, 3, 4, 4))


def test_sampler_images_are_cut_to_the_unit_range() -> None:
    images = torch.tensor([-1.5, -1.0, 0.0, 1.0, 1.2])

    assert to_unit(images).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert images.tolist() == pytest.approx([-1.5, -1.0, 0.0, 1.0, 1.2])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.full((1, 3, 4, 4), -0.1), r"must lie in \[0, 1\], found -0.1"),
        (torch.full((1, 3, 4, 4), 255.0), "found 255"),
        (torch.full((1, 3, 4, 4), torch.nan), "found nan"),
        (torch.zeros((1, 3, 4, 4), dtype=torch.uint8), "must be .* floats"),
        (torch.zeros((3, 4, 4)), "must be"),
    ],
)
def test_images_of_another_range_or_type_are_refused(images: Tensor, sentence: str) -> None:
    with pytest.raises(MeasurementError, match=sentence):
        prepare(images, recipe("tf"))


def test_preparing_changes_none_of_the_given_pixels() -> None:
    images = pictures(1, 1, 16, 16)
    before = images.clone()

    for name in ("tf", "tf1", "clean", "paper-a", "paper-b"):
        prepare(images, recipe(name, channels=1))
        prepare(images, feature_recipe(name, "digits-cnn", "00", channels=1))

    assert torch.equal(images, before)
