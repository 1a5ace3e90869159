"""The restorers a suite can name: that they clean, that they are told the right noise, and what is missing is said."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Restorer
from bench.data.digits import load_digits
from bench.diffusion.restoring import as_denoiser
from bench.diffusion.schedule import build_schedule
from bench.errors import MissingWeights, Unsupported
from bench.models import filters
from bench.models.restorers import ConvAutoencoder, DnCNN
from bench.registry import MODELS, check_params, load_builtins

NAMES = ("noisy", "bm3d", "wavelet", "non-local-means", "dncnn", "conv-autoencoder")


def build(name: str, **params: Any) -> Restorer:
    load_builtins()
    entry = MODELS.get(name)
    found = entry.factory(**check_params(entry, params))
    assert isinstance(found, Restorer)
    return found


def noisy_digits(t: int, count: int = 2) -> tuple[Tensor, Tensor]:
    """Clean digits in [-1, 1] and the same at timestep t."""
    clean = load_digits()[0:count]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    return clean, build_schedule(build("noisy").schedule).q_sample(clean, t, noise)


def error(name: str, t: int, **params: Any) -> float:
    """Mean squared error after cleaning, for images in [-1, 1] that are cut to that range."""
    clean, x_t = noisy_digits(t, count=1)
    network = as_denoiser(build(name, **params), (1, 16, 16)).network
    return float((network(x_t, torch.full((1,), t)).clamp(-1, 1) - clean).square().mean())


@pytest.mark.parametrize(
    ("name", "t"),
    [
        ("bm3d", 49),
        pytest.param("bm3d", 399, marks=pytest.mark.slow),
        *((name, t) for name in ("wavelet", "non-local-means") for t in (49, 399)),
    ],
)
def test_a_filter_leaves_less_noise_than_there_was(name: str, t: int) -> None:
    pytest.importorskip("bm3d" if name == "bm3d" else "pywt")

    assert error(name, t) < 0.85 * error("noisy", t)


def test_noisy_is_the_noisy_image_rescaled() -> None:
    _, x_t = noisy_digits(99)
    alpha_bar = build_schedule(build("noisy").schedule).alpha_bar(99)

    found = as_denoiser(build("noisy"), (1, 16, 16)).network(x_t, torch.tensor([99, 99]))

    torch.testing.assert_close(found, x_t / alpha_bar**0.5, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_bm3d_told_the_noise_of_50_steps_is_right_there_and_wrong_at_400() -> None:
    pytest.importorskip("bm3d")

    assert error("bm3d", 49, sigma="constant-t50") == pytest.approx(error("bm3d", 49), rel=1e-6)
    assert error("bm3d", 399, sigma="constant-t50") > 2 * error("bm3d", 399)


@pytest.mark.slow
def test_colours_are_cleaned_one_by_one_or_together() -> None:
    pytest.importorskip("bm3d")
    grey, _ = noisy_digits(0, 1)
    colour = ((grey + 1) / 2).expand(-1, 3, -1, -1) + 0.1 * torch.randn(1, 3, 16, 16)
    sigma = torch.tensor([0.1])

    each, joint = (build("bm3d", colours=how).restore(colour, sigma) for how in ("each", "joint"))

    alone = build("bm3d").restore(colour[:, 1:2], sigma)
    torch.testing.assert_close(each[:, 1:2], alone)
    assert not torch.equal(each, joint)


@pytest.mark.parametrize("name", [pytest.param("bm3d", marks=pytest.mark.slow), "wavelet", "non-local-means"])
def test_each_image_is_cleaned_by_itself_and_with_its_own_sigma(name: str) -> None:
    pytest.importorskip("bm3d" if name == "bm3d" else "pywt")
    images = (load_digits()[0:2] + 1) / 2 + 0.1 * torch.randn(2, 1, 16, 16)
    restore = build(name).restore
    together = restore(images, torch.tensor([0.05, 0.3]))

    assert together.dtype == torch.float32
    torch.testing.assert_close(together[1:], restore(images[1:], torch.tensor([0.3])))
    torch.testing.assert_close(together[:1], restore(images[:1], torch.tensor([0.05])))


@pytest.mark.parametrize(("name", "missing"), [("bm3d", "bm3d"), ("wavelet", "pywt")])
def test_a_missing_package_is_named_with_the_way_to_get_it(
    name: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(module: str) -> Any:
        if module == missing:
            raise ImportError(module)
        return real(module)

    monkeypatch.setattr(filters.importlib, "import_module", without)

    with pytest.raises(Unsupported, match=r"is not installed here; pip install 'denoiser-bench\[classical\]'"):
        build(name)


@pytest.mark.parametrize(("name", "count"), [("conv-autoencoder", 4_307_011), ("dncnn", 669_312)])
def test_paper_versions_have_the_notebooks_parameters(name: str, count: int) -> None:
    made = build(name, config="paper", weights="random")

    assert isinstance(made.restore, nn.Module)
    assert made.image_shape == (3, 64, 64)
    assert sum(each.numel() for each in made.restore.parameters()) == count


@pytest.mark.parametrize(
    ("name", "params", "checkpoint"),
    [
        ("dncnn", {}, "digits-dncnn-all-levels"),
        ("dncnn", {"trained": "one-level"}, "digits-dncnn-one-level"),
        ("conv-autoencoder", {"config": "photos"}, "photos-conv-autoencoder-all-levels"),
        ("dncnn", {"noise_schedule": "linear"}, None),
        ("dncnn", {"width": 8}, None),
        ("dncnn", {"config": "paper"}, None),
    ],
)
def test_each_configuration_and_training_asks_for_a_checkpoint_of_its_own(
    name: str, params: dict[str, Any], checkpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.models.checkpoints import shipped

    def record(network: nn.Module, weights: str, *, shipped: str | None, **_: object) -> Any:
        raise MissingWeights(f"asked for {shipped}")

    monkeypatch.setattr(shipped, "load_weights", record)

    with pytest.raises(MissingWeights, match=f"asked for {checkpoint}$"):
        build(name, **params)


def test_the_notebooks_training_cuts_its_input_and_the_one_at_all_levels_does_not() -> None:
    wild = torch.linspace(-1, 2, 256).reshape(1, 1, 16, 16)
    for network, in_training, at_test in (
        (ConvAutoencoder(1, 8, "always"), True, True),
        (DnCNN(1, 4, 8, "at-test"), False, True),
        (DnCNN(1, 4, 8, "never"), False, False),
    ):
        for cut, training in ((in_training, True), (at_test, False)):
            network.train(training)
            with torch.no_grad():
                assert torch.equal(network(wild), network(wild.clamp(0, 1))) == cut


def test_the_names_say_which_cut_they_take() -> None:
    cuts = {
        (name, trained): build(name, trained=trained, weights="random").restore.cut  # type: ignore[union-attr]
        for name in ("dncnn", "conv-autoencoder")
        for trained in ("one-level", "all-levels")
    }

    assert cuts == {
        ("dncnn", "one-level"): "at-test",
        ("dncnn", "all-levels"): "never",
        ("conv-autoencoder", "one-level"): "always",
        ("conv-autoencoder", "all-levels"): "never",
    }


def test_a_plan_is_told_what_is_missing_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    load_builtins()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    for name, package in (("bm3d", "bm3d"), ("wavelet", "PyWavelets")):
        (sentence,) = MODELS.get(name).lacks({})
        assert sentence == f"the package {package} is not installed here; pip install 'denoiser-bench[classical]'"
    assert MODELS.get("non-local-means").lacks({}) == ()


@pytest.mark.parametrize("name", ["dncnn", "conv-autoencoder"])
def test_a_plan_is_told_of_missing_weights(name: str) -> None:
    load_builtins()
    entry = MODELS.get(name)

    assert entry.lacks({"weights": "random"}) == ()
    (sentence,) = entry.lacks({"config": "paper"})
    assert "no weights are shipped for this configuration" in sentence
    (sentence,) = entry.lacks({"weights": "nowhere-to-be-found"})
    assert "nowhere-to-be-found: no such file" in sentence
