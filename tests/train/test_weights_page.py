"""The page about the shipped weights says what their passports say."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from bench.files import file_hash
from bench.passport import Passport, read_passport, write_passport
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

    assert passport.sha256 == file_hash(path)
    assert passport.recipe is not None
    recipe = MODELS / "recipes" / passport.recipe
    if is_classifier(text := recipe.read_text(encoding="utf-8")):
        assert passport.recipe_sha256 == parse_classifier(text, recipe.name).fingerprint
    else:
        assert passport.recipe_sha256 == recipe_fingerprint(read_recipe(recipe))
        assert path.with_suffix(".png").is_file()


@pytest.mark.parametrize(
    "nasty",
    [
        "<script>alert(1)</script>",
        "a | b",
        "`x`",
        "](javascript:alert(1))",
        "a\n# b",
        "\u202ex",
        "__b__",
        "",
        "x" * 999,
    ],
)
def test_texts_of_a_strangers_passport_stay_texts(tmp_path: Path, nasty: str) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"x")
    text = {"name": nasty, "recipe": nasty, "model": nasty, "format": nasty, "data": nasty}
    shipped = asdict(read_passport(WEIGHTS[0]))
    write_passport(Passport(**{**shipped, **text, "probe": None}), file)

    (row,) = [line for line in weights_page(tmp_path).splitlines() if line.startswith("| `")]
    inline = MarkdownIt("gfm-like", {"linkify": False}).parse(
        f"| a | b | c | d | e | f | g |\n|---|---|---|---|---|---|---|\n{row}"
    )
    kinds = [child.type for token in inline for child in token.children or ()]

    assert sum(token.type == "td_open" for token in inline) == 7
    assert set(kinds) <= {"text", "code_inline", "link_open", "link_close"}
    assert all(
        c.attrs["href"].startswith("recipes/") for t in inline for c in t.children or () if c.type == "link_open"
    )


def test_a_document_without_a_place_for_the_page_is_refused() -> None:
    assert replace_page(f"a\n{BEGIN}\nold\n{END}\nb", "new") == "a\nnew\nb"
    with pytest.raises(ValueError, match="expected"):
        replace_page("no place", "new")
