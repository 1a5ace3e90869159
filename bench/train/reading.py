"""A recipe file to a validated `Recipe`, with every mistake reported as file:line:column. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.registry import DATASETS, MODELS, Registry
from bench.suite.documents import parse_document, recipe_text
from bench.suite.source import Problem, Source
from bench.train.recipe import Recipe

REFERENCES: Mapping[str, Registry[Any]] = {"model": MODELS, "data": DATASETS}
"""Keys whose value is a registered name with flat arguments."""


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a file, or the shipped recipe of that name. Raises SuiteError with every mistake found."""
    name, text = recipe_text(path)
    return parse_recipe(text, name)


def parse_recipe(text: str, name: str) -> Recipe:
    """The recipe a text holds; `name` stands in front of every mistake. Raises SuiteError."""
    return parse_document(text, name, Recipe, REFERENCES, _contradictions)


def _contradictions(recipe: Recipe, source: Source) -> Iterator[Problem]:
    if recipe.scheme.depths == "aligned" and recipe.scheme.skip_exponent is None:
        yield source.problem(("scheme",), "depths 'aligned' needs skip_exponent, the c of k(t); add it")
    if recipe.objective.problem:
        yield source.problem(("objective",), recipe.objective.problem)
