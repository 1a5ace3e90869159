"""The smallest change that matters, for each kind of number. Explicit, so that a suite's user can disagree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bench.contracts import MetricKind
from bench.errors import UserError, did_you_mean

MEBIBYTE = 2.0**20


@dataclass(frozen=True)
class Tolerance:
    """A change that is no larger does not matter: the larger of a share of the number and a plain amount."""

    relative: float = 0.0
    absolute: float = 0.0
    """In the number's own unit."""

    def of(self, base: float, new: float) -> float:
        """The largest change between these two that does not matter. The same both ways."""
        return max(self.absolute, self.relative * max(abs(base), abs(new)))


DEFAULTS: Mapping[MetricKind, Tolerance] = {
    "exact": Tolerance(),
    "timing": Tolerance(relative=0.10),
    "memory": Tolerance(relative=0.05, absolute=MEBIBYTE),
    "quality": Tolerance(relative=0.02),
}
"""timing: two runs at different times differ by several per cent for no reason; `bench gate` decides 5 %. memory:
twelve fresh processes repeated every peak within 0.25 MiB, so one process is enough. quality: the same images are
scored."""

BY_METRIC: Mapping[str, Tolerance] = {
    "kid": Tolerance(relative=0.02, absolute=5e-4),
    "precision_recall": Tolerance(absolute=0.01),
    "ssim": Tolerance(absolute=0.005),
    "ssim[wang2004]": Tolerance(absolute=0.005),
    "psnr": Tolerance(absolute=0.1),
}
"""Where a share of the number is no measure, because it may be near zero, is a share itself, or counts decibels. Scores
of restored pictures go by their own names."""


@dataclass(frozen=True)
class Tolerances:
    """Every tolerance of one comparison."""

    by_kind: Mapping[MetricKind, Tolerance] = field(default_factory=lambda: dict(DEFAULTS))
    by_metric: Mapping[str, Tolerance] = field(default_factory=lambda: dict(BY_METRIC))

    def of(self, metric: str, kind: MetricKind, score: str | None = None) -> Tolerance:
        """What holds for a score, or else for its metric, or else for its kind. Exact numbers have none."""
        if kind == "exact":
            return Tolerance()
        found = self.by_metric.get(score) if score is not None else None
        return found or self.by_metric.get(metric, self.by_kind[kind])


def read_tolerances(expressions: Iterable[str]) -> Tolerances:
    """The defaults with `timing=5%`, `latency=3%` or `kid=0.001` in their place.

    A percentage is relative, a plain number absolute, in the metric's own unit. Raises UserError.
    """
    found = Tolerances()
    for expression in expressions:
        name, equals, text = (part.strip() for part in expression.partition("="))
        if not equals or not name:
            raise UserError(f"--tolerance {expression!r}: expected NAME=VALUE, such as timing=5% or kid=0.001")
        tolerance = _read(expression, text)
        if name == "exact":
            raise UserError(f"--tolerance {expression!r}: exact numbers have no tolerance; any change is a change")
        kind = next((each for each in DEFAULTS if each == name), None)
        if kind is not None:
            found = replace(found, by_kind={**found.by_kind, kind: tolerance})
        else:
            found = replace(found, by_metric={**found.by_metric, name: tolerance})
    return found


def _read(expression: str, text: str) -> Tolerance:
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise UserError(f"--tolerance {expression!r}: expected a percentage or a number of at least 0, got {text!r}")
    return Tolerance(relative=value / 100) if percent else Tolerance(absolute=value)


def check_known(tolerances: Tolerances, metrics: Iterable[str]) -> None:
    """Raises UserError when a tolerance names a metric or a score that neither side has."""
    known = tuple(dict.fromkeys(metrics))
    for name in tolerances.by_metric:
        if name not in known and name not in BY_METRIC:
            hint = did_you_mean(name, (*known, *DEFAULTS))
            listed = ", ".join(known) or "none"
            raise UserError(f"--tolerance {name}: the results have no such metric{hint} (known: {listed})")


def tolerance_text(tolerance: Tolerance) -> str:
    """`10 %`, `5 % or 1048576`, or `any` where every change matters."""
    parts = [f"{100 * tolerance.relative:g} %"] if tolerance.relative else []
    parts += [f"{tolerance.absolute:.10g}"] if tolerance.absolute else []
    return " or ".join(parts) or "any"
