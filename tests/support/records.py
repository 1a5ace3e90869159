"""Records by hand: only what a test speaks of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.contracts import Scalar
from bench.store.record import Record, Status

MakeRecord = Callable[..., Record]


def make_record(
    skip: str = "zero",
    c: float = 0.0,
    *,
    metric: str = "latency",
    part: str = "",
    values: tuple[float, ...] = (1.0,),
    at: Mapping[str, Scalar] | None = None,
    unit: str = "s",
    run: str = "20261120-101500-ab12cd",
    reused: str | None = None,
    status: Status = Status.OK,
    reason: str | None = None,
    params: Mapping[str, Scalar] | None = None,
    factors: Mapping[str, Scalar] | None = None,
    threads: int = 1,
    seed: int = 0,
    subject: Mapping[str, Scalar] | None = None,
    siblings: int = 1,
    started: str = "2026-11-20T10:15:00Z",
    suite: str = "s",
    nfe: int | None = None,
    warnings: tuple[str, ...] = (),
) -> Record:
    """make_record("zero", 2, metric="latency", part="p0r0", values=(1.0,)): of the cell skip=zero, c=2."""
    own: dict[str, Scalar] = {"model": "skip-unet", "model.skip": skip, "model.skip_exponent": c}
    found = own if factors is None else dict(factors)
    name = ",".join(f"{name}={value}" for name, value in found.items())
    return Record(
        schema=1,
        run=run,
        cell=f"{suite}/{name}-{threads}-{seed}",
        suite=suite,
        factors=found,
        conditions={"device": "cpu", "threads": threads},
        metric=metric,
        metric_params=params or {},
        unit=unit,
        at=at or {},
        part=part,
        values=values if status is Status.OK else (),
        nfe=nfe,
        status=status,
        reason=reason,
        warnings=warnings,
        subject=subject or {},
        inputs=(),
        effort={},
        seed=seed,
        started=started,
        duration_s=1.0,
        artifact=None,
        reused=reused,
        siblings=siblings,
    )
