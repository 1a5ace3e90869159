"""Models and metrics that need no torch and do on command what real ones do by accident.

Loaded as a plug-in, by tests and by the workers they start. A model is called `fake`; its argument `behave` says what
every metric of it does. Each execution is written into the ledger named by FAKE_LEDGER, as one line.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.contracts import Denoiser, Measurement, Need, Prediction, Scalar, ScheduleSpec, Weights
from bench.errors import MissingWeights, Unsupported, UnsupportedOperator
from bench.registry import MODELS, check_params, register_metric, register_model
from bench.store.inputs import Inputs
from bench.store.record import InputFile
from bench.suite.schema import Block, BlockRef, Cell, Conditions, Effort, Ref, Suite


def cell_of(
    model: Mapping[str, Scalar] | None = None,
    metrics: Sequence[str | Ref] = ("fake-exact",),
    *,
    sampler: Ref | None = None,
    data: Ref | None = None,
    conditions: Mapping[str, Any] | None = None,
    effort: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Cell:
    """A cell of the suite `toy`; its id says what its model is told."""
    params = dict(model or {})
    found = Conditions(**(conditions or {}))
    identity = json.dumps([params, found.model_dump(), seed, sampler is None, data is None], sort_keys=True)
    label = ",".join(f"{name}={value}" for name, value in params.items()) or "plain"
    return Cell(
        id=f"toy/{label}-{sha256(identity.encode()).hexdigest()[:8]}",
        suite="toy",
        model=Ref(name="fake", params=params),
        sampler=sampler,
        data=data,
        conditions=found,
        seed=seed,
        factors={"model": "fake", **{f"model.{name}": value for name, value in params.items()}},
        metrics=tuple(Ref(name=metric) if isinstance(metric, str) else metric for metric in metrics),
        effort=Effort(**{"warmup": 0, "repeats": 1, "rounds": 2, "processes": 2, **(effort or {})}),
    )


def suite_of(title: str = "Toy", seed: int = 0) -> Suite:
    """A suite without a file; its text is its content, so another title is another text."""
    return Suite(schema=1, suite="toy", title=title, seed=seed, grid=(Block(model=BlockRef(name="fake")),), metrics=())


@dataclass(frozen=True)
class FakeSubject:
    """What the stand-in for `bench.subject` builds."""

    cell: Cell
    denoiser: Denoiser
    behave: str
    seconds: float
    level: int
    run_dir: Path
    held: bytearray = field(default_factory=bytearray)

    def claim_threads(self) -> None:
        return

    def facts(self) -> Mapping[str, Scalar]:
        return {"weights.origin": self.denoiser.weights.origin, "threads.found": int(os.environ["OMP_NUM_THREADS"])}

    def input_files(self) -> tuple[InputFile, ...]:
        return Inputs().describe_all(self.denoiser.inputs)


@register_model("fake")
def fake(
    behave: str = "ok", level: int = 0, seconds: float = 0.0, weights: str = "", origin: str = "trained"
) -> Denoiser:
    """A denoiser without a network."""
    if behave == "missing weights":
        raise MissingWeights("nowhere.safetensors is not there; run `bench train`")
    if behave == "unbuildable":
        raise ZeroDivisionError("no such architecture")
    return Denoiser(
        network=lambda x_t, t: x_t,
        image_shape=(1, 2, 2),
        prediction=Prediction.EPSILON,
        schedule=ScheduleSpec(),
        weights=Weights(origin),  # type: ignore[arg-type]
        inputs=(Path(weights),) if weights else (),
    )


def build(cell: Cell, run_dir: Path) -> FakeSubject:
    """The stand-in builder; give it as `bench_plugin_fake_plugin:build`."""
    entry = MODELS.get(cell.model.name)
    params: dict[str, Any] = check_params(entry, cell.model.params)
    return FakeSubject(cell, entry.factory(**params), params["behave"], params["seconds"], params["level"], run_dir)


def count(subject: FakeSubject, metric: str, effort: Effort) -> None:
    """One line in the ledger, written in one piece whoever else writes."""
    ledger = os.environ.get("FAKE_LEDGER")
    if ledger:
        line = f"{subject.cell.id}\t{metric}\t{os.getpid()}\t{effort.rounds}x{effort.processes}\n"
        fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(fd, line.encode())
        os.close(fd)


def act(subject: FakeSubject) -> None:
    """What the model was told to do."""
    if subject.seconds:
        time.sleep(subject.seconds)
    behaviour = BEHAVIOURS.get(subject.behave)
    if behaviour is not None:
        behaviour(subject)


def spin(subject: FakeSubject) -> None:
    until = time.process_time() + 2.0
    while time.process_time() < until:
        pass


def fail(subject: FakeSubject) -> None:
    raise ValueError("a message\nof two lines \x1b[31m")


def unsupported(subject: FakeSubject) -> None:
    raise Unsupported("this machine has no such device")


def unsupported_operator(subject: FakeSubject) -> None:
    raise UnsupportedOperator("aten::magic has no formula")


def recurse(subject: FakeSubject) -> None:
    recurse(subject)


def no_memory(subject: FakeSubject) -> None:
    raise MemoryError("64 GiB")


def crowded(subject: FakeSubject) -> None:
    """Out of memory the first time, as beside the subjects of other cells."""
    marker = subject.run_dir / f"tried-{subject.level}"
    if not marker.exists():
        marker.touch()
        raise MemoryError("no room beside the others")


def leave(subject: FakeSubject) -> None:
    sys.exit("bye")


def kill(subject: FakeSubject) -> None:
    print("about to fall", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def crash(subject: FakeSubject) -> None:
    ctypes.string_at(0)


def vanish(subject: FakeSubject) -> None:
    os._exit(0)


def hang(subject: FakeSubject) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def hang_in_c(subject: FakeSubject) -> None:
    math.factorial(10**9)


def stop(subject: FakeSubject) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def orphan(subject: FakeSubject) -> None:
    """A child that keeps every file of this process open, and then the end."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(3)


def shout(subject: FakeSubject) -> None:
    line = "x" * 99 + "\n"
    for _ in range(50):
        sys.stderr.write(line * 2000)
    subprocess.run(["echo", "and a word on stdout"], check=True)


BEHAVIOURS = {
    "spin": spin,
    "fail": fail,
    "unsupported": unsupported,
    "unsupported operator": unsupported_operator,
    "recurse": recurse,
    "no memory": no_memory,
    "crowded": crowded,
    "exit": leave,
    "kill": kill,
    "crash": crash,
    "vanish": vanish,
    "hang": hang,
    "hang in C": hang_in_c,
    "stop": stop,
    "orphan": orphan,
    "shout": shout,
}


@register_metric("fake-time", unit="s", better="lower", kind="timing")
def fake_time(subject: FakeSubject, effort: Effort) -> Iterator[Measurement]:
    """As many values as repeats."""
    act(subject)
    count(subject, "fake-time", effort)
    yield Measurement("fake-time", "s", tuple(subject.level + 0.5 for _ in range(effort.repeats)), nfe=3)


@register_metric("fake-stages", unit="s", better="lower", kind="timing")
def fake_stages(subject: FakeSubject, effort: Effort, stages: int = 3) -> Iterator[Measurement]:
    """Several measurements of one visit."""
    for stage in range(stages):
        yield Measurement("fake-stages", "s", (float(stage),), at={"stage": stage})
    act(subject)
    count(subject, "fake-stages", effort)


@register_metric("fake-exact", unit="1", better=None, kind="exact")
def fake_exact(subject: FakeSubject, effort: Effort) -> Iterator[Measurement]:
    """One exact number."""
    act(subject)
    count(subject, "fake-exact", effort)
    yield Measurement("fake-exact", "1", (float(subject.level),))


@register_metric("fake-bytes", unit="bytes", better="lower", kind="memory")
def fake_bytes(subject: FakeSubject, effort: Effort) -> Iterator[Measurement]:
    """One number of a process of its own."""
    act(subject)
    count(subject, "fake-bytes", effort)
    yield Measurement("fake-bytes", "bytes", (1024.0,))


@register_metric(
    "fake-score", unit="1", better="higher", kind="quality", needs=(Need.TRAINED_WEIGHTS, Need.SAMPLER, Need.DATA)
)
def fake_score(subject: FakeSubject, effort: Effort) -> Iterator[Measurement]:
    """Needs everything, and writes an artifact."""
    act(subject)
    count(subject, "fake-score", effort)
    name = f"artifacts/score-{subject.level}.txt"
    (subject.run_dir / name).write_text("pixels")
    yield Measurement("fake-score", "1", (0.75,), artifact=name)


@register_metric("fake-wrong", unit="1", better=None, kind="exact")
def fake_wrong(subject: FakeSubject, effort: Effort, gives: str = "nan") -> Iterator[Measurement]:
    """Breaks the contract of metrics in the way it is asked to."""
    wrong = {
        "nan": [Measurement("fake-wrong", "1", (1.0, math.nan))],
        "inf": [Measurement("fake-wrong", "1", (math.inf,), at={"stage": 1})],
        "nothing": [],
        "no values": [Measurement("fake-wrong", "1", ())],
        "another name": [Measurement("fake-right", "1", (1.0,))],
        "another unit": [Measurement("fake-wrong", "s", (1.0,))],
        "the same twice": [Measurement("fake-wrong", "1", (1.0,)), Measurement("fake-wrong", "1", (2.0,))],
        "an escape": [Measurement("fake-wrong", "1", (1.0,), artifact="../elsewhere.npz")],
        "a promise": [Measurement("fake-wrong", "1", (1.0,), artifact="artifacts/not-written.npz")],
        "an object": [Measurement("fake-wrong", "1", (1.0,), at={"model": object()})],  # type: ignore[dict-item]
        "text": [Measurement("fake-wrong", "1", ("1.0",))],  # type: ignore[arg-type]
    }
    yield from wrong[gives]
