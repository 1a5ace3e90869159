"""Warnings that only show when all visits of a cell are seen together: drift, spread, processes that disagree."""

from __future__ import annotations

from collections.abc import Mapping

from bench.analysis.results import Results
from bench.measure.stability import stability_warnings
from bench.registry import METRICS
from bench.store.record import Status

Unsteady = Mapping[tuple[str, str], tuple[str, ...]]
"""(cell id, metric) -> warnings."""


def unsteady(results: Results) -> Unsteady:
    """What can be said against the timings of each cell; metrics of plug-ins that are not loaded go by their unit."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for (cell, metric), records in results.by_metric.items():
        groups: dict[str, dict[str, list[float]]] = {}
        for record in records:
            if record.status is Status.OK and _timed(metric, record.unit):
                stage = record.at.get("stage")
                visits = groups.setdefault("" if stage is None else f"stage {stage}: ", {})
                visits.setdefault(record.part, []).extend(record.values)
        warnings = tuple(
            f"{name}{warning}" for name, visits in groups.items() for warning in stability_warnings(visits, 0.0)
        )
        if warnings:
            found[cell, metric] = warnings
    return found


def _timed(metric: str, unit: str) -> bool:
    if metric not in METRICS:
        return unit == "s"
    spec = METRICS.get(metric).spec
    return spec is not None and spec.kind == "timing"
