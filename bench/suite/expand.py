"""A suite to its cells: axes multiplied in written order, blocks united, every name and argument checked."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

from bench.contracts import Scalar, Value
from bench.registry import METRICS
from bench.suite.names import REGISTRIES, CheckedRef, check_reference, references
from bench.suite.schema import Block, Cell, Conditions, Each, Ref, Suite
from bench.suite.shape import pieces_of, shape_problems
from bench.suite.source import KeyPath, Problem, Source, suite_error
from bench.suite.uses import (
    all_factors,
    factor_problems,
    known_factors,
    metric_problems,
    published_problems,
    value_text,
    varying_factors,
)

MAX_CELLS = 10_000
"""Of one suite; more is a slip of the pen, not an experiment."""

_MAX_ID_TEXT = 120
_MAX_VALUE_TEXT = 32


@dataclass(frozen=True)
class Expansion:
    """What a suite makes, and everything that is wrong with it."""

    cells: tuple[Cell, ...]
    """Where something is wrong, those of the blocks that can be read."""
    places: Mapping[str, int]
    """Cell id -> its block in the grid."""
    problems: tuple[Problem, ...]


def expand(suite: Suite) -> tuple[Cell, ...]:
    """Every cell of the suite, in written order, with ids that no two cells share.

    Within a block the axis written first varies slowest. A cell that several blocks describe is one cell, at its first
    place; the same value twice in one axis is a mistake. Models, data sets, samplers and metrics must be registered
    before (`bench.registry.load_plugins`). Raises SuiteError with every mistake, each with file:line:column, and when
    there would be more than 10,000 cells, before making them.
    """
    expansion = survey(suite)
    if expansion.problems:
        raise suite_error(suite.source.name, expansion.problems)
    return expansion.cells


def survey(suite: Suite) -> Expansion:
    """The same without raising: every mistake, and the cells as far as they can be made."""
    source = suite.source
    problems = list(shape_problems(pieces_of(suite), source))
    metrics, wrong = _metrics(suite.metrics, ("metrics",), source)
    problems += [*wrong, *metric_problems(suite), *published_problems(suite)]
    grid: dict[int, _CheckedBlock] = {}
    for index, block in enumerate(suite.grid):
        checked, wrong = _check(block, ("grid", index), metrics, source)
        problems += wrong
        if checked is not None:
            grid[index] = checked
    count = sum(block.count for block in grid.values())
    if count > MAX_CELLS:
        sentence = f"makes {count:,} cells; at most {MAX_CELLS:,} are planned; shorten an axis or split the suite"
        return Expansion((), {}, (*problems, source.problem(("grid",), sentence)))
    for index, checked in list(grid.items()):
        if conflicts := tuple(_conflicts(checked, source)):
            problems += conflicts
            del grid[index]
    united = _united(suite, grid)
    cells = _named(suite, [cell for cell, _ in united])
    if len(grid) == len(suite.grid):  # otherwise some factors are not known
        problems += factor_problems(suite, known_factors(cells))
    places = {cell.id: index for cell, (_, index) in zip(cells, united, strict=True)}
    return Expansion(cells, places, tuple(problems))


def identity(cell: Cell) -> str:
    """Everything that changes what a cell's numbers are, as canonical JSON; its hash ends the cell's id.

    Metrics are not in it (a record is found by cell and metric), nor is effort, which changes only precision.
    """
    parts = {
        part: reference and [reference.name, dict(reference.params)]
        for part, reference in (("model", cell.model), ("sampler", cell.sampler), ("data", cell.data))
    }
    whole = {**parts, "conditions": cell.conditions.model_dump(), "seed": cell.seed}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class _CheckedBlock:
    """A block in which every name is registered and every argument fits."""

    parts: Mapping[str, tuple[CheckedRef, ...]]
    """Alternatives of each part, the parts in written order; `conditions` is one of them, as a nameless reference."""
    metrics: tuple[Ref, ...]
    written: tuple[tuple[KeyPath, str, CheckedRef], ...] = ()
    """Every reference: where it stands, and the part it is for."""

    @property
    def count(self) -> int:
        """How many cells the block makes."""
        return math.prod(sum(each.count for each in alternatives) for alternatives in self.parts.values())

    def combinations(self) -> Iterator[Mapping[str, Ref]]:
        """Every combination, the first part varying slowest."""
        expanded = [tuple(ref for each in alternatives for ref in each.refs()) for alternatives in self.parts.values()]
        for combination in product(*expanded):
            yield dict(zip(self.parts, combination, strict=True))


def _check(
    block: Block, path: KeyPath, metrics: tuple[Ref, ...], source: Source
) -> tuple[_CheckedBlock | None, tuple[Problem, ...]]:
    """The block against the registry, if its cells can be made, and every mistake in it.

    metrics: the suite's, for a block without its own.
    """
    parts: dict[str, list[CheckedRef]] = {}
    refs: list[tuple[KeyPath, str, CheckedRef]] = []
    complete = True
    problems: list[Problem] = []
    for part, here, reference in references(block, path):
        checked, wrong = check_reference(REGISTRIES[part], reference, here, source)
        problems += wrong
        if checked is None:
            complete = False
        else:
            parts.setdefault(part, []).append(checked)
            refs.append((here, part, checked))
    overrides = {name: value.each if isinstance(value, Each) else (value,) for name, value in block.conditions.items()}
    parts["conditions"] = [CheckedRef("", overrides, tuple(overrides))]
    written = sorted(parts, key=lambda part: source.problem((*path, part), "", at_key=True).position)
    if block.metrics is not None:
        metrics, wrong = _metrics(block.metrics, (*path, "metrics"), source)
        problems += wrong
    checked_parts = {part: tuple(parts[part]) for part in written}
    return _CheckedBlock(checked_parts, metrics, tuple(refs)) if complete else None, tuple(problems)


def _conflicts(block: _CheckedBlock, source: Source) -> Iterator[Problem]:
    """Arguments that are good by themselves and do not go together."""
    for here, part, checked in block.written:
        entry = REGISTRIES[part].get(checked.name)
        sentences = dict.fromkeys(sentence for ref in checked.refs() for sentence in entry.conflicts(ref.params))
        if sentences:
            yield source.problem(here, f"{checked.name!r}: {'; '.join(sentences)}")


def _metrics(metrics: Sequence[Ref], path: KeyPath, source: Source) -> tuple[tuple[Ref, ...], tuple[Problem, ...]]:
    """Metrics with every argument filled in, and every mistake in them."""
    found: list[Ref] = []
    problems: list[Problem] = []
    for index, metric in enumerate(metrics):
        here = (*path, index)
        checked, wrong = check_reference(METRICS, metric, here, source)
        problems += wrong
        for ref in checked.refs() if checked is not None else ():
            conflicts = METRICS.get(ref.name).conflicts(ref.params)
            if conflicts:
                problems.append(source.problem(here, f"{ref.name!r}: {'; '.join(conflicts)}"))
                continue
            if ref in found:
                problems.append(source.problem(here, f"the metric {ref.name!r} stands twice; remove one of them"))
            found.append(ref)
    return tuple(found), tuple(problems)


def _united(suite: Suite, grid: Mapping[int, _CheckedBlock]) -> list[tuple[Cell, int]]:
    """The cells of all blocks, each once, without their ids, and the first block each is in."""
    conditions = suite.conditions.model_dump()
    united: dict[str, tuple[Cell, int]] = {}
    for index, block in grid.items():
        for parts in block.combinations():
            cell = Cell(
                id="",
                suite=suite.suite,
                model=parts["model"],
                sampler=parts.get("sampler"),
                data=parts.get("data"),
                conditions=Conditions.model_validate({**conditions, **parts["conditions"].params}),
                seed=suite.seed,
                factors=_factors(parts),
                metrics=block.metrics,
                effort=suite.effort,
            )
            united.setdefault(identity(cell), (cell, index))
    return list(united.values())


def _factors(parts: Mapping[str, Ref]) -> Mapping[str, Scalar]:
    """`{"model": name, "model.skip": "zero", ...}`; a list is the text of its items."""
    return {
        name: value
        for part in REGISTRIES
        if part in parts
        for name, value in (
            (part, parts[part].name),
            *((f"{part}.{key}", _scalar(argument)) for key, argument in parts[part].params.items()),
        )
    }


def _scalar(value: Value) -> Scalar:
    return ",".join(map(value_text, value)) if isinstance(value, tuple) else value


def _named(suite: Suite, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with their ids: what varies, to read, and the hash of the identity, to tell apart."""
    short_names = _short_names(varying_factors(cells))
    texts = [_id_text(cell, short_names) for cell in cells]
    hashes = [sha256(identity(cell).encode()).hexdigest() for cell in cells]
    short = [f"{suite.suite}/{text}-{digest[:8]}" for text, digest in zip(texts, hashes, strict=True)]
    times = Counter(short)
    return tuple(
        cell.model_copy(update={"id": name if times[name] == 1 else f"{name}{digest[8:16]}"})
        for cell, name, digest in zip(cells, short, hashes, strict=True)
    )


def _short_names(names: Sequence[str]) -> Mapping[str, str]:
    """What each factor is called in an id: `skip`, or `model.skip` if two are called `skip`."""
    times = Counter(name.rpartition(".")[2] for name in names)
    return {name: tail if times[tail := name.rpartition(".")[2]] == 1 else name for name in names}


def _id_text(cell: Cell, short_names: Mapping[str, str]) -> str:
    factors = all_factors(cell)
    shown = [f"{short}={_word(factors[name])}" for name, short in short_names.items() if name in factors]
    return (",".join(shown) or _word(cell.model.name))[:_MAX_ID_TEXT]


def _word(value: Scalar) -> str:
    """The value as a part of an id: no spaces, commas, slashes or anything a shell or a page would trip over."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", value_text(value))[:_MAX_VALUE_TEXT]
