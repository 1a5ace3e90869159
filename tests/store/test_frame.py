"""Records as a tidy table."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from bench.store.frame import FIXED, frame
from bench.store.record import Record, Status

MakeRecord = Callable[..., Record]


def test_every_raw_value_is_a_row_and_every_factor_a_column(record: MakeRecord) -> None:
    table = frame([record(at={"stage": 2}, metric_params={"images": 8}, part="p0r1")])

    assert table.to_dict("records") == [
        {
            "run": "20261120-101500-ab12cd",
            "cell": "toy/skip=zero-01234567",
            "suite": "toy",
            "model": "skip-unet",
            "model.skip": "zero",
            "model.skip_exponent": 2.0,
            "data": None,
            "conditions.device": "cpu",
            "conditions.threads": 1,
            "params.images": 8,
            "at.stage": 2,
            "metric": "latency",
            "part": "p0r1",
            "index": index,
            "value": value,
            "unit": "s",
            "nfe": 10,
            "status": "ok",
            "reason": None,
        }
        for index, value in enumerate((0.25, 0.5))
    ]


def test_record_without_a_number_keeps_its_row_and_its_reason(record: MakeRecord) -> None:
    (row,) = frame([record(status=Status.FAILED)]).to_dict("records")

    assert (row["status"], row["reason"]) == ("failed", "because")
    assert math.isnan(row["value"])


def test_factor_that_only_some_cells_have_leaves_the_others_empty_and_whole(record: MakeRecord) -> None:
    table = frame([record(factors={"model": "a", "model.levels": 4}), record(factors={"model": "b"})])

    assert table["model.levels"].tolist() == [4, 4, None, None]
    assert type(table["model.levels"][0]) is int


def test_column_types_are_the_same_whatever_pandas_would_guess(record: MakeRecord) -> None:
    table = frame([record()])

    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        **dict.fromkeys(table.columns, "object"),
        "index": "int64",
        "value": "float64",
    }


def test_no_records_give_an_empty_table_with_the_fixed_columns() -> None:
    table = frame([])

    assert tuple(table.columns) == FIXED
    assert table.empty


def test_rows_keep_the_order_of_the_records(record: MakeRecord) -> None:
    table = frame([record(part="p1r0"), record(part="p0r0")])

    assert table["part"].tolist() == ["p1r0", "p1r0", "p0r0", "p0r0"]


def test_table_can_be_grouped_by_what_was_varied(record: MakeRecord) -> None:
    table = frame([record(cell=cell, factors={"model": cell}, values=(1.0, 3.0)) for cell in "ab"])

    pd.testing.assert_series_equal(
        table.groupby("model")["value"].mean(),
        pd.Series([2.0, 2.0], index=pd.Index(["a", "b"], dtype=object)),
        check_names=False,
        check_index_type=False,
    )
