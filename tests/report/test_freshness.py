"""A report is written again exactly when its records or the code that makes it are newer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.report.freshness import BENCH, PRINTED, is_current, page_sources
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


def touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> bool:
    """Whether pages stay current after a file of the project was changed."""
    at(tmp_path / RECORDS_FILE, 1_000)
    page = at(tmp_path / "a.md", LATE)
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        status = real(path, **options)
        if not path.as_posix().endswith(f"/{name}"):
            return status
        return os.stat_result((*status[:7], LATE + 1, LATE + 1, LATE + 1), {"st_mtime_ns": (LATE + 1) * 10**9})

    monkeypatch.setattr(Path, "stat", stat)
    return is_current(tmp_path, [page])


@pytest.mark.parametrize(
    "name",
    [
        "bench/report/html.py",
        "bench/report/tables.py",
        "bench/suite/expand.py",
        "bench/registry.py",
        "bench/quality/score_names.py",
        "bench/quality/catalogue.py",
        "bench/verdict/claims.py",
        "bench/units.py",
        "models/catalogue.py",
    ],
)
def test_a_change_of_anything_that_a_page_is_made_with_makes_it_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    assert not touched(monkeypatch, tmp_path, name)


@pytest.mark.parametrize(
    "name", ["bench/quality/kid.py", "bench/run/process.py", "bench/train/loop.py", "models/unet.py"]
)
def test_a_change_of_what_only_measures_leaves_a_page_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    assert touched(monkeypatch, tmp_path, name)
    assert real_mtime(tmp_path / "a.md") < LATE  # dated now, so that it is not asked again


def real_mtime(path: Path) -> float:
    return os.stat(path).st_mtime  # noqa: PTH116 - the other one tells what the test says


def test_templates_and_printed_tables_belong_to_a_page() -> None:
    sources = page_sources()

    assert set((BENCH / "report" / "templates").iterdir()) <= sources
    assert set(PRINTED.glob("*.yaml")) <= sources
