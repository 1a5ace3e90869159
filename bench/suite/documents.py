"""YAML files beside suites, such as recipes: found by path or name, read into types with every mistake at its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import ParamError, SuiteError, UnknownName, did_you_mean
from bench.registry import Registry, check_params
from bench.suite.explain import explain
from bench.suite.grammar import plain
from bench.suite.source import Position, Problem, Source, suite_error
from bench.suite.yaml12 import compose, walk

D = TypeVar("D", bound=BaseModel)


def nothing_more(document: BaseModel, source: Source) -> Iterable[Problem]:
    """No rules besides the types."""
    return ()


def parse_document(
    text: str,
    name: str,
    kind: type[D],
    references: Mapping[str, Registry[Any]],
    more: Callable[[D, Source], Iterable[Problem]] = nothing_more,
) -> D:
    """The document a text holds; `name` stands in front of every mistake.

    references: keys whose value is a registered name with flat arguments, `{name: digits, split: train}`. more: what
    the types cannot say. Raises SuiteError.
    """
    tree, problems = compose(text)
    if tree is None or not isinstance(tree.value, dict):
        raise suite_error(name, problems or [_at_start("expected the keys of a recipe; see models/recipes")])
    source = Source(name, text, dict(walk(tree)))
    data = plain(tree)
    for key in references:
        if isinstance(data.get(key), dict):
            params = {word: value for word, value in data[key].items() if word != "name"}
            data[key] = {"name": data[key].get("name", ""), "params": params}
    found = list(problems)
    try:
        document = kind.model_validate(data)
    except ValidationError as error:
        raise suite_error(name, [*found, *explain(error, kind, source)]) from error
    for key, registry in references.items():
        reference = getattr(document, key)
        try:
            check_params(registry.get(reference.name), reference.params)
        except (UnknownName, ParamError) as error:
            found.append(source.problem((key,), str(error)))
    found += more(document, source)
    if found:
        raise suite_error(name, found)
    return document


def top_keys(text: str) -> frozenset[str]:
    """The keys a text has at the top, as far as it can be read: they tell one kind of document from another."""
    tree, _ = compose(text)
    return frozenset(map(str, tree.value)) if tree is not None and isinstance(tree.value, dict) else frozenset()


def recipe_text(path: str | Path) -> tuple[str, str]:
    """The name to show and the text of a recipe; a bare name means a shipped one. Raises SuiteError."""
    path = Path(path)
    shipped = files("bench.models") / "recipes"
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
