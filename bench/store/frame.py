"""Records as a tidy table: one row per raw value, one column per thing that was varied.

The only file of this room that imports pandas. Works alike with pandas 2.2 and 3: text and mixed columns have the
dtype `object`, so an integer factor stays an integer beside a missing one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bench.store.record import Record

FIXED = ("run", "cell", "suite", "metric", "part", "index", "value", "unit", "nfe", "status", "reason")
"""Columns that are always there. The others are the factors by their own names, `conditions.x`, `params.x` (arguments
of the metric) and `at.x`; None stands where a cell does not have one."""


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row per raw value, in the order of the records; a record without values gives one row with value NaN.

    index: 0-based position of the value in its record. value: float64, in the record's SI unit. nfe: object, an int or
    None. Give it `Run.records`, which holds no superseded records; statuses, warnings and facts stay with the records.
    """
    rows = [row for record in records for row in _rows(record)]
    varied = dict.fromkeys(name for row in rows for name in row if name not in FIXED)
    order = ("run", "cell", "suite", *varied, *FIXED[3:])
    return pd.DataFrame({name: _column(name, rows) for name in order})


def _rows(record: Record) -> Iterable[dict[str, Any]]:
    common: dict[str, Any] = {
        "run": record.run,
        "cell": record.cell,
        "suite": record.suite,
        **record.factors,
        **_prefixed("conditions", record.conditions),
        **_prefixed("params", record.metric_params),
        **_prefixed("at", record.at),
        "metric": record.metric,
        "part": record.part,
        "unit": record.unit,
        "nfe": record.nfe,
        "status": str(record.status),
        "reason": record.reason,
    }
    for index, value in enumerate(record.values or (float("nan"),)):
        yield {**common, "index": index, "value": value}


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def _column(name: str, rows: list[dict[str, Any]]) -> pd.Series[Any]:
    dtype = {"index": "int64", "value": "float64"}.get(name, "object")
    return pd.Series([row.get(name) for row in rows], dtype=dtype)
