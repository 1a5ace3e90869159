"""Input files are recorded so that results name no folder of the machine they were measured on."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from bench.store.inputs import Inputs, located, portable


def test_a_file_of_an_installed_package_is_recorded_relative_to_the_packages() -> None:
    path = Path(sysconfig.get_path("purelib")) / "sklearn" / "x.csv"

    assert portable(path) == "{python}/sklearn/x.csv"
    assert located("{python}/sklearn/x.csv") == path


def test_a_file_of_the_project_is_recorded_relative_to_the_project() -> None:
    path = Path(__file__).parents[2] / "models" / "weights" / "x.safetensors"

    assert portable(path) == "{project}/models/weights/x.safetensors"
    assert located(portable(path)) == path


def test_the_data_folder_may_move_between_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.zip").write_bytes(b"same")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "here"))
    recorded = Inputs().describe(tmp_path / "here" / "images.zip")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "there"))

    assert recorded.path == "{data}/images.zip"
    assert Inputs().unchanged(recorded)


def test_a_file_elsewhere_keeps_its_path(tmp_path: Path) -> None:
    assert portable(tmp_path / "x") == str(tmp_path / "x")


@pytest.mark.parametrize("change", ["add", "remove", "edit"])
def test_a_folder_of_images_is_noticed_to_change(tmp_path: Path, change: str) -> None:
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    recorded = Inputs().describe(tmp_path)
    assert Inputs().unchanged(recorded)

    match change:
        case "add":
            (tmp_path / "c.png").write_bytes(b"1")
        case "remove":
            (tmp_path / "a.png").unlink()
        case "edit":
            (tmp_path / "sub/b.png").write_bytes(b"22")

    assert not Inputs().unchanged(recorded)
