"""A report is written again exactly when its records or the code that makes it are newer."""

from __future__ import annotations

import os
from pathlib import Path

from bench.report.freshness import is_current
from bench.store.files import RECORDS_FILE

LATE = 4_000_000_000
"""Seconds since 1970, after every file of the project."""


def at(path: Path, seconds: int) -> Path:
    path.write_text("x")
    os.utime(path, (seconds, seconds))
    return path


def test_pages_newer_than_the_records_and_the_code_are_current(tmp_path: Path) -> None:
    at(tmp_path / RECORDS_FILE, LATE)

    assert is_current(tmp_path, [at(tmp_path / "a.md", LATE + 1), at(tmp_path / "a.html", LATE + 1)])


def test_one_page_older_than_the_records_is_not_current(tmp_path: Path) -> None:
    at(tmp_path / RECORDS_FILE, LATE)

    assert not is_current(tmp_path, [at(tmp_path / "a.md", LATE + 1), at(tmp_path / "a.html", LATE - 1)])


def test_pages_older_than_the_reporting_code_are_not_current(tmp_path: Path) -> None:
    at(tmp_path / RECORDS_FILE, 1_000)

    assert not is_current(tmp_path, [at(tmp_path / "a.md", 2_000)])


def test_a_missing_page_is_not_current(tmp_path: Path) -> None:
    at(tmp_path / RECORDS_FILE, 1_000)

    assert not is_current(tmp_path, [tmp_path / "a.md"])
    assert not is_current(tmp_path, [])


def test_a_link_is_no_current_page(tmp_path: Path) -> None:
    at(tmp_path / RECORDS_FILE, LATE)
    at(tmp_path / "elsewhere", LATE + 1)
    (tmp_path / "a.md").symlink_to("elsewhere")

    assert not is_current(tmp_path, [tmp_path / "a.md"])
