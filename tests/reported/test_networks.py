"""Networks as people write them: what they answer, what they change, and the solvers that run inside them."""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from bench.contracts import Denoiser, Measurement, Prediction, Restorer, ScheduleSpec, Weights
from bench.diffusion.restoring import as_denoiser
from bench.diffusion.samplers import build_ddim
from bench.errors import MeasurementError, UserError
from bench.measure.catalogue import cold_start, latency, macs, ode_macs, ode_nfe, parameters, peak_memory, step_time
from bench.measure.catalogue import weight_bytes as weight_bytes_metric
from bench.measure.counters import FORMULAS
from bench.measure.evaluations import ode_use
from bench.measure.inspect import inspect_denoiser
from bench.models.ode import ADAPTIVE, SOLVERS, OdeBlock, OdeSolver
from bench.subject import Subject, Workspace
from bench.suite.schema import Conditions, Effort

SHAPE = (1, 4, 4)
SPEC = ScheduleSpec(num_train_timesteps=4, beta_start=0.1, beta_end=0.3)
X, T = torch.linspace(-1.0, 1.0, 16).reshape(1, *SHAPE), torch.zeros(1, dtype=torch.int64)
EFFORT = Effort(warmup=1, repeats=1)
COLD = Effort(warmup=0, repeats=1)
FIELD = 9 * 16
"""MACs of a 3x3 convolution of one channel over 4x4 pixels."""


def denoiser(network: Any) -> Denoiser:
    return Denoiser(network, SHAPE, Prediction.EPSILON, SPEC, Weights("random"))


def subject(network: Any, folder: Path = Path(), **conditions: Any) -> Subject:
    torch.set_num_threads(1)
    sampler = build_ddim(SPEC, 2, "leading", 0.0, clip_x0=True)
    wanted = Conditions.model_validate(conditions)
    return Subject(denoiser(network), sampler, None, wanted, 0, Workspace(folder, folder))


# What comes back.


@dataclass
class SampleOutput:
    """As diffusers answers."""

    sample: Tensor


class DictOutput(OrderedDict[str, Tensor]):
    """As the library's own outputs are: a dictionary whose entries are attributes too."""

    @property
    def sample(self) -> Tensor:
        return self["sample"]


@dataclass
class OwnOutput:
    prediction: Tensor
    loss: float = 0.0


ANSWERS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a tuple": (lambda x: (x, None), r"made a tuple; a denoiser must return one tensor.*network\(x_t, t\)\[0\]"),
    "a tuple whose second is the picture": (lambda x: (x.mean(), x.clone()), r"network\(x_t, t\)\[1\]"),
    "an empty tuple": (lambda x: (), "made a tuple; a denoiser must return one tensor"),
    "a list": (lambda x: [x], r"made a list; .*network\(x_t, t\)\[0\]"),
    "a dictionary": (lambda x: {"eps": x}, r"made a dict; .*network\(x_t, t\)\['eps'\]"),
    "an object with .sample": (SampleOutput, r"made a SampleOutput; .*network\(x_t, t\)\.sample"),
    "a dictionary with .sample": (lambda x: DictOutput(sample=x), r"network\(x_t, t\)\.sample"),
    "an object of their own": (OwnOutput, r"made an OwnOutput; .*network\(x_t, t\)\.prediction"),
    "None": (lambda x: None, "made None; .*does its forward end with `return`"),
    "a number": (lambda x: 0.5, "made a float; a denoiser must return one tensor"),
    "numpy": (lambda x: x.numpy().copy(), "made a ndarray; .*from_numpy"),
    "complex numbers": (lambda x: torch.complex(x, x), "made complex64 numbers; .*output.real"),
    "whole numbers": (lambda x: x.to(torch.int32), "made int32 numbers; a denoiser must return floating ones"),
    "truth values": (lambda x: x > 0, "made bool numbers"),
    "the meta device": (lambda x: torch.empty_like(x, device="meta"), "on the meta device"),
    "a sparse tensor": (lambda x: x.to_sparse(), r"layout sparse_coo; return output.to_dense\(\)"),
    "float16 of float32": (lambda x: x.half(), "float16 of float32, .*set conditions.dtype"),
    "bfloat16 of float32": (lambda x: x.bfloat16(), "bfloat16 of float32"),
    "float64 of float32": (lambda x: x.double(), "float64 of float32"),
    "another shape": (lambda x: x[:, :, :-1], r"made \(1, 1, 3, 4\) of \(1, 1, 4, 4\); a denoiser must keep the shape"),
    "no batch": (lambda x: x[0], "a denoiser must keep the shape"),
    "a shape that would broadcast": (lambda x: x.mean((2, 3), keepdim=True), "a denoiser must keep the shape"),
    "a mean and a variance": (lambda x: torch.cat([x, x], 1), r"return output\[:, :1\]"),
    "a graph": (lambda x: _with_graph(x), r"requires a gradient, .*output.detach\(\)"),
}


def _with_graph(x: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        return x.clone() * torch.ones(1, requires_grad=True)


class Answer(nn.Module):
    """A layer, so that there is something to count, and whatever answer."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)
        self.made = made

    def forward(self, x_t: Tensor, t: Tensor) -> Any:
        return self.made(self.layer(x_t))


CALLERS: dict[str, Callable[[Subject], Any]] = {
    "sampling": lambda toy: toy.sample(0, 1),
    "one call": lambda toy: toy.predict(toy.noised(0, 1, 0), 0),
    "latency": lambda toy: latency(toy, EFFORT),
    "latency without a warm-up": lambda toy: latency(toy, COLD),
    "step_time": lambda toy: step_time(toy, EFFORT),
    "step_time without a warm-up": lambda toy: step_time(toy, COLD),
    "cold_start": lambda toy: cold_start(toy, EFFORT),
    "peak_memory": lambda toy: peak_memory(toy, EFFORT),
    "macs": lambda toy: macs(toy, EFFORT),
    "macs by fvcore": lambda toy: macs(toy, EFFORT, counters=("fvcore",)),
    "parameters": lambda toy: parameters(toy, EFFORT),
    "weight_bytes": lambda toy: weight_bytes_metric(toy, EFFORT),
    "ode_nfe": lambda toy: ode_nfe(toy, EFFORT),
    "ode_macs": lambda toy: ode_macs(toy, EFFORT),
}


def use(caller: str, toy: Subject) -> None:
    """Draw everything a caller gives."""
    answer: Any = CALLERS[caller](toy)
    if isinstance(answer, Iterable) and not isinstance(answer, Tensor):
        tuple(answer)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_one_tensor_like_x_t_is_refused_with_what_to_do(name: str) -> None:
    made, sentence = ANSWERS[name]

    with pytest.raises(MeasurementError, match=f"(?s){sentence}"):
        use("sampling", subject(Answer(made)))


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", ["a tuple", "complex numbers", "the meta device", "whole numbers"])
def test_every_metric_says_so_and_none_says_ok(caller: str, name: str) -> None:
    made, sentence = ANSWERS[name]

    with pytest.raises(MeasurementError, match=f"(?s){sentence}"):
        use(caller, subject(Answer(made)))


@pytest.mark.parametrize("name", ANSWERS)
def test_inspecting_says_so_too(name: str) -> None:
    made, sentence = ANSWERS[name]

    with pytest.raises(UserError, match=f"(?s){sentence}"):
        inspect_denoiser(denoiser(Answer(made)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_network_in_half_precision_may_answer_in_float32(dtype: str) -> None:
    network = Answer(Tensor.float).to(getattr(torch, dtype))

    assert subject(network, dtype=dtype).sample(0, 1).dtype == torch.float32


def test_a_network_that_computes_in_half_precision_inside_may_convert_its_answer() -> None:
    def network(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t.bfloat16().mul(0.5).to(x_t.dtype)

    assert subject(network).sample(0, 1).shape == (1, *SHAPE)


def test_an_answer_that_changes_later_is_refused_where_it_changes() -> None:
    calls = []

    def network(x_t: Tensor, t: Tensor) -> Any:
        calls.append(int(t[0]))
        return x_t if len(calls) < 3 else (x_t,)

    toy = subject(network)
    toy.predict(X, 3)
    toy.predict(X, 3)
    with pytest.raises(MeasurementError, match="made a tuple"):
        toy.predict(X, 3)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda noisy: (noisy,), "the restorer made a tuple"),
        (lambda noisy: torch.complex(noisy, noisy), "the restorer made complex64 numbers"),
        (lambda noisy: noisy.to(torch.uint8), "the restorer made uint8 numbers"),
        (lambda noisy: noisy.mean(1), "the restorer made"),
        (lambda noisy: None, "the restorer made None"),
    ],
)
def test_a_restorer_is_held_to_the_same(made: Callable[[Tensor], Any], sentence: str) -> None:
    restorer = Restorer(lambda noisy, sigma: made(noisy), SPEC, Weights("none"), SHAPE)

    with pytest.raises(MeasurementError, match=sentence):
        use("sampling", subject(as_denoiser(restorer).network))


def test_a_restorer_may_compute_in_float64() -> None:
    restorer = Restorer(lambda noisy, sigma: noisy.double(), SPEC, Weights("none"), SHAPE)

    assert subject(as_denoiser(restorer).network).sample(0, 1).dtype == torch.float32


# What is changed.


class FirstLayerInPlace(nn.Module):
    """The classic: ReLU(inplace=True) on the argument itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3, padding=1))
        self.requires_grad_(False)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.layers(x_t)
        return out


class Changes(nn.Module):
    """Does something to its arguments, and answers properly."""

    def __init__(self, change: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        answer = x_t * 0.5
        self.change(x_t, t)
        return answer


@pytest.mark.parametrize("caller", CALLERS)
def test_a_network_that_changes_x_t_in_place_is_refused_by_name(caller: str) -> None:
    with pytest.raises(MeasurementError, match=r"changed its argument x_t in place.*inplace=False"):
        use(caller, subject(FirstLayerInPlace()))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x_t, t: x_t.mul_(0), "x_t"),
        (lambda x_t, t: x_t[:, :, 0].add_(1), "x_t"),
        (lambda x_t, t: x_t.detach().view(-1)[3:4].fill_(float("nan")), "x_t"),
        (lambda x_t, t: x_t.squeeze_(0), "x_t"),
        (lambda x_t, t: t.add_(1), "t"),
    ],
)
def test_every_change_of_an_argument_is_noticed(change: Callable[[Tensor, Tensor], Any], name: str) -> None:
    with pytest.raises(MeasurementError, match=rf"changed its argument {name} in place"):
        use("sampling", subject(Changes(change)))


def test_a_change_at_one_timestep_only_is_noticed_where_it_happens() -> None:
    network = Changes(lambda x_t, t: x_t.mul_(0) if int(t[0]) == 0 else None)

    with pytest.raises(MeasurementError, match="changed its argument x_t in place"):
        use("latency", subject(network))


def test_a_refused_network_has_not_changed_the_timesteps_of_later_calls() -> None:
    toy = subject(Changes(lambda x_t, t: t.add_(1)))
    for _ in range(2):
        with pytest.raises(MeasurementError, match="changed its argument t in place"):
            toy.predict(X, 2)


def test_a_network_that_goes_back_to_training_mode_is_refused() -> None:
    class Training(Answer):
        def forward(self, x_t: Tensor, t: Tensor) -> Any:
            self.layer.train()
            return super().forward(x_t, t)

    with pytest.raises(MeasurementError, match="into training mode while it was called"):
        use("sampling", subject(Training(lambda x: x).eval()))


def test_nan_in_x_t_is_not_taken_for_a_change() -> None:
    x_t = torch.full((1, *SHAPE), float("nan"))

    assert subject(Answer(lambda x: x)).predict(x_t, 2)[0].isnan().all()


def test_a_timed_walk_after_a_warm_up_holds_no_copy_of_x_t(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.measure.timing as timing

    copies: list[int] = []
    at_walk: list[int] = []
    clone, walk = Tensor.clone, timing.time_walk

    def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        copies.append(tensor.numel())
        return clone(tensor, *args, **kwargs)

    def watched(*args: Any) -> Any:
        at_walk.append(len(copies))
        return walk(*args)

    monkeypatch.setattr(Tensor, "clone", counted)
    monkeypatch.setattr(timing, "time_walk", watched)
    toy = subject(Answer(lambda x: x))

    tuple(latency(toy, Effort(warmup=1, repeats=3)))

    assert at_walk[0] == 0
    assert at_walk[1] == at_walk[2] == at_walk[3] == len(copies) > 0


@pytest.mark.parametrize("metric", [latency, step_time, cold_start, peak_memory])
def test_what_is_cold_is_measured_without_a_copy_of_x_t(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.diffusion.network_output as network_output

    events: list[str] = []
    clone = Tensor.clone

    def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        events.append("copy")
        return clone(tensor, *args, **kwargs)

    def answer(x_t: Tensor) -> Tensor:
        events.append("call")
        return x_t * 0.5

    monkeypatch.setattr(Tensor, "clone", counted)
    assert network_output.watched_call  # it copies with Tensor.clone
    tuple(metric(subject(Answer(answer)), COLD))

    assert "copy" in events
    assert events.index("copy") > events.index("call")
    assert events[events.index("copy") :].count("call") == 1


# Solvers inside.


class NeuralOde(nn.Module):
    """Somebody's own continuous network: a field, and one call of a solver on [0, 1]."""

    def __init__(self, solve: Callable[..., Any] = odeint, **options: Any) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        self.solve = solve
        self.options = options
        self.evaluations = 0
        self.requires_grad_(False)

    def field(self, s: Tensor, y: Tensor) -> Tensor:
        self.evaluations += 1
        out: Tensor = self.layer(y).tanh() - y
        return out

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.evaluations = 0
        ends = torch.tensor([0.0, 1.0])
        out: Tensor = self.solve(self.field, x_t, ends, **self.options)[-1]
        return out


def evaluations(network: Any) -> int:
    return ode_use(network, X, T).evaluations


def values(measurements: Iterable[Measurement]) -> dict[tuple[Any, ...], float]:
    return {tuple(measurement.at.values()): measurement.values[0] for measurement in measurements}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "rk4"}, 4),
        ({"method": "rk4", "options": {"step_size": 0.1}}, 40),
        ({"method": "euler", "options": {"step_size": 0.25}}, 4),
        ({"method": "midpoint", "options": {"step_size": 0.5}}, 4),
    ],
)
def test_fixed_steps_of_torchdiffeq_are_counted_in_anybodys_network(options: dict[str, Any], expected: int) -> None:
    toy = subject(NeuralOde(**options))

    assert set(values(ode_nfe(toy, EFFORT)).values()) == {float(expected)}
    inside = values(ode_macs(toy, EFFORT, counters=("dispatch", "thop-like")))
    assert list(inside.values()) == 2 * [expected * FIELD, FIELD]


@pytest.mark.parametrize(
    "method", ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun", "explicit_adams", "implicit_adams"]
)
def test_a_solver_that_chooses_its_steps_is_counted_as_it_went(method: str) -> None:
    network = NeuralOde(method=method, rtol=1e-3, atol=1e-3)

    counted = evaluations(network)

    assert counted == network.evaluations > 0


@pytest.mark.filterwarnings("ignore:The following arguments have no effect:UserWarning")  # torchdiffeq gives them
def test_a_solver_outside_torch_is_counted_when_torchdiffeq_calls_it() -> None:
    network = NeuralOde(method="scipy_solver", options={"solver": "RK45"})

    assert evaluations(network) == network.evaluations > 0


def test_the_adjoint_counts_its_way_there_once() -> None:
    network = NeuralOde(odeint_adjoint, method="rk4", adjoint_params=())

    assert evaluations(network) == network.evaluations == 4


def test_a_tuple_of_states_backwards_in_time_is_counted() -> None:
    calls = []

    def field(s: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        calls.append(s)
        return y[1], -y[0]

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        out: Tensor = odeint_adjoint(field, (x_t, x_t), torch.tensor([1.0, 0.0]), adjoint_params=())[0][-1]
        return out

    assert evaluations(network) == len(calls) > 6


@pytest.mark.parametrize("options", [{"method": "dopri5"}, {"method": "rk4", "options": {"step_size": 0.1}}])
def test_a_solver_that_waits_for_an_event_is_counted(options: dict[str, Any]) -> None:
    calls = []

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        _, solution = torchdiffeq.odeint_event(
            lambda s, y: (calls.append(s), -y)[1],
            x_t,
            torch.tensor(0.0),
            event_fn=lambda s, y: s - 0.75,
            rtol=1e-3,
            atol=1e-3,
            **options,
        )
        out: Tensor = solution[-1]
        return out

    assert evaluations(network) == len(calls) > 0


def test_every_call_of_every_solver_is_added() -> None:
    first, second = NeuralOde(method="rk4"), NeuralOde(method="euler")

    assert evaluations(lambda x_t, t: second(first(first(x_t, t), t), t)) == 4 + 4 + 1


def test_a_solver_within_a_field_adds_its_own() -> None:
    inner = NeuralOde(method="midpoint")

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        out: Tensor = odeint(lambda s, y: inner(y, t), x_t, torch.tensor([0.0, 1.0]), method="rk4")[-1]
        return out

    assert evaluations(network) == 4 + 4 * 2


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("method", SOLVERS)
def test_both_counts_agree_for_the_blocks_that_are_here(method: str, adjoint: bool) -> None:
    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
            self.evaluations = 0

        def forward(self, s: Any, y: Tensor) -> Tensor:
            self.evaluations += 1
            out: Tensor = self.layer(y).tanh() - y
            return out

    field = Field()
    block = OdeBlock(field, OdeSolver(method, steps=2, adjoint=adjoint))
    toy = subject(TimeBlind(block))

    counted, inside = values(ode_nfe(toy, EFFORT)), values(ode_macs(toy, EFFORT, counters=("dispatch",)))

    field.evaluations = 0
    block.ode_nfe = 0
    block(toy.noised(0, 1, 1))
    assert set(counted.values()) == {float(field.evaluations)} == {float(block.ode_nfe)}
    assert sorted(inside.values()) == [FIELD, field.evaluations * FIELD]
    assert method not in ADAPTIVE or field.evaluations > 6


class TimeBlind(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.requires_grad_(False)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.block(x_t)
        return out


class CountingField(nn.Module):
    """The field itself keeps the count, as torchdiffeq's examples do."""

    def __init__(self) -> None:
        super().__init__()
        self.ode_nfe = 0

    def forward(self, s: Tensor, y: Tensor) -> Tensor:
        self.ode_nfe += 1
        return -y


class CountingAfterwards(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ode_nfe = 0

    def integrate(self, y: Tensor) -> Tensor:
        calls = []
        out: Tensor = odeint(lambda s, y: (calls.append(s), -y)[1], y, torch.tensor([0.0, 1.0]), method="rk4")[-1]
        self.ode_nfe += len(calls)
        return out

    def forward(self, y: Tensor) -> Tensor:
        return self.integrate(y)


def solved(field: Callable[..., Tensor], method: str = "rk4") -> Callable[[Tensor, Tensor], Tensor]:
    def network(x_t: Tensor, t: Tensor) -> Tensor:
        out: Tensor = odeint(field, x_t, torch.tensor([0.0, 1.0]), method=method)[-1]
        return out

    return network


def test_a_field_that_counts_itself_is_not_counted_twice() -> None:
    field = CountingField()

    assert evaluations(solved(field)) == 4
    assert evaluations(solved(lambda s, y: field(s, y) * 2)) == 4
    assert evaluations(solved(field.forward)) == 4


def test_a_block_that_counts_afterwards_is_not_counted_twice() -> None:
    block = CountingAfterwards()

    assert evaluations(TimeBlind(block)) == 4
    assert evaluations(lambda x_t, t: block(x_t)) == 4


def test_a_block_that_has_the_attribute_and_never_counts_is_counted() -> None:
    class Forgetful(NeuralOde):
        ode_nfe = 0

    assert evaluations(Forgetful(method="rk4")) == 4


def test_steps_by_hand_and_steps_of_torchdiffeq_are_added() -> None:
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ode_nfe = 0

        def forward(self, y: Tensor) -> Tensor:
            for _ in range(5):
                self.ode_nfe += 1
                y = y - y / 5
            return y

    by_hand, torchs = ByHand(), NeuralOde(method="rk4")

    assert evaluations(lambda x_t, t: torchs(by_hand(x_t), t)) == 9


def test_a_count_that_leaves_out_evaluations_is_refused() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ode_nfe = 0

        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            self.ode_nfe += 1
            return solved(lambda s, y: -y)(x_t, t)

    with pytest.raises(MeasurementError, match=r"the network.ode_nfe is 1 .*torchdiffeq made 4 evaluations"):
        evaluations(Half())


def test_a_count_of_which_nobody_can_tell_what_it_holds_is_refused() -> None:
    block = CountingAfterwards()

    class Calling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            return block.integrate(x_t)

    with pytest.raises(MeasurementError, match="its forward was not called"):
        evaluations(Calling())


def other_library(name: str, function: str, source: str) -> types.ModuleType:
    """A library of that name with one function."""
    module = types.ModuleType(name)
    exec(source, vars(module))
    assert hasattr(module, function)
    return module


EULER = "def {}(field, y, steps):\n    for _ in range(steps):\n        y = y + field(y) / steps\n    return y\n"


@pytest.mark.parametrize(
    ("library", "function"),
    [
        ("torchode.single_step", "step"),
        ("torchdyn.numerics.odeint", "_fixed_odeint"),
        ("mine.copied.torchdiffeq", "odeint"),
        ("my_solvers", "odeint"),
        ("diffrax._integrate", "diffeqsolve"),
        ("torchsde", "sdeint"),
    ],
)
def test_another_library_is_named_and_not_counted_as_zero(library: str, function: str) -> None:
    solve = getattr(other_library(library, function, EULER.format(function)), function)

    with pytest.raises(MeasurementError, match=rf"calls {library}.{function}, whose evaluations cannot be counted"):
        evaluations(lambda x_t, t: solve(lambda y: -y, x_t, 3))


def test_scipys_solver_is_named_too() -> None:
    from scipy.integrate import solve_ivp

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        solution = solve_ivp(lambda s, y: -y, (0.0, 1.0), x_t.flatten().double().numpy())
        return torch.from_numpy(solution.y[:, -1]).to(x_t.dtype).reshape(x_t.shape)

    with pytest.raises(MeasurementError, match=r"solve_ivp, whose evaluations cannot be counted"):
        evaluations(network)


def test_another_library_is_counted_by_the_agreement() -> None:
    solve = other_library("torchode", "solve", EULER.format("solve")).solve  # type: ignore[attr-defined]

    class Agreed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ode_nfe = 0

        def field(self, y: Tensor) -> Tensor:
            self.ode_nfe += 1
            return -y

        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            out: Tensor = solve(self.field, x_t, 3)
            return out

    assert evaluations(Agreed()) == 3


def test_a_torchdiffeq_that_cannot_be_watched_is_said_to_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchdiffeq._impl import misc

    network = NeuralOde(method="rk4")
    perturb_func = misc._PerturbFunc
    monkeypatch.setattr(sys.modules["torchdiffeq._impl.odeint"], "_check_inputs", _without(misc, perturb_func))
    monkeypatch.delattr(misc, "_PerturbFunc")

    with pytest.raises(MeasurementError, match=r"torchdiffeq.*, whose evaluations cannot be counted"):
        evaluations(network)


def _without(misc: Any, perturb_func: Any) -> Callable[..., Any]:
    """torchdiffeq as it would be if it did without the class that is watched."""
    check = misc._check_inputs

    def checked(*args: Any) -> Any:
        misc._PerturbFunc = perturb_func
        try:
            return check(*args)
        finally:
            del misc._PerturbFunc

    return checked


def test_torchdiffeq_is_as_it_was_afterwards() -> None:
    network = NeuralOde(method="rk4")

    evaluations(network)
    torchdiffeq.odeint(network.field, X, torch.tensor([0.0, 1.0]), method="rk4")

    assert evaluations(network) == 4


def test_a_network_that_compiles_itself_is_counted_as_it_is_written() -> None:
    network = torch.compile(NeuralOde(method="rk4"), backend="eager")

    assert evaluations(network) == 4
    assert list(values(macs(subject(network), EFFORT, counters=("dispatch",))).values()) == [4 * FIELD]


# Recurrent layers.


class Recurrent(nn.Module):
    """One recurrent layer over the rows of an image, and a linear one behind it."""

    def __init__(self, kind: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.layer = kind(4, 8, batch_first=True, **options)
        self.out = nn.Linear(16 if options.get("bidirectional") else 8, 4)
        self.requires_grad_(False)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        rows, _ = self.layer(x_t[:, 0])
        out: Tensor = self.out(rows)
        return out[:, None]


GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}


@pytest.mark.parametrize("kind", GATES)
def test_recurrent_layers_have_parameters_and_the_count_of_every_counter_that_can(kind: type[nn.RNNBase]) -> None:
    facts = inspect_denoiser(denoiser(Recurrent(kind)))

    (stage,) = facts.stages
    assert facts.parameters.total == GATES[kind] * (8 * (4 + 8) + 2 * 8) + 8 * 4 + 4
    assert [(count.counter, count.macs) for count in stage.macs] == [("dispatch", 4 * GATES[kind] * 8 * 12 + 4 * 32)]
    assert stage.reasons.keys() == {"fvcore", "thop-like"}
    assert stage.reasons["thop-like"] == f"the module counter has no rule for {kind.__name__}"
    assert "fvcore counts nothing for" in stage.reasons["fvcore"]


def test_several_layers_in_both_directions_are_counted() -> None:
    facts = inspect_denoiser(denoiser(Recurrent(nn.LSTM, num_layers=2, bidirectional=True)))

    first, second, out = 2 * 4 * 8 * (4 + 8), 2 * 4 * 8 * (16 + 8), 16 * 4
    assert facts.walk_macs("dispatch") == SPEC.num_train_timesteps * 4 * (first + second + out)
    assert facts.walk_macs("fvcore") is None


def test_the_lines_and_the_json_give_the_reason_beside_what_cannot_count() -> None:
    facts = inspect_denoiser(denoiser(Recurrent(nn.GRU)))

    lines: dict[str, str] = dict(facts.lines())
    document: Any = facts.as_json()
    assert lines["parameters"].startswith("372 in ")
    assert lines["MACs thop-like"] == "not counted: the module counter has no rule for GRU"
    assert not any("counters:" in text for text in lines.values())
    assert document["stages"][0]["macs"]["thop-like"] is None
    assert document["stages"][0]["reasons"]["thop-like"] == "the module counter has no rule for GRU"
    assert document["walk_macs"]["fvcore"] is None


def test_a_suite_is_told_which_counters_can_count_inside_its_solvers() -> None:
    class Both(NeuralOde):
        def __init__(self) -> None:
            super().__init__(method="rk4")
            self.recurrent = nn.LSTM(4, 4)

    with pytest.raises(
        MeasurementError, match=r"no rule for LSTM; leave it out: {name: ode_macs, counters: \[dispatch\]}"
    ):
        tuple(ode_macs(subject(Both()), EFFORT))


def test_a_recurrent_stack_on_a_gpu_has_the_macs_of_its_matrices() -> None:
    x, matrices, biases = torch.zeros(3, 2, 4), [torch.zeros(32, 4), torch.zeros(32, 8)], [torch.zeros(32)] * 2

    assert FORMULAS["_cudnn_rnn"]((x, matrices + biases), None) == 6 * 32 * 12


def test_a_suite_is_told_which_counters_can() -> None:
    toy = subject(Recurrent(nn.LSTM))

    with pytest.raises(MeasurementError, match=r"leave it out: {name: macs, counters: \[dispatch\]}"):
        tuple(macs(toy, EFFORT))
    with pytest.raises(MeasurementError, match="fvcore counts nothing for lstm"):
        tuple(macs(toy, EFFORT, counters=("fvcore",)))
    assert list(values(macs(toy, EFFORT, counters=("dispatch",))).values()) == [4 * 4 * 8 * 12 + 4 * 32]


def test_a_solver_that_cannot_be_counted_leaves_the_other_facts() -> None:
    solve = other_library("torchode", "solve", EULER.format("solve")).solve  # type: ignore[attr-defined]

    facts = inspect_denoiser(denoiser(lambda x_t, t: solve(lambda y: -y, x_t, 3)))

    assert facts.stages[0].ode_nfe is None
    assert "torchode.solve" in dict(facts.lines())["ODE NFE"]
