"""Stages that are whole or absent, and addresses that change with what they depend on, code included."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import SaveError
from bench.quality.stages import Stage, open_stage

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


@pytest.mark.slow
@pytest.mark.parametrize(
    "arrays",
    [
        {
            "images": np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 1, 8, 8),
            "hashes": np.array(["a" * 32] * 64),
        },
        {"features": np.linspace(-1, 1, 64 * 16, dtype=np.float32).reshape(64, 16)},
        {"mu": np.zeros(16), "sigma": np.eye(16), "n": np.asarray(np.int64(64))},
    ],
    ids=["samples", "features", "moments"],
)
def test_no_flipped_bit_and_no_truncation_gives_other_arrays_or_an_exception(
    tmp_path: Path, arrays: dict[str, NDArray[Any]]
) -> None:
    found = stage(tmp_path)
    found.write("000000", arrays)
    file = found.folder / "000000.npz"
    content = file.read_bytes()
    headers = [place for place in range(len(content)) if content.startswith((b"\x93NUMPY", b"PK"), place)]
    near = {place for header in headers for place in range(header, min(header + 64, len(content)))}
    some = set(range(0, len(content), 37))
    damaged = [
        content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        for place in sorted(near | some)
        for bit in range(8)
    ]
    damaged += [
        content[:length] for length in sorted({*range(0, len(content), 7), *range(len(content) - 100, len(content))})
    ]

    for case in damaged:
        file.write_bytes(case)
        read = found.read("000000", *arrays)
        assert read is None or all(np.array_equal(read[name], array) for name, array in arrays.items())
        assert read is None or all(read[name].dtype == array.dtype for name, array in arrays.items())


def test_a_failing_disk_leaves_no_part_and_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = stage(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(SaveError, match=r"000000\.npz: cannot be written: No space left"):
        found.write("000000", ARRAYS)
    assert [each.name for each in found.folder.iterdir()] == ["identity.json"]


def test_a_cache_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()

    with pytest.raises(SaveError, match="cache: is a file, expected a folder of its own"):
        stage(tmp_path / "cache")


def test_a_part_of_another_name_or_stage_counts_as_absent(tmp_path: Path) -> None:
    mine, other = stage(tmp_path), open_stage(tmp_path, "samples", {"seed": 1})
    mine.write("000000", ARRAYS)
    part = mine.folder / "000000.npz"

    shutil.copy(part, mine.folder / "000001.npz")
    shutil.copy(part, other.folder / "000000.npz")

    assert mine.read("000001", "images") is None
    assert other.read("000000", "images") is None


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.arange(12.0).reshape(3, 4) + 1e-12},
        {"images": np.arange(12.0).reshape(4, 3)},
        {"images": np.arange(12)},
        {"hashes": np.array(["a", "b", "d"])},
        {"more": np.zeros(1)},
        {"seal": np.array("0" * 64)},
        {"seal": np.array(["0" * 64])},
        {"seal": np.zeros(3)},
    ],
)
def test_a_part_that_somebody_altered_and_packed_again_counts_as_absent(
    tmp_path: Path, change: dict[str, NDArray[Any]]
) -> None:
    found = stage(tmp_path)
    found.write("000000", ARRAYS)
    with np.load(found.folder / "000000.npz") as data:
        arrays = {name: data[name] for name in data.files}

    np.savez(found.folder / "000000.npz", **(arrays | change))

    assert found.read("000000", "images") is None


def test_a_part_without_its_seal_counts_as_absent(tmp_path: Path) -> None:
    found = stage(tmp_path)

    np.savez(found.folder / "000000.npz", **ARRAYS)

    assert found.read("000000", "images") is None


def test_a_part_larger_than_it_can_be_is_not_read(tmp_path: Path) -> None:
    found = stage(tmp_path)
    found.write("000000", {"images": np.zeros(100_000)})

    assert found.read("000000", "images", max_bytes=100_000 * 8) is not None
    assert found.read("000000", "images", max_bytes=1000) is None


def test_a_stage_whose_identity_is_not_the_one_it_is_named_by_is_emptied(tmp_path: Path) -> None:
    found = stage(tmp_path)
    found.write("000000", ARRAYS)
    readable = found.folder / "identity.json"
    true = readable.read_bytes()

    readable.write_bytes(true.replace(b"toy", b"other"))

    assert stage(tmp_path).read("000000", "images") is None
    assert readable.read_bytes() == true


def test_parts_that_were_copied_together_without_their_identity_are_kept(tmp_path: Path) -> None:
    found = stage(tmp_path)
    found.write("000000", ARRAYS)
    (found.folder / "identity.json").unlink()

    assert stage(tmp_path).read("000000", "images") is not None


def a_folder(path: Path, victim: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def a_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def a_link_to_nothing(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("absent"))


def an_endless_device(path: Path, victim: Path) -> None:
    path.symlink_to("/dev/zero")


def a_pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [a_folder, a_link, a_link_to_nothing, an_endless_device, a_pipe])
@pytest.mark.parametrize("name", ["000000.npz", "identity.json"])
def test_whatever_lies_in_the_place_of_a_file_is_replaced_and_never_followed(
    tmp_path: Path, put: Callable[[Path, Path], None], name: str
) -> None:
    found = stage(tmp_path / "cache")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (found.folder / name).unlink(missing_ok=True)
    put(found.folder / name, victim)

    again = stage(tmp_path / "cache")
    assert again.read("000000", "images") is None
    again.write("000000", ARRAYS)

    assert again.read("000000", "images") is not None
    assert (again.folder / name).is_file()
    assert not (again.folder / name).is_symlink()
    assert victim.read_text() == "precious"
    assert not victim.with_name("absent").exists()


def test_a_link_in_the_place_of_a_stage_is_replaced_and_never_followed(tmp_path: Path) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    cache.mkdir()
    elsewhere.mkdir()
    (cache / "samples").symlink_to(elsewhere)

    found = stage(cache)
    found.write("000000", ARRAYS)

    assert list(elsewhere.iterdir()) == []
    assert not (cache / "samples").is_symlink()


def test_a_cache_that_is_a_link_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SaveError, match="cache: is a symbolic link, expected a folder of its own"):
        stage(tmp_path / "cache")
