"""The table of contents of what torch.save writes: a zip archive since torch 1.6, a row of pickles before.

Neither `torch.load` nor the unpickler is used: the pickle inside is read as data (`bench.models.checkpoints.pickled`),
the archive must be exactly what torch writes (members stored, not compressed; unique; CRC right), and a tensor is a
place in the file. So a checkpoint of unknown origin costs no child process and cannot run anything.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from bench.contracts import Scalar
from bench.errors import quoted
from bench.models.checkpoints.contents import (
    ITEM_BYTES,
    MAX_DIMENSIONS,
    MAX_EXTENT,
    MAX_NAME,
    MAX_TENSORS,
    Contents,
    StoredTensor,
)
from bench.models.checkpoints.pickled import Global, NotPlain, read_plain
from bench.models.checkpoints.source import Source

MAX_PICKLE_BYTES = 64 << 20
MAX_DIRECTORY_BYTES = 16 << 20
MAX_NODES = 200_000
"""Containers and values looked at when flattening; a list of lists that refer to each other has no end."""
MAX_DEPTH = 16

STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
UNTYPED = "torch.storage.UntypedStorage"
INERT = frozenset(
    {
        # What optimiser and scheduler states of old files hold besides tensors. Read, never rebuilt.
        "_codecs.encode",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "torch.device",
        "torch.Size",
    }
)
REBUILD = "torch._utils._rebuild_"
ALLOWED = (
    INERT
    | {f"torch.{name}" for name in (*STORAGE_DTYPES, *ITEM_BYTES)}
    | {UNTYPED, "collections.OrderedDict"}
    | {f"{REBUILD}{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state")}
)
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


@dataclass(frozen=True)
class Storage:
    """A run of numbers outside the pickle, by its key."""

    key: str
    dtype: str | None
    """None when the tensor itself says how the bytes are to be read."""
    count: int
    """Elements; bytes when dtype is None."""


@dataclass(frozen=True)
class View:
    """A tensor as the pickle describes it."""

    storage: Storage
    dtype: str
    first: int
    """Index of the first element in the storage."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Places = Mapping[str, tuple[int, int]]
"""Storage key -> (offset in the file, bytes)."""


def torch_contents(source: Source) -> Contents:
    """Every tensor and scalar of a zip archive written by torch.save. Raises BadCheckpoint."""
    members = _checked_members(source)
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise source.refuse("is a zip archive, but not one that torch.save writes (no data.pkl in it)")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in members or any(name.startswith(f"{prefix}code/") for name in members):
        raise source.refuse("is a TorchScript program, which carries code; save the state_dict alone")
    if f"{prefix}byteorder" in members and bytes(source.read(*members[f"{prefix}byteorder"])) != b"little":
        raise source.refuse("was written on a big-endian machine, which is not read")
    offset, size = members[pickles[0]]
    if size > MAX_PICKLE_BYTES:
        raise source.refuse(f"has a pickle of {size:,} bytes in it; {MAX_PICKLE_BYTES:,} are read at most")
    tree = _read_pickle(source, BytesIO(source.read(offset, size)))
    storages = {name.removeprefix(f"{prefix}data/"): place for name, place in members.items()}
    return _flatten(source, tree, storages)


def legacy_contents(source: Source) -> Contents:
    """Every tensor and scalar of a file written by torch.save before torch 1.6. Raises BadCheckpoint."""
    stream = BytesIO(source.read(0, min(source.size, MAX_PICKLE_BYTES)))
    if _read_pickle(source, stream) != LEGACY_MAGIC:
        raise source.refuse("is a pickle that torch.save did not write; save the state_dict with torch.save")
    if _read_pickle(source, stream) != LEGACY_PROTOCOL:
        raise source.refuse("is a torch file of an unknown version")
    system = _read_pickle(source, stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise source.refuse("was written on a big-endian machine, which is not read")
    dtypes: dict[str, str] = {}
    tree = _read_pickle(source, stream, dtypes)
    keys = _read_pickle(source, stream)
    if not isinstance(keys, list) or len(keys) > MAX_TENSORS or not all(type(key) is str for key in keys):
        raise source.refuse("is damaged: the list of its storages is no list of names")
    return _flatten(source, tree, _legacy_places(source, keys, dtypes, stream.tell()))


def _legacy_places(source: Source, keys: list[str], dtypes: dict[str, str], offset: int) -> Places:
    """Storages follow each other, each with its number of elements in front."""
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        if key not in dtypes or key in places:
            raise source.refuse("is damaged: the list of its storages does not fit its tensors")
        count = int.from_bytes(source.read(offset, 8), "little", signed=True)
        size = count * ITEM_BYTES[dtypes[key]]
        if count < 0 or offset + 8 + size > source.size:
            raise source.refuse("is cut short: a storage ends behind the end of the file")
        places[key] = (offset + 8, size)
        offset += 8 + size
    if offset != source.size:
        raise source.refuse(f"has {source.size - offset:,} bytes behind its last storage")
    return places


def _read_pickle(source: Source, stream: BytesIO, dtypes: dict[str, str] | None = None) -> object:
    """One pickle; `dtypes` collects the element type of every storage it speaks of."""

    def persistent(identifier: object) -> object:
        storage = _storage(identifier)
        if dtypes is not None and dtypes.setdefault(storage.key, storage.dtype or "uint8") != storage.dtype:
            raise NotPlain("speaks of one storage with two element types")
        return storage

    try:
        return read_plain(stream, allowed=ALLOWED, call=_call, persistent=persistent)
    except NotPlain as error:
        raise source.refuse(str(error)) from error


def _storage(identifier: object) -> Storage:
    match identifier:
        case ("storage", Global(name=name), str(key), str(), int(count), *views) if count >= 0:
            if views and views != [None]:
                raise NotPlain("holds views of storages, as torch 0.x wrote them; save it again with a newer torch")
        case _:
            raise NotPlain("refers to something outside its pickle that is no storage")
    if name == UNTYPED:
        return Storage(key, None, count)
    dtype = STORAGE_DTYPES.get(name.removeprefix("torch."))
    if dtype is None:
        raise NotPlain(f"has a storage of the type {quoted(name)}, which no weight has")
    return Storage(key, dtype, count)


def _call(name: str, arguments: tuple[Any, ...]) -> object:
    """What stands for the result of a call the pickle asks for."""
    if name == "collections.OrderedDict" and not arguments:
        return {}
    if name in INERT:
        return Global(name)
    match name.removeprefix(REBUILD), arguments:
        case "tensor" | "tensor_v2", (Storage() as storage, first, shape, strides, *_) if storage.dtype:
            return _view(storage, storage.dtype, first, shape, strides)
        case "tensor_v3", (Storage() as storage, first, shape, strides, _, _, Global(name=dtype), *_):
            return _view(storage, dtype.removeprefix("torch."), first, shape, strides)
        case "parameter" | "parameter_with_state", (View() as view, *_):
            return view
    raise NotPlain(f"asks to call {quoted(name)} in a way torch.save does not")


def _view(storage: Storage, dtype: str, first: Any, shape: Any, strides: Any) -> View:
    if type(shape) is not tuple or type(strides) is not tuple or not len(shape) == len(strides) <= MAX_DIMENSIONS:
        raise NotPlain("has a tensor whose shape and strides do not belong together")
    if not all(type(number) is int and 0 <= number < MAX_EXTENT for number in (first, *shape, *strides)):
        raise NotPlain("has a tensor with an impossible shape")
    if dtype not in ITEM_BYTES:
        raise NotPlain(f"has a tensor of the type {quoted(dtype)}, which no weight has")
    return View(storage, dtype, first, shape, strides)


def _flatten(source: Source, tree: object, places: Places) -> Contents:
    """The tree as one flat table with dotted names."""
    tensors: dict[str, StoredTensor] = {}
    scalars: dict[str, Scalar] = {}
    todo: list[tuple[str, int, object]] = [("", 0, tree)]
    nodes = 0
    while todo:
        name, depth, node = todo.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise source.refuse("nests its containers without end; save the state_dict alone")
        if isinstance(node, View):
            if name in tensors:
                raise source.refuse(f"has two tensors called {quoted(name)}")
            tensors[name] = _stored(source, name, node, places)
        elif isinstance(node, dict | list | tuple):
            # Before their names are made: a long key with many values below it is a name of that length for each.
            if nodes + len(todo) + len(node) > MAX_NODES:
                raise source.refuse("nests its containers without end; save the state_dict alone")
            items = node.items() if isinstance(node, dict) else enumerate(node)
            todo += [(_joined(source, name, key), depth + 1, value) for key, value in items]
        elif node is None or isinstance(node, bool | int | float | str):
            scalars[name] = node
    # The stack turns the order around; the file's own order makes better messages.
    return Contents(dict(reversed(tensors.items())), scalars)


def _joined(source: Source, name: str, key: object) -> str:
    """The dotted name of what `key` holds in the container called `name`."""
    text = str(key)
    if len(name) + len(text) >= MAX_NAME:
        raise source.refuse(f"has a name of {len(name) + len(text):,} characters: {quoted(name or text, 40)}")
    return f"{name}.{text}" if name else text


def _stored(source: Source, name: str, view: View, places: Places) -> StoredTensor:
    """The view as a place in the file. Raises BadCheckpoint when it is larger than its storage."""
    if view.storage.key not in places:
        raise source.refuse(f"is damaged: the numbers of tensor {quoted(name)} are missing")
    offset, size = places[view.storage.key]
    item = ITEM_BYTES[view.dtype]
    if view.storage.count * (ITEM_BYTES[view.storage.dtype] if view.storage.dtype else 1) > size:
        raise source.refuse(f"is damaged: the storage of tensor {quoted(name)} is cut short")
    if (view.first + math.prod(view.shape)) * item > size:
        raise source.refuse(f"tensor {quoted(name)} claims to be larger than the numbers stored for it")
    tensor = StoredTensor(view.dtype, view.shape, offset + view.first * item)
    if _is_dense(view.shape, view.strides):
        return tensor
    if not _is_dense(*_by_stride(view)):
        raise source.refuse(f"tensor {quoted(name)} overlaps itself or has gaps; save tensor.contiguous()")
    return StoredTensor(tensor.dtype, tensor.shape, tensor.offset, view.strides)


def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements follow each other without gap, the last dimension first."""
    expected = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent > 1 and stride != expected:
            return math.prod(shape) == 0
        expected *= extent
    return True


def _by_stride(view: View) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides with the dimensions in the order they lie in memory (channels-last weights)."""
    pairs = sorted(zip(view.strides, view.shape, strict=True), reverse=True)
    return tuple(extent for _, extent in pairs), tuple(stride for stride, _ in pairs)


def _checked_members(source: Source) -> dict[str, tuple[int, int]]:
    """Member name -> (offset of its bytes, their number), after every check of the archive."""
    _check_directory(source)
    try:
        with zipfile.ZipFile(source.stream()) as archive:
            infos = archive.infolist()
            _check_infos(source, infos)
            damaged = archive.testzip()
            if damaged is not None:
                raise source.refuse(f"is damaged: the CRC of its member {quoted(damaged)} is wrong")
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError, struct.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise source.refuse(f"is a damaged zip archive: {reason}") from error
    return {info.filename: _place(source, info) for info in infos}


def _check_directory(source: Source) -> None:
    """The archive ends exactly where the file ends, and its directory is small enough to be read at all."""
    tail = bytes(source.read(max(0, source.size - 42), min(42, source.size)))
    if tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise source.refuse("is cut short or has something behind its end: no zip directory in its last bytes")
    size = int.from_bytes(tail[-10:-6], "little")
    if tail[:4] == b"PK\x06\x07":
        record = int.from_bytes(tail[8:16], "little")
        size = int.from_bytes(source.read(record + 40, 8), "little")
    if size > MAX_DIRECTORY_BYTES:
        raise source.refuse(f"has a zip directory of {size:,} bytes; {MAX_DIRECTORY_BYTES:,} are read at most")


def _check_infos(source: Source, infos: list[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in infos]
    if len(infos) > MAX_TENSORS:
        raise source.refuse(f"has {len(infos):,} members; {MAX_TENSORS:,} are read at most")
    if len(set(names)) != len(names):
        raise source.refuse("has two members of one name in its archive")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise source.refuse(f"has the compressed member {quoted(info.filename)}; torch.save never compresses")
        if info.flag_bits & 0x1:
            raise source.refuse(f"has the encrypted member {quoted(info.filename)}")
        if ".." in info.filename.split("/") or info.filename.startswith("/") or "\\" in info.filename:
            raise source.refuse(f"has a member called {quoted(info.filename)}, a path that leads out of the archive")
    if sum(info.file_size for info in infos) > source.size:
        raise source.refuse("claims to hold more bytes than it has")


def _place(source: Source, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a stored member's bytes begin: behind its local header, whose name and padding may differ in length."""
    header = source.read(info.header_offset, 30)
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + name_bytes + extra_bytes, info.file_size
