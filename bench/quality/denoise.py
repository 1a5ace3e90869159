"""The metric `denoising`: how good the pictures of a walk are, where they are best, and what choosing costs.

Numbers are per image wherever there is one per image, in the order of the data set, so that two cells can be compared
image by image. Shape legend: N steps, B images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Measurement, Scalar
from bench.errors import ParamError
from bench.files import own_folder, whole_file
from bench.quality.best_step import at_steps, best_steps, choose, chosen_steps, elbow_steps
from bench.quality.curves import ENGINE, ITERATES, Curves, Iterate, curves_of
from bench.quality.recipe import digest
from bench.quality.score_names import HIGHER, ScoreName
from bench.subject import Subject

METRIC = "denoising"
LEAST_IMAGES = 2
"""The step of each half of the images is chosen on the other half."""
DIGITS = 7
"""Significant digits that are stored; scores are computed in single precision or little better."""
MOST_PSNR = 120.0
PSNR_IS_CUT = "PSNR is at most 120 dB here: that of pictures which are equal would be infinite"
TRAINED_ON_THEM = "these are training images: a model that remembers them scores too well"


@dataclass(frozen=True)
class _Report:
    """What all numbers of one cell share."""

    subject: Subject
    curves: Curves
    images: int
    nfe: int
    artifact: str
    warnings: tuple[str, ...]

    def measurement(
        self, score: ScoreName, iterate: Iterate, which: str, values: Iterable[float], **more: Scalar
    ) -> Measurement:
        at: dict[str, Scalar] = {"score": score, "iterate": iterate, "which": which, "statistic": "value", **more}
        at |= {"n": self.images, "fingerprint": self.fingerprint(score)}
        stored = tuple(float(f"{float(value):.{DIGITS}g}") for value in values)
        cut = score == "psnr" and not which.endswith("step") and max(stored, default=0.0) >= MOST_PSNR
        warnings = (*self.warnings, PSNR_IS_CUT) if cut else self.warnings
        return Measurement(METRIC, "1", stored, at, nfe=self.nfe, artifact=self.artifact, warnings=warnings)

    def axis(self, which: str, values: Iterable[int]) -> Measurement:
        """What the curves are drawn against."""
        at: dict[str, Scalar] = {"which": which, "statistic": "value"}
        return Measurement(METRIC, "1", tuple(map(float, values)), at, nfe=self.nfe, artifact=self.artifact)

    def fingerprint(self, score: ScoreName) -> str:
        """Equal for numbers that may be compared: same score, same images, same noise drawn for them."""
        data = self.subject.data
        assert data is not None  # the curves were made of it
        return digest([ENGINE, score, "cut to [0, 1]", data.fingerprint, self.images, self.subject.seed])


def denoising(
    subject: Subject, *, images: int, scores: tuple[ScoreName, ...], replicates: int, seed: int
) -> Iterator[Measurement]:
    """Everything about one walk: see the registered metric for what each `at.which` is."""
    if images < LEAST_IMAGES:
        raise ParamError(f"images must be at least {LEAST_IMAGES}, got {images}")
    curves = curves_of(subject, images, scores)
    assert subject.data is not None  # the curves were made of it
    report = _Report(
        subject,
        curves,
        images,
        nfe=len(curves.timesteps),
        artifact=write_curves(subject, curves),
        warnings=((TRAINED_ON_THEM,) if subject.data.split == "train" else ())
        + curves.left_out
        + curves.made_elsewhere,
    )
    yield report.axis("steps", range(1, 1 + len(curves.timesteps)))
    yield report.axis("timesteps", curves.timesteps)
    for index, score in enumerate(curves.scores):
        yield report.measurement(score, "x_t", "noisy", curves.noisy[index])
        for iterate in ITERATES:
            yield from _of_one_curve(report, score, iterate, replicates, seed)


def _of_one_curve(
    report: _Report, score: ScoreName, iterate: Iterate, replicates: int, seed: int
) -> Iterator[Measurement]:
    values, higher = report.curves.of(iterate, score), score in HIGHER
    timesteps = np.array(report.curves.timesteps)
    best, chosen = best_steps(values, higher=higher), chosen_steps(values, higher=higher)
    judge = report.curves.scores[0]
    judged = chosen_steps(report.curves.of(iterate, judge), higher=judge in HIGHER)
    per_image: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
        "best": at_steps(values, best),
        "chosen": at_steps(values, chosen),
        "judged": at_steps(values, judged),
        "first": values[0],
        "final": values[-1],
    }
    if len(values) > 1:
        per_image |= {
            "best_step": best,
            "best_timestep": timesteps[best - 1],
            "chosen_step": chosen,
            "elbow_step": elbow_steps(values, higher=higher),
        }
    for which, found in per_image.items():
        yield report.measurement(score, iterate, which, found)
    if len(values) > 1:
        yield from _of_the_mean_curve(report, score, iterate, replicates, seed)


def _of_the_mean_curve(
    report: _Report, score: ScoreName, iterate: Iterate, replicates: int, seed: int
) -> Iterator[Measurement]:
    values = report.curves.of(iterate, score)
    found = choose(values, higher=score in HIGHER, replicates=replicates, seed=seed)
    for which, value, resampled in (
        ("mean_best", found.best, found.best_replicates),
        ("mean_best_step", found.step, found.step_replicates),
        ("mean_chosen", found.chosen, found.chosen_replicates),
    ):
        yield report.measurement(score, iterate, which, [value])
        if replicates:
            yield report.measurement(score, iterate, which, resampled, statistic="replicates")
    yield report.measurement(score, iterate, "mean_curve", values.mean(axis=1))
    yield report.measurement(score, iterate, "curve", values[:, 0], image=0)


def write_curves(subject: Subject, curves: Curves) -> str:
    """Every image's curve as an .npz in the run's folder; returns its name.

    curves: [N, 2, S, images] float32 by step, iterate, score and image; noisy: [S, images]; timesteps: [N]; iterates
    and scores: the names, in order.
    """
    cell = subject.cell
    name = f"artifacts/denoising-{digest([cell.id if cell else '', list(curves.scores), curves.values.shape])}.npz"
    run_dir = subject.workspace.run_dir
    own_folder(run_dir, "artifacts")
    with whole_file(run_dir / name) as file:
        np.savez_compressed(
            file,
            curves=curves.values,
            noisy=curves.noisy,
            timesteps=np.array(curves.timesteps),
            iterates=np.array(ITERATES),
            scores=np.array(curves.scores),
        )
    return name
