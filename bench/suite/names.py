"""Every name a suite writes against the registry: is it registered, and does its factory take these arguments?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.contracts import Value
from bench.errors import UnknownName, did_you_mean
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, Entry, Parameter, Registry, fit
from bench.suite.grammar import UNREADABLE, kind
from bench.suite.schema import Block, BlockRef, Each, Ref
from bench.suite.shape import Piece
from bench.suite.source import KeyPath, Problem, Source

REGISTRIES: Mapping[str, Registry[Any]] = {"model": MODELS, "data": DATASETS, "sampler": SAMPLERS}
"""Which part of a block is looked up where."""


@dataclass(frozen=True)
class CheckedRef:
    """A reference whose name is registered and whose every argument is of the declared type."""

    name: str
    choices: Mapping[str, tuple[Value, ...]]
    """What each argument may be, in written order and then the defaults; more than one value is an axis."""
    order: tuple[str, ...]
    """The arguments in the order of the factory's signature."""

    @property
    def count(self) -> int:
        """How many references the axes make."""
        return math.prod(len(values) for values in self.choices.values())

    def refs(self) -> Iterator[Ref]:
        """Every combination, the axis written first varying slowest."""
        for combination in product(*self.choices.values()):
            chosen = dict(zip(self.choices, combination, strict=True))
            yield Ref(name=self.name, params={name: chosen[name] for name in self.order})


def references(block: Block, path: KeyPath) -> Iterator[tuple[str, KeyPath, BlockRef]]:
    """Every reference of a block: the part it is for, where it stands, and itself."""
    for part in REGISTRIES:
        value: BlockRef | Each[BlockRef] | None = getattr(block, part)
        if isinstance(value, Each):
            for index, each in enumerate(value.each):
                yield part, (*path, part, "each", index), each
        elif value is not None:
            yield part, (*path, part), value


def name_problems(parts: Iterable[Piece], source: Source) -> Iterator[Problem]:
    """Every wrong name and argument in the parts of a suite; unreadable references are reported already."""
    for path, part in parts:
        found: list[tuple[Registry[Any], KeyPath, BlockRef | Ref]] = []
        if isinstance(part, Ref):
            found = [(METRICS, path, part)]
        elif isinstance(part, Block):
            found = [(REGISTRIES[name], here, each) for name, here, each in references(part, path)]
            found += [(METRICS, (*path, "metrics", index), each) for index, each in enumerate(part.metrics or ())]
        for registry, here, reference in found:
            if reference.name != UNREADABLE:
                yield from check_reference(registry, reference, here, source)[1]


def check_reference(
    registry: Registry[Any], reference: BlockRef | Ref, path: KeyPath, source: Source
) -> tuple[CheckedRef | None, tuple[Problem, ...]]:
    """The reference with its arguments as the factory will get them, or every mistake in it."""
    try:
        entry = registry.get(reference.name)
    except UnknownName as error:
        return None, (source.problem((*path, "name"), str(error)),)
    known = entry.parameters()
    problems = [
        source.problem((*path, name), _unknown_parameter(entry, name, known), at_key=True)
        for name in reference.params
        if name not in known
    ]
    problems += [
        source.problem(path, f"{entry.name!r} needs the parameter {name!r}; add it")
        for name, parameter in known.items()
        if parameter.required and name not in reference.params
    ]
    choices: dict[str, tuple[Value, ...]] = {}
    for name, value in reference.params.items():
        if name in known:
            choices[name], wrong = _check_values(value, known[name], (*path, name), source)
            problems += wrong
    for name, parameter in known.items():
        if name not in choices and not parameter.required:
            choices[name] = (_same_type(fit(parameter.default, parameter.annotation)[0]),)
    if problems:
        return None, tuple(problems)
    return CheckedRef(entry.name, choices, tuple(known)), ()


def _check_values(
    value: Value | Each[Value], parameter: Parameter, path: KeyPath, source: Source
) -> tuple[tuple[Value, ...], list[Problem]]:
    """The values an argument takes, each as the annotation wants it, and what is wrong with them."""
    items = value.each if isinstance(value, Each) else (value,)
    fitted: dict[tuple[type, Value], Value] = {}
    problems: list[Problem] = []
    for index, item in enumerate(items):
        here = (*path, "each", index) if isinstance(value, Each) else path
        found, sentence = fit(item, parameter.annotation)
        found = _same_type(found)
        if sentence.startswith("expected") and isinstance(item, tuple) and not isinstance(value, Each):
            sentence += "; an axis is written {each: [...]}"
        elif sentence and isinstance(item, float) and item.is_integer() and not fit(int(item), parameter.annotation)[1]:
            sentence += f"; did you mean {int(item)}?"
        elif not sentence and (type(found), found) in fitted:
            sentence = f"{kind(found)} stands twice in this axis; remove one of them"
        if sentence:
            problems.append(source.problem(here, sentence))
        fitted[type(found), found] = found
    return tuple(fitted.values()), problems


def _same_type(value: Value) -> Value:
    """-0.0 and 0.0 are one value."""
    return 0.0 if isinstance(value, float) and value == 0 else value


def _unknown_parameter(entry: Entry[Any], name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    return (
        f"{entry.name!r} takes no parameter {name!r}{did_you_mean(name, known)} (known: {', '.join(known) or 'none'})"
    )
