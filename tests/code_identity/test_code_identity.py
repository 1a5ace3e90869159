"""A hash that changes with what is computed, and with nothing else."""

from __future__ import annotations

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.code_identity import Definition, canonical, code_identity, definition_of, imported_files

ROOT = Path(__file__).parents[2]

FILES = {
    "__init__.py": "",
    "metrics.py": """
from toycode import layers as known
from toycode.layers import half
from toycode.tables import TABLE

LIMIT = 3

def first(x):
    '''Says something.'''
    return half(x) + LIMIT

def second(x):
    from toycode import lazy

    return lazy.deep(x)

def third(x):
    return TABLE[x](x)

def fourth(x):
    return known.Net(x).run()

def fifth(x):
    return getattr(known, x)

def sixth(half):
    return [LIMIT for LIMIT in half]
""",
    "layers.py": """
import math as numbers

from .base import Base

def half(x):
    return numbers.floor(x / 2)

class Net(Base):
    def __init__(self, x):
        self.x = x

    def run(self):
        return self.help()

def unused():
    return 1
""",
    "base.py": "class Base:\n    def help(self):\n        return 5\n",
    "lazy.py": "from toycode.base import Base as B\n\ndef deep(x):\n    return B().help()\n",
    "tables.py": "def a(x):\n    return 1\n\nTABLE = {}\nTABLE['a'] = a\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "toycode"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    for name in [each for each in sys.modules if each.startswith("toycode")]:
        del sys.modules[name]


def identities() -> dict[str, str]:
    names = ("first", "second", "third", "fourth", "fifth", "sixth")
    return {name: code_identity([Definition("toycode.metrics", name)]) for name in names}


def changed(package: Path, file: str, old: str, new: str) -> set[str]:
    """The functions whose identity changes with a file."""
    before = identities()
    path = package / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = identities()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "names"),
    [
        ("metrics.py", "LIMIT = 3", "LIMIT = 4", {"first"}),
        ("metrics.py", "half(x) + LIMIT", "half(x) - LIMIT", {"first"}),
        ("layers.py", "x / 2", "x / 3", {"first", "fifth"}),
        ("layers.py", "math as numbers", "cmath as numbers", {"first", "fifth"}),
        ("layers.py", "self.help()", "self.help() + 1", {"fourth", "fifth"}),
        ("layers.py", "return 1", "return 2", {"fifth"}),
        ("base.py", "return 5", "return 6", {"second", "fourth", "fifth"}),
        ("lazy.py", "B().help()", "-B().help()", {"second"}),
        ("tables.py", "return 1", "return 2", {"third"}),
        ("tables.py", "TABLE['a'] = a", "TABLE['a'] = TABLE.get", {"third"}),
        ("metrics.py", "from toycode.layers import half", "from toycode.tables import a as half", {"first"}),
    ],
)
def test_a_change_counts_for_whatever_can_run_it_and_for_nothing_else(
    package: Path, file: str, old: str, new: str, names: set[str]
) -> None:
    assert changed(package, file, old, new) == names


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("metrics.py", "'''Says something.'''", "'''Says something else.'''"),
        ("metrics.py", "'''Says something.'''\n", "\n"),
        ("layers.py", "return numbers.floor(x / 2)", "# why\n    return (numbers . floor( (x/2) ))"),
        ("layers.py", "def unused", "def another():\n    pass\n\n\ndef unused"),
        ("layers.py", "import math as numbers\n", "import json\nimport math as numbers\n"),
        ("metrics.py", "LIMIT = 3\n", "LIMIT = 0x3\n"),
        ("tables.py", "TABLE = {}", "if __name__ == '__main__':\n    print(1)\n\nTABLE = {}"),
    ],
)
def test_comments_docstrings_layout_and_what_is_not_reached_do_not_count(
    package: Path, file: str, old: str, new: str
) -> None:
    assert changed(package, file, old, new) <= {"fifth"}  # which takes all of a module


def test_the_order_of_definitions_does_not_count(package: Path) -> None:
    before = identities()

    text = (package / "base.py").read_text()
    (package / "base.py").write_text(f"def other():\n    pass\n\n\n{text}")

    assert identities() == before


def test_nothing_is_imported_to_read_it(package: Path) -> None:
    identities()

    assert "toycode" not in sys.modules


def test_a_loaded_package_has_the_same_identity(package: Path) -> None:
    before = identities()

    importlib.import_module("toycode.metrics")

    assert identities() == before


PLUGIN = """
import functools

KNOWN = {}

def note(function):
    KNOWN[function.__name__] = function
    return function

@note
def hidden(x):
    return 1

@functools.lru_cache
def plain(x):
    return 2

class Base:
    def __init_subclass__(cls):
        KNOWN[cls.__name__] = cls

class Child(Base):
    value = 3

def metric(x):
    return KNOWN[x](x)

def by_class(x):
    return Base, KNOWN[x]

def dynamic(x):
    return globals()[x]
"""


@pytest.mark.parametrize(
    ("name", "old", "counts"),
    [
        ("metric", "return 1", True),
        ("metric", "return 2", False),
        ("by_class", "value = 3", True),
        ("dynamic", "return 2", True),
    ],
)
def test_what_a_plugin_registers_for_itself_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, counts: bool
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "plugintoy.py"
    file.write_text(PLUGIN)
    before = code_identity([Definition("plugintoy", name)])

    file.write_text(PLUGIN.replace(old, f"{old}0"))

    assert (code_identity([Definition("plugintoy", name)]) != before) is counts


def test_a_file_that_is_no_python_counts_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "brokentoy.py").write_text("def (:")
    before = code_identity([Definition("brokentoy", "f")])

    (tmp_path / "brokentoy.py").write_text("def (::")

    assert code_identity([Definition("brokentoy", "f")]) != before


@pytest.mark.parametrize("expression", ["+".join(["x"] * 800), f"'{'a' * 100_000}'", "0x" + "f" * 5000])
def test_long_expressions_are_no_trouble(expression: str) -> None:
    assert canonical(ast.parse(f"y = {expression}")) != canonical(ast.parse("y = x"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "True"),
        ("'1'", "1"),
        ("'a'", "b'a'"),
        ("None", "0"),
        ("x[None]", "x[0]"),
        ("-0.0", "0.0"),
        ("f(a, b)", "f(b, a)"),
        ("f'{x}'", "f'{x!r}'"),
        ("f'{x:.2f}'", "f'{x:.3f}'"),
        ("[a, b]", "(a, b)"),
        ("lambda a, b=1: a", "lambda a=1, b=1: a"),
    ],
)
def test_different_code_has_different_text(one: str, other: str) -> None:
    assert canonical(ast.parse(one)) != canonical(ast.parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("'a' 'b'", "'ab'"), ("u'a'", "'a'"), ("f'a{x}b'", "f'a' f'{x}' 'b'"), ("1_000", "1000"), ("f'{x:}'", "f'{x:}'")],
)
def test_the_same_code_has_the_same_text(one: str, other: str) -> None:
    assert canonical(ast.parse(f"y = {one}")) == canonical(ast.parse(f"y = {other}"))


def a_function() -> None:
    """Something to find."""


class AClass:
    def method(self) -> None:
        """Something to find."""


def test_functions_classes_instances_and_modules_are_found_where_they_are_defined() -> None:
    assert definition_of(a_function) == definition_of(partial(a_function)) == Definition(__name__, "a_function")
    of_class = Definition(__name__, "AClass")
    assert {definition_of(each) for each in (AClass, AClass(), AClass.method, AClass().method)} == {of_class}
    assert definition_of(lambda: 1).module == __name__
    assert definition_of(ast) == Definition("ast")


CHILD = """
import ast, json, sys
from hashlib import sha256
from pathlib import Path
from bench.code_identity import canonical

files = sorted(path for room in sys.argv[2:] for path in Path(room).rglob("*.py"))
texts = (canonical(ast.parse(path.read_bytes())) for path in [*files, Path(sys.argv[1])])
print(json.dumps([sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]))
"""
AWKWARD = r"""
a = f"{x!r:>{width}}" f'{y:%H:%M}' "tail" f"{{}}" f"{x = }" rf"\d{z}" f"{f'{n}'}"
def f(x, /, y=1, *z, k: int = 2, **w) -> "int": return f"{x:}" f''
match a:
    case {"k": [1, *rest], **more} if rest: ...
    case Point(x=0) | None: pass
async def g(): return [i async for i in h() if (n := i)]
type_comment = 1  # type: int
u = u"text" if 0 else ...
"""


def other_pythons() -> list[str]:
    """Interpreters of other versions on this machine, as far as they can be found."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = [f"python3.{minor}" for minor in (11, 12, 13, 14)]
    found = [shutil.which(name) for name in names if name != f"python{here}"]
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found += [str(path) for path in sorted(versions.glob("3.1[1-9].*/bin/python")) if f"/{here}." not in str(path)]
    return [path for path in found if path is not None]


def hashes(python: str, awkward: Path, rooms: tuple[str, ...]) -> list[str] | None:
    command = [python, "-c", CHILD, str(awkward), *rooms]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize(
    "rooms", [("bench/diffusion",), pytest.param(("bench", "models", "tests"), marks=pytest.mark.slow)], ids="-".join
)
def test_every_python_gives_the_same_text_of_our_code(tmp_path: Path, rooms: tuple[str, ...]) -> None:
    awkward = tmp_path / "awkward.py"
    awkward.write_text(AWKWARD)

    mine = hashes(sys.executable, awkward, rooms)
    others = [each for each in (hashes(python, awkward, rooms) for python in other_pythons()) if each is not None]

    assert mine is not None
    if not others:
        pytest.skip("no other Python on this machine")
    assert all(each == mine for each in others)


def test_identities_are_the_same_with_and_without_torch() -> None:
    code = (
        "import sys; from bench.registry import load_builtins, METRICS, MODELS;"
        "from bench.code_identity import code_identity, definition_of; load_builtins();"
        "print(code_identity([definition_of(METRICS.get('kid').factory), definition_of(MODELS.get('cunet').factory)]),"
        "'torch' in sys.modules)"
    )

    def child(before: str) -> list[str]:
        command = [sys.executable, "-c", before + code]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    light, heavy = child(""), child("import torch, bench.quality.metrics, bench.models.cunet;")

    assert (light[1], heavy[1]) == ("False", "True")
    assert light[0] == heavy[0]


def test_imported_files_are_those_that_importing_reads() -> None:
    light = imported_files(["bench.quality.catalogue"], also_inside_functions=False)
    heavy = imported_files(["bench.quality.catalogue"], also_inside_functions=True)

    assert ROOT / "bench" / "quality" / "recipe.py" in light
    assert ROOT / "bench" / "quality" / "kid.py" not in light
    assert ROOT / "bench" / "quality" / "kid.py" in heavy
