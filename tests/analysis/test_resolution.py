"""Which measured number a printed one is: by its digits, by the nearest, and never by guessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from bench.analysis.published import PublishedTable, parse_published, read_published
from bench.analysis.resolution import resolutions
from bench.analysis.results import collect
from bench.contracts import Scalar
from bench.registry import load_builtins
from bench.store.record import Record

TABLE = """\
schema: 1
paper: small
title: T
authors: A
cite: A et al.
tables:
  - id: "5"
    caption: C
    unit: ""
    stated: []
    not_stated: []
    columns:
      - {label: GFLOPS, metric: macs, unit: GMAC, factors: {}}
      - {label: MB, metric: checkpoint_bytes, unit: MiB, factors: {}}
    rows:
      - {label: big, factors: {}, printed: "7.21 545.5"}
      - {label: small, factors: {}, printed: "2.90 137.9"}
"""
MIB = 2.0**20
NAMES = ("model", "model.attention")
Make = Callable[..., Record]


@pytest.fixture(autouse=True)
def _registered() -> None:
    load_builtins()


@pytest.fixture
def table() -> PublishedTable:
    return parse_published(TABLE, "small.yaml").table("5")


def cell(record: Make, name: str, thop: float, dispatch: float, mib: float) -> list[Record]:
    model, _, attention = name.partition("/")
    factors: dict[str, Scalar] = {"model": model, **({"model.attention": attention} if attention else {})}

    def made(metric: str, siblings: int, value: float, **at: Scalar) -> Record:
        return record(metric=metric, values=(value,), at=at, part="", factors=factors, siblings=siblings)

    return [
        made("macs", 3, thop, counter="thop-like", stage=0, calls=1000),
        made("macs", 3, dispatch, counter="dispatch", stage=0, calls=1000),
        made("macs", 3, 2.9e9, counter="dispatch", stage=1, calls=3),  # of another stage, whatever it is
        made("checkpoint_bytes", 1, mib * MIB, part="file"),
    ]


def sentences(table: PublishedTable, records: Sequence[Record], names: Sequence[str] = NAMES) -> Mapping[str, str]:
    results = collect(records)
    found = resolutions(table, results, results.points, names)
    return {each.sentence.partition(": ")[0]: each.sentence.partition(": ")[2] for each in found}


def test_a_printed_number_is_the_one_that_rounds_to_its_digits(table: PublishedTable, record: Make) -> None:
    records = [
        *cell(record, "unet", 7.206e9, 7.31e9, 545.46),
        *cell(record, "cunet/two", 2.831e9, 2.84e9, 132.73),
        *cell(record, "cunet/five", 2.9023e9, 3.45e9, 137.87),
    ]

    assert sentences(table, records) == {
        "Table 5, big": "7.21 GMAC is unet by thop-like (7.206); 545.5 MiB is unet (545.46).",
        "Table 5, small": "2.90 GMAC is cunet, attention = five by thop-like (2.902); "
        "137.9 MiB is cunet, attention = five (137.87).",
        "Table 5, macs": "of the 2 printed numbers, cells here give 7.21, 2.90 by thop-like.",
    }


def test_where_nothing_rounds_to_it_the_nearest_is_named_with_its_distance(table: PublishedTable, record: Make) -> None:
    records = [*cell(record, "unet", 7.206e9, 8e9, 545.0), *cell(record, "cunet/five", 2.9e9, 3e9, 137.77)]

    assert (
        "nothing measured here rounds to 137.9 MiB; the nearest is cunet, attention = five (137.77), 0.094 % less"
        in (sentences(table, records)["Table 5, small"])
    )


def test_a_row_whose_numbers_are_of_different_networks_is_called_that(table: PublishedTable, record: Make) -> None:
    records = [
        *cell(record, "unet", 7.21e9, 7.5e9, 545.5),
        *cell(record, "cunet/two", 2.83e9, 2.84e9, 137.9),
        *cell(record, "cunet/five", 2.90e9, 3.45e9, 140.0),
    ]

    told = sentences(table, records)

    assert told["Table 5, small"].endswith("No one network gives the whole row.")
    assert "No one network" not in told["Table 5, big"]


def test_a_row_is_of_one_network_when_one_fits_by_any_way(table: PublishedTable, record: Make) -> None:
    records = [*cell(record, "cunet/two", 2.900e9, 9e9, 100.0), *cell(record, "cunet/five", 2.5e9, 2.904e9, 137.9)]

    assert "No one network" not in sentences(table, records)["Table 5, small"]


def test_several_that_fit_are_all_named_and_many_are_counted(table: PublishedTable, record: Make) -> None:
    records = [each for i in range(5) for each in cell(record, f"cunet/{i}", 2.9e9 + i * 1e6, 9e9, 100.0 + i)]

    told = sentences(table, records)["Table 5, small"]

    assert told.startswith(
        "2.90 GMAC is cunet, attention = 0 by thop-like (2.900) or cunet, attention = 1 by thop-like"
    )
    assert "(2.902), and 2 more;" in told


def test_cells_with_the_same_number_are_one_candidate(table: PublishedTable, record: Make) -> None:
    records = [*cell(record, "cunet/two", 2.9e9, 9e9, 1.0), *cell(record, "cunet/twice", 2.9e9, 9e9, 2.0)]

    assert "2.90 GMAC is cunet, attention = two by thop-like (2.900);" in sentences(table, records)["Table 5, small"]


def test_ways_that_give_more_of_the_print_come_first_and_one_cell_is_named_once(
    table: PublishedTable, record: Make
) -> None:
    records = [*cell(record, "unet", 9e9, 7.21e9, 1.0), *cell(record, "cunet/two", 2.904e9, 2.896e9, 2.0)]

    told = sentences(table, records)

    assert "2.90 GMAC is cunet, attention = two by dispatch (2.896) and by thop-like (2.904);" in told["Table 5, small"]
    assert (
        told["Table 5, macs"] == "of the 2 printed numbers, cells here give 7.21, 2.90 by dispatch; 2.90 by thop-like."
    )


def test_one_cell_alone_resolves_nothing(table: PublishedTable, record: Make) -> None:
    assert sentences(table, cell(record, "unet", 7.21e9, 7.5e9, 545.5)) == {}


def test_what_is_not_exact_or_was_not_measured_is_left_out(record: Make) -> None:
    table = read_published("missing-u").table("1")
    records = [record(c=c, metric="latency", part="", values=(3.56,)) for c in (0.0, 1.0)]

    assert sentences(table, records, ("model",)) == {}
