"""Which code a number comes from: one hash that changes when the computation does, and only then.

Source is read, not run: nothing is imported, so that a process without torch and one with it say the same. From given
functions and classes, names are followed to the definitions they stand for, through imports at the top of a module and
inside functions alike, and each definition that is reached counts by its syntax. Comments, docstrings, layout, the
order of definitions and whatever is not reached do not count, nor does the version of Python that reads.

What is followed is our own code: this package's measuring rooms and models, and every module that is neither of the
standard library nor an installed distribution (whose versions are recorded), unless a given function comes from it.
A name that is made up while running (`getattr(module, name)`) cannot be followed: a module that is used in any other
way than by its attributes counts whole, and so does one that calls `globals`, `eval` or `exec`.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from bench.files import read_regular

FORMAT = 1
"""Raised by whoever changes how code is hashed."""
MEASURING = (
    "bench.contracts",
    "bench.diffusion",
    "bench.data",
    "bench.measure",
    "bench.models",
    "bench.quality",
    "bench.subject",
    "bench.run.perform",
    "bench.run.environment",
)
"""The modules of this package whose code can change a number; the others decide what is measured, and show it."""
OWN = ("bench",)
"""Followed although they may be installed."""
CHARACTERS = 16

_HARMLESS = frozenset(
    {"abc", "bench", "contextlib", "dataclasses", "enum", "functools", "numpy", "torch", "typing", "typing_extensions"}
)
"""Decorators of these change what is decorated and note it nowhere, or in a registry that gives the function back by
its name, as ours does."""
_VERSIONED = frozenset(
    {"builtins", "diffusers", "lpips", "numpy", "pytorch_fid", "safetensors", "scipy", "skimage", "sklearn", "torch"}
    | {"torchdiffeq", "torchvision", "triton"}
)
"""Never followed: their versions are recorded wherever a number is."""
_DYNAMIC = frozenset({"globals", "eval", "exec"})
_MAX_SOURCE_BYTES = 16 << 20


class Definition(NamedTuple):
    """A function, class or value at the top of a module; the whole module where the name is empty."""

    module: str
    name: str = ""


def definition_of(value: object) -> Definition:
    """Where a function, a class or the class of an instance is defined."""
    while isinstance(value, partial):
        value = value.func
    if inspect.ismodule(value):
        return Definition(value.__name__)
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        value = type(value)
    plain = inspect.unwrap(getattr(value, "__func__", value))
    return Definition(getattr(plain, "__module__", None) or "", getattr(plain, "__qualname__", "").split(".")[0])


def code_identity(roots: Iterable[Definition]) -> str:
    """16 hex digits of all the code that the given definitions can run, as far as it is ours."""
    lines = sorted(_Reach(roots).lines)
    return sha256("\n".join([f"format {FORMAT}", *lines]).encode("utf-8", "surrogatepass")).hexdigest()[:CHARACTERS]


def reached_definitions(roots: Iterable[Definition]) -> frozenset[Definition]:
    """Everything of ours that the given definitions can run, name by name."""
    reach = _Reach(roots)
    return frozenset(Definition(module, name) for module, names in reach.names for name in names.split())


def imported_files(modules: Iterable[str], *, also_inside_functions: bool) -> frozenset[Path]:
    """The source files of modules of ours and of all modules of ours that importing them imports, or running them may.

    also_inside_functions: follow the imports that a function makes when it is called, too.
    """
    pending = [(name, also_inside_functions) for name in modules]
    seen = set[tuple[str, bool]]()
    files = set[Path]()
    while pending:
        name, inside = request = pending.pop()
        source = _source(name) if request not in seen and name.split(".")[0] in OWN else None
        seen.add(request)
        if source is None:
            continue
        files.add(source.path)
        pending += [(parent, False) for parent in _parents(name)]
        for target in source.imports(also_inside_functions=inside):
            pending += [(target.module, False), (f"{target.module}.{target.attribute}", inside)]
            if _has_attribute(target):
                pending.append((target.module, inside))
    return frozenset(files)


def _has_attribute(target: _Target) -> bool:
    """Whether an import takes something out of a module, and not a module out of a package."""
    source = _source(target.module)
    return source is not None and (not target.attribute or target.attribute in source.bound)


class _Target(NamedTuple):
    """What an import binds: a module, or an attribute of one."""

    module: str
    attribute: str = ""


class _Use(NamedTuple):
    """A name that a definition uses: of its module (target is None) or of an import inside it."""

    name: str
    target: _Target | None
    attributes: tuple[str, ...]
    """`a.b.c` uses `a` with b, c."""


@dataclass(frozen=True, eq=False)
class _Unit:
    """A statement at the top of a module."""

    node: ast.stmt
    name: str
    home: str
    """The package that relative imports inside it start from."""

    @cached_property
    def digest(self) -> str:
        return sha256(canonical(self.node).encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def uses(self) -> tuple[_Use, ...]:
        skipped = {id(each) for each in getattr(self.node, "decorator_list", ()) if _registers(each)}
        return tuple(dict.fromkeys(_uses(self.node, self.home, skipped)))

    @cached_property
    def registers_subclasses(self) -> bool:
        """Whether classes may be noted by their being defined."""
        return isinstance(self.node, ast.ClassDef) and any(
            isinstance(each, ast.FunctionDef) and each.name == "__init_subclass__" for each in self.node.body
        )


@dataclass(eq=False)
class _Source:
    """A module as it is written."""

    name: str
    path: Path
    is_package: bool
    units: list[_Unit] = field(default_factory=list)
    bound: dict[str, list[_Unit | _Target]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    """Modules of which everything is imported."""
    typing: set[str] = field(default_factory=set)
    """Names that are imported for annotations only."""
    effects: list[_Unit] = field(default_factory=list)
    """Statements that do something when the module is imported."""
    broken: str = ""
    """Hash of a file that is no Python."""

    @property
    def home(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def imports(self, *, also_inside_functions: bool) -> Iterator[_Target]:
        """Everything imported; the packages of submodules are not named."""
        for name, targets in self.bound.items():
            yield from (target for target in targets if isinstance(target, _Target) and name not in self.typing)
        yield from (_Target(star) for star in self.stars)
        for unit in self.units if also_inside_functions else ():
            for node in ast.walk(unit.node):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield from _targets(node, self.home).values()


class _Reach:
    """Everything that is reached from some definitions."""

    def __init__(self, roots: Iterable[Definition]) -> None:
        self.lines: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self._units: set[int] = set()
        self._sources: dict[str, _Source] = {}
        self._resolved: set[tuple[str, str, tuple[str, ...]]] = set()
        self._classes_register = False
        self._pending: list[tuple[str, str, tuple[str, ...]]] = []
        roots = tuple(dict.fromkeys(roots))
        self._tops = ({root.module.split(".")[0] for root in roots} - _VERSIONED) | set(OWN)
        for root in roots:
            self.lines.add(f"root {root.module} {root.name}")
            self._pending.append((root.module, root.name, ()))
        self._run()
        while self._classes_register and self._take_all_classes():
            self._run()

    def _run(self) -> None:
        while self._pending:
            request = self._pending.pop()
            if request not in self._resolved:
                self._resolved.add(request)
                self._resolve(*request)

    def _resolve(self, module: str, name: str, attributes: tuple[str, ...]) -> None:
        """Take in a name of a module, or the whole module, and what hangs on it."""
        source = self._followed(module)
        if source is None:
            return
        self._enter(source)
        if not name:
            for unit in source.units:
                self._take(source, unit)
            for local, targets in source.bound.items():
                for target in targets:
                    if isinstance(target, _Target):
                        self._follow(source, local, target, ())
            return
        for binding in source.bound.get(name, ()):
            if isinstance(binding, _Target):
                self._follow(source, name, binding, attributes)
            else:
                self._take(source, binding)
        if name not in source.bound:
            self._pending.extend((star, name, attributes) for star in source.stars)

    def _follow(self, source: _Source, local: str, target: _Target, attributes: tuple[str, ...]) -> None:
        """Take in what an import stands for, as far as its attributes are used."""
        module, name = target
        if not self._is_ours(module):
            # What stands behind it is not read, so that its name is all there is to say.
            self.lines.add(f"import {source.name} {local} = {module} {name}")
            return
        while True:
            if name:
                if self._has(module, name):
                    self._pending.append((module, name, attributes))
                    return
                module, name = f"{module}.{name}", ""
            if not attributes:
                self._pending.append((module, "", ()))
                return
            name, attributes = attributes[0], attributes[1:]
            if not self._has(module, name) and _locate(f"{module}.{name}") is None:
                # Neither defined there nor a module: made while running, or not there at all.
                self._pending.append((module, "", ()))
                return

    def _take(self, source: _Source, unit: _Unit) -> None:
        if id(unit) in self._units:
            return
        self._units.add(id(unit))
        self.lines.add(f"code {source.name} {unit.name} {unit.digest}")
        self.names.add((source.name, unit.name))
        self._classes_register = self._classes_register or unit.registers_subclasses
        for use in unit.uses:
            if use.target is not None:
                self._follow(source, use.name, use.target, use.attributes)
            elif use.name in source.bound or source.stars:
                self._pending.append((source.name, use.name, use.attributes))
            elif use.name in _DYNAMIC:
                self._pending.append((source.name, "", ()))

    def _enter(self, source: _Source) -> None:
        """What happens when a module is imported counts, and in a plug-in also what happens in those it imports."""
        if source.name in self._sources:
            return
        self._sources[source.name] = source
        if source.broken:
            self.lines.add(f"broken {source.name} {source.broken}")
        for unit in source.effects:
            if self._does_something(source, unit):
                self._take(source, unit)
        for parent in _parents(source.name):
            entered = self._followed(parent)
            if entered is not None:
                self._enter(entered)
        if source.name.split(".")[0] not in OWN:
            for target in source.imports(also_inside_functions=False):
                for module in (target.module, f"{target.module}.{target.attribute}"):
                    entered = self._followed(module)
                    if entered is not None:
                        self._enter(entered)

    def _does_something(self, source: _Source, unit: _Unit) -> bool:
        """Whether a statement is more than a definition: a decorator of unknown purpose may register what it gets."""
        if not isinstance(unit.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return True
        for decorator in unit.node.decorator_list:
            for use in _uses(ast.Expr(decorator.func if isinstance(decorator, ast.Call) else decorator), source.home):
                targets = source.bound.get(use.name, [])
                tops = {target.module.split(".")[0] for target in targets if isinstance(target, _Target)}
                if not tops <= _HARMLESS or any(isinstance(target, _Unit) for target in targets):
                    return True
        return False

    def _take_all_classes(self) -> bool:
        """Take in the classes of plug-ins that nothing names: a base class may find them. True if any was new."""
        before = len(self._units)
        for source in tuple(self._sources.values()):
            if source.name.split(".")[0] not in OWN:
                for unit in source.units:
                    if isinstance(unit.node, ast.ClassDef):
                        self._take(source, unit)
        return len(self._units) > before

    def _has(self, module: str, name: str) -> bool:
        source = self._followed(module)
        return source is not None and (name in source.bound or (bool(source.stars) and not _locate(f"{module}.{name}")))

    def _is_ours(self, module: str) -> bool:
        top = module.split(".")[0]
        if top == "bench":
            return any(_within(module, room) or _within(room, module) for room in MEASURING)
        return top in self._tops or (top not in _VERSIONED and _is_loose(top))

    def _followed(self, module: str) -> _Source | None:
        return _source(module) if self._is_ours(module) else None


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _is_loose(top: str) -> bool:
    """Whether a top-level module lies outside of the standard library and of installed distributions."""
    if not top or top in sys.stdlib_module_names:
        return False
    path = _locate(top)
    return path is not None and not {"site-packages", "dist-packages"} & set(path.parts)


def _locate(module: str) -> Path | None:
    """The source file of a module, which is not imported for it; None where it has none."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is not None:
        return Path(loaded) if loaded.endswith(".py") else None
    top, *rest = module.split(".")
    for folder in _folders(top):
        path = folder.joinpath(*rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py")) if rest else (path / "__init__.py",):
            if candidate.is_file():
                return candidate
    return _single_file(top) if not rest else None


@lru_cache(maxsize=512)
def _spec(top: str, search: tuple[str, ...]) -> tuple[tuple[Path, ...], Path | None]:
    """The folders of a top-level package, and the file of a top-level module. search: where modules are looked for."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return (), None
    if spec is None:
        return (), None
    if spec.submodule_search_locations is not None:
        return tuple(map(Path, spec.submodule_search_locations)), None
    origin = spec.origin or ""
    return (), Path(origin) if origin.endswith(".py") else None


def _folders(top: str) -> tuple[Path, ...]:
    return _spec(top, tuple(sys.path))[0]


def _single_file(top: str) -> Path | None:
    return _spec(top, tuple(sys.path))[1]


def _source(module: str) -> _Source | None:
    """A module as it is written now; None where it has no source."""
    path = _locate(module)
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return _parsed(module, path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=1024)
def _parsed(module: str, path: Path, size: int, mtime_ns: int, inode: int) -> _Source:
    """size, mtime_ns, inode: for the cache to see that the file changed."""
    source = _Source(module, path, path.name == "__init__.py")
    try:
        content = read_regular(path, _MAX_SOURCE_BYTES)
    except OSError as error:
        source.broken = error.strerror or "unreadable"
        return source
    try:
        body = ast.parse(content).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        source.broken = sha256(content).hexdigest()
        return source
    for node in _statements(source, body):
        _add(source, node)
    return source


def _statements(source: _Source, body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module's body, those of `if TYPE_CHECKING` as if they stood alone; not the script's part."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            source.typing |= _bindings(node.body, source.home)[1].keys()
            yield from _statements(source, node.body)
            yield from _statements(source, node.orelse)
        elif not (isinstance(node, ast.If) and "'__main__'" in ast.dump(node.test)) and not _is_text(node):
            yield node


def _add(source: _Source, node: ast.stmt) -> None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for name, target in _targets(node, source.home).items():
            if name == "*":
                source.stars.append(target.module)
            else:
                source.bound.setdefault(name, []).append(target)
        return
    names, imports = _bindings([node], source.home)
    unit = _Unit(node, " ".join(sorted(names)), source.home)
    source.units.append(unit)
    for name in names:
        source.bound.setdefault(name, []).append(unit)
    for name, target in imports.items():
        source.bound.setdefault(name, []).append(target)
    decorated = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.decorator_list
    if decorated or not names or isinstance(node, ast.Expr):
        source.effects.append(unit)


def _targets(node: ast.Import | ast.ImportFrom, home: str) -> dict[str, _Target]:
    """Local name -> what an import statement binds it to."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: _Target(alias.name if alias.asname else alias.name.split(".")[0])
            for alias in node.names
        }
    module = node.module or ""
    if node.level:
        base = home
        for _ in range(node.level - 1):
            base = base.rpartition(".")[0]
        module = f"{base}.{module}" if module else base
    return {
        alias.asname or alias.name: _Target(module, "" if alias.name == "*" else alias.name) for alias in node.names
    }


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _bindings(body: Iterable[ast.AST], home: str) -> tuple[set[str], dict[str, _Target]]:
    """The names that statements bind in their own scope, and of these the imports."""
    names, imports, outer = set[str](), dict[str, _Target](), set[str]()
    stack = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _targets(node, home)
        elif isinstance(node, ast.Global):
            outer |= set(node.names)
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                names.add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            # `TABLE["a"] = ...` belongs to TABLE.
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute | ast.Subscript):
                inner = inner.value
            if isinstance(inner, ast.Name):
                names.add(inner.id)
        if not isinstance(node, (*_SCOPES, *_COMPREHENSIONS)):
            name = getattr(node, "name", None) or getattr(node, "rest", None)  # handlers and patterns
            if isinstance(name, str) and not isinstance(node, ast.alias):
                names.add(name)
            stack.extend(_children(node))
    return names - outer, {name: target for name, target in imports.items() if name not in outer}


@dataclass(frozen=True)
class _Scope:
    """The names of a function, and of the functions around it."""

    names: frozenset[str]
    imports: Mapping[str, _Target]
    outer: _Scope | None

    def look_up(self, name: str) -> _Target | bool | None:
        """What a name stands for: an import, True for something local, None for nothing here."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.imports:
                return scope.imports[name]
            if name in scope.names:
                return True
            scope = scope.outer
        return None


def _registers(decorator: ast.expr) -> bool:
    """Whether a decorator is one of our registry, whose arguments say what can be known without measuring."""
    return isinstance(decorator, ast.Call) and _last(decorator.func).startswith("register_")


def _uses(top: ast.AST, home: str, skipped: Collection[int] = ()) -> Iterator[_Use]:
    """Names of the module, and imports made inside, that a statement uses. skipped: ids of nodes to leave out."""
    stack: list[tuple[ast.AST, _Scope | None]] = [(top, None)]
    while stack:
        node, scope = stack.pop()
        if id(node) in skipped:
            continue
        match node:
            case ast.Attribute():
                attributes: list[str] = []
                inner: ast.expr = node
                while isinstance(inner, ast.Attribute):
                    attributes.append(inner.attr)
                    inner = inner.value
                if isinstance(inner, ast.Name):
                    yield from _use(inner.id, tuple(reversed(attributes)), scope)
                else:
                    stack.append((inner, scope))
            case ast.Name(ctx=ast.Load()):
                yield from _use(node.id, (), scope)
            case ast.Call(func=func, args=[ast.Constant(value=str(module)), *_]) if _last(func) == "import_module":
                yield _Use(module, _Target(module), ())
                stack.extend((child, scope) for child in _children(node))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                inside = node.body if isinstance(node.body, list) else [node.body]
                names, imports = _bindings(inside, home)
                every = (
                    *node.args.posonlyargs,
                    *node.args.args,
                    *node.args.kwonlyargs,
                    node.args.vararg,
                    node.args.kwarg,
                )
                names |= {argument.arg for argument in every if argument is not None}
                function = _Scope(frozenset(names), imports, scope)
                used = {each.id for child in inside for each in ast.walk(child) if isinstance(each, ast.Name)}
                # Imported for what importing it does.
                yield from (_Use(name, target, ()) for name, target in imports.items() if name not in used)
                stack.extend((child, function) for child in inside)
                around = (child for child in _children(node) if not any(child is each for each in inside))
                stack.extend((child, scope) for child in around)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                names = {
                    each.id
                    for generator in node.generators
                    for each in ast.walk(generator.target)
                    if isinstance(each, ast.Name)
                }
                comprehension = _Scope(frozenset(names), {}, scope)
                stack.extend((child, comprehension) for child in _children(node))
            case ast.Import() | ast.ImportFrom() if scope is None:
                # In a class, or under a condition at the top of a module.
                yield from (_Use(name, target, ()) for name, target in _targets(node, home).items() if name != "*")
            case _:
                stack.extend((child, scope) for child in _children(node))


def _use(name: str, attributes: tuple[str, ...], scope: _Scope | None) -> Iterator[_Use]:
    meaning = None if scope is None else scope.look_up(name)
    if isinstance(meaning, _Target):
        yield _Use(name, meaning, attributes)
    elif meaning is None:
        yield _Use(name, None, attributes)


def _last(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def canonical(tree: ast.AST) -> str:
    """A syntax tree as text that is the same under every Python: no positions, docstrings, contexts or empty fields."""
    parts: list[str] = []
    stack: list[str | ast.AST] = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
            continue
        parts.append(f"{type(item).__name__}(")
        stack.append(")")
        for name in _fields(type(item).__name__, item._fields):
            value = getattr(item, name, None)
            if isinstance(value, list):
                values = _joined(value) if isinstance(item, ast.JoinedStr) else value
                pieces = [
                    each if isinstance(each, ast.AST) else _constant(each) for each in values if not _is_text(each)
                ]
                if pieces:
                    stack += ["]", *reversed(pieces), f"{name}=["]
            elif isinstance(value, ast.AST):
                stack += [value, f"{name}="]
            elif value is not None or isinstance(item, ast.Constant):
                stack += [_constant(value), f"{name}="]
    return "".join(parts)


@lru_cache(maxsize=256)
def _fields(kind: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of a kind of node that say what is computed, last one first."""
    return tuple(sorted(set(fields) - {"ctx", "kind", "type_comment"}, reverse=True))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name in _fields(type(node).__name__, node._fields):
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, ast.AST))


def _constant(value: object) -> str:
    """A number's type counts: 1, 1.0 and True are different code. Hexadecimal has no limit of digits."""
    return f"int {value:x}," if type(value) is int else f"{type(value).__name__} {value!r},"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts as one: Python's versions cut them differently."""
    joined: list[ast.expr] = []
    for value in values:
        last = joined[-1] if joined else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                joined[-1] = ast.Constant(last.value + value.value)
                continue
            if not value.value:
                continue
        joined.append(value)
    return joined


def _is_text(node: object) -> bool:
    """A string that stands by itself says something to people and does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
