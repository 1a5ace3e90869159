"""Which runs a report is of: the newest one of every suite in a results folder, in the order of the papers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.errors import SuiteError, UserError
from bench.store.files import RUN_FILE, load_info, run_ids
from bench.suite.read import parse_suite


def gather(paths: Iterable[Path], *, everything: bool = False) -> tuple[Path, ...]:
    """The run folders that these paths stand for, each once.

    A run's folder stands for itself, a suite's for its newest run, and a results folder for the newest run of every
    suite, in the order of the papers and of their tables. everything: all runs instead of the newest, the oldest
    first. Raises UserError for a path that holds no run, and StoreError for a damaged one.
    """
    return tuple(dict.fromkeys(run for path in paths for run in _runs(path, everything)))


def _runs(path: Path, everything: bool) -> tuple[Path, ...]:
    if (path / RUN_FILE).is_file():
        return (path,)
    own = path.resolve()
    if found := _of_suite(own.parent, own.name, everything):
        return tuple(path / run for run in found)
    try:
        suites = sorted(each.name for each in path.iterdir() if each.is_dir())
    except OSError as error:
        sentence = f"{path}: no run in there: {error.strerror}; expected a run's, a suite's or a results folder"
        raise UserError(sentence) from error
    runs = [path / suite / run for suite in suites for run in _of_suite(path, suite, everything)]
    if not runs:
        raise UserError(f"{path}: no run in there; expected a folder with {RUN_FILE}, such as results/SUITE/RUN")
    return tuple(sorted(runs, key=_place))


def _of_suite(root: Path, suite: str, everything: bool) -> tuple[str, ...]:
    ids = run_ids(root, suite)
    return ids if everything else ids[-1:]


Place = tuple[bool, str, bool, int, str, str, str]


def _place(run: Path) -> Place:
    """Where a run stands in a report: by paper, tables before figures, by number; what is of no paper comes last."""
    info = load_info(run)
    try:
        source = parse_suite(info.suite_text, info.suite).reproduces
    except SuiteError:
        source = None
    if source is None:
        return True, "", False, 0, "", info.suite, info.id
    number = source.table if source.table is not None else source.figure
    text = "" if number is None else str(number)
    digits = "".join(each for each in text if each.isdigit())
    return False, source.paper, source.table is None, int(digits or 0), text, info.suite, info.id
