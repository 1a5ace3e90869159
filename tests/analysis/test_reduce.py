"""From raw values to one number: every reduction and relation with a known answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from bench.analysis.reduce import Estimate, reduce
from bench.analysis.results import Results, collect
from bench.analysis.samples import Missing
from bench.store.record import Record, Status
from bench.suite.schema import Quantity

PARTS = [f"p{process}r{turn}" for process in range(2) for turn in range(5)]
TO = {"model.skip_exponent": 0}
Make = Callable[..., Record]


def timed(record: Make, c: float, seconds: Iterable[float], **more: object) -> list[Record]:
    """One visit a round, its two calls around the given time."""
    return [
        record("zero", c, part=part, values=(value * 0.99, value * 1.01), **more)
        for part, value in zip(PARTS, seconds, strict=False)
    ]


def number(results: Results, c: float, quantity: Quantity) -> Estimate:
    found = reduce(results, results.find({"model.skip_exponent": c})[0], quantity)
    assert isinstance(found, Estimate), found
    return found


def missing(results: Results, c: float, quantity: Quantity) -> Missing:
    found = reduce(results, results.find({"model.skip_exponent": c})[0], quantity)
    assert isinstance(found, Missing), found
    return found


def test_the_median_is_over_visits_of_the_median_inside_one(record: Make) -> None:
    results = collect(timed(record, 0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 100]))

    found = number(results, 0, Quantity(metric="latency"))

    assert found.value == 5.5
    assert (found.n, found.visits, found.processes, found.unit) == (20, 10, 2, "s")
    assert found.low is not None and found.high is not None
    assert 1 <= found.low < 5.5 < found.high <= 100
    assert found.note is None


def test_mean_min_and_max(record: Make) -> None:
    results = collect(timed(record, 0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 100]))

    assert number(results, 0, Quantity(metric="latency", reduce="mean")).value == pytest.approx(14.5)
    for name, value in (("min", 0.99), ("max", 101.0)):
        found = number(results, 0, Quantity(metric="latency", reduce=name))  # type: ignore[arg-type]
        assert found.value == pytest.approx(value)
        assert (found.low, found.note) == (None, "an extreme value has no interval")


def test_drift_that_slows_both_cells_cancels(record: Make) -> None:
    """Rounds differ by a factor of nine; the time saved is 40 % in each of them, so its interval has no width."""
    drift = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 1.5])
    results = collect([*timed(record, 0, drift), *timed(record, 2, 0.6 * drift)])

    found = number(results, 2, Quantity(metric="latency", relative="time_saved", to=TO))

    assert found.value == pytest.approx(0.4)
    assert [found.low, found.high] == pytest.approx([0.4, 0.4])
    assert len(found.cells) == 2


@pytest.mark.parametrize(
    ("relative", "value", "unit"),
    [("time_saved", 0.4, "1"), ("speedup", 1 / 0.6, "x"), ("ratio", 0.6, "x"), ("difference", -0.4, "s")],
)
def test_every_relation_has_its_formula_and_unit(record: Make, relative: str, value: float, unit: str) -> None:
    results = collect([*timed(record, 0, [1.0] * 10), *timed(record, 2, [0.6] * 10)])

    found = number(results, 2, Quantity(metric="latency", relative=relative, to=TO))  # type: ignore[arg-type]

    assert found.value == pytest.approx(value)
    assert found.unit == unit


@pytest.mark.parametrize("relative", ["time_saved", "speedup", "ratio", "difference"])
def test_the_interval_stands_around_the_number_whatever_the_relation(record: Make, relative: str) -> None:
    rng = np.random.default_rng(1)
    results = collect([*timed(record, 0, rng.uniform(1, 1.2, 10)), *timed(record, 2, rng.uniform(0.5, 0.7, 10))])

    found = number(results, 2, Quantity(metric="latency", relative=relative, to=TO))  # type: ignore[arg-type]

    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high


def test_speedup_and_time_saved_are_one_number(record: Make) -> None:
    rng = np.random.default_rng(2)
    results = collect([*timed(record, 0, rng.uniform(1, 2, 10)), *timed(record, 2, rng.uniform(0.5, 1, 10))])

    saved = number(results, 2, Quantity(metric="latency", relative="time_saved", to=TO)).value
    faster = number(results, 2, Quantity(metric="latency", relative="speedup", to=TO)).value

    assert faster == pytest.approx(1 / (1 - saved))


@pytest.mark.parametrize(
    ("relative", "value"), [("time_saved", 0.0), ("difference", 0.0), ("speedup", 1.0), ("ratio", 1.0)]
)
def test_the_reference_against_itself_is_a_definition_not_a_measurement(
    record: Make, relative: str, value: float
) -> None:
    results = collect(timed(record, 0, [1, 2, 3, 4, 5]))

    found = number(results, 0, Quantity(metric="latency", relative=relative, to=TO))  # type: ignore[arg-type]

    assert (found.value, found.low, found.is_reference, found.note) == (value, None, True, None)


def test_cells_of_different_runs_are_compared_without_an_interval(record: Make) -> None:
    old = timed(record, 0, [1.0] * 10, run="run-2", reused="run-1")
    results = collect([*old, *timed(record, 2, [0.6] * 10, run="run-2")])

    found = number(results, 2, Quantity(metric="latency", relative="time_saved", to=TO))

    assert found.value == pytest.approx(0.4)
    assert found.low is None
    assert found.note is not None and "not measured in the same rounds" in found.note


def test_only_rounds_that_both_cells_have_are_compared(record: Make) -> None:
    results = collect([*timed(record, 0, [1.0] * 10), *timed(record, 2, [0.6] * 4)])

    found = number(results, 2, Quantity(metric="latency", relative="time_saved", to=TO))

    assert found.value == pytest.approx(0.4)
    assert found.note is not None and found.note.startswith("4 blocks")


def test_one_process_gives_an_interval_that_says_what_it_lacks(record: Make) -> None:
    results = collect([record("zero", 0, part=f"p0r{turn}", values=(turn + 1.0,)) for turn in range(6)])

    found = number(results, 0, Quantity(metric="latency"))

    assert found.low is not None
    assert found.note == "all from one process, so effects of its placement are not in the interval"


def test_images_measured_once_are_blocks_of_their_own(record: Make) -> None:
    values = tuple(np.random.default_rng(3).normal(0.8, 0.05, 300))
    results = collect([record(metric="ssim", part="", unit="", values=values)])

    found = number(results, 0, Quantity(metric="ssim", reduce="mean"))

    assert found.value == pytest.approx(np.mean(values))
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.05 / np.sqrt(300), rel=0.15)


def test_a_single_value_says_that_it_was_measured_once(record: Make) -> None:
    found = number(collect([record(metric="fid", part="", unit="")]), 0, Quantity(metric="fid"))

    assert (found.value, found.low, found.note) == (1.0, None, "measured once, so there is no interval")


def staged(record: Make, c: float, calls: Sequence[int]) -> list[Record]:
    """MACs of the paper's network at k = 0, 1, ..., by two counters of which one sees half."""
    return [
        record(
            "zero",
            c,
            metric="macs",
            part="",
            unit="MAC",
            values=(value,),
            at={"stage": k, "calls": count, "counter": name},
            siblings=2 * len(calls),
        )
        for k, (count, each) in enumerate(zip(calls, (6.2390e9, 6.0195e9, 5.3131e9, 2.2489e9), strict=False))
        for name, value in (("fvcore", each / 2), ("dispatch", each))
    ]


def test_the_arithmetic_limit_is_that_of_the_papers_network(record: Make) -> None:
    """Multiply-accumulates at k = 0..3 and k's shares at c = 1, 2, 3, 5: 20.58, 35.61, 43.07 and 50.35 % saved."""
    shares = {
        0: [1000],
        1: [250, 250, 250, 250],
        2: [134, 159, 207, 500],
        3: [92, 115, 164, 629],
        5: [56, 74, 113, 757],
    }
    results = collect([each for c, calls in shares.items() for each in staged(record, c, calls)])
    quantity = Quantity(metric="macs", reduce="total", relative="time_saved", to=TO)

    found = [round(100 * number(results, c, quantity).value, 2) for c in (1, 2, 3, 5)]

    assert found == [20.58, 35.61, 43.07, 50.35]
    assert number(results, 2, quantity).exact


def test_a_total_takes_the_counter_that_sees_everything_unless_told(record: Make) -> None:
    results = collect(staged(record, 0, [1000]))

    assert number(results, 0, Quantity(metric="macs", reduce="total")).value == 6.2390e12
    assert number(results, 0, Quantity(metric="macs", reduce="total", at={"counter": "fvcore"})).value == 3.1195e12


def steps(record: Make, c: float, calls: Sequence[int], seconds: Sequence[Sequence[float]]) -> list[Record]:
    """One step time at each stage, in every visit: seconds[visit][stage]."""
    return [
        record(
            "zero",
            c,
            metric="step_time",
            part=part,
            values=(values[k],),
            at={"stage": k, "calls": count, "timestep": 7},
            siblings=len(calls),
        )
        for part, values in zip(PARTS, seconds, strict=True)
        for k, count in enumerate(calls)
    ]


def test_a_composed_time_is_the_sum_of_calls_times_median_steps(record: Make) -> None:
    seconds = [[2.0 + 0.01 * turn, 1.0 - 0.01 * turn] for turn in range(10)]
    results = collect(steps(record, 2, [30, 70], seconds))

    found = number(results, 2, Quantity(metric="step_time", reduce="composed"))

    assert found.value == pytest.approx(30 * 2.045 + 70 * 0.955)
    assert found.low is not None and found.low < found.value


def test_a_composed_saving_is_resampled_with_its_reference(record: Make) -> None:
    drift = np.linspace(1, 2, 10)
    full = steps(record, 0, [100], [[2 * each] for each in drift])
    skipping = steps(record, 2, [50, 50], [[2 * each, 1 * each] for each in drift])

    found = number(
        collect([*full, *skipping]), 2, Quantity(metric="step_time", reduce="composed", relative="time_saved", to=TO)
    )

    assert found.value == pytest.approx(0.25)
    assert [found.low, found.high] == pytest.approx([0.25, 0.25])


def test_a_visit_that_lacks_a_stage_is_left_out_of_the_composition(record: Make) -> None:
    records = steps(record, 2, [30, 70], [[2.0, 1.0]] * 10)
    cut = [each for each in records if not (each.part == "p0r0" and each.at["stage"] == 1)]

    assert number(collect(cut), 2, Quantity(metric="step_time", reduce="composed")).visits == 9


def test_exact_numbers_that_differ_are_warned_about(record: Make) -> None:
    records = [
        record(metric="nfe", part=part, unit="calls", values=(value,)) for part, value in (("p0", 10.0), ("p1", 11.0))
    ]

    found = number(collect(records), 0, Quantity(metric="nfe", reduce="value"))

    assert found.warnings == ("nfe should be exact, but lies between 10 and 11",)
    assert found.low is None


def test_several_numbers_of_one_metric_must_be_told_apart(record: Make) -> None:
    records = [
        record(metric="parameters", part="", unit="count", at={"which": which}, siblings=2)
        for which in ("total", "trainable")
    ]
    results = collect(records)

    found = missing(results, 0, Quantity(metric="parameters", reduce="value"))

    assert found.status == "unclear"
    assert "choose one with `at`" in found.reason and "which = trainable" in found.reason
    assert number(results, 0, Quantity(metric="parameters", reduce="value", at={"which": "total"})).value == 1.0


def test_a_number_is_also_chosen_by_the_metrics_own_parameters(record: Make) -> None:
    records = [record(metric="fid", part="", params={"images": n}, values=(float(n),)) for n in (100, 200)]

    found = number(collect(records), 0, Quantity(metric="fid", at={"images": 200}))

    assert found.value == 200.0


def test_asking_for_a_number_that_is_not_there_names_those_that_are(record: Make) -> None:
    results = collect([record(metric="peak_memory", at={"kind": "steady"})])

    found = missing(results, 0, Quantity(metric="peak_memory", at={"kind": "peak"}))

    assert found.reason == "peak_memory has no number with kind = peak (it has kind = steady)"


@pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED, Status.UNSUPPORTED])
def test_a_missing_number_has_its_status_and_its_reason(record: Make, status: Status) -> None:
    results = collect([record("zero", 0), record("zero", 2, status=status, reason="no such device")])

    assert missing(results, 2, Quantity(metric="latency")) == Missing(
        str(status), "no such device", (results.points[1].id,)
    )
    assert missing(results, 2, Quantity(metric="fid")).status == "not measured"


def test_a_missing_reference_is_the_reason_why_a_saving_is_missing(record: Make) -> None:
    results = collect([record("zero", 0, status=Status.FAILED, reason="killed"), *timed(record, 2, [1.0] * 10)])

    found = missing(results, 2, Quantity(metric="latency", relative="time_saved", to=TO))

    assert (found.status, found.reason) == ("failed", "the reference cell has no number: killed")


def test_visits_that_failed_beside_good_ones_are_a_warning(record: Make) -> None:
    bad = record("zero", 0, part="p1r4", status=Status.FAILED, reason="the worker died")
    results = collect([*timed(record, 0, [1.0] * 9), bad])

    found = number(results, 0, Quantity(metric="latency"))

    assert found.warnings == ("1 of 10 visits gave no number: the worker died",)
    assert found.visits == 9


def test_nothing_is_relative_to_zero(record: Make) -> None:
    results = collect([record("zero", 0, values=(0.0,)), record("zero", 2)])

    assert "the reference is 0" in missing(results, 2, Quantity(metric="latency", relative="ratio", to=TO)).reason
    assert number(results, 2, Quantity(metric="latency", relative="difference", to=TO)).value == 1.0


def test_a_composition_of_a_metric_without_stages_is_refused(record: Make) -> None:
    found = missing(collect([record()]), 0, Quantity(metric="latency", reduce="composed"))

    assert "takes a metric that says `stage` and `calls`" in found.reason


def test_warnings_of_the_cell_and_of_its_reference_are_kept_once(record: Make) -> None:
    full = timed(record, 0, [1.0] * 10, warnings=("busy",))
    results = collect([*full, *timed(record, 2, [0.6] * 10, warnings=("busy", "short"))])

    assert number(results, 2, Quantity(metric="latency", relative="ratio", to=TO)).warnings == ("busy", "short")
