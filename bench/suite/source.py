"""Where a suite's keys and values stand in its file, so that every mistake is reported as file:line:column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.errors import SuiteError

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of the file: ("grid", 0, "model", "skip", "each", 1)."""

MAX_PROBLEMS = 100
"""Mistakes shown of one file; the rest are counted."""


MAX_SENTENCE = 500
"""Characters of one message; values that a file holds may be longer."""


class Position(NamedTuple):
    """A place in a text, both numbers counted from 1."""

    line: int
    column: int


class Spot(NamedTuple):
    """Where a value begins, and where the key in front of it begins; a list item has no key."""

    value: Position
    key: Position | None


class Problem(NamedTuple):
    """One mistake; problems sort in reading order."""

    position: Position
    path: KeyPath
    sentence: str


@dataclass(frozen=True, eq=False)
class Source:
    """A suite file: its name, its text and the position of everything in it."""

    name: str
    """The path as it was given, or the path of the built-in suite."""
    text: str
    """The whole file, as it was read."""
    spots: Mapping[KeyPath, Spot] = field(repr=False)

    def find(self, path: KeyPath) -> tuple[KeyPath, Spot]:
        """The deepest part of `path` that is written in the file, skipping steps that the file does not have.

        A validator's location has more steps than the file (union tags, the `params` of a flat reference).
        """
        if not self.spots:
            return path, Spot(Position(1, 1), None)
        found: KeyPath = ()
        for step in path:
            if (*found, step) in self.spots:
                found = (*found, step)
        return found, self.spots.get(found, Spot(Position(1, 1), None))

    def problem(self, path: KeyPath, sentence: str, *, at_key: bool = False) -> Problem:
        """A mistake in the value at `path`, or in its key."""
        found, spot = self.find(path)
        return Problem(spot.key if at_key and spot.key else spot.value, found, sentence)


NOWHERE = Source("", "", {})
"""The source of a suite that was made in code: mistakes are then named by their path alone."""


def suite_error(name: str, problems: Iterable[Problem]) -> SuiteError:
    """All mistakes as one error, in reading order, at most one per place: the first reported is the cause."""
    first: dict[tuple[Position, KeyPath], Problem] = {}
    for problem in problems:
        first.setdefault((problem.position, problem.path), problem)
    shown = sorted(first.values(), key=lambda problem: problem.position)
    more = shown[MAX_PROBLEMS:]
    if more:
        shown[MAX_PROBLEMS:] = [Problem(more[0].position, (), f"from here on, {len(more):,} more problems")]
    return SuiteError(line(name, problem) for problem in shown)


def line(name: str, problem: Problem) -> str:
    """`suites/speedup.yaml:4:23: conditions.device: expected ...`."""
    place = f"{name}:{problem.position.line}:{problem.position.column}" if name else ""
    sentence = " ".join(problem.sentence.split())
    if len(sentence) > MAX_SENTENCE:
        sentence = f"{sentence[: MAX_SENTENCE - 3]}..."
    return ": ".join(filter(None, (place, path_text(problem.path), sentence)))


def path_text(path: KeyPath) -> str:
    """`grid[0].model.skip`; keys that would be hard to read are quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = step if re.fullmatch(r"[\w.-]+", step) else repr(step)
            text += f".{word}" if text else word
    return text
