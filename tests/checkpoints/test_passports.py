"""Passports written on first load, and the golden probe that knows a network by its answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.contracts import Prediction
from bench.diffusion.noise import image_noise
from bench.errors import BadCheckpoint, MissingWeights
from bench.files import file_hash
from bench.models import load_checkpoint
from bench.models.catalogue import unet_sizes
from bench.models.checkpoints import places
from bench.models.checkpoints.load import verify_probe
from bench.models.checkpoints.probe import measure_probe, probe_input
from bench.models.checkpoints.shipped import load_weights
from bench.models.unet import UNet
from bench.passport import keys_fingerprint, passport_path, read_passport, write_passport


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(UNet(unet_sizes("digits")).state_dict())


def nudged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Raw weights near their average: every number moved by a fiftieth of its size."""
    generator = torch.Generator().manual_seed(1)
    return {key: tensor * (1 + 0.02 * torch.randn(tensor.shape, generator=generator)) for key, tensor in state.items()}


def test_the_probes_input_is_the_diffusion_rooms_noise() -> None:
    for seed, shape in ((0, (1, 16, 16)), (7, (3, 32, 32))):
        assert torch.equal(probe_input(seed, shape)[0], image_noise(seed, 0, "probe", shape))


def test_a_first_load_writes_a_whole_passport(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "found.pt"
    torch.save(state, path)

    denoiser = load_checkpoint(path, "skip-unet", skip="zero", skip_exponent=3.0)

    passport = read_passport(path)
    assert passport.sha256 == denoiser.weights.sha256 == file_hash(path)
    assert passport.keys_sha256 == keys_fingerprint((key, tuple(tensor.shape)) for key, tensor in state.items())
    assert (passport.name, passport.format, passport.origin) == ("found", "ddim", "pretrained")
    assert (passport.ema, passport.prediction, passport.dtype) == (False, "epsilon", "float32")
    # The file is the plain network's, whatever skips on it: the probe is the whole network's answer.
    assert (passport.model, passport.params) == ("ddpm-unet", {"config": "digits"})
    network = UNet(unet_sizes("digits"))
    network.load_state_dict(state)
    assert passport.probe == measure_probe(network, (1, 16, 16))
    verify_probe(path)


def test_a_suites_first_load_writes_the_same_passport(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch.save(state, tmp_path / name / "found.pt")

    load_checkpoint(tmp_path / "a" / "found.pt", "ddpm-unet")
    load_weights(UNet(unet_sizes("digits")), str(tmp_path / "b" / "found.pt"), shipped=None)

    assert read_passport(tmp_path / "a" / "found.pt") == read_passport(tmp_path / "b" / "found.pt")


def test_a_later_load_leaves_the_passport_alone(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "found.pt"
    torch.save(state, path)
    load_checkpoint(path)
    write_passport(replace(read_passport(path), ema=True, steps=5), path)

    denoiser = load_checkpoint(path)

    assert (denoiser.weights.ema, denoiser.weights.steps) == (True, 5)
    assert read_passport(path).steps == 5


def test_a_passport_that_cannot_be_written_is_kept_in_memory(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> Path:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "found.pt"
    torch.save(state, path)
    monkeypatch.setattr("bench.models.checkpoints.fill.write_passport", refuse)  # root may write anywhere, so fake it

    denoiser = load_checkpoint(path)

    assert denoiser.weights.sha256 == file_hash(path)
    assert not passport_path(path).exists()


def test_the_probe_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Dropout(0.5)).train()

    class Timed(nn.Module):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            out: Tensor = network(x_t) + t
            return out

    timed = Timed()
    timed.network = network
    probe = measure_probe(timed.train(), (1, 4, 4))

    assert timed.training and network.training
    noise = probe_input(0, (1, 4, 4)).double()
    assert probe.means == pytest.approx([float(noise.mean()) + t for t in (0, 250, 999)], abs=1e-4)
    assert probe.stds[0] == pytest.approx(float(noise.std(correction=0)))


def test_raw_weights_in_place_of_the_average_are_caught(tmp_path: Path, state: dict[str, Tensor]) -> None:
    raw = {f"module.{key}": tensor for key, tensor in nudged(state).items()}
    good, swapped = tmp_path / "good.pth", tmp_path / "swapped.pth"
    torch.save([raw, {}, 1, 1000, state], good)
    load_checkpoint(good)
    verify_probe(good)
    torch.save([{f"module.{key}": tensor for key, tensor in state.items()}, {}, 1, 1000, nudged(state)], swapped)
    write_passport(replace(read_passport(good), sha256=file_hash(swapped)), swapped)

    with pytest.raises(BadCheckpoint, match="does not answer as its passport says: at t = 0") as refused:
        verify_probe(swapped)
    assert "the raw ones in place of the moving average" in str(refused.value)


def test_a_checkpoint_without_a_probe_cannot_be_verified(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "found.pt"
    torch.save(state, path)
    with pytest.raises(MissingWeights, match="no passport"):
        verify_probe(path)
    load_checkpoint(path)
    write_passport(replace(read_passport(path), probe=None), path)
    with pytest.raises(MissingWeights, match="no golden probe"):
        verify_probe(path)


def test_the_passport_of_another_network_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "found.pt"
    torch.save(state, path)
    load_checkpoint(path)
    write_passport(replace(read_passport(path), keys_sha256="0" * 64), path)

    with pytest.raises(BadCheckpoint, match=r"its passport found\.json is of another network"):
        load_checkpoint(path)


def test_a_prediction_that_differs_from_the_passports_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_file(dict(nn.Linear(2, 2).state_dict()), path)
    load_weights(nn.Linear(2, 2), str(path), shipped=None, prediction=Prediction.V)

    with pytest.raises(BadCheckpoint, match="predicts 'v', and this one predicts 'epsilon'"):
        load_weights(nn.Linear(2, 2), str(path), shipped=None, prediction=Prediction.EPSILON)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', "null", '"text"', '{"schema": 1, "name": 3}'])
def test_a_broken_passport_is_refused(tmp_path: Path, state: dict[str, Tensor], text: str) -> None:
    path = tmp_path / "found.pt"
    torch.save(state, path)
    passport_path(path).write_text(text, encoding="utf-8")

    with pytest.raises(BadCheckpoint, match="not a passport"):
        load_checkpoint(path)


def test_shipped_weights_are_found_by_name_and_relabelled_ones_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "shipped_path", lambda name: tmp_path / f"{name}.safetensors")
    path = tmp_path / "digits-a.safetensors"
    save_file(dict(nn.Linear(2, 2).state_dict()), path)
    load_weights(nn.Linear(2, 2), str(path), shipped=None)
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"digits-b{suffix}").write_bytes((tmp_path / f"digits-a{suffix}").read_bytes())

    weights, inputs = load_weights(nn.Linear(2, 2), "shipped", shipped="digits-a")

    assert (weights.sha256, inputs) == (file_hash(path), (path,))
    with pytest.raises(BadCheckpoint, match="its passport is that of 'digits-a'"):
        load_weights(nn.Linear(2, 2), "shipped", shipped="digits-b")
    with pytest.raises(MissingWeights, match="make them with `bench train digits-c`"):
        load_weights(nn.Linear(2, 2), "shipped", shipped="digits-c")


def test_every_shipped_checkpoint_answers_as_its_passport_says() -> None:
    weights = sorted(places.shipped_path("any").parent.glob("*.safetensors"))
    probed = [path for path in weights if read_passport(path).probe is not None]
    if not probed:
        pytest.skip("no shipped checkpoint has a probe")

    for path in probed:
        assert json.loads(passport_path(path).read_text(encoding="utf-8"))["sha256"] == file_hash(path)
        verify_probe(path)


def test_another_shipped_checkpoint_can_be_asked_for_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "package_files", lambda package: tmp_path)
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "digits-b.safetensors"
    save_file(dict(nn.Linear(2, 2).state_dict()), path)

    weights, inputs = load_weights(nn.Linear(2, 2), "digits-b", shipped="digits-a")

    assert places.shipped_names() == ("digits-b",)
    assert (weights.source, inputs) == ("digits-b.safetensors", (path,))
