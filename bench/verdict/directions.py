"""Which numbers of a metric are judged, and which side of them is the better one."""

from __future__ import annotations

from collections.abc import Mapping

from bench.analysis.samples import STATISTIC, VALUE
from bench.contracts import MetricSpec, Scalar
from bench.quality.score_names import HIGHER, SCORE_NAMES
from bench.verdict.decide import Better

SCORED = frozenset({"final", "first", "best", "chosen", "judged", "noisy", "mean_best", "mean_chosen"})
"""What `at.which` calls a score of the metric `denoising`; the others are steps, timesteps and curves."""
SAMPLE_HASH = "sample_hash"
"""A key of `at` that is a hash of what was drawn: an exact fact, on one machine."""


def score_of(at: Mapping[str, Scalar]) -> str | None:
    """The picture score a number is of, where its metric gives several."""
    score = at.get("score")
    return score if isinstance(score, str) and score in SCORE_NAMES else None


def direction(spec: MetricSpec, at: Mapping[str, Scalar]) -> Better:
    """Whether less or more is better; None where neither is."""
    score = score_of(at)
    if score is not None:
        return "higher" if score in HIGHER else "lower"
    return spec.better


def is_judged(spec: MetricSpec, at: Mapping[str, Scalar]) -> bool:
    """Spreads, floors, resamples, steps, curves and counts of pictures stand beside a score; they are none."""
    if spec.kind != "quality" or SAMPLE_HASH in at:
        return True
    if at.get(STATISTIC, VALUE) != VALUE or spec.unit == "images":
        return False
    if score_of(at) is not None:
        return at.get("which") in SCORED
    return spec.better is not None or "which" not in at
