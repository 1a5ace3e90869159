"""The picture metrics: samples of a cell against a split of its data set, under a named recipe.

Every measurement says in `at` what it is of: `name` (FID, or frechet[digits-cnn]), `statistic`, `recipe` and its
`fingerprint`, `n` generated and `reference_n` real images, and the reference. Equal fingerprints may be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Literal

import torch

from bench.contracts import Dataset, Measurement, Scalar, notes_of
from bench.errors import MeasurementError, MissingData, ParamError
from bench.files import own_folder, write_whole
from bench.quality import recipe as recipes
from bench.quality.extractors import PrecisionError, check_shape, precision_error
from bench.quality.features import SHA256, WIDTH, FeatureSet, first_images, generated, real, shared_extractor
from bench.quality.frechet import frechet_distance, frechet_to_moments
from bench.quality.kernels import made_elsewhere
from bench.quality.kid import kid
from bench.quality.moments import Moments
from bench.quality.precision_recall import precision_recall
from bench.quality.preprocess import to_unit
from bench.quality.recipe import Dtype, FidRecipe, RecipeName, digest, feature_recipe, images_used
from bench.quality.uncertainty import bootstrap_interval, extrapolate, real_floor
from bench.registry import DATASETS, check_params
from bench.subject import Subject

Split = Literal["train", "test", "own"]
"""Which split of the cell's data set is the reference; own: the one the cell names."""

OTHER: Mapping[str, str] = {"train": "test", "test": "train"}
LEVEL = 0.95
TRAIN_ONLY = "the training images are the only reference here: a model that copied them would score best"
PROBE_IMAGES = 64
"""On each side, to measure what a reduced precision changes."""
KID_SUBSET = 1000
LARGEST_SUBSET = 0.5
"""Part of a set that a KID subset takes at most when its size is not given: subsets must differ."""


@dataclass(frozen=True)
class Choice:
    """What a suite may choose of every picture metric."""

    images: int
    features: recipes.Extractor
    recipe: RecipeName
    reference: Split
    dtype: Dtype


class Comparison:
    """Generated images beside reference images, both as features."""

    def __init__(self, subject: Subject, choice: Choice) -> None:
        self.subject, self.choice = subject, choice
        if subject.data is None:
            raise MeasurementError("a picture metric needs reference images; give the cell `data:`")
        if choice.images < 2:
            raise ParamError(f"images must be at least 2, got {choice.images}")
        self.data = data_split(subject, choice.reference)
        channels = subject.denoiser.image_shape[0]
        check_shape(choice.features, tuple(subject.denoiser.image_shape))
        self.how = feature_recipe(
            choice.recipe, choice.features, SHA256[choice.features], channels=channels, dtype=choice.dtype
        )
        self.images = images_used(choice.recipe, choice.images)

    @cached_property
    def generated(self) -> FeatureSet:
        return generated(self.subject, self.how, self.images)

    @cached_property
    def reference(self) -> FeatureSet:
        return self.real(self.data)

    def real(self, data: Dataset) -> FeatureSet:
        return real(data, self.how, self.subject.workspace.cache_dir, self.subject.device.type)

    @cached_property
    def held_out(self) -> FeatureSet | None:
        """The other split, where there is one on this machine."""
        other = OTHER.get(self.data.split)
        try:
            return None if other is None else self.real(data_split(self.subject, other))
        except (MissingData, ParamError):
            return None

    @property
    def recipe(self) -> FidRecipe:
        return self.recipe_for(self.data, self.images)

    def recipe_for(self, data: Dataset, images: int) -> FidRecipe:
        return FidRecipe(
            name=self.choice.recipe,
            features=self.how,
            images=images,
            reference=data.fingerprint,
            reference_split=data.split,
            reference_images=len(data),
            ema=self.subject.denoiser.weights.ema,
        )

    def at(self, statistic: str, *, images: int | None = None, **more: Scalar) -> dict[str, Scalar]:
        """What a number is of. images: how many of the generated ones; all when None."""
        recipe = self.recipe_for(self.data, self.images if images is None else images)
        return {
            "statistic": statistic,
            "name": recipes.value_name(self.choice.features),
            "features": self.choice.features,
            "recipe": recipe.name,
            "fingerprint": recipe.fingerprint,
            "n": recipe.images,
            "reference": recipe.reference,
            "reference_n": recipe.reference_images,
            **more,
        }

    @cached_property
    def precision(self) -> PrecisionError | None:
        """What the reduced precision changes on the first images of both sides; None in float32."""
        if self.how.dtype == "float32":
            return None
        device, count = self.subject.device.type, min(PROBE_IMAGES, self.images, len(self.data))
        return precision_error(
            shared_extractor(self.how.extractor, "float32", device),
            shared_extractor(self.how.extractor, self.how.dtype, device),
            replace(self.how, dtype="float32"),
            first_images(self.subject, count),
            to_unit(self.data[0:count]),
        )

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of any of the numbers must know."""
        return self.warnings_at(self.images)

    def warnings_at(self, images: int) -> tuple[str, ...]:
        """The same for a number of so many generated images."""
        d = WIDTH[self.how.extractor]
        found = [
            f"rank-deficient: {count} {which} images for {d} features; the value is far above that of more images"
            for which, count in (("generated", images), ("reference", len(self.data)))
            if count <= d
        ]
        if self.images < self.choice.images:
            found.append(f"{self.images} of {self.choice.images} images, as recipe {self.choice.recipe} uses them")
        if self.precision is not None:
            found.append(self.precision.sentence)
        makers = self.generated.makers | self.reference.makers
        return (*found, *notes_of(self.data), *made_elsewhere(makers, self.subject.device.type))


def data_split(subject: Subject, split: str) -> Dataset:
    """The cell's data set at another split. Raises ParamError where it has no such split."""
    assert subject.data is not None  # a Comparison was made
    if split in ("own", subject.data.split):
        return subject.data
    ref = None if subject.cell is None else subject.cell.data
    if ref is None or "split" not in signature(DATASETS.get(ref.name).factory).parameters:
        raise ParamError(f"the data set has no split {split!r}, only {subject.data.split!r}; use reference: own")
    entry = DATASETS.get(ref.name)
    found: Dataset = entry.factory(**check_params(entry, {**ref.params, "split": split}))
    return found


def frechet(subject: Subject, choice: Choice, *, replicates: int, halves: bool, seed: int) -> Iterator[Measurement]:
    """The Fréchet distance, its bootstrap replicates, the value against the other split, and the floor of real data.

    halves: also the value and replicates of every other image.
    """
    compared = Comparison(subject, choice)
    sides = compared.generated.moments(), compared.reference.moments()
    distance = frechet_distance(*sides)
    interval = (
        bootstrap_interval(compared.generated.all(), sides[1], replicates=replicates, level=LEVEL, seed=seed)
        if replicates
        else None
    )
    artifact = write_facts(
        compared,
        "frechet",
        {
            "raw": distance.raw,
            "mean_part": distance.mean_part,
            "cov_part": distance.cov_part,
            "bootstrap_bias": None if interval is None else interval.bias,
            "sample_hashes": digest(compared.generated.hashes()),
        },
    )
    warnings = compared.warnings
    if compared.held_out is None and compared.data.split == "train":
        warnings = (*warnings, TRAIN_ONLY)
    yield Measurement("frechet", "1", (distance.value,), compared.at("value"), artifact=artifact, warnings=warnings)
    if interval is not None:
        at = compared.at("replicates", method=interval.method)
        yield Measurement("frechet", "1", interval.replicates, at, warnings=warnings)
    if compared.precision is not None:
        moved = abs(compared.precision.reduced - compared.precision.exact)
        yield Measurement("frechet", "1", (moved,), compared.at("precision_error", probe=compared.precision.images))
    if compared.held_out is not None:
        other = frechet_distance(sides[0], compared.held_out.moments()).value
        yield Measurement(
            "frechet", "1", (other,), compared.at("against_other_split", against=compared.held_out.source)
        )
        yield from _floor(compared, compared.held_out, sides[1], seed)
    if halves:
        yield from _halves(compared, sides[1], replicates, seed)


def _halves(compared: Comparison, reference: Moments, replicates: int, seed: int) -> Iterator[Measurement]:
    """The distance of the images of even number, half_a, and of odd number, half_b, each with its replicates.

    Where the best of several cells is chosen, the number it was chosen by is too good: one half chooses, and the
    other, which had no part in it, is reported. Raises ParamError for fewer than two images in a half.
    """
    rows = compared.generated.all()
    for name, half in (("half_a", rows[0::2]), ("half_b", rows[1::2])):
        if len(half) < 2:
            raise ParamError(f"halves of {compared.images} images have fewer than 2; ask for more images")
        warnings = compared.warnings_at(len(half))
        value = frechet_to_moments(half, reference).value
        yield Measurement("frechet", "1", (value,), compared.at(name, images=len(half)), warnings=warnings)
        if replicates:
            found = bootstrap_interval(half, reference, replicates=replicates, level=LEVEL, seed=seed)
            at = compared.at("replicates", images=len(half), of=name, method=found.method)
            yield Measurement("frechet", "1", found.replicates, at, warnings=warnings)


def _floor(compared: Comparison, held_out: FeatureSet, reference: Moments, seed: int) -> Iterator[Measurement]:
    """Real images of the other split in the place of the generated ones; both at as many as there are, where fewer."""
    value, n = real_floor(held_out.all(), reference, images=compared.images, seed=seed)
    yield Measurement("frechet", "1", (value,), compared.at("floor", floor_n=n))
    if n < compared.images:
        ours = frechet_to_moments(compared.generated.all()[:n], reference).value
        yield Measurement("frechet", "1", (ours,), compared.at("value_at_floor_n", floor_n=n))


def frechet_infinity(
    subject: Subject, choice: Choice, *, cut: Literal["both", "generated"], blocks: int, seed: int
) -> Iterator[Measurement]:
    """The distance at infinitely many images, with its error and the slope over 1/n."""
    compared = Comparison(subject, choice)
    reference = compared.reference.all() if cut == "both" else compared.reference.moments()
    found = extrapolate(compared.generated.all(), reference, blocks=blocks, seed=seed)
    warnings = (*compared.warnings, *found.warnings)
    for statistic, value in (
        ("value", found.value),
        ("standard_error", found.standard_error),
        ("slope", found.slope),
    ):
        yield Measurement("frechet_infinity", "1", (value,), compared.at(statistic, cut=cut), warnings=warnings)


def kernel_distance(
    subject: Subject, choice: Choice, *, subsets: int, subset_size: int | None, seed: int
) -> Iterator[Measurement]:
    """KID: the mean over subsets, their spread, and every subset's value."""
    compared = Comparison(subject, choice)
    smaller = min(compared.images, len(compared.data))
    size = min(KID_SUBSET, int(smaller * LARGEST_SUBSET)) if subset_size is None else subset_size
    found = kid(compared.generated.all(), compared.reference.all(), subsets=subsets, subset_size=size, seed=seed)
    warnings = compared.warnings
    for statistic, values in (("value", (found.mean,)), ("spread", (found.spread,)), ("subsets", found.values)):
        yield Measurement("kid", "1", values, compared.at(statistic, subset_size=size), warnings=warnings)


def coverage(subject: Subject, choice: Choice, *, neighbours: int) -> Iterator[Measurement]:
    """Precision, recall, density and coverage, from the same number of images on both sides."""
    compared = Comparison(subject, choice)
    equal = min(compared.images, len(compared.data))
    found = precision_recall(compared.generated.all()[:equal], compared.reference.all()[:equal], neighbours=neighbours)
    for which in ("precision", "recall", "density", "coverage"):
        at = compared.at("value", which=which, used=equal, neighbours=neighbours)
        yield Measurement("precision_recall", "1", (getattr(found, which),), at, warnings=compared.warnings)


def write_facts(compared: Comparison, metric: str, facts: Mapping[str, Scalar]) -> str:
    """Everything about a number that is too much for a line, as JSON in the run's folder; returns its name."""
    recipe = compared.recipe
    cell = compared.subject.cell
    name = f"artifacts/{metric}-{digest([cell.id if cell else '', recipe.fingerprint])}.json"
    text = json.dumps({"recipe": recipe.facts(), **facts, "torch": torch.__version__}, indent=1, allow_nan=False)
    run_dir = compared.subject.workspace.run_dir
    own_folder(run_dir, "artifacts")
    write_whole(run_dir / name, text)
    return name
