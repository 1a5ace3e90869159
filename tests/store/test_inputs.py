"""Files whose content a number depends on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.store.inputs import Inputs


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
