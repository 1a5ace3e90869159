"""Which side of a number is the better one, and which keys of `at` say so."""

from __future__ import annotations

from collections.abc import Mapping

from bench.contracts import MetricSpec, Scalar
from bench.quality.score_names import HIGHER, SCORE_NAMES
from bench.verdict.decide import Better

SAMPLE_HASH = "sample_hash"
"""A key of `at` that is a hash of what was drawn: an exact fact, on one machine."""
CALLS = "calls"
"""A key of `at` that counts how often a walk calls what was measured: an exact fact."""


def score_of(at: Mapping[str, Scalar]) -> str | None:
    """The picture score a number is of, where its metric gives several."""
    score = at.get("score")
    return score if isinstance(score, str) and score in SCORE_NAMES else None


def direction(spec: MetricSpec, at: Mapping[str, Scalar]) -> Better:
    """Whether less or more is better; None where neither is. What a metric declares goes before the name of a score."""
    if spec.better is not None:
        return spec.better
    score = score_of(at)
    return None if score is None else "higher" if score in HIGHER else "lower"


def is_drawn(spec: MetricSpec, at: Mapping[str, Scalar]) -> bool:
    """Whether a number says which pictures were drawn, by their hash."""
    return SAMPLE_HASH in spec.facts and SAMPLE_HASH in at
