"""`bench train digits-cnn`: the classifier behind frechet[digits-cnn], by the verb that trains everything else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import ExitCode
from bench.quality.digits_cnn import shipped_weights

RECIPE = Path(__file__).parents[2] / "models" / "recipes" / "digits-cnn.yaml"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder where the training has been done already."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped_weights().with_suffix(suffix), tmp_path)
    return tmp_path


@pytest.mark.parametrize("recipe", ["digits-cnn", str(RECIPE)])
def test_the_pinned_weights_are_known(made: Path, capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    assert main(["train", recipe, "--out", str(made)]) == ExitCode.OK
    assert "the same file as the shipped one, bit for bit" in capsys.readouterr().out

    assert main(["train", recipe, "--out", str(made), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"weights": str(made / "digits-cnn.safetensors"), "pinned": True}


def test_too_short_a_training_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "short.yaml"
    text = RECIPE.read_text(encoding="utf-8").replace("data: {name: digits, split: train}", "data: {name: digits}")
    recipe.write_text(text.replace("epochs: 40", "epochs: 1"), encoding="utf-8")

    code = main(["train", str(recipe), "--out", str(tmp_path / "out")])

    assert code == ExitCode.BAD_INPUT
    assert "features of such a network must not judge pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_mistakes_in_its_recipe_stand_at_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text(RECIPE.read_text(encoding="utf-8").replace("epochs: 40", "epochs: none"), encoding="utf-8")

    assert main(["train", str(recipe)]) == ExitCode.BAD_INPUT
    assert f"{recipe}:7:17: train.epochs: expected a whole number" in capsys.readouterr().err
