"""Names to factories: models, data sets, samplers and metrics, all through one door.

The built-in catalogues are modules of decorated functions that import torch only inside their bodies, so
`bench list`, `plan` and `schema` see every name and every argument without importing it. The function's signature
is the parameter schema: what a suite may write is what the function takes.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import format_exception_only
from typing import Annotated, Any, Generic, Literal, TypeVar

from bench.contracts import (
    Dataset,
    Denoiser,
    MetricFunction,
    MetricKind,
    MetricSpec,
    Need,
    Range,
    Restorer,
    Sampler,
    Value,
)
from bench.errors import BenchError, ParamError, UnknownName, UserError, did_you_mean
from bench.outlook import NOTHING_KNOWN, DataFacts, ModelFacts, Outlook, Stages, Work
from bench.vocabulary import other_words

F = TypeVar("F", bound=Callable[..., Any])

CATALOGUES = (
    "bench.models.catalogue",
    "bench.models.missing_u",
    "bench.models.baselines",
    "bench.data.catalogue",
    "bench.diffusion.catalogue",
    "bench.measure.catalogue",
    "bench.quality.catalogue",
)
"""Modules that register everything that ships with the project. They must not import torch when imported."""

ENTRY_POINT_GROUP = "bench.plugins"
OUT_OF_RANGE = "must be"
"""Begins the sentence about a value of the right type that is too small or too large."""


@dataclass(frozen=True)
class Parameter:
    """One argument a factory takes, as a suite may write it."""

    name: str
    annotation: Any
    """The resolved type: int, float, str, bool, Literal[...], tuple[int, ...], or a union with None; numbers with their
    `Range` around them, `Annotated[int, Range(1, 1000)]`."""
    default: Any
    """inspect.Parameter.empty when the argument must be given."""

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Entry(Generic[F]):
    """A registered name."""

    name: str
    factory: F
    origin: str
    """`module:function` or the plug-in file, for collision messages and `bench list`."""
    spec: MetricSpec | None = None
    """For metrics only."""
    outlook: Outlook = NOTHING_KNOWN
    """What can be said before it is built."""
    handed: int = 0
    """How many arguments come first that the harness hands over and no suite can write."""

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").split("\n")[0]

    def lacks(self, params: Mapping[str, Value], **more: object) -> tuple[str, ...]:
        """Sentences: what is not on this machine that these arguments need, as far as that is known before building.

        more: what a metric's function takes besides. Raises ParamError.
        """
        if self.outlook.missing is None:
            return ()
        return tuple(self.outlook.missing(**more, **filled(self, params)))

    def conflicts(self, params: Mapping[str, Value]) -> tuple[str, ...]:
        """Sentences: which of these arguments, each of which is good by itself, do not go together."""
        return () if self.outlook.conflicts is None else tuple(self.outlook.conflicts(**params))

    def parameters(self) -> Mapping[str, Parameter]:
        """What the factory takes, by name, without what the harness gives it.

        Raises UserError when a type is named that does not exist where the factory was written.
        """
        try:
            return _parameters(self.factory, self.handed)
        except (NameError, AttributeError, TypeError) as error:
            raise UserError(f"{self.name!r} ({self.origin}): a type cannot be resolved: {error}") from error


@lru_cache(maxsize=512)
def _parameters(factory: Callable[..., Any], handed: int) -> Mapping[str, Parameter]:
    """What a factory's signature says. Raises NameError, AttributeError or TypeError for types that do not exist."""
    function = inspect.unwrap(factory)
    own = dict(list(inspect.signature(function).parameters.items())[handed:])
    # Only these are resolved: the harness's arguments may be annotated with types that need torch.
    written = {name: each.annotation for name, each in own.items() if each.annotation is not each.empty}
    home = getattr(function, "__globals__", None) or vars(sys.modules[function.__module__])
    hints = typing.get_type_hints(types.SimpleNamespace(__annotations__=written), home, include_extras=True)
    resolved = {name: Parameter(name, hints.get(name, Any), each.default) for name, each in own.items()}
    return types.MappingProxyType(resolved)


NOT_WRITABLE = frozenset({"name", "each"})
"""Words with a meaning of their own in a suite's reference, so no argument can be called so."""


def _signature_problem(factory: Callable[..., Any], handed: Sequence[str]) -> str | None:
    """Why the harness could not call a factory, or a suite could not write its arguments; None for a good one."""
    try:
        parameters = list(inspect.signature(inspect.unwrap(factory)).parameters.values())
    except (TypeError, ValueError) as error:
        return f"its arguments cannot be read: {error}"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first, own = parameters[: len(handed)], parameters[len(handed) :]
    if len(first) < len(handed) or any(parameter.kind not in positional for parameter in first):
        return f"its first arguments must be ({', '.join(handed)}), which the harness hands over by position"
    for parameter in own:
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            return f"the argument {str(parameter)!r} has no name that a suite could write; name every argument"
        if parameter.name in NOT_WRITABLE:
            return f"no argument can be called {parameter.name!r}, which means something else in a suite; rename it"
    return None


HANDED: Mapping[str, tuple[str, ...]] = {"sampler": ("schedule",), "metric": ("subject", "effort")}
"""By kind: what the harness itself hands to every factory, first and by position."""


class Registry(Generic[F]):
    """A flat, named collection of one kind of factory."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.handed = HANDED.get(kind, ())
        self._entries: dict[str, Entry[F]] = {}

    def add(self, name: str, factory: F, spec: MetricSpec | None = None, outlook: Outlook = NOTHING_KNOWN) -> None:
        """Register a factory. Raises UserError when another factory already has the name, or for arguments that no
        suite could write."""
        origin = f"{factory.__module__}:{factory.__qualname__}"
        known = self._entries.get(name)
        if known is not None and known.origin != origin:
            raise UserError(f"two {self.kind}s are called {name!r}: {known.origin} and {origin}; rename one of them")
        problem = _signature_problem(factory, self.handed)
        if problem is not None:
            raise UserError(f"the {self.kind} {name!r} ({origin}) cannot be registered: {problem}")
        self._entries[name] = Entry(name, factory, origin, spec, outlook, len(self.handed))

    def get(self, name: str) -> Entry[F]:
        """The entry called `name`. Raises UnknownName with the name it has here, close matches and the whole list."""
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self.names()) or "none"
            hint = other_words(self.kind, name) or did_you_mean(name, self._entries)
            broken = "".join(f"; {sentence}" for sentence in broken_plugins())
            raise UnknownName(f"no {self.kind} named {name!r}{hint} (known: {known}){broken}") from None

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._entries))

    def __iter__(self) -> typing.Iterator[Entry[F]]:
        return iter(self._entries[name] for name in self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._entries


MODELS: Registry[Callable[..., Denoiser | Restorer]] = Registry("model")
DATASETS: Registry[Callable[..., Dataset]] = Registry("data set")
SAMPLERS: Registry[Callable[..., Sampler]] = Registry("sampler")
METRICS: Registry[MetricFunction] = Registry("metric")


def register_model(
    name: str,
    *,
    missing: Callable[..., Iterable[str]] | None = None,
    stages: Stages | None = None,
    conflicts: Callable[..., Iterable[str]] | None = None,
    facts: Callable[..., ModelFacts] | None = None,
    wrong_weights: Callable[..., Iterable[str]] | None = None,
) -> Callable[[F], F]:
    """Register `factory(**params) -> Denoiser`, or `-> Restorer`, under a name a suite can write.

    missing and the other keywords: what can be said of it before it is built, see `bench.outlook.Outlook`.
    """
    outlook = Outlook(missing=missing, stages=stages, conflicts=conflicts, facts=facts, wrong_weights=wrong_weights)
    return _decorator(MODELS, name, outlook=outlook)


def register_dataset(
    name: str,
    *,
    missing: Callable[..., Iterable[str]] | None = None,
    conflicts: Callable[..., Iterable[str]] | None = None,
    facts: Callable[..., DataFacts] | None = None,
) -> Callable[[F], F]:
    """Register `factory(**params) -> Dataset`. The keywords: see `bench.outlook.Outlook`."""
    return _decorator(DATASETS, name, outlook=Outlook(missing=missing, conflicts=conflicts, facts=facts))


def register_sampler(
    name: str,
    *,
    calls: Callable[..., tuple[int, ...]] | None = None,
    conflicts: Callable[..., Iterable[str]] | None = None,
) -> Callable[[F], F]:
    """Register `factory(schedule: ScheduleSpec, **params) -> Sampler`; the schedule comes first, by position.

    The keywords: see `bench.outlook.Outlook`.
    """
    return _decorator(SAMPLERS, name, outlook=Outlook(calls=calls, conflicts=conflicts))


def register_metric(
    name: str,
    *,
    unit: str,
    better: Literal["lower", "higher"] | None,
    kind: MetricKind,
    needs: Iterable[Need] = (),
    work: Callable[..., Work] | None = None,
    missing: Callable[..., Iterable[str]] | None = None,
    conflicts: Callable[..., Iterable[str]] | None = None,
    objections: Callable[..., Iterable[str]] | None = None,
    recipe: Iterable[str] = (),
    facts: Iterable[str] = (),
    judged: Mapping[str, Iterable[str]] = types.MappingProxyType({}),
) -> Callable[[F], F]:
    """Register `fn(subject, effort, **params) -> Iterable[Measurement]`; the first two come by position.

    work, missing, conflicts, objections: see `bench.outlook.Outlook`. All of a measurement's `at` is its address unless
    `recipe`, `facts` or `judged` say otherwise: see `MetricSpec`. Two measurements of one visit must have different
    addresses.
    """
    values = {key: frozenset(each) for key, each in judged.items()}
    spec = MetricSpec(name, unit, better, kind, frozenset(needs), frozenset(recipe), frozenset(facts), values)
    outlook = Outlook(missing=missing, work=work, conflicts=conflicts, objections=objections)
    return _decorator(METRICS, name, spec, outlook)


def _decorator(
    registry: Registry[Any], name: str, spec: MetricSpec | None = None, outlook: Outlook = NOTHING_KNOWN
) -> Callable[[F], F]:
    def register(factory: F) -> F:
        registry.add(name, factory, spec, outlook)
        return factory

    return register


def metric_spec(name: str) -> MetricSpec:
    """The spec of a registered metric. Raises UnknownName."""
    spec = METRICS.get(name).spec
    assert spec is not None  # register_metric always gives one
    return spec


def load_builtins() -> None:
    """Import the built-in catalogues; cheap, and free of torch."""
    for module in CATALOGUES:
        importlib.import_module(module)


def load_plugins(plugins: Iterable[str] = ()) -> tuple[Path, ...]:
    """Load built-ins, then installed entry points, then the files or modules named on the command line.

    Returns the plug-in files, because results depend on their content. Raises UserError when one cannot be loaded.
    """
    load_builtins()
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point not in _installed:
            _installed[point] = _load_installed(point)
    return tuple(_load(plugin) for plugin in plugins)


_installed: dict[EntryPoint, str | None] = {}
"""Entry points that were loaded in this process; the sentence of those that could not be."""


def broken_plugins() -> tuple[str, ...]:
    """A sentence for each installed plug-in that cannot be loaded: whoever does not need it is not stopped by it."""
    return tuple(filter(None, _installed.values()))


def _load_installed(point: EntryPoint) -> str | None:
    try:
        point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  nobody asked for it by name
        package = point.dist.name if point.dist is not None else "an unknown package"
        return f"the installed plug-in {point.name!r} of {package} cannot be loaded: {_words(error)}"
    return None


def _load(plugin: str) -> Path:
    """Import one plug-in, a `.py` file or a dotted module name, and return its file."""
    if not plugin:
        raise UserError("--plugin is empty; give a .py file or a module name")
    path = Path(plugin)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserError(f"--plugin {plugin}: no such file")
        return _load_file(plugin, path.resolve())
    if not all(part.isidentifier() for part in plugin.split(".")):
        raise UserError(f"--plugin {plugin}: neither a .py file nor the name of a module, such as package.module")
    try:
        module = importlib.import_module(plugin)
    except (Exception, SystemExit) as error:
        advice = "; give a .py file or a module name" if isinstance(error, ModuleNotFoundError) else ""
        raise UserError(f"--plugin {plugin}: cannot be imported: {_words(error)}{advice}") from error
    return Path(getattr(module, "__file__", None) or plugin).resolve()


_contents: dict[str, bytes] = {}
"""Module name of a plug-in file that was loaded -> SHA-256 of what it held then."""


def _load_file(plugin: str, file: Path) -> Path:
    """Import a file under a name of its own, unless it or a copy of it is loaded already.

    Of two files with one stem the second is called `..._2`, in the order of the command line, which workers repeat.
    """
    name, number, content = f"bench_plugin_{file.stem}", 1, sha256(file.read_bytes()).digest()
    while (known := sys.modules.get(name)) is not None:
        if known.__file__ == str(file) or _contents.get(name) == content:
            return file
        number += 1
        name = f"bench_plugin_{file.stem}_{number}"
    _contents[name] = content
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py path always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # As for a script: what lies beside a plug-in is importable from it, also later, inside of its functions.
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"--plugin {plugin}: cannot be imported: {_words(error)}") from error
    return file


def _words(error: BaseException) -> str:
    """`KeyError: 'a'`, also of an error whose own text cannot be made; the sentence alone where it is one of ours."""
    return str(error) if isinstance(error, BenchError) else "".join(format_exception_only(error)[-1:]).strip()


def check_params(entry: Entry[Any], params: Mapping[str, Value]) -> dict[str, Value]:
    """The arguments as the factory will get them: every name known, every value of the declared type.

    Integers are accepted where a float is declared and become floats, so that 0 and 0.0 are one cell. Defaults are
    filled in. Raises ParamError naming every mistake, and what does not go together.
    """
    known = entry.parameters()
    problems = [
        f"{entry.name!r} takes no parameter {name!r}{did_you_mean(name, known)} (known: {', '.join(known) or 'none'})"
        for name in params
        if name not in known
    ]
    checked: dict[str, Value] = {}
    for name, parameter in known.items():
        if name not in params:
            if parameter.required:
                problems.append(f"{entry.name!r} needs the parameter {name!r}")
            else:
                checked[name] = parameter.default
            continue
        value, problem = fit(params[name], parameter.annotation)
        if problem:
            problems.append(f"{entry.name!r}: {name}: {problem}")
        checked[name] = value
    if not problems:
        problems += [f"{entry.name!r}: {sentence}" for sentence in entry.conflicts(checked)]
    if problems:
        raise ParamError("; ".join(problems))
    return checked


def filled(entry: Entry[Any], params: Mapping[str, Value]) -> Mapping[str, Value]:
    """The arguments of a cell, which were checked when its suite was expanded; checked now where some are missing.

    A plan asks every cell several times. Raises ParamError.
    """
    return params if params.keys() == entry.parameters().keys() else check_params(entry, params)


def fit(value: Value, annotation: Any) -> tuple[Value, str]:
    """The value as the annotation wants it and nothing, or the value and a sentence saying why it cannot be."""
    origin = typing.get_origin(annotation)
    if annotation is Any:
        return value, ""
    if origin is Annotated:
        return _fit_range(value, annotation)
    if origin is Literal:
        choices = typing.get_args(annotation)
        if value in choices and type(value) in {type(choice) for choice in choices}:
            return value, ""
        return value, (
            f"expected one of {', '.join(map(repr, choices))}, got {value!r}"
            f"{did_you_mean(str(value), [str(choice) for choice in choices])}"
        )
    if origin in (typing.Union, types.UnionType):
        fits = [fit(value, choice) for choice in typing.get_args(annotation)]
        good = [found for found in fits if not found[1]]
        return good[0] if good else (value, _why_none_fits([problem for _, problem in fits]))
    if origin is tuple:
        item = typing.get_args(annotation)[0]
        if not isinstance(value, tuple):
            return value, f"expected a list, got {value!r}"
        fits = [fit(element, item) for element in value]
        problems = [problem for _, problem in fits if problem]
        if not problems and typing.get_origin(item) is Literal and len(set(value)) < len(value):
            twice = next(element for element in value if value.count(element) > 1)
            return value, f"{twice!r} stands twice in the list; remove one of them"
        return (value, problems[0]) if problems else (tuple(typing.cast(Any, found) for found, _ in fits), "")
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if annotation is float and isinstance(value, float) and not math.isfinite(value):
        return value, f"expected a finite number, got {value}"
    if annotation is type(None):
        return value, "" if value is None else f"expected nothing, got {value!r}"
    if isinstance(annotation, type) and type(value) is annotation:
        return value, ""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return value, f"expected {words.get(annotation, annotation)}, got {value!r}"


def _why_none_fits(problems: Sequence[str]) -> str:
    """What is wrong with a value that is of none of several types; a value that is only out of range is of one."""
    out_of_range = [problem for problem in problems if problem.startswith(OUT_OF_RANGE)]
    return out_of_range[0] if out_of_range else " or ".join(problems)


def _fit_range(value: Value, annotation: Any) -> tuple[Value, str]:
    """`fit` for a type with a `Range` around it; other marks mean nothing here."""
    inner, *marks = typing.get_args(annotation)
    value, problem = fit(value, inner)
    for bounds in marks:
        if not problem and isinstance(bounds, Range) and isinstance(value, int | float) and value not in bounds:
            return value, f"{OUT_OF_RANGE} {bounds}, got {value}"
    return value, problem
