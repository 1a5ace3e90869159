"""Whether the parts of a cell fit each other, before anything is built: what a run would find out cell by cell.

What names declare of themselves is believed (`bench.outlook`). Models and data sets of a plug-in that declare nothing
are built once, within a time that a plan may take, and asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.contracts import Dataset, Denoiser, Need, Restorer
from bench.errors import BenchError, MissingData, MissingWeights, ParamError
from bench.outlook import DataFacts, ModelFacts, Pictures
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, Entry, Registry, filled, metric_spec
from bench.suite.expand import Expansion
from bench.suite.schema import Cell, Ref, Suite
from bench.suite.source import KeyPath, Problem

BUILDING_S = 10.0
"""Seconds after which a plan builds nothing more of plug-ins."""
HASHLESS = ("trained", "pretrained")
"""Origins of weights that need a SHA-256 before pictures are made with them."""


def fit_problems(
    suite: Suite, expansion: Expansion, cells: Sequence[Cell], clock: Callable[[], float] = time.monotonic
) -> tuple[Problem, ...]:
    """Where parts of these cells do not fit: each at its place in the file, with how many cells it is about.

    clock: seconds, never backwards.
    """
    look = _Look(clock() + BUILDING_S, clock)
    sentences: dict[KeyPath, dict[str, int]] = {}
    for cell in cells:
        block = expansion.places[cell.id]
        for path, sentence in look.at(cell, suite, ("grid", block)):
            about = sentences.setdefault(path, {})
            about[sentence] = about.get(sentence, 0) + 1
    return tuple(
        suite.source.problem(path, "; ".join(f"{sentence}{_of(count, cells)}" for sentence, count in about.items()))
        for path, about in sentences.items()
    )


def _of(count: int, cells: Sequence[Cell]) -> str:
    return f" ({count:,} of {len(cells):,} cells)" if count < len(cells) else ""


@dataclass(frozen=True)
class _Wrong:
    """A part that cannot be built at all."""

    sentence: str


@dataclass
class _Look:
    """What was found out of models and data sets so far: many cells share them."""

    until: float
    clock: Callable[[], float]
    _models: dict[str, ModelFacts | _Wrong | None] = field(default_factory=dict)
    _data: dict[str, DataFacts | _Wrong | None] = field(default_factory=dict)
    _weights: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _walks: dict[str, str] = field(default_factory=dict)

    def at(self, cell: Cell, suite: Suite, block: KeyPath) -> Iterator[tuple[KeyPath, str]]:
        """Every mistake of one cell and where it stands."""
        model, data = self.model(cell.model), None if cell.data is None else self.data(cell.data)
        if isinstance(model, _Wrong):
            yield (*block, "model"), model.sentence
        if isinstance(data, _Wrong):
            yield (*block, "data"), data.sentence
        for sentence in self.weights(cell.model):
            yield (*block, "model", "weights"), sentence
        told = model if isinstance(model, ModelFacts) else None
        images = data if isinstance(data, DataFacts) else None
        if told and images and told.image_shape not in (None, images.image_shape):
            assert told.image_shape is not None and cell.data is not None  # said by the line above
            yield (
                (*block, "data"),
                f"model {cell.model.name!r} takes {_text(told.image_shape)} images, but {cell.data.name!r} has "
                f"{_text(images.image_shape)}; choose data or a model of the same shape",
            )
            return  # what the metrics would say of such pictures is of no use
        if cell.sampler is not None:
            sentence = self.walk(cell.sampler, 1000 if told is None else told.num_train_timesteps, told is not None)
            if sentence:
                yield (*block, "sampler"), sentence
        yield from self._objections(cell, suite, block, self._pictures(cell, told, images))

    def model(self, ref: Ref) -> ModelFacts | _Wrong | None:
        known: ModelFacts | _Wrong | None = self._known(self._models, MODELS, ref, _model_facts)
        return known

    def data(self, ref: Ref) -> DataFacts | _Wrong | None:
        known: DataFacts | _Wrong | None = self._known(self._data, DATASETS, ref, _data_facts)
        return known

    def weights(self, ref: Ref) -> tuple[str, ...]:
        """Why the model's checkpoint is not its own."""
        key = _key({name: value for name, value in ref.params.items() if name != "skip_exponent"}, ref.name)
        if key not in self._weights:
            entry = MODELS.get(ref.name)
            wrong = entry.outlook.wrong_weights
            self._weights[key] = () if wrong is None else tuple(wrong(**filled(entry, ref.params)))
        return self._weights[key]

    def walk(self, ref: Ref, num_train_timesteps: int, known: bool) -> str:
        """Why the sampler cannot walk a chain of so many timesteps, or nothing. known: whether that is its length."""
        key = _key(ref.params, ref.name, num_train_timesteps)
        if key not in self._walks:
            self._walks[key] = ""
            entry = SAMPLERS.get(ref.name)
            try:
                if known and entry.outlook.calls is not None:
                    entry.outlook.calls(num_train_timesteps, **filled(entry, ref.params))
            except ParamError as error:
                self._walks[key] = str(error)
        return self._walks[key]

    def _known(self, known: dict[str, Any], registry: Registry[Any], ref: Ref, facts_of: Callable[[Any], Any]) -> Any:
        key = _key(ref.params, ref.name)
        if key not in known:
            entry = registry.get(ref.name)
            params = filled(entry, ref.params)
            if entry.outlook.facts is not None:
                known[key] = entry.outlook.facts(**params)
            else:
                known[key] = _built(entry, params, facts_of) if self.clock() < self.until else None
        return known[key]

    def _pictures(self, cell: Cell, model: ModelFacts | None, data: DataFacts | None) -> Pictures:
        shape = (model.image_shape if model else None) or (data.image_shape if data else None)
        ref = cell.data
        takes_split = ref is not None and "split" in DATASETS.get(ref.name).parameters()

        def count(split: str) -> int | None:
            if ref is None or data is None:
                return None
            if split == "own" or not takes_split:
                return data.count
            other = self.data(ref.model_copy(update={"params": {**ref.params, "split": split}}))
            return other.count if isinstance(other, DataFacts) else None

        splits = None if takes_split or data is None or data.split is None else frozenset({data.split})
        return Pictures(shape, model, count, splits)

    def _objections(
        self, cell: Cell, suite: Suite, block: KeyPath, pictures: Pictures
    ) -> Iterator[tuple[KeyPath, str]]:
        own = suite.grid[int(block[1])].metrics
        for ref in cell.metrics:
            entry = METRICS.get(ref.name)
            if entry.outlook.objections is None or not _possible(cell, ref):
                continue
            path = (*block, "metrics") if own is not None else ("metrics",)
            written = own if own is not None else suite.metrics
            index = next((index for index, each in enumerate(written) if _writes(each, ref)), 0)
            for sentence in entry.outlook.objections(pictures, **filled(entry, ref.params)):
                yield (*path, index), f"{ref.name}: {sentence}"


def _possible(cell: Cell, ref: Ref) -> bool:
    """Whether the cell has what the metric needs; the metric is skipped otherwise."""
    given = {
        Need.DATA: cell.data is not None,
        Need.SAMPLER: cell.sampler is not None,
        Need.TRAINED_WEIGHTS: cell.model.params.get("weights") != "random",
    }
    return all(given[need] for need in metric_spec(ref.name).needs)


def _writes(written: Ref, ref: Ref) -> bool:
    """Whether a metric of the file is this one with its defaults filled in."""
    return written.name == ref.name and all(
        (type(value) is type(ref.params.get(name)) and value == ref.params.get(name))
        or (isinstance(value, int) and isinstance(ref.params.get(name), float) and value == ref.params.get(name))
        for name, value in written.params.items()
    )


def _built(entry: Entry[Any], params: Mapping[str, Any], facts_of: Callable[[Any], Any]) -> Any:
    """What a plug-in's factory makes says of itself. Nothing for one that lacks a file, which a run will say."""
    try:
        return facts_of(entry.factory(**params))
    except (MissingWeights, MissingData):
        return None
    except BenchError as error:
        return _Wrong(f"{entry.name!r} cannot be built: {error}")
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plug-in's own code may raise anything
        return _Wrong(f"{entry.name!r} ({entry.origin}) cannot be built: {type(error).__name__}: {error}")


def _model_facts(model: object) -> ModelFacts | _Wrong:
    if not isinstance(model, Denoiser | Restorer):
        return _Wrong(f"its factory gave a {type(model).__name__}, expected a Denoiser or a Restorer")
    unnamed = model.weights.sha256 is None and model.weights.origin in HASHLESS
    shape = None if model.image_shape is None else _shape(model.image_shape)
    return ModelFacts(shape, model.schedule.num_train_timesteps, unnamed)


def _data_facts(data: object) -> DataFacts | _Wrong:
    if not isinstance(data, Dataset):
        return _Wrong(f"its factory gave a {type(data).__name__}, which is no data set; see bench.contracts.Dataset")
    return DataFacts(_shape(data.image_shape), len(data), data.split)


def _shape(shape: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels, height, width


def _key(params: Mapping[str, object], *more: object) -> str:
    return json.dumps([*more, dict(params)], sort_keys=True, default=list)


def _text(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))
