"""Stages that are whole or absent, and addresses that change with what they depend on, code included."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.errors import SaveError
from bench.quality.stages import Stage, code_fingerprint, open_stage

ARRAYS = {"images": np.arange(12.0).reshape(3, 4), "hashes": np.array(["a", "b", "c"])}


def stage(path: Path) -> Stage:
    return open_stage(path, "samples", {"seed": 0, "model": {"name": "toy"}})


def test_a_part_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = stage(tmp_path)

    found.write("000001", ARRAYS)

    read = found.read("000001", "images", "hashes")
    assert read is not None
    assert np.array_equal(read["images"], ARRAYS["images"])
    assert list(read["hashes"]) == ["a", "b", "c"]
    assert found.read("000002", "images") is None
    assert found.read("000001", "features") is None


def test_equal_identities_share_a_folder_and_others_do_not(tmp_path: Path) -> None:
    first = open_stage(tmp_path, "samples", {"a": 1, "b": [2, 3]})

    assert open_stage(tmp_path, "samples", {"b": [2, 3], "a": 1}) == first
    assert open_stage(tmp_path, "samples", {"a": 1, "b": [2, 4]}) != first
    assert open_stage(tmp_path, "features", {"a": 1, "b": [2, 3]}).folder != first.folder


def test_the_identity_lies_beside_the_parts_to_be_read(tmp_path: Path) -> None:
    identity = json.loads((stage(tmp_path).folder / "identity.json").read_text())

    assert identity == {"seed": 0, "model": {"name": "toy"}}


@pytest.mark.parametrize("keep", [0, 1, 10, 200, -1, -30])
def test_a_truncated_part_counts_as_absent(tmp_path: Path, keep: int) -> None:
    found = stage(tmp_path)
    found.write("000000", ARRAYS)
    file = found.folder / "000000.npz"
    file.write_bytes(file.read_bytes()[:keep])

    assert found.read("000000", "images", "hashes") is None


def test_a_part_with_a_flipped_bit_counts_as_absent(tmp_path: Path) -> None:
    found = stage(tmp_path)
    found.write("000000", ARRAYS)
    file = found.folder / "000000.npz"
    content = bytearray(file.read_bytes())
    content[content.index(np.float64(5.0).tobytes()) + 7] ^= 1
    file.write_bytes(content)

    assert found.read("000000", "images") is None


def test_a_failing_disk_leaves_no_part_and_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = stage(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(SaveError, match=r"000000\.npz: cannot be saved: No space left"):
        found.write("000000", ARRAYS)
    assert [each.name for each in found.folder.iterdir()] == ["identity.json"]


def test_a_cache_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "samples").touch()

    with pytest.raises(SaveError, match="cannot save stages here"):
        stage(tmp_path)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules, the first of which uses the second."""
    folder = tmp_path / "stagetoy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "net.py").write_text(
        "from stagetoy.layer import half\n\nclass Net:\n    def run(self, x): return half(x)\n"
    )
    (folder / "layer.py").write_text("def half(x):\n    return x / 2\n")
    (folder / "other.py").write_text("def unrelated(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [each for each in sys.modules if each.startswith("stagetoy")]:
        del sys.modules[name]


def fingerprint() -> str:
    net = importlib.import_module("stagetoy.net")
    importlib.import_module("stagetoy.other")
    return code_fingerprint([net.Net], ["stagetoy"])


def test_code_that_computes_something_else_has_another_fingerprint(package: Path) -> None:
    before = fingerprint()

    (package / "layer.py").write_text("def half(x):\n    return x / 3\n")

    assert fingerprint() != before


def test_comments_docstrings_layout_and_unused_modules_do_not_count(package: Path) -> None:
    before = fingerprint()

    (package / "layer.py").write_text('"""Halves."""\n\n# why\ndef half( x ):\n    """x / 2"""\n    return (x / 2)\n')
    (package / "other.py").write_text("def unrelated(): return 2\n")

    assert fingerprint() == before


def test_modules_outside_the_packages_are_not_followed(package: Path) -> None:
    assert code_fingerprint([json.dumps], ["stagetoy"]) == code_fingerprint([], ["stagetoy"])
