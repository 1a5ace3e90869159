"""Archives of arrays come back as they were written, or are refused in one sentence whatever is wrong with them."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.quality.arrays import digest_of, read_arrays, write_arrays

DRAW = np.random.default_rng(0)
ARRAYS: dict[str, NDArray[Any]] = {
    "images": DRAW.standard_normal((4, 1, 8, 8), dtype=np.float32),
    "columns": np.asfortranarray(DRAW.standard_normal((5, 3))),
    "hashes": np.array(["a", "bc", ""]),
    "n": np.asarray(np.int64(-1)),
    "word": np.asarray(np.str_("")),
    "none": np.zeros((0, 3)),
    "flags": np.array([True, False]),
}
MAX = 1 << 20


def equal(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read_as_numpy_reads_it(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", **ARRAYS)

    arrays = read_arrays(tmp_path / "a.npz", max_bytes=MAX)

    assert equal(arrays, ARRAYS)
    assert all(array.flags.writeable for array in arrays.values())


def test_what_was_written_is_read_by_numpy(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)

    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        assert equal({name: data[name] for name in data.files}, ARRAYS)


def test_only_the_arrays_that_are_asked_for_are_read(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {**ARRAYS, "large": np.zeros(1000)})

    assert set(read_arrays(tmp_path / "a.npz", max_bytes=MAX, names=("n", "word", "absent"))) == {"n", "word"}


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def header(descr: str = "'<f8'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


GOOD = with_header(header(), bytes(16))


def member(content: bytes) -> bytes:
    return packed({"a.npy": content})


def flagged(content: bytes, offset: int, value: bytes) -> bytes:
    """An archive of one member with a field of both of its headers set: the central one lies 2 bytes further in."""
    local, central = content.index(b"PK\x03\x04") + offset, content.index(b"PK\x01\x02") + offset + 2
    changed = bytearray(content)
    changed[local : local + len(value)] = value
    changed[central : central + len(value)] = value
    return bytes(changed)


HOSTILE = {
    "nothing": b"",
    "no archive": b"<html>404</html>",
    "an end without a beginning": member(GOOD)[-22:],
    "cut short": member(GOOD)[:-30],
    "no array": packed({"a.txt": b"text"}),
    "an empty member": member(b""),
    "no magic": member(b"x" * 200),
    "a later format": member(b"\x93NUMPY\x02" + GOOD[7:]),
    "a header of no length": member(with_header("")),
    "a header past the end": member(GOOD[:8] + b"\xff\xff" + GOOD[10:]),
    "a header that is code": member(with_header("__import__('os').getpid()\n")),
    "a header that never ends": member(with_header("(" * 60_000)),
    "a number of many digits": member(with_header(header(shape=f"({'9' * 150},)"))),
    "a shape of a terabyte": member(with_header(header(shape="(1000000, 1000000)"))),
    "a negative size": member(with_header(header(shape="(-2,)"), bytes(16))),
    "too little data": member(with_header(header(shape="(3,)"), bytes(16))),
    "too much data": member(with_header(header(shape="(1,)"), bytes(16))),
    "objects": member(with_header(header(descr="'|O'"), bytes(16))),
    "records": member(with_header(header(descr="[('a', '<f8')]"), bytes(16))),
    "an unknown type": member(with_header(header(descr="'<f3'"), bytes(6))),
    "a date": member(with_header(header(descr="'<M8[s]'"), bytes(16))),
    "an encrypted member": flagged(member(GOOD), 6, b"\x01"),
    "an unknown method": flagged(member(GOOD), 8, b"\x63"),
    "packed with another method": packed({"a.npy": GOOD}, zipfile.ZIP_LZMA),
    "a bomb": packed({"a.npy": bytes(64 * MAX)}, zipfile.ZIP_DEFLATED),
    "a wrong check sum": flagged(member(GOOD), 14, b"\0\0\0\0"),
    "a long list of members": packed({f"{number}.npy": b"" for number in range(2000)}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_wrong_gives_one_sentence_and_takes_no_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    tracemalloc.start()

    with pytest.raises(StoreError, match=r"a\.npz: "):
        read_arrays(path, max_bytes=MAX)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * MAX


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", GOOD)
        archive.writestr("a.npy", GOOD)

    with pytest.raises(StoreError, match="is there twice"):
        read_arrays(path, max_bytes=MAX)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "device", "folder"):
        with pytest.raises(StoreError, match="expected a regular file"):
            read_arrays(tmp_path / name, max_bytes=MAX)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent", max_bytes=MAX)


def test_every_single_flipped_bit_and_every_length_is_seen_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"a": np.arange(3.0), "hashes": np.array(["x", "y"])})
    content = path.read_bytes()
    draw = Random(0)
    cases = [content[:length] for length in range(0, len(content), 3)]
    for place in range(len(content)):
        bit = 1 << draw.randrange(8)
        cases.append(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])

    whole = digest_of("", read_arrays(path, max_bytes=MAX))
    for case in cases:
        path.write_bytes(case)
        try:
            arrays = read_arrays(path, max_bytes=MAX)
        except StoreError:
            continue
        # A name may have changed, which the digest shows; the numbers of a member never do.
        assert digest_of("", arrays) == whole or set(arrays) != {"a", "hashes"}


def test_the_digest_shows_names_types_shapes_numbers_and_the_place() -> None:
    plain = {"a": np.arange(6.0)}
    others = [
        {"b": np.arange(6.0)},
        {"a": np.arange(6.0).astype(np.float32)},
        {"a": np.arange(6.0).reshape(2, 3)},
        {"a": np.arange(6.0) + 1e-15},
        {"a": np.arange(6.0), "b": np.zeros(0)},
    ]

    digests = {digest_of("here", arrays) for arrays in (plain, *others)} | {digest_of("there", plain)}

    assert len(digests) == 7
    assert digest_of("here", {"a": np.arange(6.0)}) == digest_of("here", plain)
    assert digest_of("", {"a": np.asfortranarray(np.eye(3)[:2])}) == digest_of("", {"a": np.eye(3)[:2]})
