"""Records by hand: only what a test speaks of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from bench.contracts import Scalar
from bench.store.record import Record, Status

MakeRecord = Callable[..., Record]


@pytest.fixture
def record() -> MakeRecord:
    """record("zero", 2, metric="latency", part="p0r0", values=[1.0], ...): a record of the cell skip=zero, c=2."""

    def make(
        skip: str = "zero",
        c: float = 0.0,
        *,
        metric: str = "latency",
        part: str = "p0r0",
        values: tuple[float, ...] = (1.0,),
        at: Mapping[str, Scalar] | None = None,
        unit: str = "s",
        run: str = "run-1",
        reused: str | None = None,
        status: Status = Status.OK,
        reason: str | None = None,
        warnings: tuple[str, ...] = (),
        params: Mapping[str, Scalar] | None = None,
        factors: Mapping[str, Scalar] | None = None,
        threads: int = 1,
        siblings: int = 1,
    ) -> Record:
        own: dict[str, Scalar] = {"model": "skip-unet", "model.skip": skip, "model.skip_exponent": c}
        found = own if factors is None else factors
        return Record(
            schema=1,
            run=run,
            cell="/".join(f"{name}={value}" for name, value in found.items()) + f"/{threads}",
            suite="s",
            factors=found,
            conditions={"device": "cpu", "threads": threads},
            metric=metric,
            metric_params=params or {},
            unit=unit,
            at=at or {},
            part=part,
            values=values if status is Status.OK else (),
            nfe=None,
            status=status,
            reason=reason,
            warnings=warnings,
            subject={},
            inputs=(),
            effort={},
            seed=0,
            started="2026-11-20T10:15:00Z",
            duration_s=1.0,
            artifact=None,
            reused=reused,
            siblings=siblings,
        )

    return make
