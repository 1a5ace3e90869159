"""Two sides to verdicts: every row of the table on real records, what is matched with what, and the sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contracts import Scalar
from bench.errors import ExitCode
from bench.registry import load_builtins
from bench.store.record import Record, RunInfo, Status
from bench.verdict.compare import Rules, compare, side_of
from bench.verdict.outcome import Comparison, Outcome, Verdict
from bench.verdict.tolerances import Tolerances, read_tolerances

load_builtins()
MakeRecord = Callable[..., Record]
OPPOSITE = {
    Outcome.REGRESSED: Outcome.IMPROVED,
    Outcome.IMPROVED: Outcome.REGRESSED,
    Outcome.MISSING: Outcome.NEW,
    Outcome.NEW: Outcome.MISSING,
}


def info(run: str = "20261120-101500-ab12cd", **more: Any) -> RunInfo:
    return RunInfo(
        **{
            "schema": 1,
            "id": run,
            "suite": "s",
            "suite_path": "s.yaml",
            "suite_text": "",
            "suite_sha256": "",
            "command": "",
            "started": "2026-11-20T10:15:00Z",
            "bench_version": "0.1.0",
            "code_sha256": "c0de",
            "git_commit": None,
            "git_dirty": None,
            "machine": {"cpu": "EPYC", "logical_cores": 2, "memory_bytes": 8_000},
            "packages": {"python": "3.11", "torch": "2.15.0"},
            "environment": {},
            **more,
        }
    )


def compared(
    base: Iterable[Record], new: Iterable[Record], *, before: RunInfo | None = None, **rules: Any
) -> Comparison:
    """Two sides that were measured in the same place unless something else is said."""
    return compare(side_of(base, "base", before or info()), side_of(new, "new", info()), Rules(Tolerances(), **rules))


def only(base: Iterable[Record], new: Iterable[Record], **more: Any) -> Verdict:
    (verdict,) = compared(base, new, **more).verdicts
    return verdict


def timed(record: MakeRecord, seconds: Iterable[float], **more: Any) -> list[Record]:
    """One visit for each value, in two processes."""
    return [record(part=f"p{index % 2}r{index // 2}", values=(value,), **more) for index, value in enumerate(seconds)]


STEADY = tuple(1.0 + 0.01 * math.sin(index) for index in range(10))
"""Ten visits that differ by one per cent."""
SLOWER = tuple(1.2 * each for each in STEADY)
LATER: Mapping[str, Any] = {"started": "2026-11-21T10:15:00Z"}


class TestRowsOfTheTable:
    def test_what_base_lacks_is_new(self, record: MakeRecord) -> None:
        verdict = only([], [record()])

        assert (verdict.outcome, verdict.sentence) == (Outcome.NEW, "not in BASE")

    def test_what_new_lacks_is_missing(self, record: MakeRecord) -> None:
        verdict = only([record()], [])

        assert verdict.outcome is Outcome.MISSING
        assert "in BASE and not in NEW" in verdict.sentence

    def test_a_number_that_became_a_failure_is_a_regression_with_its_reason(self, record: MakeRecord) -> None:
        verdict = only([record()], [record(status=Status.FAILED, reason="out of memory")])

        assert verdict.outcome is Outcome.REGRESSED
        assert verdict.sentence == "it gave a number and now gives none: failed: out of memory"

    def test_one_failed_visit_of_many_is_a_failure(self, record: MakeRecord) -> None:
        new = [*timed(record, STEADY), record(part="p9r9", status=Status.FAILED, reason="crashed")]

        assert only(timed(record, STEADY), new).outcome is Outcome.REGRESSED

    def test_a_failure_that_became_a_number_is_an_improvement(self, record: MakeRecord) -> None:
        verdict = only([record(status=Status.FAILED, reason="out of memory")], [record()])

        assert (verdict.outcome, verdict.sentence) == (
            Outcome.IMPROVED,
            "it gives a number now; before: failed: out of memory",
        )

    def test_two_failures_are_undecided_and_both_reasons_quoted(self, record: MakeRecord) -> None:
        verdict = only(
            [record(status=Status.FAILED, reason="out of memory")], [record(status=Status.SKIPPED, reason="no data")]
        )

        assert verdict.outcome is Outcome.UNDECIDED
        assert "skipped: no data" in verdict.sentence and "failed: out of memory" in verdict.sentence

    def test_other_conditions_are_incomparable_and_the_field_is_named(self, record: MakeRecord) -> None:
        verdict = only(timed(record, STEADY, threads=1), timed(record, STEADY, threads=2))

        assert verdict.outcome is Outcome.INCOMPARABLE
        assert verdict.differs == "conditions.threads"
        assert verdict.sentence == "conditions.threads was 1 and is 2"

    def test_an_exact_number_that_grew_is_a_regression(self, record: MakeRecord) -> None:
        base, new = (
            record(metric="parameters", unit="count", at={"which": "total"}, values=(v,)) for v in (100.0, 101.0)
        )

        verdict = only([base], [new])

        assert (verdict.outcome, verdict.base, verdict.new, verdict.ratio) == (Outcome.REGRESSED, 100.0, 101.0, 1.01)
        assert verdict.sentence == "100 became 101 (+1.0 %); it is an exact number"
        assert verdict.name == "parameters (which = total)"

    def test_an_exact_number_that_fell_is_an_improvement(self, record: MakeRecord) -> None:
        base, new = (record(metric="macs", unit="MAC", values=(v,)) for v in (100.0, 99.0))

        assert only([base], [new]).outcome is Outcome.IMPROVED

    def test_one_multiply_accumulate_of_many_billions_is_seen_and_shown(self, record: MakeRecord) -> None:
        base, new = (record(metric="macs", unit="MAC", values=(v,)) for v in (6_239_000_001.0, 6_239_000_000.0))

        assert only([base], [new]).sentence.startswith("6,239,000,001 became 6,239,000,000")

    def test_a_change_without_a_better_side_is_a_regression(self, record: MakeRecord) -> None:
        base, new = (record(metric="stages", unit="1", values=values) for values in ((0.0, 1.0, 2.0), (0.0, 1.0, 1.0)))

        verdict = only([base], [new])

        assert verdict.outcome is Outcome.REGRESSED
        assert verdict.sentence == "1 of 3 values changed, the first at 2: 2 became 1"

    def test_stages_that_are_called_more_often_are_an_exact_change(self, record: MakeRecord) -> None:
        base, new = (
            record(metric="macs", unit="MAC", values=(5.0,), at={"stage": 1, "calls": calls, "counter": "dispatch"})
            for calls in (10, 12)
        )

        verdict = only([base], [new])

        assert (verdict.outcome, verdict.sentence) == (Outcome.REGRESSED, "10 calls of it in a walk became 12")

    def test_too_few_visits_leave_a_time_undecided(self, record: MakeRecord) -> None:
        verdict = only(timed(record, STEADY[:4]), timed(record, SLOWER))

        assert verdict.outcome is Outcome.UNDECIDED
        assert "too few for a 95% interval" in verdict.sentence

    def test_a_time_beyond_the_tolerance_is_a_regression_with_its_interval(self, record: MakeRecord) -> None:
        verdict = only(timed(record, STEADY), timed(record, SLOWER))

        assert verdict.outcome is Outcome.REGRESSED
        assert verdict.low is not None and verdict.high is not None
        assert 1.1 < verdict.low <= 1.2 <= verdict.high < 1.3
        assert "+20 % [" in verdict.sentence and "more than the 10 % that matter" in verdict.sentence

    def test_a_time_that_fell_is_an_improvement(self, record: MakeRecord) -> None:
        assert only(timed(record, SLOWER), timed(record, STEADY)).outcome is Outcome.IMPROVED

    def test_a_time_within_the_tolerance_is_unchanged(self, record: MakeRecord) -> None:
        verdict = only(timed(record, STEADY), timed(record, [1.02 * each for each in STEADY]))

        assert verdict.outcome is Outcome.UNCHANGED
        assert "within the 10 % that do not matter" in verdict.sentence

    def test_a_time_whose_interval_reaches_across_is_undecided(self, record: MakeRecord) -> None:
        noisy = [1.0 + 0.2 * (index % 2) + 0.001 * index for index in range(10)]

        verdict = only(timed(record, STEADY), timed(record, noisy))

        assert verdict.outcome is Outcome.UNDECIDED
        assert "measure more rounds" in verdict.sentence

    def test_the_same_measurement_on_both_sides_is_unchanged_however_noisy(self, record: MakeRecord) -> None:
        noisy = timed(record, [1.0, 2.0, 1.0])

        verdict = only(noisy, noisy)

        assert (verdict.outcome, verdict.sentence) == (Outcome.UNCHANGED, "the same measurement on both sides")

    @pytest.mark.parametrize(
        ("mib", "outcome"), [(104, Outcome.UNCHANGED), (106, Outcome.REGRESSED), (90, Outcome.IMPROVED)]
    )
    def test_one_process_decides_on_memory(self, record: MakeRecord, mib: int, outcome: Outcome) -> None:
        base, new = (
            record(metric="peak_memory", unit="bytes", at={"kind": "steady_peak"}, values=(v * 2.0**20,))
            for v in (100, mib)
        )

        assert only([base], [new]).outcome is outcome

    def test_a_mebibyte_of_memory_never_matters(self, record: MakeRecord) -> None:
        base, new = (record(metric="peak_memory", unit="bytes", values=(v * 2.0**20,)) for v in (0, 0.9))

        assert only([base], [new]).outcome is Outcome.UNCHANGED

    def test_one_cold_start_decides_nothing(self, record: MakeRecord) -> None:
        base, new = (record(metric="cold_start", unit="s", values=(v,)) for v in (1.0, 2.0))

        assert only([base], [new]).outcome is Outcome.UNDECIDED

    @pytest.mark.parametrize(
        ("score", "outcome"), [(5.05, Outcome.UNCHANGED), (5.2, Outcome.REGRESSED), (4.8, Outcome.IMPROVED)]
    )
    def test_a_score_is_judged_by_its_tolerance(self, record: MakeRecord, score: float, outcome: Outcome) -> None:
        base, new = (
            record(metric="frechet", unit="1", at={"statistic": "value", "fingerprint": "f"}, values=(v,))
            for v in (5.0, score)
        )

        assert only([base], [new]).outcome is outcome

    def test_a_score_whose_replicates_disagree_is_undecided(self, record: MakeRecord) -> None:
        rng = np.random.default_rng(0)

        def side(value: float) -> list[Record]:
            spread = tuple(value + rng.normal(0, 1.0, 200))
            return [
                record(metric="frechet", unit="1", at={"statistic": "value"}, values=(value,), siblings=2),
                record(metric="frechet", unit="1", at={"statistic": "replicates"}, values=spread, siblings=2),
            ]

        assert only(side(5.0), side(5.2)).outcome is Outcome.UNDECIDED
        assert only(side(5.0), side(15.0)).outcome is Outcome.REGRESSED

    def test_scores_of_the_same_images_are_paired(self, record: MakeRecord) -> None:
        """Images differ by far more than the two sides do, but every one of them fell."""
        images = np.linspace(0.1, 0.9, 100)
        base, new = (
            record(metric="likeness", unit="1", at={"statistic": "value"}, values=tuple(v))
            for v in (images, images - 0.05)
        )

        verdict = only([base], [new], across=())

        assert verdict.outcome is Outcome.REGRESSED
        assert verdict.low == pytest.approx(-0.05) and verdict.high == pytest.approx(-0.05)


class TestScoresOfRestoredPictures:
    def scored(self, record: MakeRecord, value: float, score: str = "ssim", which: str = "final") -> Record:
        at = {"score": score, "iterate": "x_t", "which": which, "statistic": "value"}
        return record(metric="denoising", unit="1", at=at, values=(value,) * 3)

    @pytest.mark.parametrize(
        ("score", "was", "now", "outcome"),
        [
            ("ssim", 0.80, 0.79, Outcome.REGRESSED),
            ("ssim", 0.80, 0.81, Outcome.IMPROVED),
            ("ssim", 0.80, 0.797, Outcome.UNCHANGED),
            ("psnr", 20.0, 19.8, Outcome.REGRESSED),
            ("psnr", 20.0, 19.95, Outcome.UNCHANGED),
            ("lpips[alex]", 0.20, 0.21, Outcome.REGRESSED),
            ("lpips[alex]", 0.20, 0.19, Outcome.IMPROVED),
        ],
    )
    def test_each_score_has_its_own_better_side_and_tolerance(
        self, record: MakeRecord, score: str, was: float, now: float, outcome: Outcome
    ) -> None:
        assert only([self.scored(record, was, score)], [self.scored(record, now, score)]).outcome is outcome

    def test_a_tolerance_may_name_a_score(self, record: MakeRecord) -> None:
        rules = Rules(read_tolerances(["ssim=0.05"]))
        base, new = (side_of([self.scored(record, v)], "x", info()) for v in (0.80, 0.77))

        assert compare(base, new, rules).verdicts[0].outcome is Outcome.UNCHANGED

    @pytest.mark.parametrize("which", ["best_step", "chosen_step", "mean_curve", "curve"])
    def test_steps_and_curves_are_not_judged_beside_a_score(self, record: MakeRecord, which: str) -> None:
        def side(value: float) -> list[Record]:
            return [self.scored(record, 1.0), self.scored(record, value, which=which)]

        assert only(side(1.0), side(9.0)).outcome is Outcome.UNCHANGED

    def test_the_axis_of_curves_is_not_judged_beside_a_score(self, record: MakeRecord) -> None:
        def side(value: float) -> list[Record]:
            at = {"which": "steps", "statistic": "value"}
            return [self.scored(record, 1.0), record(metric="denoising", unit="1", at=at, values=(value,))]

        assert only(side(1.0), side(9.0)).outcome is Outcome.UNCHANGED

    def test_what_stands_beside_a_score_that_is_not_there_is_undecided(self, record: MakeRecord) -> None:
        curve = self.scored(record, 1.0, which="curve")

        assert only([curve], [curve]).outcome is Outcome.UNDECIDED
        assert only([curve], [curve]).sentence.startswith("neither side has the number itself")

    def test_the_number_of_pictures_is_a_number(self, record: MakeRecord) -> None:
        one, other = (
            record(metric="denoising_pictures", unit="images", at={"show": "walk"}, values=(value,)) for value in (4, 5)
        )

        assert only([one], [one]).outcome is Outcome.UNCHANGED
        assert only([one], [other]).outcome is Outcome.REGRESSED


class TestHashesOfSamples:
    def drawn(self, record: MakeRecord, sample_hash: str, run: str) -> Record:
        return record(metric="samples", unit="images", at={"sample_hash": sample_hash}, values=(60.0,), run=run)

    def test_the_same_hash_is_the_same_pictures(self, record: MakeRecord) -> None:
        one = self.drawn(record, "aa" * 16, info().id)

        assert only([one], [one]).sentence == "the same to the bit (aaaaaaaaaaaa)"

    def test_another_hash_on_one_machine_is_a_change(self, record: MakeRecord) -> None:
        verdict = only([self.drawn(record, "a", info().id)], [self.drawn(record, "b", info().id)])

        assert (verdict.outcome, verdict.sentence) == (
            Outcome.REGRESSED,
            "other pictures: their hash was a and is b",
        )

    def test_on_another_machine_hashes_say_nothing(self, record: MakeRecord) -> None:
        before = info("20261119-101500-ab12cd", machine={"cpu": "Xeon", "logical_cores": 2})
        sides = [self.drawn(record, "a", before.id)], [self.drawn(record, "b", info().id)]

        assert only(*sides, before=before).differs == "machine.cpu"


class TestMatching:
    def test_a_cell_under_another_suites_name_is_the_same_cell(self, record: MakeRecord) -> None:
        base, new = (record(metric="nfe", unit="calls", values=(10.0,), suite=suite) for suite in ("one", "two"))

        assert only([base], [new]).outcome is Outcome.UNCHANGED

    def test_another_seed_is_named(self, record: MakeRecord) -> None:
        assert only([record(seed=0)], [record(seed=1)]).differs == "seed"

    def test_a_new_argument_of_the_model_is_named_instead_of_calling_all_cells_missing(
        self, record: MakeRecord
    ) -> None:
        old: Mapping[str, Scalar] = {"model": "u", "model.c": 1}
        base = [record(factors={**old, "model.c": c}) for c in (1, 2)]
        new = [record(factors={**old, "model.c": c, "model.extra": False}) for c in (1, 2)]

        found = compared(base, new).verdicts

        assert [(each.outcome, each.differs) for each in found] == [(Outcome.INCOMPARABLE, "model.extra")] * 2
        assert found[0].sentence == "model.extra was absent and is false"

    def test_a_cell_with_two_candidates_is_not_guessed(self, record: MakeRecord) -> None:
        new = [record(threads=2), record(threads=4)]

        found = compared([record(threads=1)], new).verdicts

        assert [each.outcome for each in found] == [Outcome.NEW, Outcome.NEW, Outcome.MISSING]

    def test_a_metric_with_other_arguments_names_them(self, record: MakeRecord) -> None:
        base, new = (record(metric="frechet", unit="1", params={"images": n}) for n in (1000, 2000))

        assert only([base], [new]).differs == "params.images"

    def test_another_recipe_is_incomparable_and_says_what_in_it(self, record: MakeRecord) -> None:
        base, new = (
            record(metric="frechet", unit="1", at={"statistic": "value", "fingerprint": f"f{n}", "n": n})
            for n in (1000, 500)
        )

        verdict = only([base], [new])

        assert (verdict.outcome, verdict.differs) == (Outcome.INCOMPARABLE, "at.n")

    def test_spreads_and_floors_are_not_judged(self, record: MakeRecord) -> None:
        def side(floor: float) -> list[Record]:
            return [
                record(metric="frechet", unit="1", at={"statistic": each}, values=(v,), siblings=2)
                for each, v in (("value", 1.0), ("floor", floor))
            ]

        assert only(side(0.1), side(0.9)).outcome is Outcome.UNCHANGED

    def test_one_number_of_several_that_is_gone_is_missing(self, record: MakeRecord) -> None:
        base = [record(metric="macs", unit="MAC", at={"stage": stage}, siblings=2) for stage in (0, 1)]

        found = compared(base, [replace(base[0], siblings=1)]).verdicts

        assert [(each.outcome, each.at) for each in found] == [
            (Outcome.UNCHANGED, {"stage": 0}),
            (Outcome.MISSING, {"stage": 1}),
        ]


class TestSurroundings:
    def other(self, **more: Any) -> RunInfo:
        return info("20261119-101500-ab12cd", **more)

    def of_every_kind(self, record: MakeRecord, run: str) -> list[Record]:
        return [
            record(metric="nfe", unit="calls", run=run),
            record(metric="peak_memory", unit="bytes", run=run),
            *timed(record, STEADY, run=run),
            record(metric="frechet", unit="1", at={"statistic": "value"}, run=run),
        ]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"machine": {"cpu": "Xeon", "logical_cores": 2}}, "machine.cpu"),
            ({"packages": {"python": "3.11", "torch": "2.14.0"}}, "packages.torch"),
            ({"environment": {"OMP_PROC_BIND": "true"}}, "environment.OMP_PROC_BIND"),
        ],
    )
    def test_another_place_forbids_times_and_bytes_and_nothing_else(
        self, record: MakeRecord, change: Mapping[str, Any], field: str
    ) -> None:
        before = self.other(**change)

        found = compared(
            self.of_every_kind(record, before.id), self.of_every_kind(record, info().id), before=before
        ).verdicts

        assert {each.metric: (each.outcome, each.differs) for each in found} == {
            "nfe": (Outcome.UNCHANGED, None),
            "peak_memory": (Outcome.INCOMPARABLE, field),
            "latency": (Outcome.INCOMPARABLE, field),
            "frechet": (Outcome.UNCHANGED, None),
        }

    def test_a_little_more_memory_in_the_machine_is_the_same_machine(self, record: MakeRecord) -> None:
        before = self.other(machine={**info().machine, "memory_bytes": 8_001})

        assert only(timed(record, STEADY, run=before.id), timed(record, STEADY), before=before).differs is None

    @pytest.mark.parametrize(("package", "outcome"), [("bm3d", Outcome.UNCHANGED), ("triton", Outcome.INCOMPARABLE)])
    def test_a_package_that_only_one_side_has_was_not_needed(
        self, record: MakeRecord, package: str, outcome: Outcome
    ) -> None:
        before = self.other(packages={**info().packages, package: "1.0"})
        new = timed(record, STEADY, **LATER)

        assert only(timed(record, STEADY, run=before.id), new, before=before).outcome is outcome

    def test_a_difference_that_is_asked_for_is_allowed(self, record: MakeRecord) -> None:
        before = self.other(packages={"python": "3.11", "torch": "2.14.0"})
        sides = timed(record, STEADY, run=before.id), timed(record, SLOWER)

        assert only(*sides, before=before, across=("packages.*",)).outcome is Outcome.REGRESSED
        assert only(*sides, before=before, across=("machine.*",)).outcome is Outcome.INCOMPARABLE

    def test_a_side_that_does_not_say_where_it_was_measured_gives_no_times(self, record: MakeRecord) -> None:
        base = [*timed(record, STEADY), record(metric="nfe", unit="calls")]

        found = compare(side_of(base), side_of(base, "new", info())).verdicts

        assert [(each.metric, each.outcome) for each in found] == [
            ("nfe", Outcome.UNCHANGED),
            ("latency", Outcome.INCOMPARABLE),
        ]
        assert found[1].sentence.startswith("BASE does not say where it was measured; give a run's folder")

    @pytest.mark.parametrize("fact", ["first_noise.sha256", "data.fingerprint"])
    def test_other_noise_or_data_is_no_regression_of_a_score(self, record: MakeRecord, fact: str) -> None:
        base, new = (
            record(metric="frechet", unit="1", at={"statistic": "value"}, values=(v,), subject={fact: sha})
            for v, sha in ((1.0, "a"), (9.0, "b"))
        )

        assert only([base], [new]).differs == f"subject.{fact}"

    def test_other_weights_are_what_is_compared_and_are_said(self, record: MakeRecord) -> None:
        base, new = (
            record(metric="frechet", unit="1", values=(v,), subject={"weights.sha256": sha * 32})
            for v, sha in ((5.0, "ab"), (4.0, "cd"))
        )

        verdict = only([base], [new])

        assert verdict.outcome is Outcome.IMPROVED
        assert verdict.sentence.endswith("(the weights changed: abababab became cdcdcdcd)")

    def test_another_unit_is_incomparable(self, record: MakeRecord) -> None:
        base, new = (record(metric="speed", unit=unit) for unit in ("s", "ms"))

        assert only([base], [new]).differs == "unit"


class TestTheWhole:
    def test_exact_numbers_come_first(self, record: MakeRecord) -> None:
        both = [record(metric="frechet", unit="1"), *timed(record, STEADY), record(metric="nfe", unit="calls")]

        assert [each.metric for each in compared(both, both).verdicts] == ["nfe", "latency", "frechet"]

    def test_a_time_that_follows_the_work_says_so(self, record: MakeRecord) -> None:
        base = [record(metric="nfe", unit="calls", values=(10.0,)), *timed(record, STEADY)]
        new = [record(metric="nfe", unit="calls", values=(12.0,)), *timed(record, SLOWER)]

        nfe, latency = compared(base, new).verdicts

        assert nfe.outcome is latency.outcome is Outcome.REGRESSED
        assert latency.sentence.endswith("; a consequence of nfe, which changed")

    @pytest.mark.parametrize(
        ("base", "new", "code"),
        [
            ((1.0,), (1.0,), ExitCode.OK),
            ((2.0,), (1.0,), ExitCode.OK),
            ((1.0,), (2.0,), ExitCode.REGRESSION),
            ((1.0,), (1.0, 1.0), ExitCode.OK),
            ((1.0, 1.0), (1.0,), ExitCode.REGRESSION),
            ((), (1.0,), ExitCode.BAD_INPUT),
            ((1.0,), (), ExitCode.BAD_INPUT),
            ((), (), ExitCode.BAD_INPUT),
        ],
        ids=["unchanged", "improved", "regressed", "new", "missing", "only new", "only missing", "nothing"],
    )
    def test_the_exit_code_tells_what_fails(
        self, record: MakeRecord, base: tuple[float, ...], new: tuple[float, ...], code: ExitCode
    ) -> None:
        """One cell for each value."""
        sides = [
            [record(c=c, metric="nfe", unit="calls", values=(value,)) for c, value in enumerate(side)]
            for side in (base, new)
        ]

        assert compared(*sides).exit_code is code

    def test_what_is_left_open_exits_with_3_and_a_regression_beside_it_with_1(self, record: MakeRecord) -> None:
        base, new = timed(record, STEADY[:2]), timed(record, SLOWER[:2])
        worse = [record(metric="nfe", unit="calls", values=(value,)) for value in (1.0, 2.0)]

        assert compared(base, new).exit_code is ExitCode.SOME_FAILED
        assert compared([*base, worse[0]], [*new, worse[1]]).exit_code is ExitCode.REGRESSION

    def test_the_summary_counts_each_outcome(self, record: MakeRecord) -> None:
        base = [record(c=c, metric="nfe", unit="calls", values=(1.0,)) for c in (0.0, 1.0, 2.0)]
        new = [replace(base[0], values=(2.0,)), base[1]]

        assert compared(base, new).summary == "1 regressed, 1 missing, 1 unchanged"

    def test_tolerances_are_read_and_applied(self, record: MakeRecord) -> None:
        rules = Rules(read_tolerances(["timing=30%", "frechet=0.5"]))
        base = [record(metric="frechet", unit="1", values=(1.0,)), *timed(record, STEADY)]
        new = [record(metric="frechet", unit="1", values=(1.4,)), *timed(record, SLOWER)]

        found = compare(side_of(base, "b", info()), side_of(new, "n", info()), rules).verdicts

        assert {each.outcome for each in found} == {Outcome.UNCHANGED}

    def test_a_metric_nobody_registered_is_judged_by_its_unit(self, record: MakeRecord) -> None:
        slow = [timed(record, side, metric="mine", unit="s") for side in (STEADY, SLOWER)]
        bytes_ = [[record(metric="held", unit="bytes", values=(v,))] for v in (1e9, 2e9)]

        assert only(*slow).outcome is Outcome.REGRESSED
        assert only(*bytes_).outcome is Outcome.REGRESSED


values = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=12)


def draw_side(data: st.DataObject, record: MakeRecord) -> list[Record]:
    """Some cells, each with some of an exact number, a score that may be missing, and visits."""
    found = []
    for c in data.draw(st.sets(st.sampled_from([0.0, 1.0, 2.0]), max_size=3)):
        if data.draw(st.booleans()):
            found.append(record(c=c, metric="nfe", unit="calls", values=(data.draw(st.sampled_from([5.0, 6.0])),)))
        score = data.draw(st.none() | st.floats(0.0, 2.0))
        if score is None:
            found.append(record(c=c, metric="frechet", unit="1", status=Status.FAILED, reason="broke"))
        elif score > 0.5:
            found.append(record(c=c, metric="frechet", unit="1", values=(score,)))
        started = data.draw(st.sampled_from(["a", "b"]))
        found += [
            record(c=c, part=f"p0r{index}", values=(value,), started=started)
            for index, value in enumerate(data.draw(values))
        ]
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exchanging_base_and_new_exchanges_the_verdicts(record: MakeRecord, data: st.DataObject) -> None:
    def outcomes(comparison: Comparison) -> dict[tuple[str, str], Outcome]:
        return {(each.cell, each.name): each.outcome for each in comparison.verdicts}

    one, other = draw_side(data, record), draw_side(data, record)

    there, back = outcomes(compared(one, other)), outcomes(compared(other, one))

    assert back == {key: OPPOSITE.get(outcome, outcome) for key, outcome in there.items()}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_results_compared_with_themselves_are_unchanged(record: MakeRecord, data: st.DataObject) -> None:
    records = [each for each in draw_side(data, record) if each.status is Status.OK]

    assert {each.outcome for each in compared(records, records).verdicts} <= {Outcome.UNCHANGED}
