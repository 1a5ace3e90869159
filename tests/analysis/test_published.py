"""The printed tables, as they are printed."""

from __future__ import annotations

import pytest

from bench.analysis.published import Published, PublishedTable, parse_published, published_papers, read_published
from bench.contracts import Scalar
from bench.errors import UnknownName, UserError

SMALL = """\
schema: 1
paper: small
title: T
authors: A
cite: A et al.
tables:
  - id: "1"
    caption: C
    metric: latency
    unit: s
    stated: []
    not_stated: []
    columns:
      - {label: one, factors: {model.c: 1}}
      - {label: two, factors: {model.c: 2}}
    rows:
      - {label: a, factors: {model: x}, printed: "1.50 -"}
      - {label: b, factors: {model: [y, z]}, printed: ".75 3"}
    caveats:
      - {text: of the row, row: a}
      - {text: of the number, row: b, column: two}
      - {text: of the table}
"""


@pytest.fixture
def small() -> PublishedTable:
    return parse_published(SMALL, "small.yaml").table("1")


def test_both_papers_are_there_with_all_their_tables() -> None:
    assert published_papers() == ("adaptive-skip", "missing-u")
    assert [table.id for table in read_published("adaptive-skip").tables] == ["1", "2", "3"]
    assert [table.id for table in read_published("missing-u").tables] == ["1", "2", "3", "4", "5", "figure-6"]


def rows(paper: str, table: str) -> dict[str, str]:
    return {row.label: " ".join(row.texts) for row in read_published(paper).table(table).rows}


def test_the_tables_of_adaptive_skip_are_as_printed() -> None:
    assert rows("adaptive-skip", "1") == {
        "DDPM": "3.17 16.38 73.15 115.09 143.34",
        "Zero": "4.58 4.46 5.59 9.40 16.19",
        "Duplicate": "4.91 4.55 7.62 14.69 31.79",
        "Interpolate": "4.96 4.71 5.03 7.02 11.47",
    }
    assert rows("adaptive-skip", "2") == {
        "Zero": "0 30.59 47.52 51.44 57.46",
        "Duplicate": "0 32.15 45.63 51.99 58.38",
        "Interpolate": "0 20.86 29.34 32.68 36.19",
    }
    assert rows("adaptive-skip", "3") == {
        "eta 0": "16.80 12.48 9.74 8.75 7.79 13.46 6.84 4.67 4.16 4.04",
        "eta 0.5": "17.96 12.754 9.43 8.23 6.90 16.66 8.35 5.25 4.46 4.29",
        "eta 1": "29.00 18.71 11.90 8.92 6.00 41.07 18.36 8.01 5.78 4.73",
        "DDPM": "209.72 124.69 56.15 28.01 4.57 367.43 133.37 32.72 9.99 3.17",
    }


def test_the_tables_of_missing_u_are_as_printed() -> None:
    assert rows("missing-u", "1") == {
        "U-Net": "3.61 30 3.56 19.75 100 12.48 12.28 100 12.14",
        "U-Net + DDIM": "3.73 11 1.12 19.54 30 3.08 11.89 40 4.25",
        "cU-Net": "2.98 5 0.54 21.44 80 7.36 12.14 90 8.33",
        "cU-Net + DDIM": "2.55 2 0.18 21.41 15 1.37 11.77 30 2.68",
    }
    assert rows("missing-u", "2")["t = 250"] == ".72 .64 .104 .084"
    assert rows("missing-u", "3")["t = 800"] == "731 284 153.38 39.11 668 284 140.26 39.05"
    assert rows("missing-u", "4")["BM3D"] == ".74 .062 .26 .624 .06 .977"
    assert rows("missing-u", "5") == {
        "U-Net": "7.21 545.5",
        "cU-Net": "2.90 137.9",
        "without attention": "2.81 128.7",
        "without resblocks": "1.71 92.0",
        "without both": "1.62 88.4",
    }
    assert rows("missing-u", "figure-6")["cU-Net"] == "8811875"


def test_every_printed_table_says_what_is_stated_or_not() -> None:
    for paper in published_papers():
        for table in read_published(paper).tables:
            assert table.stated or table.not_stated, f"{paper} {table.id}"
            assert table.caveats, f"{paper} {table.id}"


def test_a_printed_number_is_kept_in_the_unit_we_store() -> None:
    saved = read_published("adaptive-skip").table("2").entry("Zero", "c = 2")
    size = read_published("missing-u").table("5").entry("U-Net", "MB")
    macs = read_published("missing-u").table("5").entry("U-Net", "GFLOPS")

    assert [saved.value, saved.tolerance] == pytest.approx([0.4752, 5e-5])
    assert [each.stored_unit for each in (saved, size, macs)] == ["1", "bytes", "MAC"]
    assert size.value == 545.5 * 2**20
    assert [macs.value, macs.tolerance] == pytest.approx([7.21e9, 5e6])


def test_caveats_belong_to_a_number_a_row_or_the_table(small: PublishedTable) -> None:
    assert small.general_caveats == ("of the table",)
    assert small.entry("a", "one").caveats == ("of the row",)
    assert small.entry("b", "two").caveats == ("of the number",)
    assert small.entry("b", "one").caveats == ()


def test_nothing_is_printed_where_there_is_a_dash(small: PublishedTable) -> None:
    assert len(small.entries()) == 3
    with pytest.raises(KeyError):
        small.entry("a", "two")


def test_a_cell_finds_its_printed_number_by_all_of_its_factors(small: PublishedTable) -> None:
    cell: dict[str, Scalar] = {"model": "x", "model.c": 1.0, "device": "cpu"}

    found = small.find(cell, "latency", None)

    assert found is not None and found.text == "1.50"
    assert small.find({**cell, "model": "w"}, "latency", None) is None
    assert small.find({"model": "x"}, "latency", None) is None
    assert small.find(cell, "fid", None) is None
    assert small.find(cell, "latency", "ratio") is None


def test_a_row_or_a_column_may_stand_for_cells_that_share_no_factor() -> None:
    text = SMALL.replace("{label: a, factors: {model: x}", "{label: a, factors: {model: x}, also: [{other: true}]")
    text = text.replace("{label: one, factors: {model.c: 1}}", "{label: one, factors: {model.c: 1}, also: [{path: d}]}")
    table = parse_published(text, "small.yaml").table("1")

    cells: list[dict[str, Scalar]] = [{"model": "x"}, {"other": True}]
    places: list[dict[str, Scalar]] = [{"model.c": 1}, {"path": "d"}]
    found = [table.find({**cell, **place}, "latency", None) for cell in cells for place in places]

    assert [each and each.text for each in found] == 4 * ["1.50"]
    assert table.find({"other": False, "path": "d"}, "latency", None) is None
    assert len(table.entries()) == 3


@pytest.mark.parametrize("model", ["y", "z"])
def test_a_row_may_stand_for_any_of_several_values(small: PublishedTable, model: str) -> None:
    found = small.find({"model": model, "model.c": 2}, "latency", None)

    assert found is not None and found.text == "3"


def test_the_more_particular_of_two_numbers_is_meant() -> None:
    table = read_published("adaptive-skip").table("1")
    cell: dict[str, Scalar] = {"model.skip": "zero", "model.skip_exponent": 0.0, "model.weights": "shipped"}

    ours = table.find(cell, "fid", None)
    theirs = table.find({**cell, "model.weights": "pretrained"}, "fid", None)

    assert ours is not None and ours.row == "Zero"
    assert theirs is not None and theirs.row == "DDPM"


def test_two_numbers_that_fit_equally_well_are_none(small: PublishedTable) -> None:
    twice = SMALL.replace("model: [y, z]", "model: x")

    assert parse_published(twice, "f").table("1").find({"model": "x", "model.c": 1}, "latency", None) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('printed: "1.50 -"', 'printed: "1.50"'), r"f.yaml: tables\[0\]: row 'a' has 1 numbers for 2 columns"),
        (('".75 3"', '".75 nan"'), "'nan' is not a number"),
        (("unit: s", "unit: furlongs"), "unit 'furlongs' is not one of"),
        (("row: b, column", "row: bb, column"), "a caveat is about row 'bb'"),
        (("label: two", "label: one"), "two columns have the same label"),
        (("    metric: latency\n", ""), "column 'one' has no metric"),
        (("caption: C", "captoin: C"), r"tables\[0\].captoin: Extra inputs are not permitted"),
        (("schema: 1", "schema: 2"), "f.yaml: schema"),
        (("tables:", "tables: ["), r"f.yaml:\d+: not YAML"),
        (("title: T", "title: 2026-11-20"), "holds something that is not text"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(change: tuple[str, str], message: str) -> None:
    assert change[0] in SMALL
    with pytest.raises(UserError, match=message):
        parse_published(SMALL.replace(*change), "f.yaml")


def test_a_paper_or_table_that_is_not_there_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownName, match="did you mean 'adaptive-skip'"):
        read_published("adaptive_skip")
    with pytest.raises(UnknownName, match=r"no table '7' \(known: 1, 2, 3\)"):
        read_published("adaptive-skip").table("7")


def test_figures_and_tables_are_named_as_the_paper_names_them() -> None:
    names = [table.name for table in read_published("missing-u").tables]

    assert names[-2:] == ["Table 5", "Figure 6"]


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(UserError, match="the file"):
        parse_published("", "f.yaml")


def test_published_types_are_closed() -> None:
    assert Published.model_config["frozen"] and Published.model_config["extra"] == "forbid"
