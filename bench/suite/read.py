"""A suite file, or a built-in suite by name, to a validated `Suite` that knows where everything stands in its file.

Reading needs no registry: the file's form and types are checked here, its names when it is expanded. When the form is
wrong and plug-ins are loaded already, wrong names are reported too, so that one look shows every mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import SuiteError, did_you_mean
from bench.registry import MODELS
from bench.suite.explain import explain
from bench.suite.grammar import kind, unfold
from bench.suite.names import name_problems
from bench.suite.schema import Suite
from bench.suite.shape import pieces, shape_problems
from bench.suite.source import Position, Problem, Source, suite_error
from bench.suite.yaml12 import Located, compose, walk

MAX_BYTES = 1 << 18
"""Of a suite file: 256 KiB, which are read in a second."""

BUILT_IN = "bench.suites"
"""The package whose .yaml files are the built-in suites; its folder `published` holds printed numbers instead."""


def read_suite(path_or_name: str | Path) -> Suite:
    """The suite in a file, or the built-in suite of that name (`speedup`, `paper/skip_fid`); a file wins.

    Raises SuiteError with every mistake in the file, one line each: file:line:column: path: sentence.
    """
    name, data = _load(path_or_name)
    return parse_suite(_decode(name, data), name)


def parse_suite(text: str, name: str) -> Suite:
    """The suite a text holds; `name` stands in front of every mistake.

    Raises SuiteError: whatever is wrong with a text ends in this error and no other.
    """
    try:
        return _parse(text, name)
    except SuiteError:
        raise
    except Exception as error:  # the border: no text may end in a traceback
        raise suite_error(name, [_at_start(f"cannot be read: {type(error).__name__}: {error}")]) from error


def _parse(text: str, name: str) -> Suite:
    tree, problems = compose(text)
    if tree is None:
        raise suite_error(name, problems or [_at_start("the file is empty; expected a suite")])
    if not isinstance(tree.value, dict):
        raise suite_error(name, [*problems, _not_a_suite(tree)])
    source = Source(name, text, dict(walk(tree)))
    data, wrong = unfold(tree)
    found = [*problems, *wrong, *_list_problems(data, source)]
    suite = None
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        found += explain(error, Suite, source)
    parts = tuple(pieces(data))
    found += shape_problems(parts, source)
    if not found and suite is not None:
        return suite.with_source(source)
    if MODELS.names():
        found += name_problems(parts, source)
    raise suite_error(name, found)


def builtin_suites() -> tuple[str, ...]:
    """Names of the suites that ship with the project, sorted: what `read_suite` takes besides paths."""
    return tuple(sorted(_builtins(files(BUILT_IN), "")))


def builtin_text(name: str) -> str:
    """The text of a suite that ships. Raises FileNotFoundError for any other name."""
    return files(BUILT_IN).joinpath(f"{name}.yaml").read_text("utf-8")


def _load(path_or_name: str | Path) -> tuple[str, bytes]:
    """The name to show and the first bytes of the file, one more than allowed. Raises SuiteError."""
    name = str(path_or_name)
    try:
        path = Path(path_or_name)
        if path.is_file() or (path.exists() and not path.is_dir()):  # a pipe is a file too
            with path.open("rb") as file:
                return name, file.read(MAX_BYTES + 1)
        known = builtin_suites()
        if name in known:
            entry = files(BUILT_IN).joinpath(f"{name}.yaml")
            with entry.open("rb") as file:
                return str(entry), file.read(MAX_BYTES + 1)
        what = "is a folder, not a suite file" if path.is_dir() else "no such file, and no built-in suite has that name"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SuiteError([f"{name!r}: cannot be read: {reason}"]) from error
    hint = did_you_mean(name.removesuffix(".yaml").removeprefix("suites/"), known)
    raise SuiteError([f"{name!r}: {what}{hint} (built-in suites: {', '.join(known) or 'none'})"])


def _builtins(folder: Traversable, prefix: str) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "published":
            yield from _builtins(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield f"{prefix}{entry.name.removesuffix('.yaml')}"


def _decode(name: str, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise suite_error(name, [_at_start(f"the file is larger than {MAX_BYTES:,} bytes; a suite is a page or two")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        place = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        sentence = f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise suite_error(name, [Problem(place, (), sentence)]) from error


def _list_problems(data: Any, source: Source) -> Iterator[Problem]:
    """What the types let pass because a suite made in code may have it."""
    for key, item in (("grid", "one block"), ("metrics", "one metric")):
        if data.get(key) == ():
            yield source.problem((key,), f"expected at least {item}, got an empty list")
    for index, block in enumerate(data["grid"] if isinstance(data.get("grid"), tuple) else ()):
        if isinstance(block, Mapping) and block.get("metrics") == ():
            yield source.problem(("grid", index, "metrics"), "expected at least one metric, got an empty list")
    if isinstance(data.get("schema"), bool):
        yield source.problem(("schema",), f"expected 1, got {kind(data['schema'])}")


def _not_a_suite(tree: Located) -> Problem:
    sentence = f"expected a mapping with the keys of a suite, got {kind(tree.value)}"
    return Problem(tree.spot.value, (), sentence)


def _at_start(sentence: str) -> Problem:
    return Problem(Position(1, 1), (), sentence)
