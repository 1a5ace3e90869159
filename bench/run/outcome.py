"""From what a visit gave, or how it failed, to records. Both sides of the process border make their records here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from numbers import Real

from bench.contracts import AddressKey, Measurement, Scalar, address_key
from bench.errors import (
    BenchError,
    MeasurementError,
    MissingData,
    MissingWeights,
    NonFiniteOutput,
    StoreError,
    Unsupported,
    UnsupportedOperator,
)
from bench.run.schedule import Visit
from bench.store.fields import WrongField, described
from bench.store.record import MAX_LINE_BYTES, RECORD, SCHEMA, InputFile, Record, Status, from_line, to_line

MAX_REASON = 400
"""Characters of a reason; the log has the rest."""
_MEASURED = ("values", "nfe", "warnings", "artifact")
_HALVES = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs that stand for no byte of a file name, and so cannot be saved."""


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
    found = tuple(_checked(visit, each) for each in measurements)
    if not found:
        raise MeasurementError(f"{visit.metric.name} gave no measurement; a metric must give a value or raise")
    addresses: list[tuple[AddressKey, dict[str, Scalar]]] = []
    for each in found:
        key, at = address_key(visit.spec.address(each.at)), dict(each.at)
        twin = next((other for address, other in addresses if address == key or other == at), None)
        if twin is not None:
            raise MeasurementError(_one_address(visit, twin, at))
        addresses.append((key, at))
    records = tuple(
        _record(
            visit,
            around,
            status=Status.OK,
            at=dict(each.at),
            values=each.values,
            nfe=each.nfe,
            warnings=each.warnings,
            artifact=each.artifact,
            siblings=len(found),
        )
        for each in found
    )
    return tuple(_as_saved(visit, record) for record in records)


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
    text = _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    cleaned = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip() or "no message"
    return cleaned if len(cleaned) <= MAX_REASON else f"{cleaned[: MAX_REASON - 1]}…"


def _one_address(visit: Visit, first: Mapping[str, Scalar], second: Mapping[str, Scalar]) -> str:
    """The sentence for two measurements that no reader could tell apart."""
    name, spec = visit.metric.name, visit.spec
    if first == second:  # also 1 and true, which a file of records does not tell apart
        return (
            f"{name} gave two measurements at {dict(second)}; each needs its own: a key of `at` that tells it from the "
            "others, such as {'timestep': t}"
        )
    differ = sorted(key for key in {*first, *second} if first.get(key) != second.get(key))
    listed = " and ".join(map(repr, differ))
    return (
        f"{name} gave two measurements that differ only in {listed} of `at`, which it is registered with as "
        f"{'recipe' if set(differ) <= spec.recipe else 'facts'}; take {listed} out of there, or give each another key"
    )


def _checked(visit: Visit, each: object) -> Measurement:
    """A measurement in plain types. Raises unless it is what its metric promises."""
    name, spec = visit.metric.name, visit.spec
    if not isinstance(each, Measurement):
        raise MeasurementError(f"{name} gave {described(each)}, expected a Measurement")
    if (each.metric, each.unit) != (name, spec.unit):
        raise MeasurementError(
            f"{name} gave a measurement called {described(each.metric)} in {described(each.unit)}; it is registered as "
            f"{name!r} in {spec.unit!r}"
        )
    try:
        at = RECORD["at"]("at", each.at)
        for value in each.values if isinstance(each.values, list | tuple) else ():
            if isinstance(value, Real) and not isinstance(value, int) and not math.isfinite(value):
                raise NonFiniteOutput(f"{name} gave {float(value)} at {at}" if at else f"{name} gave {float(value)}")
        found = {field: RECORD[field](field, getattr(each, field)) for field in _MEASURED}
    except WrongField as error:
        raise MeasurementError(f"{name}: {error}") from error
    if not found["values"]:
        raise MeasurementError(f"{name} gave a measurement without values")
    return replace(each, at=at, **found)


def _as_saved(visit: Visit, record: Record) -> Record:
    """A record as it will be read. Raises MeasurementError when it could not be."""
    try:
        line = to_line(record)
        if len(line.encode()) >= MAX_LINE_BYTES:
            raise StoreError(f"a record of {len(line.encode()):,} bytes, expected fewer than {MAX_LINE_BYTES:,}")
        return from_line(line)
    except (TypeError, ValueError, StoreError) as error:
        raise MeasurementError(f"{visit.metric.name} gave something that cannot be saved: {error}") from error


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
