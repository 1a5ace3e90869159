"""YAML text to a tree that knows where everything stands. No object is ever built from the text.

PyYAML's parser gives the events; the words of YAML 1.1 that surprise people are not used. Plain scalars follow the core
schema of YAML 1.2: `1e-4` is a number, `no`, `12:30` and `2026-11-20` are text, `010` is ten. A suite is data, so what
makes YAML more than data (anchors, aliases, merge keys, tags, several documents) is refused, and so is everything
that could exhaust the machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from bench.contracts import Scalar
from bench.suite.source import KeyPath, Position, Problem, Spot

MAX_DEPTH = 32
"""Lists and mappings inside each other."""
MAX_NODES = 12_000
"""Keys, values, lists and mappings of one file."""
MAX_CHARACTERS = 10_000
"""Of one value; a key may have 200."""
MAX_KEY_CHARACTERS = 200
MAX_NUMBER_CHARACTERS = 64

_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True)
class Located:
    """A scalar, a list or a mapping, and where it stands."""

    value: Scalar | tuple[Located, ...] | Mapping[str, Located]
    spot: Spot


def scalar(text: str) -> Scalar:
    """The value a plain (unquoted) word stands for. Raises ValueError when it is a number that cannot be used."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text in ("true", "True", "TRUE")
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("numbers must be finite")
    whole, based = _INT.fullmatch(text), _BASED.fullmatch(text)
    if not (whole or based or _FLOAT.fullmatch(text)):
        return text
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"numbers may have {MAX_NUMBER_CHARACTERS} characters")
    if whole or based:
        number = int(text) if whole else int(text, 0)
        if abs(number) >= 2**63:
            raise ValueError("whole numbers must be smaller than 2**63")
        return number
    if not math.isfinite(float(text)):
        raise ValueError("numbers must be finite")
    return float(text)


def compose(text: str) -> tuple[Located | None, tuple[Problem, ...]]:
    """The tree, and every mistake met on the way; no tree when the text is not YAML to its end."""
    composer = _Composer(text)
    try:
        tree = composer.document()
    except _Stop:
        tree = None
    except yaml.MarkedYAMLError as error:
        composer.problems.append(_syntax_problem(error, text))
        tree = None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        code = error.character if isinstance(error.character, int) else ord(error.character)
        composer.problems.append(Problem(place, (), f"the character U+{code:04X} is not allowed in YAML; remove it"))
        tree = None
    return tree, tuple(composer.problems)


def walk(tree: Located, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Spot]]:
    """The position of every value in the tree, by its path."""
    yield path, tree.spot
    if isinstance(tree.value, Mapping):
        for key, child in tree.value.items():
            yield from walk(child, (*path, key))
    elif isinstance(tree.value, tuple):
        for index, child in enumerate(tree.value):
            yield from walk(child, (*path, index))


class _Stop(Exception):
    """A limit was passed; the problem is already noted."""


class _Composer:
    """Turns the parser's events into a tree, noting problems instead of stopping where that is possible."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._nodes = 0

    def document(self) -> Located | None:
        tree = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if tree is not None:
                    self._stop(event, (), "a second document begins here; a suite is one document")
                tree = self._node(next(self._events), (), 0, None)
        return tree

    def _node(self, event: yaml.Event, path: KeyPath, depth: int, key: Position | None) -> Located:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(event, path, f"the file has more than {MAX_NODES:,} keys and values; split it")
        if depth > MAX_DEPTH:
            self._stop(event, (), f"lists and mappings are nested more than {MAX_DEPTH} deep")
        spot = Spot(_position(event), key)
        if isinstance(event, yaml.AliasEvent):
            self._note(event, path, f"the alias '*{event.anchor}' is not allowed; write the value out")
            return Located(None, spot)
        assert isinstance(event, yaml.NodeEvent | yaml.CollectionStartEvent)  # the parser gives nothing else here
        self._refuse_anchor(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return Located(self._scalar(event, path), spot)
        assert isinstance(event, yaml.CollectionStartEvent)
        self._refuse_tag(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return Located(tuple(self._items(path, depth)), spot)
        return Located(self._mapping(path, depth), spot)

    def _items(self, path: KeyPath, depth: int) -> Iterator[Located]:
        index = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, (*path, index), depth + 1, None)
            index += 1

    def _mapping(self, path: KeyPath, depth: int) -> Mapping[str, Located]:
        found: dict[str, Located] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path, depth)
            value = self._node(next(self._events), (*path, key), depth + 1, _position(event))
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.style is None:
                self._note(event, (*path, key), "merge keys are not allowed; write the keys out")
            elif key in found:
                first = found[key].spot.key
                assert first is not None  # every value of a mapping has a key
                self._note(event, (*path, key), f"the key stands twice, first in line {first.line}; remove one of them")
            elif isinstance(event, yaml.ScalarEvent):
                found[key] = value
        return found

    def _key(self, event: yaml.Event, path: KeyPath, depth: int) -> str:
        """The text of a key; keys are words, whatever they look like."""
        if not isinstance(event, yaml.ScalarEvent):
            self._note(event, path, "a key must be a word, not a list, a mapping or an alias")
            if not isinstance(event, yaml.AliasEvent):
                self._node(event, path, depth + 1, None)
            return "?"
        self._nodes += 1
        self._refuse_anchor(event, path)
        self._refuse_tag(event, path)
        if len(event.value) > MAX_KEY_CHARACTERS:
            self._stop(event, path, f"a key has {len(event.value):,} characters; {MAX_KEY_CHARACTERS} are allowed")
        self._refuse_controls(event, path)
        return str(event.value)

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Scalar:
        self._refuse_tag(event, path)
        if len(event.value) > MAX_CHARACTERS:
            self._stop(event, path, f"a value has {len(event.value):,} characters; {MAX_CHARACTERS:,} are allowed")
        self._refuse_controls(event, path)
        if event.style is not None:  # quoted and block scalars are text
            return str(event.value)
        try:
            return scalar(event.value)
        except ValueError as error:
            shown = event.value if len(event.value) <= 40 else event.value[:37] + "..."
            self._note(event, path, f"{error}, got {shown}")
            return None

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, path: KeyPath) -> None:
        if event.tag is not None:
            self._note(event, path, f"the tag {event.tag!r} is not allowed; a suite holds plain data")

    def _refuse_anchor(self, event: yaml.NodeEvent, path: KeyPath) -> None:
        if event.anchor is not None:
            self._note(event, path, f"the anchor '&{event.anchor}' is not allowed; write the value out at each place")

    def _refuse_controls(self, event: yaml.ScalarEvent, path: KeyPath) -> None:
        """Escapes in quotes can smuggle in what the reader refuses in the open."""
        bad = next((c for c in event.value if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0), None)
        bad = bad or next((c for c in event.value if 0xD800 <= ord(c) < 0xE000), None)
        if bad is not None:
            self._stop(event, path, f"the character U+{ord(bad):04X} is not allowed in a suite; remove it")

    def _note(self, event: yaml.Event, path: KeyPath, sentence: str) -> None:
        self.problems.append(Problem(_position(event), path, sentence))

    def _stop(self, event: yaml.Event, path: KeyPath, sentence: str) -> None:
        self._note(event, path, sentence)
        raise _Stop


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    assert mark is not None  # the parser marks every event
    return Position(mark.line + 1, mark.column + 1)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    sentence = f"not valid YAML: {error.problem or error.context}"
    if error.context and error.problem:
        sentence += f", {error.context}"
        if error.context_mark and error.context_mark.line + 1 != place.line:
            sentence += f" that begins in line {error.context_mark.line + 1}"
    if "'\\t'" in sentence:
        sentence += "; indent with spaces, not tabs"
    if "got '?'" in sentence and mark is not None:
        line = text.split("\n")[mark.line] if mark.line < text.count("\n") + 1 else ""
        word = re.search(r"[\w.-]{1,60}$", line[: mark.column])
        if word:
            sentence += f"; in [...] and {{...}} a word that ends in '?' is written in quotes: \"{word[0]}?\""
    return Problem(place, (), sentence)
