"""`bench` inside a research repository with a `models.py` and a `suites/` of its own, installed both ways."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("bench", "models", "suites", "pyproject.toml", "README.md", "LICENSE")

NETWORK = """
import torch

class DiT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x_t, t):
        return self.layer(x_t)
"""
PLUGIN = """
from bench import Denoiser, Prediction, ScheduleSpec, Weights, register_model

@register_model("dit")
def dit() -> Denoiser:
    from models import DiT
    return Denoiser(DiT(), (1, 16, 16), Prediction.EPSILON, ScheduleSpec(), Weights("random"))
"""
SUITE = """
schema: 1
suite: theirs
title: Theirs
conditions: {device: cpu, threads: 1, batch_size: 1, dtype: float32}
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
seed: 0
metrics: [parameters]
grid:
  - model: {name: dit}
    data: {name: digits}
    sampler: {name: ddim, timesteps: 2}
"""


def _copy_of_the_project(folder: Path) -> Path:
    """What a build reads, so that it leaves nothing in this tree."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _environment(folder: Path) -> Path:
    """A virtual environment that sees the packages installed here, but none that is installed as a link to a tree."""
    venv.create(folder, with_pip=False, symlinks=True)
    here = [entry for entry in sys.path if entry.endswith("site-packages")]
    _site(folder).joinpath("here.pth").write_text("\n".join(here) + "\n")
    return folder / "bin" / "python"


def _site(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _wheel(folder: Path) -> Path:
    project = _copy_of_the_project(folder / "project")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", project)
    (wheel,) = (folder / "dist").glob("*.whl")
    python = _environment(folder / "environment")
    with ZipFile(wheel) as archive:
        archive.extractall(_site(folder / "environment"))
    return python


def _editable(folder: Path) -> Path:
    project = _copy_of_the_project(folder / "project")
    python = _environment(folder / "environment")
    _pip("--python", python, "install", "--no-deps", "--no-build-isolation", "--editable", project)
    return python


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", params=[_wheel, _editable], ids=["wheel", "editable"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools")
    build: Callable[[Path], Path] = request.param
    return build(tmp_path_factory.mktemp("install"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A stranger's: its names are the usual ones."""
    (tmp_path / "models.py").write_text(NETWORK)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "__init__.py").write_text("raise ImportError('not yours')\n")
    (tmp_path / "plug.py").write_text(PLUGIN)
    (tmp_path / "theirs.yaml").write_text(SUITE)
    return tmp_path


@pytest.fixture
def bench(python: Path, repository: Path) -> Command:
    """`python -m bench` started in the repository, whose folder Python then searches first."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "bench", *arguments]
        return subprocess.run(
            command, cwd=repository, env=_clean(os.environ), capture_output=True, text=True, check=False
        )

    return run


def _clean(outer: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in outer.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}


def test_the_shipped_models_and_suites_are_listed(bench: Command) -> None:
    answer = bench("list")

    assert answer.returncode == 0, answer.stderr
    assert "lucid-unet" in answer.stdout
    assert "speedup" in answer.stdout


def test_a_shipped_suite_is_planned(bench: Command) -> None:
    answer = bench("plan", "smoke")

    assert answer.returncode == 0, answer.stderr


def test_a_plug_in_measures_the_model_that_lies_beside_it(bench: Command) -> None:
    answer = bench("run", "theirs.yaml", "--plugin", "plug.py")

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_plug_in_finds_its_neighbours_from_any_folder(bench: Command, repository: Path) -> None:
    (repository / "code").mkdir()
    for name in ("models.py", "plug.py"):
        (repository / name).rename(repository / "code" / name)

    answer = bench("run", "theirs.yaml", "--plugin", "code/plug.py")

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import bench; bench.load_checkpoint; import models; models.DiT",
        "import models; models.DiT; from bench import load_checkpoint",
        "from models import DiT; import bench; bench.run",
    ],
)
def test_both_packages_are_imported_in_one_script(python: Path, repository: Path, code: str) -> None:
    done = subprocess.run([python, "-c", code], cwd=repository, env=_clean(os.environ), check=False)

    assert done.returncode == 0
