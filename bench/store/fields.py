"""What a field of a record or of `run.json` may hold: kind, range and length, and the sentence when it holds another.

A right checksum says that a line is whole, not who wrote it. Whatever passes here can be formatted, compared, hashed
and drawn: whole numbers fit 64 bits, other numbers are finite, and no text has half of a surrogate pair, except for
those that stand for the bytes of a file name that is not UTF-8 (PEP 383).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from pathlib import PurePosixPath
from typing import Any

from bench.contracts import Scalar, Value

ARTIFACTS = "artifacts"
"""The folder of a run that holds the files which records name."""
MAX_WHOLE = 2**63 - 1
"""Largest magnitude of a whole number, as in suites."""
MAX_VALUE = 1e150
"""Largest magnitude of a measured value: its square is finite, so every mean, spread and ratio can be computed."""
MAX_TEXT = 1 << 20
"""Characters of one text: as many as a suite may have in all."""
MAX_ENTRIES = 10_000
"""Of a mapping or a list, other than those that a suite or a metric gives."""
MAX_LIST = 1 << 20
"""Of a list in a suite."""
MAX_VALUES = 1_000_000
"""Of one measurement."""
MAX_NAME = 200
"""Characters of a name, such as a key of `at`, `part`, a unit."""

Field = Callable[[str, Any], Any]
"""(name of the field, what stands in it) -> the same as the record holds it. Raises WrongField."""


class WrongField(ValueError):
    """A sentence: which field, what it holds, what was expected."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(f"{field} is {described(value)}, expected {expected}")


def described(value: object) -> str:
    """A value in a few words of ASCII, however large or strange it is."""
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return _quoted(value)
        case int() if abs(value) > MAX_WHOLE:
            return f"a whole number of {value.bit_length():,} bits"
        case int() | float():
            return repr(value)
        case Real():
            return ascii(str(value)[:40])
        case Mapping():
            return f"an object of {len(value):,}"
        case list() | tuple():
            return f"a list of {len(value):,}"
    return f"of the type {_quoted(type(value).__name__)}"


def sentence(error: Exception, longest: int = 300) -> str:
    """What an error says, without control characters and not too long: it may quote what it found."""
    words = str(error)[:longest]
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in words)


def _quoted(text: str) -> str:
    return ascii(text) if len(text) <= 40 else f"{ascii(text[:40])[:-1]}...' ({len(text):,} characters)"


def entry(field: str, key: object) -> str:
    """The name of one entry of a mapping: `at['stage']`."""
    return f"{field}[{described(key)}]"


def text(longest: int = MAX_TEXT, *, shortest: int = 0) -> Field:
    """Text of so many characters."""
    expected = f"text of {shortest:,} to {longest:,} characters"

    def read(field: str, value: Any) -> str:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise WrongField(field, value, expected)
        if not value.isascii():
            try:
                value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                raise WrongField(field, value, "text without halves of surrogate pairs") from None
        return value

    return read


def optional(inner: Field) -> Field:
    """The same, or null."""

    def read(field: str, value: Any) -> Any:
        return None if value is None else inner(field, value)

    return read


def whole(low: int = -MAX_WHOLE, high: int = MAX_WHOLE) -> Field:
    """A whole number from low to high. Numbers of NumPy are numbers, truth values are not."""
    expected = f"a whole number from {low} to {high}"

    def read(field: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
            raise WrongField(field, value, expected)
        return int(value)

    return read


def number(field: str, value: Any) -> float:
    """A finite number of a magnitude below MAX_VALUE, as float64; numbers of NumPy and truth values as above."""
    if isinstance(value, Real) and not isinstance(value, bool):
        # A whole number may be too large to be converted, and a number of NumPy too small to be compared.
        plain = int(value) if isinstance(value, Integral) else float(value)
        if -MAX_VALUE < plain < MAX_VALUE:  # false for NaN
            return float(plain)
    raise WrongField(field, value, f"a finite number of a magnitude below {MAX_VALUE:g}")


def values(field: str, value: Any) -> tuple[float, ...]:
    """A list of numbers, as `number` takes them."""
    usual = isinstance(value, list | tuple) and 0 < len(value) <= MAX_VALUES and {*map(type, value)} == {float}
    # By functions that run through a list in C.
    if usual and all(map(math.isfinite, value)) and min(value) > -MAX_VALUE and max(value) < MAX_VALUE:
        return tuple(value)
    return tuple(_numbers(field, value))


def truth(field: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise WrongField(field, value, "true or false")
    return value


_text = text()
_whole = whole()


def scalar(field: str, value: Any) -> Scalar:
    """A text, a number, a truth value or null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(_text(field, value))
    if isinstance(value, Integral):
        return int(_whole(field, value))
    if isinstance(value, Real):
        if math.isfinite(value):
            return float(value)
        raise WrongField(field, value, "a finite number")
    raise WrongField(field, value, "text, a number, true, false or null")


def parameter(field: str, value: Any) -> Value:
    """A scalar or a flat list of them."""
    if isinstance(value, list | tuple):
        return tuple(_scalars(field, value))
    return scalar(field, value)


def mapping(inner: Field) -> Field:
    """An object with names as keys."""
    name = text(MAX_NAME)

    def read(field: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > MAX_ENTRIES:
            raise WrongField(field, value, f"an object of at most {MAX_ENTRIES:,} names")
        try:
            return {name("", key): inner("", each) for key, each in value.items()}
        except WrongField:
            # Once more for the sentence: naming each of dozens of entries takes longer than looking at it.
            for key, each in value.items():
                name(f"a name in {field}", key)
                inner(entry(field, key), each)
            raise

    return read


def sequence(inner: Field, longest: int = MAX_ENTRIES) -> Field:
    """A list; text is none."""

    def read(field: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > longest:
            raise WrongField(field, value, f"a list of at most {longest:,}")
        try:
            return tuple([inner("", each) for each in value])
        except WrongField:
            for index, each in enumerate(value):
                inner(f"{field}[{index}]", each)
            raise

    return read


def artifact(field: str, value: Any) -> str:
    """The path of a file below the folder of artifacts, relative to the run's folder."""
    path = PurePosixPath(_text(field, value))
    if path.parts[:1] != (ARTIFACTS,) or len(path.parts) < 2 or ".." in path.parts or "\0" in value:
        raise WrongField(field, value, f"the name of a file below {ARTIFACTS}/")
    return str(value)


def one_of(words: Collection[str], convert: Callable[[str], Any] = str) -> Field:
    """One of a few words."""

    def read(field: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            raise WrongField(field, value, " or ".join(repr(str(each)) for each in words))
        return convert(value)

    return read


_scalars = sequence(scalar, MAX_LIST)
_numbers = sequence(number, MAX_VALUES)
