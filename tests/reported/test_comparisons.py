"""Comparisons that were green and should not have been, as people met them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from records import make_record

from bench.cli import main
from bench.contracts import Scalar
from bench.store.files import new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import Record, RunInfo, Status, to_line

Answer = tuple[int, str, str]
Bench = Callable[..., Answer]
RUN = "20261120-101500-ab12cd"
PLUGIN = """
from bench import register_metric

@register_metric("error_at", unit="1", better="lower", kind="exact")
def error_at(subject, effort):
    return ()

@register_metric("loss_at", unit="1", better="lower", kind="quality")
def loss_at(subject, effort):
    return ()

@register_metric("pictures_of", unit="images", better="lower", kind="quality")
def pictures_of(subject, effort):
    return ()

@register_metric("seconds_at", unit="s", better="lower", kind="timing")
def seconds_at(subject, effort):
    return ()
"""
ONCE_RESERVED = (
    *("name", "features", "recipe", "fingerprint", "n", "reference", "reference_n", "subset_size", "used"),
    *("neighbours", "floor_n", "cut", "method", "against", "probe", "calls", "timestep", "sample_hash"),
    *("statistic", "which", "score", "of"),
)


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def answer(*arguments: str | Path) -> Answer:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return answer


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "reported_comparisons_plugin.py"
    path.write_text(PLUGIN)
    return path


def file_of(path: Path, records: Iterable[Record]) -> Path:
    path.write_text("".join(f"{to_line(record)}\n" for record in records))
    return path


def run_of(root: Path, records: Sequence[Record], suite_text: str = "") -> Path:
    """A run's folder."""
    info = RunInfo(1, RUN, "s", "", suite_text, "", "", "2026-11-20T10:15:00Z", "0.1", "c", None, None, {}, {}, {})
    with (
        writing(root, "s", "a test") as folder,
        new_run(folder, info) as path,
        LineWriter(path / "records.jsonl") as writer,
    ):
        if records:
            writer.append(tuple(records))
    return root / "s" / RUN


def numbers(metric: str, values: Mapping[Scalar, float], key: str = "timestep", **more: Any) -> list[Record]:
    """One visit that gave a number at each value of a key."""
    return [
        make_record(metric=metric, unit="1", at={key: place}, values=(value,), siblings=len(values), **more)
        for place, value in values.items()
    ]


@pytest.mark.parametrize("key", ONCE_RESERVED)
@pytest.mark.parametrize("metric", ["error_at", "loss_at"])
def test_a_number_that_grew_ninefold_is_a_regression_whatever_word_of_at_tells_it_from_the_others(
    bench: Bench, plugin: Path, tmp_path: Path, metric: str, key: str
) -> None:
    before = dict.fromkeys(("early", "middle", "late"), 1.0)
    base = file_of(tmp_path / "base.jsonl", numbers(metric, before, key))
    new = file_of(tmp_path / "new.jsonl", numbers(metric, {**before, "early": 9.0}, key))

    code, out, _ = bench("compare", base, new, "--plugin", plugin)

    assert code == 1
    assert f"{metric} ({key} = early): 1 became 9" in out.replace("1.000", "1").replace("9.000", "9")
    assert out.endswith("1 regressed, 2 unchanged\n")


@pytest.mark.parametrize("at", [{"score": "psnr"}, {"score": "ssim", "which": "mine"}, {"which": "final"}])
def test_the_better_side_of_a_metric_is_what_it_was_registered_with_whatever_its_scores_are_called(
    bench: Bench, plugin: Path, tmp_path: Path, at: Mapping[str, Scalar]
) -> None:
    base, new = (
        file_of(tmp_path / f"{value}.jsonl", [make_record(metric="loss_at", unit="1", at=at, values=(value,))])
        for value in (0.01, 0.09)
    )

    code, out, _ = bench("compare", base, new, "--plugin", plugin)

    assert (code, out.splitlines()[-1]) == (1, "1 regressed")


def test_pictures_that_a_plug_in_counts_are_compared(bench: Bench, plugin: Path, tmp_path: Path) -> None:
    base, new = (
        file_of(tmp_path / f"{value}.jsonl", [make_record(metric="pictures_of", unit="images", values=(value,))])
        for value in (1.0, 9.0)
    )

    assert bench("compare", base, new, "--plugin", plugin)[0] == 1


def test_times_at_several_timesteps_are_not_one_time(bench: Bench, plugin: Path, tmp_path: Path) -> None:
    def side(name: str, first: float) -> Path:
        records = [
            make_record(
                metric="seconds_at",
                at={"timestep": t},
                part=f"p{index % 2}r{index // 2}",
                values=(seconds * (1 + 0.001 * index),),
                siblings=3,
                run=RUN,
            )
            for index in range(10)
            for t, seconds in ((10, first), (500, 1.0), (900, 1.0))
        ]
        return run_of(tmp_path / name, records)

    code, out, _ = bench("compare", side("a", 1.0), side("b", 9.0), "--plugin", plugin)

    assert code == 1
    assert "seconds_at (timestep = 10)" in out and out.splitlines()[-1] == "1 regressed, 2 unchanged"


def test_a_metric_that_is_not_registered_is_compared_whole_and_said_to_be_judged_by_its_unit(
    bench: Bench, tmp_path: Path
) -> None:
    before = {10: 1.0, 500: 1.0}
    base = file_of(tmp_path / "base.jsonl", numbers("unheard_of", before))
    new = file_of(tmp_path / "new.jsonl", numbers("unheard_of", {**before, 10: 9.0}))

    code, out, _ = bench("compare", base, new)

    assert code == 1
    assert "note: unheard_of: not registered here, so judged by the unit alone; load what registers it" in out


@pytest.mark.parametrize("content", ["", "\n", "\n\n"])
@pytest.mark.parametrize("empty_side", ["BASE", "NEW"])
def test_a_file_without_a_record_is_bad_input_on_either_side(
    bench: Bench, tmp_path: Path, content: str, empty_side: str
) -> None:
    empty, full = tmp_path / "empty.jsonl", file_of(tmp_path / "full.jsonl", [make_record()])
    empty.write_text(content)
    run = run_of(tmp_path / "results", [make_record(run=RUN)])

    sides = (empty, full) if empty_side == "BASE" else (full, empty)
    answers = [bench("compare", *sides)]
    if empty_side == "BASE":
        answers.append(bench("check", run, "--baseline", empty))

    for code, out, err in answers:
        assert (code, out) == (2, "")
        assert err.startswith(f"bench: {empty}: no record in it")


def test_a_run_that_measured_nothing_is_bad_input_on_either_side(bench: Bench, tmp_path: Path) -> None:
    full, empty = run_of(tmp_path / "full", [make_record(run=RUN)]), run_of(tmp_path / "empty", [])

    for sides in ((full, empty), (empty, full)):
        code, _, err = bench("compare", *sides)
        assert (code, "empty/s/20261120-101500-ab12cd: no record in it" in err) == (2, True)
    assert bench("check", empty, "--baseline", full)[0] == 2


@pytest.mark.parametrize("as_folder", [True, False])
def test_records_of_which_every_line_is_damaged_are_bad_input(bench: Bench, tmp_path: Path, as_folder: bool) -> None:
    good = run_of(tmp_path / "good", [make_record(run=RUN)])
    broken = run_of(tmp_path / "broken", [make_record(run=RUN)])
    lines = broken / "records.jsonl"
    lines.write_text(lines.read_text().replace("ok", "no"))
    side = broken if as_folder else lines.rename(tmp_path / "broken.jsonl")

    for sides in ((good, side), (side, good)):
        code, _, err = bench("compare", *sides)
        assert (code, "no line of it is a record" in err) == (2, True)


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_name_of_results_is_bad_input_and_not_the_current_folder(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    run = run_of(tmp_path, [make_record(run=RUN)])
    monkeypatch.chdir(tmp_path)

    for arguments in (
        ("compare", empty, run),
        ("compare", run, empty),
        ("check", run, "--baseline", empty),
        ("check", empty, "--baseline", run),
        ("check", run, "--save-baseline", empty),
        ("compare", run, run, "--junit", empty),
        ("compare", run, run, "--export", "bencher", empty),
        ("diff", empty, run),
    ):
        code, _, err = bench(*arguments)
        assert code == 2
        assert "empty" in err


def other_cells(failed: bool = False) -> list[Record]:
    more: dict[str, Any] = {"status": Status.FAILED, "reason": "out of memory"} if failed else {}
    return [make_record(c=c, metric="nfe", unit="calls", suite="other", **more) for c in (7.0, 8.0)]


def test_two_sides_that_share_no_cell_are_bad_input_in_every_format(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = file_of(tmp_path / "base.jsonl", [make_record(metric="nfe", unit="calls"), make_record(c=2.0, metric="nfe")])
    new, xml, summary = file_of(tmp_path / "new.jsonl", other_cells()), tmp_path / "j.xml", tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    code, out, err = bench("compare", base, new, "--junit", xml, "--json")

    data = json.loads(out)
    assert (code, data["exit_code"]) == (2, 2)
    assert data["compared_nothing"].startswith(f"nothing was compared: {base} and {new} have no number in common")
    assert data["summary"] == "nothing was compared; 2 missing, 2 new"
    assert f"bench: {data['compared_nothing']}\n" in err and "::error title=nothing compared::" in err
    suite = ElementTree.parse(xml).find("testsuite")
    assert suite is not None and suite.get("errors") == "1"
    assert suite.find("testcase/error") is not None
    assert "**nothing was compared; 2 missing, 2 new**" in summary.read_text()


def test_results_against_those_that_all_failed_are_bad_input(bench: Bench, tmp_path: Path) -> None:
    base = file_of(tmp_path / "base.jsonl", other_cells(failed=True))
    new = file_of(tmp_path / "new.jsonl", other_cells())

    code, out, err = bench("compare", base, new)

    assert (code, out.splitlines()[-1]) == (2, "nothing was compared; 2 improved")
    assert f"BASE ({base}) gave no number that NEW" in err


def test_the_other_way_round_they_are_a_regression(bench: Bench, tmp_path: Path) -> None:
    base = file_of(tmp_path / "base.jsonl", other_cells())
    new = file_of(tmp_path / "new.jsonl", other_cells(failed=True))

    assert bench("compare", base, new)[0] == 1


def test_failures_on_both_sides_and_conditions_that_always_differ_are_left_open(bench: Bench, tmp_path: Path) -> None:
    failed = file_of(tmp_path / "failed.jsonl", other_cells(failed=True))
    one, two = (
        file_of(tmp_path / f"{threads}.jsonl", [make_record(metric="nfe", unit="calls", threads=threads)])
        for threads in (1, 2)
    )

    assert bench("compare", failed, failed)[0] == 3
    assert bench("compare", one, two)[0] == 3


def test_a_number_that_is_gone_beside_others_that_are_compared_still_exits_with_1(bench: Bench, tmp_path: Path) -> None:
    records = [make_record(c=c, metric="nfe", unit="calls") for c in (1.0, 2.0)]
    base, new = file_of(tmp_path / "base.jsonl", records), file_of(tmp_path / "new.jsonl", records[:1])

    assert bench("compare", base, new)[0] == 1
    assert bench("compare", new, base)[0] == 0


def test_what_a_damaged_base_lacks_is_not_called_new(bench: Bench, tmp_path: Path) -> None:
    records = [make_record(c=c, metric="nfe", unit="calls") for c in (1.0, 2.0)]
    base, new = file_of(tmp_path / "base.jsonl", records), file_of(tmp_path / "new.jsonl", records)
    base.write_bytes(base.read_bytes()[:-40])

    code, out, _ = bench("compare", base, new)

    assert (code, out.splitlines()[-1]) == (3, "1 undecided, 1 unchanged")
    assert "BASE lacks it, but 1 line of BASE could not be read and may have held it" in out
    assert bench("compare", new, base)[0] == 3


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_visit_of_which_a_line_is_gone_leaves_the_comparison_open(bench: Bench, tmp_path: Path, lost: int) -> None:
    other = make_record(metric="nfe", unit="calls")
    records = numbers("unheard_of", {10: 1.0, 500: 1.0, 900: 1.0})
    whole = file_of(tmp_path / "whole.jsonl", [other, *records])
    cut = file_of(tmp_path / "cut.jsonl", [other, *records[:lost], *records[lost + 1 :]])

    for sides in ((whole, cut), (cut, whole), (cut, cut)):
        code, out, _ = bench("compare", *sides)
        assert code in (1, 3)
        assert "1 visit of unheard_of in " in out and "count as not measured" in out


def test_two_numbers_that_one_visit_gave_one_address_are_never_dropped(bench: Bench, tmp_path: Path) -> None:
    """As an older version or another program may have written them."""
    other = make_record(metric="nfe", unit="calls")
    twins = [make_record(metric="unheard_of", unit="1", values=(v,), siblings=2) for v in (1.0, 1.0)]
    base = file_of(tmp_path / "base.jsonl", [other, *twins])
    new = file_of(tmp_path / "new.jsonl", [other, replace(twins[0], values=(9.0,)), twins[1]])

    code, out, _ = bench("compare", base, new)

    assert code == 3
    assert "left open: NEW: 1 visit of unheard_of" in out


def test_results_that_are_compared_with_themselves_say_so(bench: Bench, tmp_path: Path) -> None:
    run = run_of(tmp_path, [make_record(run=RUN)])

    code, out, _ = bench("compare", run, tmp_path / "s" / "." / RUN)

    assert (code, "note: BASE and NEW are the same results" in out) == (0, True)


CLAIMING = """\
schema: 1
suite: s
title: S
grid: [{model: MODEL}]
metrics: [nfe]
claims:
  - {id: few, sentence: "Few calls.", value: {metric: nfe, reduce: value}, holds: "<", than: 100}
"""


def test_claims_that_hold_do_not_hide_that_the_baseline_shares_nothing(bench: Bench, tmp_path: Path) -> None:
    run = run_of(tmp_path, [make_record(metric="nfe", unit="calls", run=RUN)], CLAIMING.replace("MODEL", "nowhere"))
    baseline = file_of(tmp_path / "baseline.jsonl", other_cells())

    code, out, err = bench("check", run, "--baseline", baseline)

    assert (code, "nothing was compared" in err) == (2, True)
    assert "claim few holds" in out


def test_claims_on_cells_that_are_not_known_here_are_left_open(bench: Bench, tmp_path: Path) -> None:
    """Which cells the suite plans is not known without its plug-in, so some may never have been measured."""
    run = run_of(tmp_path, [make_record(metric="nfe", unit="calls", run=RUN)], CLAIMING.replace("MODEL", "nowhere"))

    code, out, _ = bench("check", run)

    assert code == 3
    assert "claim few holds" in out and "left open: the cells of the suite kept with " in out and "--plugin" in out


def test_a_suite_whose_claims_cannot_be_read_is_left_open_beside_a_baseline_and_bad_input_alone(
    bench: Bench, tmp_path: Path
) -> None:
    run = run_of(tmp_path, [make_record(metric="nfe", unit="calls", run=RUN)], "schema: 1\n")

    assert bench("check", run, "--baseline", run)[0] == 3
    code, _, err = bench("check", run)
    assert (code, "its claims are not checked" in err) == (2, True)


def test_a_file_of_records_in_a_runs_folder_is_checked_against_the_claims_of_the_run(
    bench: Bench, tmp_path: Path
) -> None:
    text = CLAIMING.replace("MODEL", "nowhere").replace("100", "0.5")
    run = run_of(tmp_path, [make_record(metric="nfe", unit="calls", run=RUN)], text)

    assert bench("check", run / "records.jsonl")[0] == 1


def stored(path: Path, *stats: Mapping[str, Any] | None) -> Path:
    """What `pytest --benchmark-autosave` keeps, of tests called t.py::a, t.py::b, ..."""
    benchmarks = [
        {"name": letter, "fullname": f"t.py::{letter}", "params": None, "stats": None if each is None else dict(each)}
        for letter, each in zip("abcdef", stats, strict=False)
    ]
    place = {"machine": "x86_64", "system": "Linux", "release": "6", "cpu": {"brand_raw": "EPYC", "count": 2}}
    place |= {"python_version": "3.11.7", "python_implementation": "CPython"}
    data = {"machine_info": place, "commit_info": {}, "benchmarks": benchmarks, "datetime": "2026", "version": "5.3.1"}
    path.write_text(json.dumps(data))
    return path


def median(seconds: float, **more: Any) -> Mapping[str, Any]:
    return {"rounds": 30, "median": seconds, "iqr": 0.02 * seconds, "stddev": 0.03 * seconds, **more}


@pytest.mark.parametrize(
    ("factor", "code", "outcome"), [(1.3, 1, "regressed"), (1.0, 0, "unchanged"), (0.7, 0, "improved")]
)
def test_a_stored_median_is_judged_by_the_spread_and_the_rounds_beside_it(
    bench: Bench, tmp_path: Path, factor: float, code: int, outcome: str
) -> None:
    base, new = stored(tmp_path / "a.json", median(0.001)), stored(tmp_path / "b.json", median(0.001001 * factor))

    found, out, _ = bench("compare", base, new, "--all")

    assert found == code
    assert out.startswith(f"{outcome:12}  t.py::a: time: ")
    assert "no single times were kept, so the interval is an estimate from the spread that is stated" in out
    assert "BASE of 30 rounds and NEW of 30 rounds (--benchmark-save-data keeps the times)" in out


def test_a_stored_median_with_a_wide_spread_decides_nothing(bench: Bench, tmp_path: Path) -> None:
    base, new = (
        stored(tmp_path / f"{seconds}.json", median(seconds, iqr=seconds, stddev=seconds))
        for seconds in (0.001, 0.0012)
    )

    assert bench("compare", base, new)[0] == 3


@pytest.mark.parametrize(
    "stats", [{"rounds": 3}, {"rounds": None}, {"iqr": None, "stddev": None}, {"iqr": float("nan"), "stddev": None}]
)
def test_a_stored_median_without_a_spread_says_what_is_not_kept(
    bench: Bench, tmp_path: Path, stats: Mapping[str, Any]
) -> None:
    base, new = (stored(tmp_path / f"{seconds}.json", median(seconds, **stats)) for seconds in (0.001, 0.009))

    code, out, _ = bench("compare", base, new)

    assert code == 3
    assert "the file keeps a median without single times" in out and "--benchmark-save-data" in out
    assert "measured once" not in out


def test_a_benchmark_that_failed_has_no_times_and_leaves_the_others(bench: Bench, tmp_path: Path) -> None:
    base = stored(tmp_path / "a.json", median(0.001), median(0.001))
    new = stored(tmp_path / "b.json", median(0.001), None)

    code, out, _ = bench("compare", base, new)

    assert code == 1
    assert "t.py::b: time: it gave a number and now gives none: failed: t.py::b has no times: it failed" in out
    assert out.splitlines()[-1] == "1 regressed, 1 unchanged"


def test_files_of_benchmarks_that_all_failed_compare_nothing(bench: Bench, tmp_path: Path) -> None:
    failed, good = stored(tmp_path / "a.json", None, None), stored(tmp_path / "b.json", median(0.001), median(0.001))

    assert bench("compare", failed, good)[0] == 2
    assert bench("compare", failed, failed)[0] == 3
    assert bench("compare", good, failed)[0] == 1


@pytest.mark.parametrize(
    "content",
    [
        '{"context": {"date": "x"}, "benchmarks": []}',
        '{"context": {}, "benchmarks": [{"name": "a", "error_occurred": true}]}',
        '{"results": []}',
        '{"results": [{"command": "a", "mean": null, "times": [NaN]}]}',
        '{"machine_info": {}, "datetime": "x", "benchmarks": null}',
        '{"machine_info": null, "datetime": "x", "benchmarks": []}',
        '{"machine_info": {}, "datetime": "x", "benchmarks": [null]}',
        '{"machine_info": {}, "datetime": "x", "benchmarks": [{"fullname": "a", "stats": {"median": NaN}}]}',
        '{"machine_info": {}, "datetime": "x", "benchmarks": [{"fullname": "a", "stats": {"data": [0.1, null]}}]}',
        '{"machine_info": {}, "datetime": "x", "benchmarks": [{"fullname": "a", "stats": []}]} trailing',
        "[]",
        "null",
        "{}",
    ],
)
def test_a_foreign_file_without_a_usable_number_is_bad_input_on_either_side(
    bench: Bench, tmp_path: Path, content: str
) -> None:
    foreign, good = tmp_path / "foreign.json", stored(tmp_path / "good.json", median(0.001))
    foreign.write_text(content)

    for sides in ((foreign, good), (good, foreign), (foreign, foreign)):
        code, out, err = bench("compare", *sides)
        assert (code, out) == (2, "")
        assert err.startswith(f"bench: {foreign}: ")
