"""From pydantic's findings to sentences: where it stands, what was expected, what was found, what may be meant."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.errors import did_you_mean
from bench.suite.grammar import kind
from bench.suite.source import KeyPath, Problem, Source
from bench.suite.yaml12 import scalar

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "none_required": "nothing",
    "tuple_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_YAML_1_1_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain(
    error: ValidationError, model: type[BaseModel], source: Source, base: KeyPath = (), drop: int = 0
) -> Iterator[Problem]:
    """One problem per place. `base` is where the validated data stands; `drop` steps of pydantic's own come first."""
    alternatives: dict[KeyPath, list[Mapping[str, Any]]] = {}
    for found in error.errors(include_url=False):
        path, _ = source.find((*base, *found["loc"][drop:]))
        if found["type"] == "missing":
            missing = (*path, str(found["loc"][-1]))
            yield Problem(source.problem(path, "").position, missing, "missing; it must be given")
        elif found["type"] == "extra_forbidden":
            yield source.problem(path, _unknown_key(model, found["loc"]), at_key=True)
        else:
            alternatives.setdefault(path, []).append(found)
    for path, several in alternatives.items():
        yield source.problem(path, _sentence(several))


def _unknown_key(model: type[BaseModel], loc: KeyPath) -> str:
    fields = _fields(model, loc[:-1])
    key = str(loc[-1])
    homes = [name for name, annotation in fields.items() if key in _keys_of(annotation)]
    if homes:
        return f"unknown key here; it belongs inside {' or '.join(map(repr, homes))}"
    hint = did_you_mean(key, fields)
    return f"unknown key{hint}" if hint else f"unknown key; expected one of {', '.join(sorted(fields))}"


def _sentence(found: list[Mapping[str, Any]]) -> str:
    """What was expected and what was found, of all the alternatives a place offers."""
    value = found[0]["input"]
    bounds = [each for each in found if each["type"] in _BOUNDS]
    if bounds:
        words, key = _BOUNDS[bounds[0]["type"]]
        return f"must be {words} {bounds[0]['ctx'][key]}, got {kind(value)}"
    literals = [each["ctx"]["expected"] for each in found if each["type"] == "literal_error"]
    patterns = [f"text like {each['ctx']['pattern']}" for each in found if each["type"] == "string_pattern_mismatch"]
    expected = [*literals, *patterns, *(_EXPECTED[each["type"]] for each in found if each["type"] in _EXPECTED)]
    if not expected:
        return f"{found[0]['msg']}, got {kind(value)}"
    sentence = f"expected {' or '.join(dict.fromkeys(expected))}, got {kind(value)}"
    return sentence + _hint(value, {each["type"] for each in found}, re.findall(r"'([^']*)'", " ".join(literals)))


def _hint(value: object, types_: set[str], choices: Iterable[str]) -> str:
    """What is probably meant, for the mistakes that YAML invites."""
    if isinstance(value, Mapping) and "each" in value:
        return "; an axis can only stand in a block of 'grid'"
    if "tuple_type" in types_:
        return "; write [...] around it, or - in front of each item"
    if isinstance(value, str):
        if "bool_type" in types_ and value.lower() in _YAML_1_1_WORDS:
            return f"; did you mean {_YAML_1_1_WORDS[value.lower()]}?"
        if types_ & {"int_type", "float_type"} and _is_number(value):
            return "; remove the quotes or the underscores"
        return did_you_mean(value, choices)
    if "int_type" in types_ and isinstance(value, float) and value.is_integer():
        return f"; did you mean {int(value)}?"
    if types_ == {"string_type"} and isinstance(value, int | float):
        return "; put it in quotes to make it text"
    return ""


def _is_number(text: str) -> bool:
    try:
        return isinstance(scalar(text.replace("_", "")), int | float)
    except ValueError:
        return False


def _fields(model: type[BaseModel], loc: KeyPath) -> Mapping[str, Any]:
    """The keys a file may write at a place, each with its type; steps that are not in the types are skipped."""
    here: list[Any] = [model]
    for step in loc:
        below = [inner for annotation in here for inner in _below(annotation, step)]
        here = below or here
    return {key: annotation for each in here for key, annotation in _keys_of(each).items()}


def _below(annotation: Any, step: str | int) -> Iterator[Any]:
    for each in _options(annotation):
        if isinstance(step, int) and typing.get_origin(each) is tuple:
            yield typing.get_args(each)[0]
        elif isinstance(step, str) and step in (keys := _keys_of(each)):
            yield keys[step]


def _keys_of(annotation: Any) -> Mapping[str, Any]:
    """The keys of the mappings an annotation allows."""
    return {
        field.alias or name: field.annotation
        for each in _options(annotation)
        if isinstance(each, type) and issubclass(each, BaseModel)
        for name, field in each.model_fields.items()
    }


def _options(annotation: Any) -> Iterator[Any]:
    """The alternatives of a union, bare of annotations."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _options(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for each in typing.get_args(annotation):
            yield from _options(each)
    else:
        yield annotation
