"""From what a visit gave, or how it failed, to records. Both sides of the process border make their records here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath

from bench.contracts import Measurement, Scalar
from bench.errors import (
    BenchError,
    MeasurementError,
    MissingData,
    MissingWeights,
    NonFiniteOutput,
    Unsupported,
    UnsupportedOperator,
)
from bench.run.schedule import Visit
from bench.store.record import SCHEMA, InputFile, Record, Status, to_line

MAX_REASON = 400
"""Characters of a reason; the log has the rest."""


@dataclass(frozen=True)
class Circumstances:
    """What all records of one visit share besides the visit itself."""

    run: str
    started: str
    """UTC, ISO 8601."""
    duration_s: float
    subject: Mapping[str, Scalar]
    inputs: tuple[InputFile, ...] = ()


def utc_text(moment: datetime) -> str:
    """`2026-11-20T10:15:04.123456Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def measured(visit: Visit, measurements: Iterable[Measurement], around: Circumstances) -> tuple[Record, ...]:
    """The records of a visit that gave numbers.

    Raises MeasurementError when they are not what the metric is registered for, and NonFiniteOutput for NaN and
    infinity: a record never holds either.
    """
    found = tuple(measurements)
    if not found:
        raise MeasurementError(f"{visit.metric.name} gave no measurement; a metric must give a value or raise")
    seen: list[dict[str, Scalar]] = []
    for each in found:
        _check(visit, each)
        if dict(each.at) in seen:
            raise MeasurementError(f"{visit.metric.name} gave two measurements at {dict(each.at)}; each needs its own")
        seen.append(dict(each.at))
    records = tuple(
        _record(
            visit,
            around,
            status=Status.OK,
            at=dict(each.at),
            values=tuple(float(value) for value in each.values),
            nfe=each.nfe,
            warnings=tuple(each.warnings),
            artifact=each.artifact,
            siblings=len(found),
        )
        for each in found
    )
    for record in records:
        try:
            to_line(record)
        except (TypeError, ValueError) as error:
            raise MeasurementError(f"{visit.metric.name} gave something that cannot be saved: {error}") from error
    return records


def missed(visit: Visit, status: Status, reason: str, around: Circumstances) -> tuple[Record, ...]:
    """The one record of a visit that gave no number. reason: made one line here."""
    return (_record(visit, around, status=status, reason=one_line(reason)),)


def withdrawn(record: Record, reason: str, started: str) -> Record:
    """What replaces all numbers of a visit that do not hold any more; record: any of them."""
    return replace(
        record,
        status=Status.SKIPPED,
        reason=one_line(reason),
        at={},
        values=(),
        nfe=None,
        warnings=(),
        subject={},
        inputs=(),
        code={},
        started=started,
        duration_s=0.0,
        artifact=None,
        reused=None,
        siblings=1,
    )


def verdict(error: BaseException) -> tuple[Status, str]:
    """What an exception makes of a visit, and the sentence for it."""
    if isinstance(error, Unsupported | UnsupportedOperator):
        return Status.UNSUPPORTED, str(error)
    if isinstance(error, MissingWeights | MissingData):
        return Status.SKIPPED, str(error)
    if is_out_of_memory(error):
        return Status.FAILED, f"OutOfMemory: the cell did not fit into memory: {error}"
    if isinstance(error, SystemExit):
        return Status.FAILED, f"the metric or the model called exit({error.code!r})"
    return Status.FAILED, f"{type(error).__name__}: {error}"


def is_expected(error: BaseException) -> bool:
    """Whether an exception is a refusal of this package, whose message says all there is to say."""
    return isinstance(error, BenchError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the processor or on a device, as far as the exception says."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ in ("OutOfMemory", "OutOfMemoryError")
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def one_line(text: str) -> str:
    """Text as a reason: one line, no control characters, not too long, never empty."""
    cleaned = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip() or "no message"
    return cleaned if len(cleaned) <= MAX_REASON else f"{cleaned[: MAX_REASON - 1]}…"


def _check(visit: Visit, each: Measurement) -> None:
    """Raise unless a measurement is what its metric promises."""
    name, spec = visit.metric.name, visit.spec
    if (each.metric, each.unit) != (name, spec.unit):
        raise MeasurementError(
            f"{name} gave a measurement called {each.metric!r} in {each.unit!r}; it is registered as {name!r} in "
            f"{spec.unit!r}"
        )
    if not each.values:
        raise MeasurementError(f"{name} gave a measurement without values")
    wrong = next((value for value in each.values if not math.isfinite(value)), None)
    if wrong is not None:
        raise NonFiniteOutput(f"{name} gave {wrong} at {dict(each.at)}" if each.at else f"{name} gave {wrong}")
    if each.artifact is not None:
        path = PurePosixPath(each.artifact)
        if path.is_absolute() or ".." in path.parts:
            raise MeasurementError(f"{name}: artifact {each.artifact!r} must lie inside the run's folder")


def _record(
    visit: Visit,
    around: Circumstances,
    *,
    status: Status,
    reason: str | None = None,
    at: Mapping[str, Scalar] | None = None,
    values: tuple[float, ...] = (),
    nfe: int | None = None,
    warnings: tuple[str, ...] = (),
    artifact: str | None = None,
    siblings: int = 1,
) -> Record:
    cell = visit.cell
    return Record(
        schema=SCHEMA,
        run=around.run,
        cell=cell.id,
        suite=cell.suite,
        factors=dict(cell.factors),
        conditions=cell.conditions.model_dump(),
        metric=visit.metric.name,
        metric_params=dict(visit.metric.params),
        unit=visit.spec.unit,
        at=at or {},
        part=visit.part,
        values=values,
        nfe=nfe,
        status=status,
        reason=reason,
        warnings=warnings,
        subject=dict(around.subject),
        inputs=around.inputs,
        effort=cell.effort.model_dump(),
        seed=cell.seed,
        started=around.started,
        duration_s=around.duration_s,
        artifact=artifact,
        siblings=siblings,
    )
