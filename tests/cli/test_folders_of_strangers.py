"""Folders that came from elsewhere: no command writes out of them through a link, and none waits at a pipe."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import ExitCode
from bench.store.files import RECORDS_FILE, latest_run

SUITE = """\
schema: 1
suite: tiny
title: Two small cells
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
grid:
  - model: {name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}
    sampler: {name: ddim, timesteps: 2}
metrics: [parameters, nfe]
figures:
  - id: sizes
    caption: Parameters
    kind: bars
    value: {metric: parameters, at: {which: total}, reduce: value, label: parameters}
    x: model.skip_exponent
"""
RECIPE = """\
schema: 1
recipe: tiny
title: Three steps on digits
model: {name: skip-unet, skip: zero, skip_exponent: 0}
data: {name: digits, split: train}
scheme: {depths: uniform}
train: {steps: 3, batch_size: 2}
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its results, as they lie in a repository."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "tiny.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "bench", "run", "tiny.yaml", "--quiet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


class Clone:
    """A repository from elsewhere, and beside it what belongs to the user."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "precious").write_text("precious\n")
        (self.home / "empty").mkdir()
        self.folder = folder / "clone"

    @property
    def run(self) -> Path:
        run = latest_run(self.folder / "results", "tiny")
        assert run is not None
        return run

    def plant(self, name: str, kind: str) -> Path:
        """Put something from elsewhere under a name of ours; RUN in it is the run's folder."""
        path = self.folder / name.replace("RUN", str(self.run.relative_to(self.folder)))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(self.home / {"file": "precious", "folder": "empty", "nothing": "new"}[kind])
        return path

    @property
    def is_untouched(self) -> bool:
        """Whether what belongs to the user is as it was."""
        own = {path.relative_to(self.home).as_posix() for path in self.home.rglob("*")}
        return own == {"precious", "empty"} and (self.home / "precious").read_text() == "precious\n"


@pytest.fixture
def clone(tmp_path: Path, measured: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clone]:
    clone = Clone(tmp_path)
    shutil.copytree(measured, clone.folder, symlinks=True)
    monkeypatch.chdir(clone.folder)
    yield clone
    assert clone.is_untouched


def bench(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


FIGURES = "RUN/tiny-figures"


@pytest.mark.parametrize("kind", ["file", "folder", "nothing", "pipe"])
@pytest.mark.parametrize("name", ["results/tiny/.lock", "RUN/logs", "RUN/artifacts", FIGURES])
def test_a_run_is_refused_where_it_would_be_written_through_a_link(
    clone: Clone, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    (clone.run / "tiny.html").unlink()
    path = clone.plant(name, kind)

    assert bench("run", "tiny.yaml", "--quiet") == ExitCode.CANNOT_SAVE

    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert path.name in message
    assert "remove it" in message


@pytest.mark.parametrize("kind", ["file", "nothing"])
def test_records_are_not_appended_to_what_a_link_leads_to(
    clone: Clone, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    clone.plant(f"RUN/{RECORDS_FILE}", kind)

    assert bench("run", "tiny.yaml", "--quiet") == ExitCode.CANNOT_SAVE
    assert f"{RECORDS_FILE} is a symbolic link, expected a regular file" in capsys.readouterr().err


def test_a_run_does_not_go_on_in_a_folder_that_is_a_link(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    run = clone.run
    run.rename(clone.folder / "elsewhere")
    run.symlink_to(clone.folder / "elsewhere")
    before = sorted((clone.folder / "elsewhere").rglob("*"))

    assert bench("run", "tiny.yaml", "--quiet") == ExitCode.CANNOT_SAVE

    assert f"{run.name}: is a symbolic link, expected a folder of its own" in capsys.readouterr().err
    assert sorted((clone.folder / "elsewhere").rglob("*")) == before


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_suites_results_are_not_written_through_a_link(
    clone: Clone, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    shutil.rmtree(clone.folder / "results")
    (clone.folder / "results").mkdir()
    (clone.folder / "results" / "tiny").symlink_to(
        clone.home / {"file": "precious", "folder": "empty", "nothing": "new"}[kind]
    )

    assert bench("run", "tiny.yaml", "--quiet") == ExitCode.CANNOT_SAVE
    assert "results/tiny: is a symbolic link, expected a folder of its own" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["file", "folder", "nothing", "pipe"])
@pytest.mark.parametrize("name", ["results/tiny/.probe", "results/tiny/.new", "RUN/tiny.html.partial"])
def test_names_that_are_not_used_stand_in_nobodys_way(clone: Clone, name: str, kind: str) -> None:
    clone.plant(name, kind)

    assert bench("run", "tiny.yaml", "--quiet") == ExitCode.OK


@pytest.mark.parametrize("verb", ["run", "report"])
@pytest.mark.parametrize("kind", ["file", "nothing", "pipe"])
@pytest.mark.parametrize("page", ["tiny.html", "tiny.md"])
def test_a_page_replaces_what_has_its_name(clone: Clone, verb: str, kind: str, page: str) -> None:
    path = clone.plant(f"RUN/{page}", kind)
    arguments = ["run", "tiny.yaml", "--quiet"] if verb == "run" else ["report", clone.run]

    assert bench(*arguments) == ExitCode.OK

    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.parametrize("place", [".", "out"])
def test_a_report_does_not_follow_a_folder_of_figures(
    clone: Clone, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    target = clone.plant(FIGURES if place == "." else "out/tiny-figures", "folder")
    arguments = [] if place == "." else ["--out", "out"]

    assert bench("report", clone.run, *arguments) == ExitCode.CANNOT_SAVE
    assert f"{target.name}: is a symbolic link, expected a folder of its own" in capsys.readouterr().err


def test_a_report_of_a_run_that_was_found_is_not_written_into_a_link(clone: Clone) -> None:
    """Where a results folder is named, the run below it is a stranger's choice."""
    run = clone.run
    shutil.copytree(run, clone.home / "empty" / "run")
    shutil.rmtree(run)
    run.symlink_to(clone.home / "empty" / "run")
    before = sorted(path.stat().st_mtime_ns for path in (clone.home / "empty").rglob("*"))

    assert bench("report", "results") == ExitCode.CANNOT_SAVE

    assert sorted(path.stat().st_mtime_ns for path in (clone.home / "empty").rglob("*")) == before
    shutil.rmtree(clone.home / "empty" / "run")


def test_a_run_that_is_named_may_be_a_link(clone: Clone) -> None:
    (clone.folder / "latest").symlink_to(clone.run)

    assert bench("report", "latest") == ExitCode.OK
    assert bench("report", clone.run, "--out", "elsewhere") == ExitCode.OK


def test_the_folder_of_a_report_of_several_runs_is_not_a_link_unless_it_is_named(
    clone: Clone, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = clone.run.with_name("20200101-000000-abcdef")
    shutil.copytree(clone.run, earlier)
    (clone.folder / "reports").symlink_to(clone.home / "empty")

    assert bench("report", "results", "--all") == ExitCode.CANNOT_SAVE
    assert "reports: is a symbolic link, expected a folder of its own" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["file", "nothing", "pipe"])
@pytest.mark.parametrize("option", ["--save-baseline", "--junit"])
def test_what_a_verdict_is_written_to_is_replaced(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, option: str, kind: str
) -> None:
    path = clone.plant("file", kind)
    arguments = ["check", clone.run] if option == "--save-baseline" else ["compare", clone.run, clone.run]

    assert bench(*arguments, option, "file") == ExitCode.OK

    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.parametrize("verb", ["why", "diff", "compare", "check"])
def test_what_only_reads_writes_nothing(clone: Clone, verb: str) -> None:
    before = {path: path.lstat().st_mtime_ns for path in clone.folder.rglob("*")}

    bench(verb, clone.run, *([clone.run] if verb in ("diff", "compare") else []))

    assert {path: path.lstat().st_mtime_ns for path in clone.folder.rglob("*")} == before


@pytest.mark.parametrize("kind", ["file", "nothing", "pipe"])
@pytest.mark.parametrize("name", ["tiny.safetensors", ".tiny.partial", ".tiny.safetensors.new", ".tiny.partial.new"])
def test_a_training_writes_through_no_link(
    clone: Clone, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (clone.folder / "recipe.yaml").write_text(RECIPE)
    clone.plant(f"weights/{name}", kind)

    code = bench("train", "recipe.yaml", "--out", "weights", "--no-samples", "--json")

    refused = name == ".tiny.partial" and kind != "nothing"
    assert code == (ExitCode.BAD_INPUT if refused else ExitCode.OK)
    assert (".tiny.partial: cannot be continued" in capsys.readouterr().err) == refused
    if not refused:
        assert (clone.folder / "weights" / "tiny.safetensors").is_file()
        assert not (clone.folder / "weights" / "tiny.safetensors").is_symlink()


@pytest.mark.parametrize("kind", ["file", "nothing"])
def test_a_passport_replaces_what_has_its_name(clone: Clone, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (clone.folder / "recipe.yaml").write_text(RECIPE)
    passport = clone.plant("weights/tiny.json", kind)

    assert bench("train", "recipe.yaml", "--out", "weights", "--no-samples", "--json") == ExitCode.OK

    assert not passport.is_symlink()
    assert '"name": "tiny"' in passport.read_text()
