"""Metrics of pictures, by the names a suite writes. Imports no torch until one is measured.

All of them draw the cell's samples once: samples and features lie in the cache, so a metric that is added later costs
seconds. What a number is of is in its `at`: see `bench.quality.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bench.contracts import Measurement, Need, Range
from bench.outlook import Work
from bench.quality.inception_file import missing_inception
from bench.quality.judging import (
    compared_conflicts,
    compared_objections,
    denoising_objections,
    pictures_objections,
    replicates_conflicts,
    samples_objections,
)
from bench.quality.recipe import Dtype, Extractor, RecipeName, images_used, whole_shards
from bench.quality.score_names import SCORED, ScoreName, missing_backbone
from bench.registry import DATASETS, register_metric
from bench.suite.schema import Cell, Effort

if TYPE_CHECKING:
    from bench.subject import Subject
else:
    Subject = Any  # the registry resolves annotations, and the real one would bring torch with it

Reference = Literal["train", "test", "own"]
Images = Annotated[int, Range(2, 1_000_000)]
Drawn = Annotated[int, Range(1, 100_000)]
Scale = Annotated[int, Range(1, 64)]
Replicates = Annotated[int, Range(0, 100_000)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
NEEDS = (Need.TRAINED_WEIGHTS, Need.DATA, Need.SAMPLER)
RECIPE = ("name", "features", "recipe", "fingerprint", "n", "reference", "reference_n")
"""Of `at`: how a number of samples against real images was made; see `bench.quality.metrics`."""
VALUES: Mapping[str, Iterable[str]] = {"statistic": ("value",)}
"""Of `at`: the numbers themselves. Replicates, spreads, floors and halves stand beside them."""


def _compared(effort: Effort, images: int, recipe: RecipeName, **_: object) -> Work:
    return Work(samples=whole_shards(images_used(recipe, images)))


def _drawn(effort: Effort, images: int, **_: object) -> Work:
    return Work(samples=whole_shards(images))


def _missing(cell: Cell, features: Extractor, reference: Reference, **_: object) -> Iterator[str]:
    """The feature network, and the split that the cell itself does not name."""
    if features == "inception":
        yield from missing_inception()
    if cell.data is not None and reference != "own" and "split" in cell.data.params:
        yield from DATASETS.get(cell.data.name).lacks({**cell.data.params, "split": reference})


def _walked(effort: Effort, images: int, **_: object) -> Work:
    """Every image is walked once; a restorer's walk should be one call (`stride: 1000`), or this counts too many."""
    return Work(samples=images)


def _shown(effort: Effort, **_: object) -> Work:
    """A few images, walked as one batch."""
    return Work(walks=1)


def _missing_scores(cell: Cell, scores: tuple[ScoreName, ...], **_: object) -> Iterator[str]:
    """Backbones of LPIPS that nobody fetched."""
    for score in scores:
        if score.startswith("lpips["):
            yield from missing_backbone(score)


@register_metric(
    "frechet",
    unit="1",
    better="lower",
    kind="quality",
    needs=NEEDS,
    work=_compared,
    missing=_missing,
    recipe=(*RECIPE, "method", "probe", "against", "floor_n"),
    judged=VALUES,
    conflicts=compared_conflicts,
    objections=compared_objections,
)
def frechet(
    subject: Subject,
    effort: Effort,
    images: Images = 1000,
    features: Extractor = "digits-cnn",
    recipe: RecipeName = "tf",
    reference: Reference = "train",
    dtype: Dtype = "float32",
    replicates: Replicates = 200,
    halves: bool = False,
    seed: Seed = 0,
) -> Iterable[Measurement]:
    """Fréchet distance of samples to real images: FID for Inception features, frechet[digits-cnn] for the classifier's.

    at.statistic: value; replicates (of the bootstrap over images, moved onto the value; their quantiles are its
    interval at this n); against_other_split; floor (real images of the other split in the samples' place; where it
    has only floor_n of them, value_at_floor_n is the value to hold against it); precision_error in a reduced
    precision; with halves, half_a and half_b (every other image, against the same reference: choose the best of
    several cells by one and report the other) and replicates of each, at.of half_a or half_b.
    The value is biased upwards by about c / n: compare at equal n, which the fingerprint holds.
    """
    from bench.quality import metrics

    choice = metrics.Choice(images, features, recipe, reference, dtype)
    return metrics.frechet(subject, choice, replicates=replicates, halves=halves, seed=seed)


@register_metric(
    "frechet_infinity",
    unit="1",
    better="lower",
    kind="quality",
    needs=NEEDS,
    work=_compared,
    missing=_missing,
    recipe=(*RECIPE, "cut"),
    judged=VALUES,
    conflicts=compared_conflicts,
    objections=compared_objections,
)
def frechet_infinity(
    subject: Subject,
    effort: Effort,
    images: Images = 1000,
    features: Extractor = "digits-cnn",
    recipe: RecipeName = "tf",
    reference: Reference = "train",
    dtype: Dtype = "float32",
    cut: Literal["both", "generated"] = "both",
    blocks: Annotated[int, Range(5, 1000)] = 15,
    seed: Seed = 0,
) -> Iterable[Measurement]:
    """Fréchet distance at infinitely many images, from a line over 1/n (Chong & Forsyth 2020).

    cut: both sides are cut down together, which takes off the bias of both, or the generated one only, as the paper
    does. at.statistic: value, standard_error, slope.
    """
    from bench.quality import metrics

    choice = metrics.Choice(images, features, recipe, reference, dtype)
    return metrics.frechet_infinity(subject, choice, cut=cut, blocks=blocks, seed=seed)


@register_metric(
    "kid",
    unit="1",
    better="lower",
    kind="quality",
    needs=NEEDS,
    work=_compared,
    missing=_missing,
    recipe=(*RECIPE, "subset_size"),
    judged=VALUES,
    conflicts=compared_conflicts,
    objections=compared_objections,
)
def kid(
    subject: Subject,
    effort: Effort,
    images: Images = 1000,
    features: Extractor = "digits-cnn",
    recipe: RecipeName = "tf",
    reference: Reference = "train",
    dtype: Dtype = "float32",
    subsets: Annotated[int, Range(1, 10_000)] = 100,
    subset_size: Annotated[int, Range(2, 100_000)] | None = None,
    seed: Seed = 0,
) -> Iterable[Measurement]:
    """Kernel distance of samples to real images over seeded subsets; unbiased in n, and may fall below zero.

    subset_size: 1000, or half of the smaller side where that is less. at.statistic: value (the mean), spread (the
    standard deviation over subsets), subsets (all values).
    """
    from bench.quality import metrics

    choice = metrics.Choice(images, features, recipe, reference, dtype)
    return metrics.kernel_distance(subject, choice, subsets=subsets, subset_size=subset_size, seed=seed)


@register_metric(
    "precision_recall",
    unit="1",
    better="higher",
    kind="quality",
    needs=NEEDS,
    work=_compared,
    missing=_missing,
    recipe=(*RECIPE, "used", "neighbours"),
    judged=VALUES,
    conflicts=compared_conflicts,
    objections=compared_objections,
)
def precision_recall(
    subject: Subject,
    effort: Effort,
    images: Images = 1000,
    features: Extractor = "digits-cnn",
    recipe: RecipeName = "tf",
    reference: Reference = "train",
    dtype: Dtype = "float32",
    neighbours: Annotated[int, Range(1, 1000)] = 3,
) -> Iterable[Measurement]:
    """How many samples look real, and how much of the real images they cover, at equal numbers of both.

    at.which: precision, recall, density, coverage; at.used: images of each side.
    """
    from bench.quality import metrics

    choice = metrics.Choice(images, features, recipe, reference, dtype)
    return metrics.coverage(subject, choice, neighbours=neighbours)


@register_metric(
    "samples",
    unit="images",
    better=None,
    kind="quality",
    needs=(Need.TRAINED_WEIGHTS, Need.SAMPLER),
    work=_drawn,
    facts=("sample_hash",),
    objections=samples_objections,
)
def samples(
    subject: Subject, effort: Effort, images: Drawn = 60, columns: Drawn = 12, scale: Scale = 2
) -> Iterable[Measurement]:
    """How many samples were drawn for one picture of them: the first ones of the seed, row by row, never chosen.

    at.sample_hash: a hash of their values, which equal samples share. The picture is for figures of kind `images`.
    """
    from bench.quality.sample_grid import sample_grid

    return sample_grid(subject, images=images, columns=columns, scale=scale)


@register_metric(
    "denoising",
    unit="1",
    better=None,
    kind="quality",
    needs=NEEDS,
    work=_walked,
    missing=_missing_scores,
    recipe=("n", "fingerprint"),
    judged={**VALUES, "which": SCORED},
    conflicts=replicates_conflicts,
    objections=denoising_objections,
)
def denoising(
    subject: Subject,
    effort: Effort,
    images: Images = 100,
    scores: tuple[ScoreName, ...] = ("ssim", "psnr", "perceptual[digits-cnn]"),
    replicates: Replicates = 200,
    seed: Seed = 0,
) -> Iterable[Measurement]:
    """Scores of test images that are noised to the walk's first timestep and walked back, after every step.

    The cell's sampler is the walk (`chain` visits every timestep); image i's noise is the same for every model. A step
    is one that was executed: step k is after k network calls. scores: those that the pictures cannot have (the digits
    classifier on photographs) are left out with a warning. at.score; at.iterate: x_t, the iterate over sqrt(abar), or
    pred_x0, both cut to [0, 1]; at.which, one value an image:
    noisy (before the walk), first and final (after the first and the last step),
    best, best_step, best_timestep (where this image is best: an oracle, which looks at the clean image),
    chosen, chosen_step (at the best step of the mean curve of the other half of the images),
    judged (at the step that the first of `scores` chose so: one picture for all scores),
    elbow_step (where the curve bends most after its best step);
    and of the mean curve of all images: mean_best, mean_best_step (chosen and reported on the same images), mean_chosen
    (as chosen), each with replicates in which images are drawn and the step is chosen again; mean_curve and curve (of
    image 0): one value a step, over steps (1, 2, ...) or timesteps. The artifact holds every curve. A restorer makes
    one call, which is all there is.
    """
    from bench.quality.denoise import denoising

    return denoising(subject, images=images, scores=scores, replicates=replicates, seed=seed)


@register_metric(
    "denoising_pictures",
    unit="images",
    better=None,
    kind="quality",
    needs=NEEDS,
    work=_shown,
    objections=pictures_objections,
)
def denoising_pictures(
    subject: Subject,
    effort: Effort,
    images: Annotated[int, Range(1, 64)] = 4,
    frames: Annotated[int, Range(2, 24)] = 10,
    scale: Annotated[int, Range(1, 8)] = 3,
    score: ScoreName = "ssim",
) -> Iterable[Measurement]:
    """Pictures of the first test images on the way of `denoising`, for figures of kind `strip` or `images`.

    at.show: noise, the way in: x_t at `frames` timesteps from the clean image to the start of the walk. walk, the way
    back: for each image a row of iterates x_t / sqrt(abar) and under it a row of predicted clean images, at `frames`
    executed steps. result, from left to right: clean, noisy, the first prediction, the best prediction, the best
    iterate (both chosen with the clean image by `score`), the last step; of a restorer: clean, noisy, restored.
    """
    from bench.quality.denoised_pictures import denoising_pictures

    return denoising_pictures(subject, images=images, frames=frames, scale=scale, score=score)
