from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.downloads import data_root
from bench.errors import ParamError
from bench.registry import DATASETS, check_params, load_builtins


def test_the_catalogue_lists_its_data_sets_without_torch() -> None:
    code = (
        "import sys, bench.data.catalogue, bench.diffusion.catalogue; from bench.registry import DATASETS, SAMPLERS; "
        "assert {'digits', 'mnist', 'cifar10', 'folder'} <= set(DATASETS.names()); "
        "assert {'ddpm', 'ddim'} <= set(SAMPLERS.names()); "
        "[entry.parameters() for entry in (*DATASETS, *SAMPLERS)]; "
        "sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_defaults_are_filled_in_and_mistakes_named() -> None:
    load_builtins()

    assert check_params(DATASETS.get("mnist"), {}) == {"split": "test", "root": None, "size": 28, "divide_test": False}
    assert check_params(DATASETS.get("folder"), {"path": "x", "image_size": 64})["resize"] == "center_crop"
    with pytest.raises(ParamError, match="needs the parameter 'image_size'"):
        check_params(DATASETS.get("folder"), {"path": "x"})
    with pytest.raises(ParamError, match="expected one of 28, 32, got 30"):
        check_params(DATASETS.get("mnist"), {"size": 30})


def test_the_registered_factory_builds_the_data_set() -> None:
    load_builtins()

    assert len(DATASETS.get("digits").factory(**check_params(DATASETS.get("digits"), {"split": "test"}))) == 400


def test_the_data_root_is_argument_then_variable_then_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "~/somewhere")

    assert data_root("/given") == Path("/given")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("BENCH_DATA")
    assert data_root().name == "no-data"
