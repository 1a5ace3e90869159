"""The vector-field evaluations of one network call: who makes them, and when one is running.

Two witnesses count. A module with an integer attribute `ode_nfe` says itself how often it evaluated its vector field.
And every evaluation that torchdiffeq makes passes one class of it, whatever its solver is called and whenever it was
imported. An evaluation that both see is one evaluation: torchdiffeq's belongs to the module that was running when it
was made, or to the module that is the vector field, if that module has an `ode_nfe`.

Solvers that nobody counts (other libraries, copies of torchdiffeq) are recognised when they are called, and are an
error: an evaluation that was made and not counted must not become a 0.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from bench.contracts import Network
from bench.errors import MeasurementError

COUNT = "ode_nfe"
"""The attribute of the agreement."""
SOLVER_FUNCTIONS = frozenset(
    {
        "cdeint",
        "diffeqsolve",
        "odeint",
        "odeint_adjoint",
        "odeint_dense",
        "odeint_event",
        "odesolve",
        "odesolve_adjoint",
        "sdeint",
        "sdeint_adjoint",
        "solve_ivp",
    }
)
"""What ODE libraries call the function that solves."""
SOLVER_MODULES = (
    "TorchDiffEqPack",
    "diffrax",
    "probdiffeq",
    "scipy.integrate._ivp",
    "scipy.integrate._ode",
    "scipy.integrate._odepack_py",
    "torchdyn.numerics",
    "torchode",
    "torchsde",
)
"""Modules in which everything is a solver's."""


FORWARDS = frozenset({"forward", "_call_impl"})
"""Functions whose first argument is a module that runs."""


@dataclass(frozen=True)
class OdeUse:
    """What one network call does with vector fields."""

    evaluations: int
    by_hand: frozenset[nn.Module] = frozenset()
    """Modules that count evaluations of solvers of their own: what runs in them is their vector field."""


@dataclass(eq=False)
class _Evaluation:
    """One evaluation by torchdiffeq that is running."""

    owner: nn.Module | None
    """The module whose `ode_nfe` is expected to hold it."""
    entered: int
    """How many counting modules were running when it began."""


class SolverWatch:
    """What is known of the vector fields while the network runs, and after it."""

    def __init__(self, network: Network, by_hand: Collection[nn.Module] = ()) -> None:
        self.sees_torchdiffeq = True
        """Its evaluations are reported here. False for a version that has no place to look."""
        self._by_hand = by_hand
        self._names: dict[nn.Module, str] = {}
        """Modules with an `ode_nfe`, those below the network first, then those that turn up in the call."""
        self._running: list[nn.Module] = []
        self._called: set[nn.Module] = set()
        self._evaluating: list[_Evaluation] = []
        self._direct: Counter[nn.Module | None] = Counter()
        self._nested: Counter[nn.Module | None] = Counter()
        self._depth = 0
        self._foreign: tuple[FrameType, int] | None = None
        """The call of another library's solver that is running, and how much had been counted before it."""
        self._doubtful: list[tuple[str, nn.Module | None]] = []
        """Calls of other libraries' solvers during which nothing was counted, and the counting module they ran in."""
        if isinstance(network, nn.Module):
            for name, module in network.named_modules():
                if _counts(module):
                    self._expect(name or "the network", module)

    def inside(self) -> bool:
        """Whether a vector field is running now."""
        return bool(self._depth or self._evaluating)

    def use(self) -> OdeUse:
        """What the call did. Raises MeasurementError where evaluations were made that cannot be counted."""
        own = {module: _own_count(name, module) for module, name in self._names.items()}
        self._refuse_uncounted(own)
        evaluations = self._direct[None] + self._nested[None]
        by_hand: set[nn.Module] = set()
        for module, name in self._names.items():
            seen = self._direct[module] + self._nested[module]
            if own[module] in (0, self._direct[module]):
                evaluations += seen
            elif own[module] >= seen:
                evaluations += own[module]
                by_hand.update({module} if own[module] > seen else ())
            else:
                raise MeasurementError(
                    f"{name}.{COUNT} is {own[module]} after one call, but torchdiffeq made {seen} evaluations in it; "
                    f"add 1 for every evaluation, or leave {COUNT} out: torchdiffeq's are counted without it"
                )
            if own[module] > seen and module not in self._called and self._direct[None]:
                raise MeasurementError(
                    f"{name}.{COUNT} is {own[module]} though its forward was not called, so it cannot be told whether "
                    f"{self._direct[None]} evaluations that torchdiffeq made are among them; leave {COUNT} out"
                )
        return OdeUse(evaluations, frozenset(by_hand))

    def was_called(self, module: nn.Module) -> bool:
        """Whether a counting module's forward ran."""
        return module in self._called

    def name_of(self, module: nn.Module) -> str:
        """Where it stands in the network."""
        return self._names.get(module, type(module).__name__)

    def enter(self, module: nn.Module, *_: Any) -> None:
        """A module's forward begins."""
        if not _counts(module):
            return
        if module not in self._names:
            self._expect(type(module).__name__, module)
        self._running.append(module)
        self._called.add(module)
        self._depth += module in self._by_hand

    def leave(self, module: nn.Module, *_: Any) -> None:
        """A module's forward ends."""
        if self._running and self._running[-1] is module:
            self._running.pop()
            self._depth -= module in self._by_hand

    @contextmanager
    def evaluation(self, field: object) -> Iterator[None]:
        """torchdiffeq evaluates a vector field."""
        outer = self._evaluating[-1] if self._evaluating else None
        owner = self._running[-1] if self._running else self._module_of(field)
        nested = outer is not None and (owner is outer.owner or len(self._running) <= outer.entered)
        if nested:
            assert outer is not None  # it is nested in something
            owner = outer.owner
        before = {module: self._beyond_torchdiffeq(module) for module in self._names}
        self._evaluating.append(_Evaluation(owner, len(self._running)))
        try:
            yield
        finally:
            self._evaluating.pop()
        # A module that counted 1 meanwhile, and not for an evaluation within this one, is the vector field, or in it.
        fields = [module for module in self._names if self._beyond_torchdiffeq(module) - before.get(module, 0) == 1]
        if nested:
            self._nested[owner] += 1
        else:
            self._direct[fields[0] if len(fields) == 1 else owner] += 1

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Python's profiler calls this at every call and return.

        It sees modules that stand in no list of the network's, and forwards that are called without the module.
        """
        if frame.f_code.co_name in FORWARDS and event in ("call", "return"):
            module = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
            if isinstance(module, nn.Module):
                (self.enter if event == "call" else self.leave)(module)
        if event == "call" and self._foreign is None:
            if _is_uncounted_solver(frame, self.sees_torchdiffeq):
                self._foreign = (frame, self._counted())
        elif event == "return" and self._foreign is not None and self._foreign[0] is frame:
            if self._counted() == self._foreign[1]:
                label = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
                self._doubtful.append((label, self._running[-1] if self._running else None))
            self._foreign = None

    def _expect(self, name: str, module: nn.Module) -> None:
        self._names[module] = name
        setattr(module, COUNT, 0)

    def _module_of(self, field: object) -> nn.Module | None:
        """The counting module that a vector field is, or is a method of."""
        for candidate in (field, getattr(field, "__self__", None)):
            if isinstance(candidate, nn.Module) and _counts(candidate):
                if candidate not in self._names:
                    self._expect(type(candidate).__name__, candidate)
                return candidate
        return None

    def _beyond_torchdiffeq(self, module: nn.Module) -> int:
        """What a module counted besides torchdiffeq's evaluations that belong to it."""
        count = getattr(module, COUNT)
        return (count if isinstance(count, int) else 0) - self._direct[module] - self._nested[module]

    def _counted(self) -> int:
        own = sum(count for module in self._names if isinstance(count := getattr(module, COUNT), int))
        return own + self._direct.total() + self._nested.total()

    def _refuse_uncounted(self, own: dict[nn.Module, int]) -> None:
        for label, module in self._doubtful:
            if module is None or own[module] == 0:
                raise MeasurementError(
                    f"the network calls {label}, whose evaluations cannot be counted from outside; let the module that "
                    f"calls it add 1 to an integer attribute {COUNT} of its own at every evaluation, or use torchdiffeq"
                )


@contextmanager
def watching_solvers(network: Network, by_hand: Collection[nn.Module] | None = None) -> Iterator[SolverWatch]:
    """Watch the vector fields of what is called inside; every counter of the network starts at 0.

    by_hand: None to find out what there is. Else modules in which everything that runs is a vector field's, as an
    earlier `use` found them; nothing else is looked for then.
    """
    watch = SolverWatch(network, by_hand or ())
    hooks: list[RemovableHandle] = []
    for module in by_hand or ():
        hooks.append(module.register_forward_pre_hook(watch.enter))
        hooks.append(module.register_forward_hook(watch.leave, always_call=True))
    profiler = sys.getprofile()
    try:
        with _torchdiffeq_reports(watch):
            if by_hand is None:
                sys.setprofile(watch.profile)
            try:
                yield watch
            finally:
                sys.setprofile(profiler)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _torchdiffeq_reports(watch: SolverWatch) -> Iterator[None]:
    """Every evaluation by torchdiffeq passes `evaluation` of the watch.

    Its solvers see a vector field only through `_PerturbFunc`, made anew for every solve, so neither the name nor the
    moment of an import matters. Around an adjoint there are two of them, one in the other; the outer one evaluates
    nothing itself.
    """
    from torchdiffeq._impl import misc

    if not hasattr(misc, "_PerturbFunc"):
        watch.sees_torchdiffeq = False
        yield
        return
    evaluate: Callable[..., Any] = misc._PerturbFunc.forward

    def reported(self: Any, *args: Any, **kwargs: Any) -> Any:
        field = self.base_func
        while isinstance(field, misc._TupleFunc | misc._ReverseFunc):
            field = field.base_func
        if isinstance(field, misc._PerturbFunc):
            return evaluate(self, *args, **kwargs)
        with watch.evaluation(field):
            return evaluate(self, *args, **kwargs)

    misc._PerturbFunc.forward = reported
    try:
        yield
    finally:
        misc._PerturbFunc.forward = evaluate


def _counts(module: nn.Module) -> bool:
    """Whether it has an `ode_nfe` of its own; a wrapper that passes on the attributes of what it wraps has none."""
    return COUNT in vars(module) or COUNT in module._buffers or hasattr(type(module), COUNT)


def _is_uncounted_solver(frame: FrameType, sees_torchdiffeq: bool) -> bool:
    """Whether a function that is being called solves differential equations, and its evaluations are not reported."""
    module = str(frame.f_globals.get("__name__", ""))
    if sees_torchdiffeq and module.partition(".")[0] == "torchdiffeq":
        return False
    if frame.f_code.co_name in SOLVER_FUNCTIONS:
        return True
    return any(module == name or module.startswith(f"{name}.") for name in SOLVER_MODULES)


def _own_count(name: str, module: nn.Module) -> int:
    count: object = getattr(module, COUNT)
    if not isinstance(count, int):
        raise MeasurementError(f"{name}.{COUNT} is {count!r}; expected a whole number")
    return count
