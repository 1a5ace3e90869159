"""Pickles read as data: the opcodes are interpreted here, onto plain Python values, and nothing is ever called.

A pickle is a small program, and an unpickler runs it; a list of forbidden calls has been outwitted many times. This
reader has no way to call anything: a name in the file becomes an inert `Global`, and "call this" is answered by a
function of ours that knows a handful of names by heart. Whatever else stands in the file is refused. The standard
library splits the bytes into opcodes (`pickletools.genops`, a disassembler); the unpickler is not used.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from bench.errors import quoted

MAX_OPCODES = 1_000_000
"""The largest published checkpoint of this kind has some sixty thousand."""
MAX_TEXT = 1 << 20


class NotPlain(Exception):
    """The pickle is broken, or holds something that is not plain data; the message is the sentence to print."""


@dataclass(frozen=True)
class Global:
    """A dotted name that stands in the file. Never looked up."""

    name: str


Call = Callable[[str, tuple[Any, ...]], object]
"""(dotted name, arguments) -> the value that stands for the call's result, or NotPlain."""
Persistent = Callable[[object], object]
"""What stands outside the pickle, by the identifier in it."""


def read_plain(stream: BytesIO, *, allowed: frozenset[str], call: Call, persistent: Persistent) -> object:
    """The value of one pickle, made of dicts, lists, tuples, texts, numbers and what `call` and `persistent` return.

    Leaves the stream behind the pickle. allowed: names that may occur. Raises NotPlain.
    """
    machine = _Machine(allowed, call, persistent)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise NotPlain(f"has more than {MAX_OPCODES:,} pickle instructions")
            step = _STEPS.get(opcode.name)
            if step is None:
                raise NotPlain(f"uses the pickle instruction {opcode.name} at byte {position}, which no tensor needs")
            step(machine, argument)
    except NotPlain:
        raise
    # The machine trusts the pickle's structure; where that is broken, Python's own complaint is the answer.
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError, struct.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise NotPlain(f"has a damaged pickle in it ({type(error).__name__}: {reason})") from error
    if not machine.stopped or len(machine.stack) != 1:
        raise NotPlain("has a damaged pickle in it (it does not end in one value)")
    return machine.stack[0]


class _Machine:
    """The stack and the memo of the pickle language."""

    def __init__(self, allowed: frozenset[str], call: Call, persistent: Persistent) -> None:
        self.allowed = allowed
        self.call = call
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.stopped = False

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("an instruction reaches below its mark")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The value on top, which must be exactly a dict or a list."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {kind.__name__} was expected")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values


def _push(machine: _Machine, argument: Any) -> None:
    if isinstance(argument, str | bytes) and len(argument) > MAX_TEXT:
        raise NotPlain(f"has a text of {len(argument):,} characters in its pickle")
    machine.stack.append(argument)


def _constant(value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(value)


def _nothing(machine: _Machine, _: Any) -> None:
    return None


def _stop(machine: _Machine, _: Any) -> None:
    machine.stopped = True


def _mark(machine: _Machine, _: Any) -> None:
    machine.marks.append(len(machine.stack))


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        values = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(values)))

    return step


def _tuple(machine: _Machine, _: Any) -> None:
    machine.stack.append(tuple(machine.since_mark()))


def _list(machine: _Machine, _: Any) -> None:
    machine.stack.append(machine.since_mark())


def _dict(machine: _Machine, _: Any) -> None:
    values = machine.since_mark()
    machine.stack.append({})
    _set_items(machine, values)


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: _Machine, _: Any) -> None:
    values = machine.since_mark()
    machine.top(list).extend(values)


def _setitem(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _setitems(machine: _Machine, _: Any) -> None:
    _set_items(machine, machine.since_mark())


def _set_items(machine: _Machine, values: list[Any]) -> None:
    table = machine.top(dict)
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Hashing a deeply nested tuple would recurse in C; a checkpoint's keys are texts and numbers.
        if type(key) not in (str, int):
            raise NotPlain(f"has a table whose key is a {type(key).__name__}, not a name or a number")
        table[key] = value


def _put(machine: _Machine, argument: Any) -> None:
    machine.memo[argument] = machine.stack[-1]


def _memoize(machine: _Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[argument])


def _global(machine: _Machine, argument: Any) -> None:
    # The disassembler gives "module name"; only the last space can separate the two.
    _push_global(machine, ".".join(argument.rsplit(" ", 1)))


def _stack_global(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a name was expected")
    _push_global(machine, f"{module}.{name}")


def _push_global(machine: _Machine, name: str) -> None:
    if name not in machine.allowed:
        raise NotPlain(
            f"asks for {quoted(name)} when it is opened; a checkpoint may hold only tensors and plain containers"
        )
    machine.stack.append(Global(name))


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    if type(function) is not Global or type(arguments) is not tuple:
        raise ValueError("something that is no function is called")
    machine.stack.append(machine.call(function.name, arguments))


def _build(machine: _Machine, _: Any) -> None:
    # The state of an OrderedDict (`_metadata`) or of an inert value; neither is needed.
    machine.pop()
    if not machine.stack:
        raise ValueError("a state belongs to nothing")


def _persistent(machine: _Machine, _: Any) -> None:
    machine.stack.append(machine.persistent(machine.pop()))


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "STOP": _stop,
    "MARK": _mark,
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": _list,
    "DICT": _dict,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _memoize,
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _persistent,
    **dict.fromkeys(
        (
            "BININT",
            "BININT1",
            "BININT2",
            "LONG1",
            "BINFLOAT",
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BINUNICODE8",
            "BINSTRING",
            "SHORT_BINSTRING",
            "BINBYTES",
            "SHORT_BINBYTES",
        ),
        _push,
    ),
}
