"""Cells that lack weights or data are skipped without starting a process, and measured once these are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.contracts import Dataset
from bench.registry import DATASETS, register_dataset
from bench.store.files import load_run
from bench.store.record import Status
from bench.suite.schema import Cell, Ref

MakeCell = Callable[..., Cell]
SENTENCE = "absent: not found in here; run `bench fetch absent`"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the data set `absent` is read from."""
    path = tmp_path / "images"
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))

    def missing() -> Iterator[str]:
        if not path.exists():
            yield SENTENCE

    @register_dataset("absent", missing=missing)
    def absent() -> Dataset:
        """Images that have to be fetched."""
        raise NotImplementedError

    return path


def test_a_cell_without_its_data_is_skipped_in_the_words_of_the_plan(
    inline: Any, make_cell: MakeCell, file: Path
) -> None:
    without, whole = make_cell({"level": 1}, data=Ref(name="absent")), make_cell({"level": 2})

    outcome = inline.run(without, whole)

    assert (outcome.ok, outcome.skipped, outcome.measured) == (1, 1, 1)
    assert [cell for cell, _ in inline.executions] == [whole.id]
    skipped = [record for record in load_run(outcome.path).records if record.status is Status.SKIPPED]
    assert [(record.cell, record.reason) for record in skipped] == [(without.id, SENTENCE)]


def test_asking_again_writes_nothing_and_measures_once_the_data_is_there(
    inline: Any, make_cell: MakeCell, file: Path
) -> None:
    cell = make_cell(data=Ref(name="absent"))
    path = inline.run(cell).path / "records.jsonl"
    before = path.read_bytes()

    inline.run(cell)
    assert path.read_bytes() == before

    file.touch()
    outcome = inline.run(cell)
    assert (outcome.ok, outcome.skipped) == (1, 0)
    assert [each for each, _ in inline.executions] == [cell.id]


def test_numbers_that_are_there_stand_when_the_data_has_gone(inline: Any, make_cell: MakeCell, file: Path) -> None:
    cell = make_cell(data=Ref(name="absent"))
    file.touch()
    inline.run(cell)
    file.unlink()

    outcome = inline.run(cell)

    assert (outcome.ok, outcome.skipped, outcome.measured) == (1, 0, 0)
