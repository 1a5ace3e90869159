"""The other way round: which `-k factor=value` select exactly these cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import and_, or_

from bench.contracts import Scalar
from bench.suite.schema import Cell
from bench.suite.select import CELL, hash_of, means
from bench.suite.uses import all_factors, known_factors, same, value_text


class Expressions:
    """What to write behind `-k`, for any cells of one suite. Sets of cells are the bits of a number."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._index = {cell.id: number for number, cell in enumerate(cells)}
        self._factors = [all_factors(cell) for cell in cells]
        times = Counter(map(hash_of, cells))
        self._hashes = {cell.id: hash_of(cell) if times[hash_of(cell)] == 1 else cell.id for cell in cells}
        known = known_factors(cells)
        self._words = {
            name: _word(name, known) for name, values in known.items() if len(values) > 1 or not self._everywhere(name)
        }
        self._with: dict[str, dict[tuple[bool, Scalar], int]] = {name: {} for name in self._words}
        for number, factors in enumerate(self._factors):
            for name in self._words.keys() & factors.keys():
                having = self._with[name]
                key = _key(factors[name])
                having[key] = having.get(key, 0) | 1 << number
        self._texts = {
            (name, _key(value)): text
            for name in self._words
            for value in known[name]
            if (text := _text(value, known[name])) is not None
        }

    def _everywhere(self, name: str) -> bool:
        return all(name in factors for factors in self._factors)

    def selecting(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Expressions that select these cells and no others: few factors where factors can do it, else `cell=HASH`.

        Raises KeyError for a cell that is not one of the suite's.
        """
        wanted = list(dict.fromkeys(ids))
        numbers = [self._index[each] for each in wanted]
        target = reduce(or_, (1 << number for number in numbers), 0)
        allowed = {
            name: reduce(or_, (self._with[name][_key(self._factors[number][name])] for number in numbers), 0)
            for name in self._words
            if all((name, _key(self._factors[number].get(name))) in self._texts for number in numbers)
            and all(name in self._factors[number] for number in numbers)
        }
        everything = (1 << len(self._factors)) - 1
        if reduce(and_, allowed.values(), everything) != target:
            return tuple(f"{CELL}={self._hashes[each]}" for each in wanted)
        chosen = list(allowed)
        for name in reversed(allowed):  # of two that tell the same, what was written first is kept
            rest = [each for each in chosen if each != name]
            if reduce(and_, (allowed[each] for each in rest), everything) == target:
                chosen = rest
        return tuple(
            f"{self._words[name]}={text}"
            for name in chosen
            for text in dict.fromkeys(self._texts[name, _key(self._factors[number][name])] for number in numbers)
        )


def _key(value: Scalar) -> tuple[bool, Scalar]:
    """Equal exactly for values that a suite takes for the same: 2 and 2.0, but not 1 and true."""
    return isinstance(value, bool), value


def _word(name: str, known: Iterable[str]) -> str:
    """The end of the factor's name where that is enough, else all of it."""
    tail = name.rpartition(".")[2]
    fitting = [each for each in known if each == tail or each.endswith(f".{tail}")]
    return tail if fitting == [name] and tail != CELL else name


def _text(value: Scalar, values: Sequence[Scalar]) -> str | None:
    """What to write for this value; None where `-k` would take it for another one, or cannot read it."""
    text = value_text(value)
    if text != text.strip() or not text.isprintable():
        return None
    found = next((each for each in values if means(text, each)), None)
    return text if any(means(text, each) for each in values) and same(found, value) else None
