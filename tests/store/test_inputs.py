"""Files whose content a number depends on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.store import inputs
from bench.store.inputs import Inputs
from bench.store.record import InputFile


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"1234")
    return path


def test_untouched_file_is_unchanged(weights: Path) -> None:
    assert Inputs().unchanged(Inputs().describe(weights))


def test_file_with_the_same_content_at_another_time_is_unchanged(weights: Path) -> None:
    recorded = Inputs().describe(weights)

    os.utime(weights, ns=(1, 1))

    assert Inputs().unchanged(recorded)


@pytest.mark.parametrize("content", [b"12345", b"4321"])
def test_file_with_other_content_is_changed(weights: Path, content: bytes) -> None:
    recorded = Inputs().describe(weights)

    weights.write_bytes(content)
    os.utime(weights, ns=(1, 1))

    assert not Inputs().unchanged(recorded)


def test_missing_file_is_changed(weights: Path) -> None:
    recorded = Inputs().describe(weights)

    weights.unlink()

    assert not Inputs().unchanged(recorded)


def test_file_is_read_again_when_it_changes_between_two_looks(weights: Path) -> None:
    inputs = Inputs()
    before = inputs.describe(weights)

    weights.write_bytes(b"4321")
    os.utime(weights, ns=(1, 1))

    assert inputs.describe(weights).sha256 != before.sha256


def test_file_named_twice_is_described_once(weights: Path) -> None:
    assert len(Inputs().describe_all([weights, weights])) == 1


def test_pipe_device_and_impossible_name_are_changed_and_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")

    for path in (str(tmp_path / "pipe"), str(tmp_path / "endless"), "a\0b"):
        assert not Inputs().unchanged(InputFile(path, 0, 0, "0" * 64))


def test_folder_of_more_things_than_any_data_set_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).touch()

    assert not Inputs().unchanged(Inputs().describe(tmp_path))
