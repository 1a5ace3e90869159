"""Own weights: what `load_weights` accepts, refuses and says."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import BadCheckpoint, MissingWeights
from bench.models.checkpoints.shipped import load_weights
from bench.passport import read_passport


def saved(folder: Path, **tensors: torch.Tensor) -> Path:
    path = folder / "toy.safetensors"
    save_file(tensors, path)
    return path


def test_a_file_fills_the_network_and_gets_a_passport(tmp_path: Path) -> None:
    path = saved(tmp_path, weight=torch.full((2, 3), 0.5, dtype=torch.float16), bias=torch.ones(2))
    network = nn.Linear(3, 2)

    weights, inputs = load_weights(network, str(path), shipped=None)

    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, torch.full((2, 3), 0.5))
    assert inputs == (path,)
    assert (weights.origin, weights.sha256) == ("pretrained", read_passport(path).sha256)


def test_random_weights_leave_the_network_as_it_was() -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()

    weights, inputs = load_weights(network, "random", shipped=None)

    assert torch.equal(network.weight, before)
    assert (weights.origin, weights.sha256, inputs) == ("random", None, ())


def test_shipped_weights_that_do_not_exist_are_missing_weights() -> None:
    with pytest.raises(MissingWeights, match="no weights are shipped"):
        load_weights(nn.Linear(3, 2), "shipped", shipped=None)


def test_a_changed_file_no_longer_fits_its_passport(tmp_path: Path) -> None:
    path = saved(tmp_path, weight=torch.ones(2, 3), bias=torch.ones(2))
    load_weights(nn.Linear(3, 2), str(path), shipped=None)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(BadCheckpoint, match=r"sha256 is .* its passport says"):
        load_weights(nn.Linear(3, 2), str(path), shipped=None)


def test_the_first_five_differences_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, **{f"extra{index}": torch.ones(1) for index in range(9)}, weight=torch.ones(4, 3))

    with pytest.raises(BadCheckpoint) as refusal:
        load_weights(nn.Linear(3, 2), str(path), shipped=None)

    assert "missing 'bias'; 'weight' is (4, 3), expected (2, 3); unexpected 'extra0'" in str(refusal.value)
    assert "extra3" not in str(refusal.value)
    assert str(refusal.value).endswith("and 6 more")


def test_a_nan_is_refused_with_the_tensors_name(tmp_path: Path) -> None:
    path = saved(tmp_path, weight=torch.full((2, 3), float("nan")), bias=torch.ones(2))

    with pytest.raises(BadCheckpoint, match="'weight' holds NaN"):
        load_weights(nn.Linear(3, 2), str(path), shipped=None)
