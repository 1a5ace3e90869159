"""What is found by reading covers what is found by running: no function that a number goes through is overlooked."""

from __future__ import annotations

import sys
from contextlib import suppress
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.code_identity import MEASURING, Definition, definition_of, reached_definitions
from bench.errors import BenchError
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, check_params, load_builtins
from bench.run.code import HARNESS
from bench.suite.schema import Cell, Conditions, Effort, Ref

SUITE: dict[str, Any] = {"effort": Effort(warmup=0, repeats=1, rounds=1, processes=1), "seed": 0, "suite": "s"}


def cell(model: Ref, metric: Ref) -> Cell:
    return Cell(
        id="s/cell",
        model=model,
        sampler=Ref(name="ddim", params={"timesteps": 2}),
        data=Ref(name="digits"),
        conditions=Conditions(),
        factors={},
        metrics=(metric,),
        **SUITE,
    )


SKIP = Ref(name="skip-unet", params={"skip": "zero"})
METRIC_REFS = (
    Ref(name="frechet", params={"images": 64, "replicates": 2, "reference": "test"}),
    Ref(name="kid", params={"images": 64, "reference": "test", "subsets": 2}),
    Ref(name="precision_recall", params={"images": 64, "reference": "test"}),
    Ref(name="samples", params={"images": 4}),
    Ref(name="denoising", params={"images": 4, "replicates": 2}),
    Ref(name="denoising_pictures", params={"images": 2}),
    *(Ref(name=name) for name in ("latency", "step_time", "macs", "nfe", "parameters", "stages", "weight_bytes")),
    *(Ref(name=name) for name in ("training_loss", "checkpoint_bytes")),
)


class Executed:
    """The functions of our own measuring code that run in the block, by their top-level names."""

    def __init__(self) -> None:
        self.definitions: set[Definition] = set()

    def __enter__(self) -> Executed:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname.split(".")[0]
        rooms = (*MEASURING, "models")
        ours = any(module == room or module.startswith(f"{room}.") for room in rooms)
        written = not name.startswith(("<", "__"))  # dataclasses make functions of their own
        is_function = frame.f_code.co_flags & CO_OPTIMIZED  # and not the body of a class that is being imported
        if event == "call" and ours and written and is_function:
            self.definitions.add(Definition(module, name))


@pytest.mark.slow
@pytest.mark.parametrize("model", [SKIP, Ref(name="cunet"), Ref(name="lucid-unet")], ids=str)
def test_every_function_that_runs_is_reached(tmp_path: Path, model: Ref) -> None:
    from bench.subject import Workspace, build_subject

    load_builtins()
    shared = [*HARNESS, definition_of(MODELS.get(model.name).factory)]
    shared += [definition_of(SAMPLERS.get("ddim").factory), definition_of(DATASETS.get("digits").factory)]
    overlooked, measured = {}, 0
    for metric in METRIC_REFS if model == SKIP else METRIC_REFS[3:7]:
        entry = METRICS.get(metric.name)
        with Executed() as executed, suppress(BenchError):
            subject = build_subject(cell(model, metric), Workspace(tmp_path / "run", tmp_path / metric.name))
            measured += len(list(entry.factory(subject, SUITE["effort"], **check_params(entry, metric.params)))) > 0
        overlooked[metric.name] = executed.definitions - reached_definitions([*shared, definition_of(entry.factory)])

    assert measured > 2
    assert {name: missing for name, missing in overlooked.items() if missing} == {}


def test_a_metric_reaches_its_own_module_and_not_that_of_another() -> None:
    load_builtins()
    modules = {
        name: {definition.module for definition in reached_definitions([definition_of(METRICS.get(name).factory)])}
        for name in ("kid", "frechet", "latency")
    }

    assert "bench.quality.kid" in modules["kid"]
    assert "bench.quality.kid" not in modules["frechet"]
    assert "bench.quality.frechet" in modules["frechet"]
    assert "bench.measure.timing" in modules["latency"]
    assert not [module for module in modules["latency"] if module.startswith("bench.quality")]
