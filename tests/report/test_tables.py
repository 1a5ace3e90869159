"""Tables: every number decided, formatted, footnoted; every gap explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import pytest

from bench.analysis.published import Printed, PublishedTable, read_published
from bench.analysis.results import Point, collect
from bench.contracts import Scalar
from bench.registry import load_builtins
from bench.report.document import Entry, Footnote, Table
from bench.report.footnotes import Notes
from bench.report.grids import Measured
from bench.report.printed import find_printed
from bench.report.steadiness import unsteady
from bench.report.tables import build_table
from bench.store.record import Record, Status
from bench.suite.schema import Cell, Chosen, Companion, PublishedRef, Quantity, TableSpec

MakeMeasured = Callable[..., Measured]
SAVED = Quantity(metric="latency", relative="time_saved", to={"model.skip_exponent": 0})
LATENCY = Quantity(metric="latency")
LIMIT = SAVED.model_copy(update={"metric": "macs", "reduce": "total", "label": "MAC limit"})
PUBLISHED = PublishedRef(paper="adaptive-skip", table="2")


def pivot(**changes: object) -> TableSpec:
    spec = TableSpec(id="t", caption="C", rows="model.skip", columns="model.skip_exponent", value=SAVED)
    return spec.model_copy(update=changes)


def listed(
    *values: Quantity, rows: tuple[str, ...] = ("model.skip", "model.skip_exponent"), **more: object
) -> TableSpec:
    return TableSpec(id="t", caption="C", rows=rows, values=values).model_copy(update=more)


def line(table: Table, head: str, label: str) -> tuple[Entry, ...]:
    (row,) = [row for row in table.rows if row.heads[0] == head]
    (found,) = [each for each in row.lines if each.label == label]
    return found.entries


def said(table: Table, about: str) -> list[str]:
    return [note.text for note in table.footnotes if note.about == about and not note.mark]


def test_a_pivot_has_paper_ours_and_what_stands_beside_it(measured: MakeMeasured) -> None:
    table = build_table(pivot(beside=(LIMIT,), published=PUBLISHED), measured())

    assert table.columns == ("c = 0", "c = 1", "c = 2", "c = 3", "c = 5")
    assert [row.heads for row in table.rows] == [("zero",), ("duplicate",), ("interpolate",)]
    assert [each.label for each in table.rows[0].lines] == ["paper", "ours", "MAC limit"]
    assert [each.text for each in line(table, "zero", "paper")] == ["0 %", "30.59 %", "47.52 %", "51.44 %", "57.46 %"]
    assert [each.text for each in line(table, "zero", "MAC limit")] == [
        "0 %",
        "20.58 %",
        "35.61 %",
        "43.07 %",
        "50.35 %",
    ]


def test_an_entry_knows_its_numbers_the_printed_one_and_its_cells(measured: MakeMeasured) -> None:
    entry = line(build_table(pivot(published=PUBLISHED), measured()), "zero", "ours")[2]

    assert entry.value is not None and entry.low is not None and entry.high is not None
    assert entry.low < entry.value < entry.high
    assert entry.paper == pytest.approx(0.4752)
    assert entry.ratio == pytest.approx(entry.value / 0.4752)
    assert entry.mark == "below"
    assert entry.unit == "1"
    assert [cell.split("-")[0] for cell in entry.cells] == [
        "speedup/skip=zero,skip_exponent=2",
        "speedup/skip=zero,skip_exponent=0",
    ]


def test_the_reference_is_marked_and_has_no_interval(measured: MakeMeasured) -> None:
    entry = line(build_table(pivot(), measured()), "zero", "ours")[0]

    assert (entry.text, entry.interval, entry.mark, entry.notes) == ("0 %", "", "reference", ())


def test_the_comparison_is_summed_up_in_a_sentence(measured: MakeMeasured) -> None:
    table = build_table(pivot(published=PUBLISHED), measured())

    assert table.findings == (
        "None of 12 entries agrees with the printed number within our 95 % interval; "
        "the printed number is higher in 12 and lower in 0.",
    )


def test_without_a_printed_table_there_is_one_line_and_columns_say_their_factor(measured: MakeMeasured) -> None:
    table = build_table(pivot(), measured())

    assert table.columns[2] == "skip_exponent = 2"
    assert not table.labelled
    assert table.findings == ()


def test_a_row_of_numbers_has_even_decimals(measured: MakeMeasured) -> None:
    texts = [each.text for each in line(build_table(pivot(), measured()), "zero", "ours")[1:]]
    wide = [text for text in texts if len(text.split()[0].partition(".")[2]) > 2]

    assert wide == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED, Status.UNSUPPORTED])
def test_a_missing_number_is_its_status_and_a_footnote(measured: MakeMeasured, status: Status) -> None:
    def spoil(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            if record.metric != "latency" or "skip=zero,skip_exponent=5-" not in record.cell:
                yield record
            elif record.part == "p0r0":
                yield replace(record, status=status, values=(), reason="no such device", nfe=None)

    table = build_table(pivot(published=PUBLISHED), measured(spoil))
    entry = line(table, "zero", "ours")[4]

    assert (entry.text, entry.mark, entry.value) == (str(status), "missing", None)
    assert entry.paper == pytest.approx(0.5746)
    assert Footnote(f"{status}: no such device", entry.notes[0]) in table.footnotes
    assert "of 11 entries" in table.findings[0]


def test_a_planned_cell_without_records_says_so(measured: MakeMeasured) -> None:
    table = build_table(
        pivot(), measured(lambda records: (r for r in records if "zero,skip_exponent=3-" not in r.cell))
    )
    entry = line(table, "zero", "ours")[3]

    assert entry.text == "not measured"
    assert any("the run ended before" in note.text for note in table.footnotes if note.mark in entry.notes)


def test_a_place_where_the_suite_has_no_cell_is_a_dash(measured: MakeMeasured, cells: tuple[Cell, ...]) -> None:
    fewer = [cell for cell in cells if "zero,skip_exponent=3-" not in cell.id]
    found = measured(lambda records: (r for r in records if "zero,skip_exponent=3-" not in r.cell), fewer)

    table = build_table(pivot(), found)
    entry = line(table, "zero", "ours")[table.columns.index("skip_exponent = 3")]

    assert (entry.text, entry.notes) == ("\N{EN DASH}", ())


def test_a_place_that_several_cells_claim_names_what_tells_them_apart(measured: MakeMeasured) -> None:
    table = build_table(pivot(rows="model"), measured())
    entry = table.rows[0].lines[0].entries[0]

    assert entry.text == "unclear"
    assert any(
        "3 cells belong here, which differ in model.skip; add it to the rows" in note.text for note in table.footnotes
    )


def test_a_list_has_a_column_for_each_quantity(measured: MakeMeasured) -> None:
    table = build_table(
        listed(
            Quantity(metric="latency", label="time"),
            Quantity(metric="latency", relative="speedup", to={"model.skip_exponent": 0}),
            Quantity(metric="macs", reduce="total"),
            Quantity(metric="parameters", reduce="value", at={"which": "total"}),
        ),
        measured(),
    )

    assert table.row_titles == ("skip", "skip_exponent")
    assert table.columns == ("time", "latency, speedup", "macs (dispatch)", "parameters (total)")
    assert table.rows[2].heads == ("zero", "2")
    first = [entry.text for entry in table.rows[0].lines[0].entries]
    assert first[1:] == ["1\N{MULTIPLICATION SIGN}", "6.239 T", "1,234,567"]


def test_a_list_shows_printed_numbers_of_the_same_metric_only(measured: MakeMeasured, cells: tuple[Cell, ...]) -> None:
    """A cell is taken for the paper's U-Net: its GFLOPS stand beside our MACs by one counter, and nothing else."""

    def rename(records: Iterable[Record]) -> Iterable[Record]:
        return (
            replace(r, factors={**r.factors, "model": "lucid-unet"}, at=counted(r))
            for r in records
            if "zero,skip_exponent=0" in r.cell
        )

    def counted(record: Record) -> Mapping[str, Scalar]:
        return {name: "thop-like" if value == "fvcore" else value for name, value in record.at.items()}

    found = measured(rename, ())
    spec = listed(
        Quantity(metric="macs", reduce="value", at={"stage": 0, "counter": "thop-like"}),
        Quantity(metric="macs", reduce="value", at={"stage": 0, "counter": "dispatch"}),
        Quantity(metric="latency"),
        rows=("model",),
        published=PublishedRef(paper="missing-u", table="5"),
    )

    table = build_table(spec, found)

    assert [each.label for each in table.rows[0].lines] == ["paper", "ours"]
    assert [each.text for each in table.rows[0].lines[0].entries] == ["7.21 GMAC", *2 * ["\N{EN DASH}"]]
    assert table.rows[0].lines[1].entries[0].ratio == pytest.approx(6.239 / 7.21)


def test_the_printed_number_of_a_chosen_cell_is_that_of_what_all_its_cells_have_in_common() -> None:
    points = tuple(
        Point(f"{steps}", {"model": "lucid-unet", "sampler": "ddim", "data": "digits", "steps": steps}, {}, 0, ())
        for steps in (2, 5)
    )
    other = Point("ddpm", {**points[0].factors, "sampler": "ddpm"}, {}, 0, ())
    table = read_published("missing-u").table("1")

    assert [each and each.text for each in (printed(table, points), printed(table, points[:1]))] == ["1.12", "1.12"]
    assert printed(table, (*points, other)) is None
    assert printed(table, ()) is None


def printed(table: PublishedTable, points: tuple[Point, ...]) -> Printed | None:
    return find_printed(table, points, "latency", None)


def test_exact_printed_numbers_are_resolved_under_the_table(measured: MakeMeasured) -> None:
    """Figure 6 prints 35,710,339: our cells have other counts of parameters, and the nearest is named."""
    load_builtins()
    spec = listed(
        Quantity(metric="parameters", reduce="value", at={"which": "total"}),
        rows=("model.skip", "model.skip_exponent"),
        published=PublishedRef(paper="missing-u", table="figure-6"),
    )

    sentences = build_table(spec, measured()).findings

    assert "nothing measured here rounds to 35710339; the nearest is" in sentences[0]
    assert sentences[0].startswith("Figure 6, U-Net: ")
    assert len(sentences) == 5  # of five rows


def test_a_printed_table_that_is_not_there_is_said_and_does_not_stop_the_report(measured: MakeMeasured) -> None:
    table = build_table(pivot(published=PublishedRef(paper="adaptive-skipp", table="2")), measured())

    assert any("The printed table cannot be shown" in note.text for note in table.footnotes)
    assert line(table, "zero", "ours")[2].value is not None


def test_conditions_name_machine_threads_precision_batch_and_repetitions(measured: MakeMeasured) -> None:
    (conditions,) = said(build_table(pivot(), measured()), "conditions")

    assert conditions == (
        "Measured on Intel(R) Xeon(R) Processor @ 2.10GHz (2 logical cores): cpu, float32, 1 thread, batch 1. "
        "Each number: 20 values in 10 visits by 2 processes. "
        "Brackets: 95 % interval from 10,000 bootstrap resamples of processes and of the rounds inside them."
    )


def test_conditions_name_the_graphics_card_only_where_it_was_used(measured: MakeMeasured) -> None:
    """A machine with a graphics card still measures on its processor when told to."""

    def on(device: str) -> str:
        def move(records: Iterable[Record]) -> Iterable[Record]:
            return (replace(record, conditions={**record.conditions, "device": device}) for record in records)

        found = measured(move, ())
        machine = {**found.info.machine, "gpu": "1 x NVIDIA H200"}
        return said(build_table(pivot(), replace(found, info=replace(found.info, machine=machine))), "conditions")[0]

    assert on("cpu").startswith("Measured on Intel(R) Xeon(R) Processor @ 2.10GHz (2 logical cores): cpu,")
    assert on("cuda").startswith("Measured on 1 x NVIDIA H200: cuda,")


def test_values_of_one_visit_are_not_called_visits(measured: MakeMeasured) -> None:
    def as_images(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            if record.metric == "stages":
                yield replace(record, metric="ssim", unit="", values=tuple(0.5 + i / 1000 for i in range(300)))

    table = build_table(listed(Quantity(metric="ssim", reduce="mean")), measured(as_images, ()))
    (conditions,) = said(table, "conditions")

    assert "Each number: 300 values of one visit." in conditions
    assert "10,000 bootstrap resamples of the values." in conditions


def test_footnotes_name_weights_and_what_tells_them_apart(measured: MakeMeasured) -> None:
    texts = said(build_table(pivot(), measured()), "ours")

    assert any(
        text.startswith("Weights: skip = zero: trained, digits-skip-zero.safetensors (sha256 a3a3a3a3")
        for text in texts
    )
    assert sum(text.startswith("Weights:") for text in texts) == 3


def test_footnotes_say_how_each_line_is_made(measured: MakeMeasured) -> None:
    texts = said(build_table(pivot(beside=(LIMIT,)), measured()), "ours")

    assert texts[0].startswith("ours: 1 - x / x(skip_exponent = 0) of the two visits of one round")
    assert (
        "MAC limit: 1 - x / x(skip_exponent = 0), where x is calls \N{MULTIPLICATION SIGN} macs (counter = dispatch)"
        in texts[1]
    )


def test_footnotes_of_the_paper_say_what_it_does_not_state(measured: MakeMeasured) -> None:
    texts = said(build_table(pivot(published=PUBLISHED), measured()), "paper")

    assert "It does not state: processor, batch size" in texts[0]
    assert any('does not define "speed-up"' in text for text in texts)


def test_a_warning_of_one_cell_is_marked_where_it_belongs(measured: MakeMeasured) -> None:
    table = build_table(pivot(), measured())
    marks = {
        (row.heads[0], i): entry.notes
        for row in table.rows
        for i, entry in enumerate(row.lines[0].entries)
        if entry.notes
    }
    (mark,) = marks.pop(("interpolate", 4))

    assert marks == {}
    assert [note.text for note in table.footnotes if note.mark == mark] == [
        "1 of 15 cells: the machine was busy during 1 of 2 repeats; close other programs"
    ]


def test_a_warning_of_every_cell_is_said_once(measured: MakeMeasured) -> None:
    def warn(records: Iterable[Record]) -> Iterable[Record]:
        for number, record in enumerate(records):
            yield (
                replace(record, warnings=(f"other programs used {number} processors",))
                if record.part == "p0r0"
                else record
            )

    table = build_table(pivot(), measured(warn))
    (warning,) = said(table, "warning")

    assert warning.startswith("Every cell, for example: other programs used")
    assert sum("other programs used" in note.text for note in table.footnotes) == 1


def test_what_all_visits_say_together_is_a_warning(measured: MakeMeasured) -> None:
    def slow_second_process(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            slow = record.part.startswith("p1")
            yield replace(record, values=tuple(1.2 * value for value in record.values)) if slow else record

    warnings = said(build_table(pivot(), measured(slow_second_process)), "warning")

    assert any("the medians of 2 processes differ by" in warning for warning in warnings)


def test_bytes_say_what_a_megabyte_is(measured: MakeMeasured) -> None:
    def bytes_for_parameters(records: Iterable[Record]) -> Iterable[Record]:
        return (replace(r, unit="bytes") if r.metric == "parameters" else r for r in records)

    quantity = Quantity(metric="parameters", reduce="value", at={"which": "total"}, format="mib")
    table = build_table(listed(quantity), measured(bytes_for_parameters))

    assert table.rows[0].lines[0].entries[0].text == "1.177 MiB"
    assert "1 MiB = 2^20 bytes." in said(table, "conditions")[0]


def test_footnote_marks_go_on_after_z() -> None:
    notes = Notes()
    marks = [notes.mark(f"sentence {number}") for number in range(28)]

    assert marks[0] == "a" and marks[25:] == ["z", "aa", "ab"]
    assert notes.mark("sentence 26") == "aa"


def test_unsteady_goes_by_the_unit_when_the_metric_is_unknown(measured: MakeMeasured) -> None:
    def foreign(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            if record.metric == "latency" and record.part.startswith("p1"):
                yield replace(record, metric="my_timer", values=tuple(2 * value for value in record.values))
            elif record.metric == "latency":
                yield replace(record, metric="my_timer")

    found = unsteady(collect(foreign(measured().records)))

    assert all(any("processes differ" in warning for warning in warnings) for warnings in found.values())
    assert len(found) == 15


def scored(fingerprint_of: Callable[[Record], str]) -> Callable[[Iterable[Record]], Iterable[Record]]:
    """A number with a fingerprint and its replicates in the place of every cell's stages."""

    def change(records: Iterable[Record]) -> Iterable[Record]:
        stages = (record for record in records if record.metric == "stages")
        for index, record in enumerate(stages):
            fingerprint = fingerprint_of(record)
            own: dict[str, Scalar] = {"recipe": fingerprint, "fingerprint": fingerprint, "n": 1000}
            made = replace(record, metric="frechet", unit="1", siblings=2)
            yield replace(made, values=(5.0 + index,), at={**own, "statistic": "value"})
            resampled = tuple(4.9 + index + 0.01 * i for i in range(20))
            yield replace(made, values=resampled, at={**own, "statistic": "replicates"})

    return change


def test_numbers_of_different_recipes_do_not_stand_in_one_column(measured: MakeMeasured) -> None:
    """Only the column of c = 2 is mixed: its numbers are refused, the others stand."""

    def recipe(record: Record) -> str:
        chosen = record.factors["model.skip"] == "zero" and record.factors["model.skip_exponent"] == 2
        return "clean" if chosen else "tf"

    table = build_table(pivot(value=Quantity(metric="frechet")), measured(scored(recipe), ()))

    for head in ("zero", "duplicate", "interpolate"):
        entries = line(table, head, "ours")
        assert [each.text == "mixed" for each in entries] == [False, False, True, False, False]
    (reason,) = [note.text for note in table.footnotes if note.text.startswith("mixed")]
    assert "made by 2 recipes" in reason
    assert reason.endswith("they differ in recipe = clean and tf")


def test_numbers_of_pictures_say_how_many_images_and_resamples(measured: MakeMeasured) -> None:
    table = build_table(pivot(value=Quantity(metric="frechet")), measured(scored(lambda record: "tf"), ()))

    text = " ".join(said(table, "conditions"))
    assert "Each number of pictures: 1,000 images." in text
    assert "95 % interval from 20 bootstrap resamples of the images." in text
    assert line(table, "zero", "ours")[0].interval


def test_where_narrows_a_table_to_some_cells(measured: MakeMeasured) -> None:
    table = build_table(pivot(where={"model.skip": "duplicate"}), measured())
    listing = build_table(listed(SAVED, where={"model.skip": "duplicate", "model.skip_exponent": 2}), measured())

    assert [row.heads for row in table.rows] == [("duplicate",)]
    some = build_table(pivot(where={"model.skip": ("zero", "interpolate"), "model.skip_exponent": (0, 2)}), measured())

    assert [row.heads for row in some.rows] == [("zero",), ("interpolate",)]
    assert some.columns == ("skip_exponent = 0", "skip_exponent = 2")
    assert [row.heads for row in listing.rows] == [("duplicate", "2")]
    assert listing.rows[0].lines[-1].entries[0].value == line(table, "duplicate", "ours")[2].value


def test_a_choice_and_a_product_are_explained(measured: MakeMeasured) -> None:
    latency = Companion(metric="latency")
    chosen = Chosen(over="model.skip_exponent", by=latency, prefer="lower")
    quantity = Quantity(metric="nfe", reduce="value", times=latency, chosen=chosen, label="time")
    table = build_table(listed(quantity, rows=("model.skip",)), measured())

    (text,) = [note.text for note in table.footnotes if note.text.startswith("time:")]
    assert "multiplied by the median over visits of the visit's median of latency of the same cell" in text
    assert "of the skip_exponent where latency is lowest (the interval does not hold the chance in this choice)" in text


def test_printed_numbers_of_other_features_are_compared_in_order_only(measured: MakeMeasured) -> None:
    """The classifier's distance grows where the printed FID grows: no entry agrees or disagrees with it."""

    def change(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            if record.metric == "stages":
                at: dict[str, Scalar] = {"fingerprint": "a", "name": "frechet[digits-cnn]", "n": 1000}
                value = 1.0 + float(record.factors["model.skip_exponent"] or 0)
                yield replace(record, metric="frechet", unit="1", values=(value,), at=at)

    published = PublishedRef(paper="adaptive-skip", table="1")
    table = build_table(pivot(value=Quantity(metric="frechet"), published=published), measured(change, ()))

    (sentence,) = table.findings
    assert sentence.startswith("The printed numbers are of something else than ours")
    assert sentence.endswith("the rank correlation over 15 entries is 0.87.")
    entries = line(table, "zero", "ours")
    assert [entry.mark for entry in entries] == [""] * 5
    assert [entry.ratio for entry in entries] == [None] * 5
    assert [entry.paper for entry in entries] == [4.58, 4.46, 5.59, 9.40, 16.19]


def test_a_column_may_be_about_one_cell_of_its_row(measured: MakeMeasured) -> None:
    columns = tuple(SAVED.model_copy(update={"where": {"model.skip_exponent": c}, "label": f"c{c}"}) for c in (1, 5))
    table = build_table(listed(*columns, rows=("model.skip",), published=PUBLISHED), measured())

    assert table.columns == ("c1", "c5")
    assert [entry.text for entry in line(table, "zero", "paper")] == ["30.59 %", "57.46 %"]
    assert [entry.cells[0] for entry in line(table, "zero", "ours")] == [
        entry.cells[0] for entry in line(build_table(pivot(), measured()), "zero", "ours")[1::3]
    ]


def test_a_row_factor_may_be_missing_where_the_suite_says_so(measured: MakeMeasured) -> None:
    def without_skip(records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            yield record
            if record.factors["model.skip"] == "zero" and record.factors["model.skip_exponent"] == 2:
                factors = {name: value for name, value in record.factors.items() if name != "model.skip"}
                yield replace(record, cell="plain", factors=factors)

    found = measured(without_skip, ())
    strict, loose = (build_table(pivot(rows=rows, value=LATENCY), found) for rows in ("model.skip", "model.skip?"))

    assert [row.heads for row in strict.rows] == [("zero",), ("duplicate",), ("interpolate",)]
    assert sorted(row.heads for row in loose.rows) == [("duplicate",), ("interpolate",), ("zero",), ("\N{EN DASH}",)]
    assert line(loose, "\N{EN DASH}", "ours")[2].value == line(loose, "zero", "ours")[2].value
    assert loose.row_titles == strict.row_titles == ("skip",)
