"""Distances in features: as defined, as the package lpips computes them, and refused where they would mislead."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.data.digits import load_digits
from bench.errors import BadCheckpoint, MissingWeights, Unsupported
from bench.files import file_hash
from bench.quality import perceptual
from bench.quality.digits_cnn import load_digits_cnn
from bench.quality.perceptual import build_lpips, digits_cnn_distance, load_lpips, lpips_distance
from bench.quality.score_names import backbone_path
from bench.quality.scores import score_pictures

NETS = ("alex", "squeeze", "vgg")


def digits(count: int = 4) -> Tensor:
    return (load_digits()[0:count] + 1) / 2


def noised(images: Tensor, amount: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(5))
    return (images + amount * noise).clamp(0, 1)


def test_the_digits_distance_is_as_its_docstring_defines_it() -> None:
    clean, images = digits(3), noised(digits(3), 0.2)
    network = load_digits_cnn()
    expected = []
    for x, y in zip(images, clean, strict=True):
        total = 0.0
        for one, other in zip(network.layers(2 * x[None] - 1), network.layers(2 * y[None] - 1), strict=True):
            a, b = (each[0].flatten(1).double() for each in (one, other))
            a, b = a / (a.norm(dim=0) + 1e-10), b / (b.norm(dim=0) + 1e-10)
            total += float((a - b).square().sum(dim=0).mean()) / 4
        expected.append(total)

    found = score_pictures("perceptual[digits-cnn]", images, clean)

    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_more_noise_and_another_digit_are_further_away() -> None:
    clean = digits(1)
    score = digits_cnn_distance(clean)
    distances = [float(score(noised(clean, amount))) for amount in (0.0, 0.05, 0.2, 0.6)]

    assert distances[0] == 0.0
    assert distances == sorted(distances)
    assert float(score(digits(2)[1:])) > distances[1]


def test_several_sets_are_compared_with_the_same_clean_digits() -> None:
    clean = digits()
    score = digits_cnn_distance(clean)

    together = score(torch.cat([noised(clean, 0.1), clean]))

    torch.testing.assert_close(together[:4], score(noised(clean, 0.1)), rtol=1e-4, atol=1e-6)
    assert together[4:].abs().max() < 1e-6


def test_pictures_the_classifier_does_not_know_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"judges 1x16x16 digits only, and the pictures are 3x32x32; use gmsd"):
        digits_cnn_distance(torch.rand(1, 3, 32, 32))


def package(net: str) -> Any:
    """The package's own LPIPS with a seeded backbone: the published one is a download."""
    import lpips

    torch.manual_seed(3)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False).eval()


def torchvision_state(module: Any) -> dict[str, Tensor]:
    """The backbone as torchvision's file would hold it."""
    return {f"features.{name.split('.', 1)[1]}": each.clone() for name, each in module.net.state_dict().items()}


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a seeded backbone where it is looked for, and makes its hash the expected one."""

    def put(net: str) -> Any:
        module = package(net)
        path = tmp_path / f"{net}.pth"
        torch.save(torchvision_state(module), path)
        monkeypatch.setattr(perceptual, "backbone_path", lambda wanted: path)
        monkeypatch.setattr(perceptual, "_sha256", lambda wanted: file_hash(path))
        load_lpips.cache_clear()
        return module

    yield put
    load_lpips.cache_clear()


@pytest.mark.parametrize("net", ["squeeze", pytest.param("alex", marks=pytest.mark.slow)])
def test_lpips_is_the_packages_own_number(net: Any, backbone: Any) -> None:
    module = backbone(net)
    clean = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = noised(clean, 0.2)
    with torch.no_grad():
        expected = module(2 * images - 1, 2 * clean - 1).flatten()

        found = score_pictures(f"lpips[{net}]", images, clean)  # type: ignore[arg-type]

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert float(expected.min()) > 0


def test_lpips_is_given_pictures_in_minus_one_to_one_and_grey_ones_in_three_channels(backbone: Any) -> None:
    """The silent mistake of many evaluations: [0, 1] pictures fed as they are give another number."""
    module = backbone("squeeze")
    clean = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    images = noised(clean, 0.3)
    colour, other = images.expand(-1, 3, -1, -1), clean.expand(-1, 3, -1, -1)
    with torch.no_grad():
        right, wrong = float(module(2 * colour - 1, 2 * other - 1)), float(module(colour, other))

        found = float(lpips_distance(clean, "squeeze")(images))

    assert found == pytest.approx(right, rel=1e-4)
    assert abs(wrong / right - 1) > 0.01


def test_building_lpips_draws_no_random_number_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    state = torchvision_state(package("squeeze"))
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)

    network = build_lpips("squeeze", state)

    assert torch.equal(torch.rand(1), expected)
    assert capsys.readouterr().out == ""
    assert not network.training and not any(each.requires_grad for each in network.parameters())


@pytest.mark.parametrize(("net", "size"), [("alex", 28), ("squeeze", 16), ("vgg", 15)])
def test_pictures_too_small_for_the_backbone_are_refused_before_any_weights_are_looked_for(net: Any, size: int) -> None:
    with pytest.raises(Unsupported, match=rf"lpips\[{net}\] takes .* and these are 1x{size}x{size}"):
        lpips_distance(torch.rand(1, 1, size, size), net)


@pytest.mark.parametrize(("net", "least"), perceptual.LEAST_SIZE.items())
def test_the_least_size_is_the_least_that_works(net: Any, least: int) -> None:
    network = package(net).net
    with torch.inference_mode():
        assert all(each.numel() for each in network(torch.rand(1, 3, least, least)))
        with pytest.raises(RuntimeError):
            network(torch.rand(1, 3, least - 1, least - 1))


@pytest.mark.parametrize("net", NETS)
def test_missing_weights_are_one_line_with_a_way_out_and_never_downloaded(
    net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    load_lpips.cache_clear()

    with pytest.raises(MissingWeights, match=rf"run `bench fetch lpips-{net}`, or put .* nothing is downloaded") as no:
        lpips_distance(torch.rand(1, 3, 64, 64), net)

    assert "\n" not in str(no.value)
    assert "lpips" not in sys.modules


def test_another_file_of_that_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"something else")
    load_lpips.cache_clear()

    with pytest.raises(BadCheckpoint, match="not the backbone that LPIPS was made with"):
        load_lpips("squeeze")


def test_a_file_with_the_right_hash_and_the_wrong_tensors_is_refused(backbone: Any, tmp_path: Path) -> None:
    backbone("squeeze")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "squeeze.pth")

    with pytest.raises(BadCheckpoint, match="holds no squeeze backbone"):
        load_lpips("squeeze")


def test_torchs_own_cache_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert backbone_path("lpips[alex]") is None

    cached = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()

    assert backbone_path("lpips[alex]") == cached
