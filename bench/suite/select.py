"""`-k factor=value`: which of a suite's cells are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.contracts import Scalar
from bench.errors import UserError
from bench.suite.schema import Cell
from bench.suite.uses import all_factors, known_factors, listed, same, unknown_factor, value_text
from bench.suite.yaml12 import scalar

CELL = "cell"
"""Stands before the equals sign where one cell is meant by its id, or by the hash at the end of it."""


def select(cells: Sequence[Cell], expressions: Iterable[str]) -> tuple[Cell, ...]:
    """The cells that every named factor allows, in order; all of them when nothing is named.

    An expression is `factor=value`; the end of a factor's name is enough (`skip=zero` for `model.skip`), conditions
    count as factors. Two expressions about one factor allow both values. `cell=04159c42` is the cell whose id ends so.
    Raises UserError when a factor or a value is unknown, when an ending fits several factors, or when no cell is left.
    """
    factors = known_factors(cells)
    wanted: dict[str, list[Scalar]] = {}
    named: dict[str, str] = {}
    for expression in expressions:
        found = _cells_called(expression, cells)
        named.update(found)
        if not found:
            name, value = _parse(expression, factors)
            wanted.setdefault(name, []).append(value)
    chosen = tuple(cell for cell in cells if (not named or cell.id in named) and _allowed(all_factors(cell), wanted))
    if cells and not chosen:
        told = {**wanted, **({CELL: tuple(named.values())} if named else {})}
        described = ", ".join(f"{name} = {' or '.join(map(value_text, values))}" for name, values in told.items())
        raise UserError(f"-k: none of the {len(cells):,} cells has {described} together; name fewer factors")
    return chosen


def hash_of(cell: Cell) -> str:
    """The hexadecimal digits that end a cell's id."""
    return cell.id.rpartition("-")[2]


def _cells_called(expression: str, cells: Sequence[Cell]) -> Mapping[str, str]:
    """Ids of the cells that `cell=...` means, and what they were called; none for an expression about a factor."""
    word, _, text = (part.strip() for part in expression.partition("="))
    return {cell.id: text for cell in cells if text in (cell.id, hash_of(cell))} if word == CELL else {}


def _parse(expression: str, factors: Mapping[str, tuple[Scalar, ...]]) -> tuple[str, Scalar]:
    """The full name of the factor, and the one of its values that is meant."""
    word, equals, text = (part.strip() for part in expression.partition("="))
    if not equals or not word:
        raise UserError(f"-k {expression!r}: expected factor=value, such as skip=zero")
    names = [word] if word in factors else [name for name in factors if name.endswith(f".{word}")]
    if not names and word == CELL:
        raise UserError(f"-k {expression!r}: no cell's id is that or ends with it; see `bench plan`")
    if not names:
        raise UserError(f"-k {expression!r}: {unknown_factor(word, factors)}")
    if len(names) > 1:
        raise UserError(f"-k {expression!r}: {word!r} may be {' or '.join(names)}; write one of them")
    values = [value for value in factors[names[0]] if means(text, value)]
    if not values:
        sentence = f"no cell has {names[0]} = {text}; expected one of {listed(factors[names[0]])}"
        raise UserError(f"-k {expression!r}: {sentence}")
    return names[0], values[0]


def means(text: str, value: Scalar) -> bool:
    """Whether this is how the value is written behind `-k`."""
    if isinstance(value, str):
        return text == value
    try:
        return same(scalar(text), value)
    except ValueError:
        return False


def _allowed(factors: Mapping[str, Scalar], wanted: Mapping[str, Sequence[Scalar]]) -> bool:
    return all(
        name in factors and any(same(factors[name], value) for value in values) for name, values in wanted.items()
    )
