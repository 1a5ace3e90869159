"""The page about the shipped weights says what their passports say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.passport import file_sha256, read_passport
from bench.quality.classifier_recipe import is_classifier, parse_classifier
from bench.registry import load_builtins
from bench.train.page import BEGIN, END, replace_page, weights_page
from bench.train.reading import read_recipe
from bench.train.state import recipe_fingerprint

MODELS = Path(__file__).parents[2] / "models"
WEIGHTS = sorted((MODELS / "weights").glob("*.safetensors"))


def test_the_page_in_the_readme_is_fresh() -> None:
    readme = (MODELS / "README.md").read_text(encoding="utf-8")

    assert replace_page(readme, weights_page(MODELS / "weights")) == readme


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_shipped_weights_are_the_ones_their_passport_and_recipe_name(path: Path) -> None:
    load_builtins()  # recipes are checked against what is registered
    passport = read_passport(path)

    assert passport.sha256 == file_sha256(path)
    assert passport.recipe is not None
    recipe = MODELS / "recipes" / passport.recipe
    if is_classifier(text := recipe.read_text(encoding="utf-8")):
        assert passport.recipe_sha256 == parse_classifier(text, recipe.name).fingerprint
    else:
        assert passport.recipe_sha256 == recipe_fingerprint(read_recipe(recipe))
        assert path.with_suffix(".png").is_file()


def test_a_document_without_a_place_for_the_page_is_refused() -> None:
    assert replace_page(f"a\n{BEGIN}\nold\n{END}\nb", "new") == "a\nnew\nb"
    with pytest.raises(ValueError, match="expected"):
        replace_page("no place", "new")
