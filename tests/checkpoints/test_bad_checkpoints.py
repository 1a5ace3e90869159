"""Five hundred files that must not be loaded: each ends in one line that names it, and none of them runs anything.

The files are small and made here; every case goes through `load_weights`, the door a suite uses. Most have no
passport, so that the hash cannot do the other checks' work.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import shutil
import socket
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from bench.errors import BadCheckpoint, UserError
from bench.models.checkpoints.pickled import Global, NotPlain, read_plain
from bench.models.checkpoints.safe_load import open_checkpoint, read_tensors
from bench.models.checkpoints.shipped import load_weights
from bench.passport import passport_path

Case = Callable[[Path], Path]
"""Given a folder, makes a bad file in it and returns its path."""


def toy_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"weight": torch.randn(16, 24, generator=generator), "bias": torch.randn(16, generator=generator)}


def toy_network() -> nn.Linear:
    return nn.Linear(24, 16)


def torch_bytes(value: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


GOOD = {
    "toy.safetensors": safetensors_bytes(toy_state()),
    "toy.pt": torch_bytes(toy_state()),
    "toy.ckpt": torch_bytes(toy_state(), legacy=True),
}


def refusal(path: Path) -> str:
    """What loading the file says; it must be one line that begins with the path, and leave the network alone."""
    network = toy_network()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(UserError) as refused:
        load_weights(network, str(path), shipped=None)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 1000 + len(str(path))
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
    return message


def loads_the_same(path: Path) -> bool:
    """Whether the file is refused (False) or gives the very numbers of the good one (True); nothing else may happen."""
    try:
        tensors = read_tensors(path)
    except BadCheckpoint as error:
        assert "\n" not in str(error)
        return False
    assert tensors.keys() == toy_state().keys()
    assert all(torch.equal(tensors[key], tensor) for key, tensor in toy_state().items())
    return True


def test_the_good_files_these_are_made_from_load(tmp_path: Path) -> None:
    for name, content in GOOD.items():
        assert loads_the_same(put(tmp_path, name, content))


# --- 100 truncations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("toy.safetensors", 34), ("toy.pt", 33), ("toy.ckpt", 33)])
def test_every_truncated_file_is_refused(tmp_path: Path, name: str, count: int) -> None:
    content = GOOD[name]
    lengths = {0, 1, 7, 8, 9, len(content) - 1, len(content) - 21, len(content) - 22, len(content) - 23}
    lengths |= set(random.Random(1).sample(range(10, len(content) - 24), count - len(lengths)))
    assert len(lengths) == count

    for length in sorted(lengths):
        assert str(tmp_path) in refusal(put(tmp_path, name, content[:length]))


# --- 100 mutated headers and directories ----------------------------------------------------------------------------


def mutations(content: bytes, places: range, seed: int) -> Iterator[bytes]:
    draw = random.Random(seed)
    while True:
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 4))):
            changed[draw.choice(places)] ^= 1 << draw.randrange(8)
        yield bytes(changed)


def test_a_mutated_archive_is_refused_or_gives_the_same_numbers(tmp_path: Path) -> None:
    content = GOOD["toy.pt"]
    refused = 0

    for index, changed in enumerate(mutations(content, range(len(content)), seed=2)):
        refused += not loads_the_same(put(tmp_path, "toy.pt", changed))
        if refused == 40:
            break
        assert index < 400

    directory = content.rfind(b"PK\x01\x02", 0, content.rfind(b"PK\x05\x06"))
    for index, changed in enumerate(mutations(content, range(directory, len(content)), seed=3)):
        refused += not loads_the_same(put(tmp_path, "toy.pt", changed))
        if refused == 70:
            break
        assert index < 400


def test_a_mutated_safetensors_header_is_refused(tmp_path: Path) -> None:
    content = GOOD["toy.safetensors"]
    header = 8 + int.from_bytes(content[:8], "little")
    refused = 0

    for index, changed in enumerate(mutations(content, range(len(content[:header].rstrip())), seed=4)):
        path = put(tmp_path, "toy.safetensors", changed)
        try:
            # A flipped letter in a name gives another name, which only the network's own keys can catch.
            load_weights(toy_network(), str(path), shipped=None)
            passport_path(path).unlink()
            assert loads_the_same(path)
        except BadCheckpoint:
            refused += 1
        if refused == 30:
            break
        assert index < 200


# --- 100 flipped payload bits ---------------------------------------------------------------------------------------


def test_a_flipped_bit_in_an_archives_numbers_fails_its_crc(tmp_path: Path) -> None:
    content = GOOD["toy.pt"]
    start = content.index(toy_state()["weight"].numpy().tobytes())

    for changed in (next(mutations(content, range(start, start + 16 * 24 * 4), seed)) for seed in range(40)):
        assert "the CRC of its member" in refusal(put(tmp_path, "toy.pt", changed))


@pytest.mark.parametrize("name", ["toy.safetensors", "toy.ckpt"])
def test_a_flipped_bit_in_any_numbers_fails_the_passports_hash(tmp_path: Path, name: str) -> None:
    content = GOOD[name]
    path = put(tmp_path, name, content)
    load_weights(toy_network(), str(path), shipped=None)
    assert passport_path(path).is_file()
    start = content.index(toy_state()["bias"].numpy().tobytes())

    for seed in range(30):
        path.write_bytes(next(mutations(content, range(start, start + 64), seed)))
        assert "its passport says" in refusal(path)


# --- 50 pickles with code -------------------------------------------------------------------------------------------


class Runs:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def programs(canary: Path) -> list[object]:
    """Values whose unpickling creates the canary file, each by another door."""
    code = f"open({str(canary)!r}, 'w').close()"
    return [
        Runs(os.system, f"touch {canary}"),
        Runs(os.mknod, str(canary)),
        Runs(os.mkdir, str(canary)),
        Runs(open, str(canary), "w"),
        Runs(io.open, str(canary), "w"),
        Runs(eval, code),
        Runs(exec, code),
        Runs(Path.touch, canary),
        Runs(shutil.copy, "/etc/hostname", str(canary)),
        Runs(getattr, Runs(Path, str(canary)), "touch"),
        Runs(torch.save, {}, str(canary)),
        Runs(torch.load, str(canary)),
        Runs(torch.hub.load, "owner/name", "model"),
        Runs(nn.Linear, 1, 1),
    ]


def opcode_programs(canary: Path) -> list[bytes]:
    """The same by instructions that no pickler writes."""
    target = str(canary).encode()
    text = b"X" + struct.pack("<I", len(target)) + target
    return [
        b"\x80\x02(ios\nmkdir\n.",
        b"\x80\x02(S'" + target + b"'\nios\nmkdir\n.",
        b"\x80\x02(cos\nmkdir\n" + text + b"o.",
        b"\x80\x02cos\nmkdir\n" + text + b"\x85\x81.",
        b"\x80\x04cos\nmkdir\n" + text + b"\x85}\x92.",
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + text + b"\x85R.",
        b"\x80\x02\x82\x01" + text + b"\x85R.",
        b"\x80\x02P" + target + b"\n.",
        b"\x80\x02}cos\nmkdir\n" + text + b"\x85R" + text + b"s.",
        b"\x80\x02cbuiltins\n__import__\nX\x02\0\0\0os\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + text + b"\x85R.",
        b"\x80\x02ccollections\nOrderedDict\ncos\nmkdir\n" + text + b"\x85R\x85R.",
        b"\x80\x02c__builtin__\neval\n" + text + b"\x85R.",
        b"\x80\x02" + text + text + b"\x85R.",
    ]


def with_pickle(pickled: bytes) -> bytes:
    """The good archive with another data.pkl, its CRC right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD["toy.pt"])) as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, pickled if info.filename.endswith("data.pkl") else old.read(info))
    return stream.getvalue()


def test_a_pickle_with_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    files = [put(tmp_path, "plain.pkl", pickle.dumps(program, protocol=2)) for program in programs(canary)[:1]]
    cases: list[bytes] = []
    for program in programs(canary):
        cases += [torch_bytes({**toy_state(), "extra": program}), torch_bytes([program], legacy=True)]
    cases += [pickle.dumps(program, protocol=4) for program in programs(canary)[:8]]
    cases += [with_pickle(code) for code in opcode_programs(canary)]
    assert len(cases) == 50

    for index, content in enumerate(cases):
        message = refusal(put(tmp_path, f"{index}.pt", content))
        assert "asks" in message or "instruction" in message or "damaged" in message, message
        assert not canary.exists()

    # The control: these files do what they say in the hands of the unpickler.
    pickle.loads(files[0].read_bytes())  # noqa: S301
    assert canary.exists()


def test_the_name_that_is_asked_for_is_printed(tmp_path: Path) -> None:
    path = put(tmp_path, "bad.pt", torch_bytes({"weight": Runs(os.system, "true")}))

    assert "asks for 'posix.system' when it is opened" in refusal(path)


# --- 30 bombs -------------------------------------------------------------------------------------------------------


def deflated(level: int, size: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD["toy.pt"])) as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            storage = info.filename.endswith("/data/0")
            kind = zipfile.ZIP_DEFLATED if storage else zipfile.ZIP_STORED
            new.writestr(info.filename, bytes(size) if storage else old.read(info), kind, level)
    return stream.getvalue()


def doubled_member() -> bytes:
    content = with_pickle(b"\x80\x02}.")
    return content.replace(b"/data/1", b"/data/0")


def climbing_member(name: str) -> bytes:
    stream = io.BytesIO(GOOD["toy.pt"])
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(name, b"x")
    return stream.getvalue()


def giant_directory() -> bytes:
    """A zip64 record that promises a directory of 4 GB."""
    content = with_pickle(b"\x80\x02}.")
    end = content[-22:]
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1 << 32, 1 << 32, 4 << 30, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 0, len(content) - 22, 1)
    return content[:-22] + record + locator + end


def lying_sizes() -> bytes:
    """Every member is said, in the directory, to have 4 GB."""
    content = bytearray(GOOD["toy.pt"])
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
        at = content.find(b"PK\x01\x02", at + 1)
    return bytes(content)


def references(levels: int, *, legacy: bool = False) -> bytes:
    """2^levels references to one tensor in a few bytes."""
    value: list[Any] = [toy_state()["bias"]]
    for _ in range(levels):
        value = [value, value]
    return torch_bytes(value, legacy=legacy)


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return with_pickle(b"\x80\x02" + opening * depth + b"N" + closing * depth + b".")


def strided(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    return torch_bytes({"weight": torch.zeros(64).as_strided(shape, strides, offset)})


class StoragePickler(pickle.Pickler):
    """Writes the text "storage" as a reference to the archive's storage 0, with any number of elements."""

    def __init__(self, stream: io.BytesIO, count: int) -> None:
        super().__init__(stream, protocol=2)
        self.count = count

    def persistent_id(self, obj: object) -> object:
        return ("storage", torch.FloatStorage, "0", "cpu", self.count) if obj == "the storage" else None


def described(first: int, shape: tuple[int, ...], strides: tuple[int, ...], count: int = 384) -> bytes:
    """The good archive, whose storage 0 has 384 numbers, with one tensor described in this way."""
    stream = io.BytesIO()
    rebuild = Runs(torch._utils._rebuild_tensor_v2, "the storage", first, shape, strides, False, None)
    StoragePickler(stream, count).dump({"weight": rebuild})
    return with_pickle(stream.getvalue())


def header_bomb(length: int) -> bytes:
    return length.to_bytes(8, "little") + b'{"a":' + b" " * 64


def safetensors_file(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


def entry(shape: list[Any], begin: Any = 0, end: Any = 4, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def sparse(size: int) -> Case:
    def make(folder: Path) -> Path:
        path = folder / "sparse.pt"
        with path.open("wb") as file:
            file.write(b"PK\x03\x04")
            file.truncate(size)
        return path

    return make


def written(name: str, content: Callable[[], bytes]) -> Case:
    return lambda folder: put(folder, name, content())


BOMBS: dict[str, tuple[Case, str]] = {
    "deflated member": (written("a.pt", lambda: deflated(9, 64 << 20)), "has the compressed member"),
    "deflated a little": (written("a.pt", lambda: deflated(1, 64)), "has the compressed member"),
    "member twice": (written("a.pt", doubled_member), "two members of one name"),
    "member outside": (written("a.pt", lambda: climbing_member("toy/../../outside")), "leads out of the archive"),
    "member at the root": (written("a.pt", lambda: climbing_member("/etc/outside")), "leads out of the archive"),
    "giant directory": (written("a.pt", giant_directory), "has a zip directory of 4,294,967,296 bytes"),
    "2^60 references": (written("a.pt", lambda: references(60)), "nests its containers without end"),
    "2^60 references, legacy": (
        written("a.pt", lambda: references(60, legacy=True)),
        "nests its containers without end",
    ),
    "deep lists": (written("a.pt", lambda: nested(b"]", b"a", 100_000)), "nests its containers without end"),
    "deep tuples": (written("a.pt", lambda: nested(b"", b"\x85", 100_000)), "nests its containers without end"),
    "deep marks": (written("a.pt", lambda: nested(b"(", b"t", 100_000)), "nests its containers without end"),
    "deep tuple as key": (
        written("a.pt", lambda: with_pickle(b"\x80\x02}N" + b"\x85" * 100_000 + b"Ns.")),
        "whose key is a tuple",
    ),
    "list in itself": (written("a.pt", lambda: with_pickle(b"\x80\x02]q\0h\0a.")), "nests its containers without end"),
    "million instructions": (
        written("a.pt", lambda: with_pickle(b"\x80\x02" + b"N" * 1_100_000 + b".")),
        "more than 1,000,000 pickle instructions",
    ),
    "text of a gigabyte": (
        written("a.pt", lambda: with_pickle(b"\x80\x02X" + struct.pack("<I", 1 << 30) + b"aaaa.")),
        "only 5 remain",
    ),
    "number of a gigabyte": (
        written("a.pt", lambda: with_pickle(b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"1.")),
        "not enough data",
    ),
    "stride 0": (written("a.pt", lambda: strided((1_000_000, 1_000_000), (0, 0))), "larger than the numbers stored"),
    "stride 0 on one axis": (written("a.pt", lambda: strided((1 << 30, 64), (0, 1))), "larger than the numbers stored"),
    "overlapping windows": (written("a.pt", lambda: strided((8, 8), (1, 1))), "overlaps itself"),
    "gaps": (written("a.pt", lambda: strided((8, 4), (8, 1))), "has gaps"),
    "behind the storage": (written("a.pt", lambda: described(380, (16,), (1,))), "larger than the numbers stored"),
    "more than the storage": (
        written("a.pt", lambda: described(0, (384, 1 << 39), (1, 0))),
        "larger than the numbers stored",
    ),
    "storage larger than it is": (
        written("a.pt", lambda: described(0, (1 << 30,), (1,), count=1 << 30)),
        "is cut short",
    ),
    "lying sizes": (written("a.pt", lying_sizes), "claims to hold more bytes"),
    "header of 2^47 bytes": (written("a.safetensors", lambda: header_bomb(1 << 47)), "are read at most"),
    "header of 100 MB": (written("a.safetensors", lambda: header_bomb(100 << 20)), "are read at most"),
    "header longer than the file": (written("a.safetensors", lambda: header_bomb(1 << 20)), "is cut short"),
    "shape of 2^120": (
        written("a.safetensors", lambda: safetensors_file({"weight": entry([1 << 60, 1 << 60])}, bytes(4))),
        "impossible shape",
    ),
    "a thousand dimensions": (
        written("a.safetensors", lambda: safetensors_file({"weight": entry([1] * 1000)}, bytes(4))),
        "impossible shape",
    ),
    "header nested": (written("a.safetensors", lambda: safetensors_file(b'{"a":' + b"[" * 100_000)), "recursion"),
    "17 GiB of nothing": (sparse(17 << 30), "are read"),
}


def peak_bytes() -> int:
    """VmHWM of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_bomb_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    make, expected = BOMBS[name]
    path = make(tmp_path)
    before = peak_bytes()

    assert expected in refusal(path)

    assert peak_bytes() - before < 512 << 20


def test_many_views_of_one_storage_are_not_all_copied(tmp_path: Path) -> None:
    shared = torch.zeros(1 << 16)
    path = put(tmp_path, "shared.pt", torch_bytes({str(index): shared for index in range(1000)}))

    with pytest.raises(BadCheckpoint, match="claims to hold more numbers than it has"):
        read_tensors(path)


# --- 40 wrong networks ----------------------------------------------------------------------------------------------


def spoilt(index: int, bad: float) -> dict[str, Tensor]:
    state = toy_state()
    state["weight"].view(-1)[index] = bad
    return state


WRONG_STATES: dict[str, dict[str, Tensor]] = {
    "missing": {"weight": toy_state()["weight"]},
    "extra": {**toy_state(), "scale": torch.ones(1)},
    "renamed": {"weight": toy_state()["weight"], "biases": toy_state()["bias"]},
    "transposed": {**toy_state(), "weight": toy_state()["weight"].T.contiguous()},
    "wider": {**toy_state(), "bias": torch.zeros(17)},
    "flat": {**toy_state(), "weight": toy_state()["weight"].flatten()},
    "float64 beyond float32": {**toy_state(), "bias": torch.full((16,), 1e300, dtype=torch.float64)},
    "int64": {**toy_state(), "bias": torch.zeros(16, dtype=torch.int64)},
    "uint8": {**toy_state(), "bias": torch.zeros(16, dtype=torch.uint8)},
    "bool": {**toy_state(), "bias": torch.zeros(16, dtype=torch.bool)},
    "complex": {**toy_state(), "bias": torch.zeros(16, dtype=torch.complex64)},
    "float8": {**toy_state(), "bias": torch.zeros(16, dtype=torch.float8_e4m3fn)},
}
NOT_FINITE = [(index, bad) for index in (0, 7, 200, 383) for bad in (float("nan"), float("inf"), -float("inf"))]


@pytest.mark.parametrize("form", ["toy.safetensors", "toy.pt"])
@pytest.mark.parametrize("name", WRONG_STATES)
def test_a_state_of_another_network_is_refused(tmp_path: Path, name: str, form: str) -> None:
    state = WRONG_STATES[name]
    content = safetensors_bytes(state) if form == "toy.safetensors" else torch_bytes(state)

    refusal(put(tmp_path, form, content))


@pytest.mark.parametrize(("index", "bad"), NOT_FINITE)
def test_numbers_that_are_not_finite_are_refused_by_tensor(tmp_path: Path, index: int, bad: float) -> None:
    path = put(tmp_path, "toy.safetensors", safetensors_bytes(spoilt(index, bad)))

    assert "tensor 'weight' holds NaN or infinity" in refusal(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_half_precision_that_is_not_finite_is_refused(tmp_path: Path, dtype: torch.dtype, bad: float) -> None:
    state = {key: tensor.to(dtype) for key, tensor in spoilt(5, bad).items()}

    assert "holds NaN or infinity" in refusal(put(tmp_path, "toy.pt", torch_bytes(state)))


# --- 30 that are no checkpoints -------------------------------------------------------------------------------------


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.pt")
    return folder / "pipe.pt"


def link(folder: Path) -> Path:
    put(folder, "toy.pt", GOOD["toy.pt"])
    (folder / "link.pt").symlink_to(folder / "toy.pt")
    return folder / "link.pt"


def dangling(folder: Path) -> Path:
    (folder / "link.pt").symlink_to(folder / "nothing.pt")
    return folder / "link.pt"


def empty_folder(folder: Path) -> Path:
    (folder / "checkpoint").mkdir()
    return folder / "checkpoint"


def folder_without_numbers(folder: Path) -> Path:
    put(folder, "config.json", b"{}")
    return folder


def unix_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may have 107 characters only
        server.bind("socket.pt")
        os.chdir(here)
    return folder / "socket.pt"


def tar_archive() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("toy.pt")
        info.size = len(GOOD["toy.pt"])
        archive.addfile(info, io.BytesIO(GOOD["toy.pt"]))
    return stream.getvalue()


def plain_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("photo.jpg", b"x" * 100)
    return stream.getvalue()


def script_archive() -> bytes:
    """What torch.jit.save leaves: code beside the numbers."""
    stream = io.BytesIO(GOOD["toy.pt"])
    with zipfile.ZipFile(stream, "a") as archive:
        prefix = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{prefix}/constants.pkl", b"\x80\x02).")
        archive.writestr(f"{prefix}/code/__torch__.py", b"class Module: pass")
    return stream.getvalue()


NO_CHECKPOINTS: dict[str, tuple[Case, str]] = {
    "html": (written("a.pt", lambda: b"<!DOCTYPE html><html><body>Sign in</body></html>"), "is a web page"),
    "html, spaced": (written("a.ckpt", lambda: b"\n\n  <HTML><title>404</title>"), "is a web page"),
    "html, marked": (written("a.pth", lambda: b"\xef\xbb\xbf<html lang=en>"), "is a web page"),
    "xml": (written("a.pt", lambda: b"<?xml version='1.0'?><Error>AccessDenied</Error>"), "is a web page"),
    "lfs": (
        written("a.safetensors", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        "is a Git LFS pointer",
    ),
    "png": (written("a.pt", lambda: b"\x89PNG\r\n\x1a\n" + bytes(40)), "is a PNG picture"),
    "jpeg": (written("a.pt", lambda: b"\xff\xd8\xff\xe0" + bytes(40)), "is a JPEG picture"),
    "pdf": (written("a.pt", lambda: b"%PDF-1.7"), "is a PDF document"),
    "gzip": (written("a.pt", lambda: gzip.compress(GOOD["toy.pt"])), "is gzip-compressed; unpack it first"),
    "tar": (written("a.pt", tar_archive), "is a tar archive"),
    "hdf5": (written("a.h5", lambda: b"\x89HDF\r\n\x1a\n"), "is an HDF5 file"),
    "numpy": (written("a.npy", lambda: b"\x93NUMPY\x01\x00"), "is a NumPy array"),
    "program": (written("a.pt", lambda: b"\x7fELF\x02\x01\x01"), "is a program"),
    "script": (written("a.pt", lambda: b"#!/bin/sh\nrm -rf /"), "is a script"),
    "text": (written("a.pt", lambda: b"not found"), "is text that begins 'not found'"),
    "json": (written("a.pt", lambda: b'{"error": "gated"}'), "is text that begins"),
    "empty": (written("a.pt", lambda: b""), "is empty"),
    "one byte": (written("a.pt", lambda: b"\x80"), "begins with the bytes 80"),
    "zeros": (written("a.pt", lambda: bytes(4096)), "is filled with zeros"),
    "noise": (written("a.pt", lambda: random.Random(5).randbytes(4096)), "begins with the bytes"),
    "empty zip": (written("a.pt", lambda: b"PK\x05\x06" + bytes(18)), "is an empty zip archive"),
    "other zip": (written("a.pt", plain_zip), "not one that torch.save writes"),
    "TorchScript": (written("a.pt", script_archive), "is a TorchScript program"),
    "relabelled": (written("a.safetensors", lambda: GOOD["toy.pt"]), "is named .safetensors but holds a torch archive"),
    "other pickle": (
        written("a.pkl", lambda: pickle.dumps({"weight": [1.0]}, 2)),
        "a pickle that torch.save did not write",
    ),
    "pipe": (fifo, "is a pipe, socket or device"),
    "link": (link, "is a symbolic link"),
    "dangling link": (dangling, "is a symbolic link"),
    "empty folder": (empty_folder, "a folder without config.json"),
    "folder without numbers": (folder_without_numbers, "neither diffusion_pytorch_model.safetensors nor"),
}


@pytest.mark.parametrize("name", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_told_what_it_is(tmp_path: Path, name: str) -> None:
    make, expected = NO_CHECKPOINTS[name]

    assert expected in refusal(make(tmp_path))


def test_sockets_devices_and_paths_that_are_none_are_refused(tmp_path: Path) -> None:
    assert "cannot be opened" in refusal(unix_socket(tmp_path))
    assert "is a pipe, socket or device" in refusal(Path("/dev/zero"))
    assert "no such file" in refusal(tmp_path / "nothing.pt")


# --- 50 attacks on the safetensors header ---------------------------------------------------------------------------

HEADERS: list[bytes] = [
    safetensors_file(header, payload)
    for header, payload in (
        (b"", b""),
        (b"{", b""),
        (b"{}", b""),
        (b"{}", b"1234"),
        (b"[]", b""),
        (b"null", b""),
        (b"{]", b""),
        (b'{"a"}', b""),
        (b'{"a":1}', b""),
        (b'{"a":null}', b""),
        (b'{"a":[]}', b""),
        (b'{"a":{}}', b""),
        (b'{"\xff":{}}', b""),
        (b'{"__metadata__":{}}', b""),
        (b'{"__metadata__":"x","a":7}', b""),
        (b'{"a":NaN}', b""),
        (b'{"a":' + b"9" * 5000 + b"}", b""),
        ({"weight": {"dtype": "F32", "shape": [1]}}, bytes(4)),
        ({"weight": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)),
        ({"weight": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        ({"weight": {**entry([1]), "code": "os.system"}}, bytes(4)),
        ({"weight": entry([1], dtype="F128")}, bytes(4)),
        ({"weight": entry([1], dtype="C64", end=8)}, bytes(8)),
        ({"weight": entry([1], dtype="F8_E4M3", end=1)}, bytes(1)),
        ({"weight": entry([1], dtype=7)}, bytes(4)),
        ({"weight": entry([1], dtype=None)}, bytes(4)),
        ({"weight": entry([1], dtype="")}, bytes(4)),
        ({"weight": entry([1], dtype="f32")}, bytes(4)),
        ({"weight": entry([-1])}, bytes(4)),
        ({"weight": entry([-1, -1])}, bytes(4)),
        ({"weight": entry([1.0])}, bytes(4)),
        ({"weight": entry([True])}, bytes(4)),
        ({"weight": entry(["1"])}, bytes(4)),
        ({"weight": entry([None])}, bytes(4)),
        ({"weight": entry([[1]])}, bytes(4)),
        ({"weight": entry([2])}, bytes(4)),
        ({"weight": entry([0])}, bytes(4)),
        ({"weight": entry([1 << 62])}, bytes(4)),
        ({"weight": entry([1], begin=-4, end=0)}, bytes(4)),
        ({"weight": entry([1], begin=4, end=0)}, bytes(4)),
        ({"weight": entry([1], begin=4, end=8)}, bytes(8)),
        ({"weight": entry([1], begin=0.0)}, bytes(4)),
        ({"weight": entry([1], begin="0")}, bytes(4)),
        ({"weight": entry([1], end=1 << 62)}, bytes(4)),
        ({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, bytes(4)),
        ({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(8)),
        ({"weight": entry([1]), "bias": entry([1])}, bytes(4)),
        ({"weight": entry([2], end=8), "bias": entry([1], begin=4, end=8)}, bytes(8)),
        ({"weight": entry([1]), "bias": entry([1], begin=8, end=12)}, bytes(12)),
        (
            json.dumps({"weight": entry([1])}).encode()[:-1] + b"," + json.dumps({"weight": entry([1])}).encode()[1:],
            bytes(4),
        ),
    )
]


def test_every_attack_on_the_safetensors_header_is_refused(tmp_path: Path) -> None:
    assert len(HEADERS) == 50

    for index, content in enumerate(HEADERS):
        with pytest.raises(BadCheckpoint) as refused:
            read_tensors(put(tmp_path, f"{index}.safetensors", content))
        assert "\n" not in str(refused.value)


def test_metadata_is_never_shown(tmp_path: Path) -> None:
    header = {"__metadata__": {"title": "<script>alert(1)</script>"}, "weight": entry([1])}

    assert "script" not in refusal(put(tmp_path, "a.safetensors", safetensors_file(header, bytes(4))))


def test_these_are_five_hundred_at_least() -> None:
    wrong = 2 * len(WRONG_STATES) + len(NOT_FINITE) + 4
    assert 100 + 100 + 100 + 50 + len(BOMBS) + wrong + len(NO_CHECKPOINTS) + len(HEADERS) >= 500


# --- what happens while the file is open ----------------------------------------------------------------------------


def test_a_file_written_to_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "toy.pt", GOOD["toy.pt"])
    with open_checkpoint(path) as checkpoint:
        with path.open("r+b") as file:
            file.write(b"PK\x03\x04")
        with pytest.raises(BadCheckpoint, match="was changed or exchanged while it was read"):
            checkpoint.read(checkpoint.tensors)


def test_a_file_exchanged_behind_its_path_is_noticed(tmp_path: Path) -> None:
    path = put(tmp_path, "toy.pt", GOOD["toy.pt"])
    with open_checkpoint(path) as checkpoint:
        (tmp_path / "other.pt").write_bytes(torch_bytes({"weight": torch.ones(1)}))
        (tmp_path / "other.pt").replace(path)
        with pytest.raises(BadCheckpoint, match="was changed or exchanged while it was read"):
            checkpoint.read(checkpoint.tensors)


# --- any bytes at all -----------------------------------------------------------------------------------------------

WORDS = [
    *(bytes([code]) for code in b"(.0123NRbeldstuoQ})]a\x81\x85\x86\x87\x88\x89\x93\x94\x8f\x90\x91\x92"),
    *(
        b"q\0",
        b"h\0",
        b"q\1",
        b"h\1",
        b"K\5",
        b"M\xff\xff",
        b"J\xff\xff\xff\xff",
        b"\x8a\x01\xff",
        b"\x8c\x01a",
        b"U\x01b",
    ),
    *(
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nFloatStorage\n",
        b"cos\nsystem\n",
    ),
    *(
        b"X\x07\0\0\0storage",
        b"X\x01\0\0\0000",
        b"X\x03\0\0\0cpu",
        b"G@\0\0\0\0\0\0\0",
        b"\x80\x02",
        b"\x95" + bytes(8),
    ),
]
"""Instructions of the pickle language, with their arguments."""


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join))
@settings(max_examples=400, deadline=None)
def test_any_row_of_instructions_is_a_value_or_a_sentence(code: bytes) -> None:
    try:
        value = read_plain(
            io.BytesIO(code + b"."),
            allowed=frozenset({"collections.OrderedDict", "torch.FloatStorage"}),
            call=lambda name, arguments: {},
            persistent=lambda identifier: "outside",
        )
    except NotPlain as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(value, dict | list | tuple | str | bytes | int | float | Global | None)
