"""A recipe file to a validated `Recipe`, with every mistake reported as file:line:column. Imports no torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import ParamError, SuiteError, UnknownName, did_you_mean
from bench.registry import DATASETS, MODELS, check_params
from bench.suite.explain import explain
from bench.suite.grammar import plain
from bench.suite.source import Position, Problem, Source, suite_error
from bench.suite.yaml12 import compose, walk
from bench.train.recipe import Recipe

REFERENCES = {"model": MODELS, "data": DATASETS}
"""Keys whose value is a registered name with flat arguments."""


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a file, or the shipped recipe of that name. Raises SuiteError with every mistake found."""
    name, text = _text(Path(path))
    return parse_recipe(text, name)


def parse_recipe(text: str, name: str) -> Recipe:
    """The recipe a text holds; `name` stands in front of every mistake. Raises SuiteError."""
    tree, problems = compose(text)
    if tree is None or not isinstance(tree.value, dict):
        raise suite_error(name, problems or [_at_start("expected the keys of a recipe; see models/recipes")])
    source = Source(name, text, dict(walk(tree)))
    data = plain(tree)
    for key in REFERENCES:
        if isinstance(data.get(key), dict):
            params = {word: value for word, value in data[key].items() if word != "name"}
            data[key] = {"name": data[key].get("name", ""), "params": params}
    found = list(problems)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise suite_error(name, [*found, *explain(error, Recipe, source)]) from error
    found += [problem for key in REFERENCES for problem in _name_problems(key, recipe, source)]
    if recipe.scheme.depths == "aligned" and recipe.scheme.skip_exponent is None:
        found.append(source.problem(("scheme",), "depths 'aligned' needs skip_exponent, the c of k(t); add it"))
    if recipe.objective.problem:
        found.append(source.problem(("objective",), recipe.objective.problem))
    if found:
        raise suite_error(name, found)
    return recipe


def _name_problems(key: str, recipe: Recipe, source: Source) -> list[Problem]:
    registry: Any = REFERENCES[key]
    reference = getattr(recipe, key)
    try:
        check_params(registry.get(reference.name), reference.params)
    except (UnknownName, ParamError) as error:
        return [source.problem((key,), str(error))]
    return []


def _text(path: Path) -> tuple[str, str]:
    """The name to show and the file's text; a bare name means a shipped recipe."""
    shipped = files("models") / "recipes"
    try:
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8")
        entry = shipped / f"{path}.yaml"
        if len(path.parts) == 1 and entry.is_file():
            return str(entry), entry.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError([f"{path}: cannot be read: {error}"]) from error
    known = sorted(each.name.removesuffix(".yaml") for each in shipped.iterdir() if each.name.endswith(".yaml"))
    hint = did_you_mean(path.stem, known)
    raise SuiteError([f"{path}: no such recipe{hint} (shipped recipes: {', '.join(known) or 'none'})"])


def _at_start(sentence: str) -> Problem:
    return Problem(Position(1, 1), (), sentence)
