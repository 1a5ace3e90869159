"""Which file a model's `weights` means, found without torch and without opening it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.downloads import fetched_path
from bench.errors import MissingWeights
from bench.models.checkpoints import places
from bench.models.checkpoints.places import find_weights, missing_weights


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root; the working folder is another."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def found(weights: str, shipped: str | None = None) -> Path:
    answer = find_weights(weights, shipped)
    assert answer is not None
    return answer.path


def test_random_is_no_file(root: Path) -> None:
    assert find_weights("random", None) is None


def test_shipped_ones_are_known_by_their_names(root: Path) -> None:
    own, other = find_weights("shipped", "digits-skip-zero"), find_weights("digits-ddpm-unet", "digits-skip-zero")

    assert own is not None and other is not None
    assert (own.shipped, own.path.name) == ("digits-skip-zero", "digits-skip-zero.safetensors")
    assert (other.shipped, other.path.name) == ("digits-ddpm-unet", "digits-ddpm-unet.safetensors")


def test_a_file_here_comes_before_every_name(root: Path) -> None:
    put(Path("digits-ddpm-unet"))

    assert find_weights("digits-ddpm-unet", None) == places.Found(Path("digits-ddpm-unet"))


def test_a_download_is_known_by_its_name(root: Path) -> None:
    place = fetched_path("ddpm-cifar10", root)

    assert list(missing_weights("ddpm-cifar10", None)) == [
        "ddpm-cifar10 (Ho et al.'s CIFAR-10 network after 790,000 steps, moving average, as pesser converted it): "
        f"not at {place}; run `bench fetch ddpm-cifar10`, or put ema-model-790000.ckpt into {place.parent}"
    ]
    put(place)
    assert found("ddpm-cifar10") == place
    assert list(missing_weights("ddpm-cifar10", None)) == []


@pytest.mark.parametrize(
    ("weights", "place"),
    [
        ("my-network", "weights/my-network.safetensors"),
        ("weights/mine/ckpt.pth", "weights/mine/ckpt.pth"),
        ("ckpt.pth", "ckpt.pth"),
        ("mine/folder", "mine/folder"),
    ],
)
def test_names_and_relative_paths_are_found_under_the_data_root(root: Path, weights: str, place: str) -> None:
    with pytest.raises(MissingWeights, match=f"no such file here, nor as {root / place}; put the checkpoint there"):
        find_weights(weights, None)
    put(root / place)

    assert found(weights) == root / place


def test_what_a_recipe_makes_is_said_to_be_made_with_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "recipe_names", lambda: ("large-network",))
    place = root / "weights" / "large-network.safetensors"

    assert list(missing_weights("large-network", None)) == [
        f"large-network: no such file as {place}; train them with `bench train large-network --out {place.parent}`, "
        "or put such a checkpoint there"
    ]


def test_a_misspelt_name_gets_a_hint(root: Path) -> None:
    with pytest.raises(MissingWeights, match="did you mean 'ddpm-cifar10'"):
        find_weights("ddpm-cifar1", None)


def test_a_path_from_the_top_is_looked_for_there_only(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"nothing\.pt: no such file; put the checkpoint there"):
        find_weights(str(tmp_path / "nothing.pt"), None)


def test_a_name_that_no_file_can_have_is_a_sentence(root: Path) -> None:
    with pytest.raises(MissingWeights, match="cannot be looked for"):
        find_weights("x" * 5000, None)


@pytest.mark.parametrize("weights", ["\x1b[31mred.pt", "a\0b", "\u202e/x.pt", "/x\ny.pt"])
def test_a_strangers_name_reaches_no_terminal_as_it_is(root: Path, weights: str) -> None:
    with pytest.raises(MissingWeights) as error:
        find_weights(weights, None)

    assert str(error.value).isprintable()


def test_looking_needs_no_torch() -> None:
    code = (
        "import sys, bench.models.checkpoints.places as places; places.find_weights('digits-ddpm-unet', None);"
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
