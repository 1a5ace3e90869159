"""Numbers with intervals of their own, products, and cells chosen by a rule: each with a known answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.analysis.places import place
from bench.analysis.reduce import Estimate
from bench.analysis.results import Results, collect
from bench.analysis.samples import Missing
from bench.contracts import Scalar
from bench.store.record import Record
from bench.suite.schema import Chosen, Companion, Quantity

Make = Callable[..., Record]
FRECHET = Quantity(metric="frechet")
SPREAD = np.linspace(-1.0, 1.0, 201)
"""Its central 95 % lie within 0.95."""


def scored(record: Make, c: float, value: float, *, fingerprint: str = "a", **more: Scalar) -> list[Record]:
    """A Fr\u00e9chet distance of 1000 images with its replicates, and one on each half of the images."""
    own: dict[str, Scalar] = {"recipe": "tf", "fingerprint": fingerprint, "n": 1000, **more}

    def one(statistic: str, *values: float, **also: Scalar) -> Record:
        at = {**own, "statistic": statistic, **also}
        return record("zero", c, metric="frechet", part="", values=values, at=at, unit="1", siblings=3)

    return [
        one("value", value),
        one("floor", 0.5),
        one("replicates", *(value + SPREAD), method="bootstrap"),
    ]


def at(results: Results, quantity: Quantity, *exponents: float) -> Estimate:
    found = found_at(results, quantity, *exponents)
    assert isinstance(found, Estimate), found
    return found


def found_at(results: Results, quantity: Quantity, *exponents: float) -> Estimate | Missing | None:
    points = [point for c in exponents for point in results.find({"model.skip_exponent": c})]
    return place(results, points, quantity)


def test_replicates_are_the_interval_of_the_value_they_belong_to(record: Make) -> None:
    found = at(collect(scored(record, 0, 7.0)), FRECHET, 0)

    assert (found.value, found.n, found.of_images, found.resamples) == (7.0, 1000, True, 201)
    assert [found.low, found.high] == pytest.approx([6.05, 7.95])
    assert found.note is None


def test_another_statistic_of_the_same_metric_does_not_get_these_replicates(record: Make) -> None:
    found = at(collect(scored(record, 0, 7.0)), Quantity(metric="frechet", at={"statistic": "floor"}), 0)

    assert (found.value, found.low) == (0.5, None)
    assert found.note == "measured once, so there is no interval"


def test_replicates_that_say_what_they_are_of_belong_to_that(record: Make) -> None:
    common: dict[str, Scalar] = {"fingerprint": "a", "n": 500}
    results = collect(
        [
            record("zero", 0.0, metric="frechet", part="", values=values, at={**common, **own}, unit="1", siblings=4)
            for values, own in [
                ((7.0,), {"statistic": "value"}),
                (tuple(7 + SPREAD), {"statistic": "replicates"}),
                ((8.0,), {"statistic": "half_b"}),
                (tuple(8 + 2 * SPREAD), {"statistic": "replicates", "of": "half_b"}),
            ]
        ]
    )

    half, whole = (at(results, Quantity(metric="frechet", at={"statistic": name}), 0) for name in ("half_b", "value"))

    assert [half.value, half.low, half.high] == pytest.approx([8.0, 6.1, 9.9])
    assert [whole.value, whole.low, whole.high] == pytest.approx([7.0, 6.05, 7.95])


def test_a_difference_of_resampled_numbers_pairs_their_resamples(record: Make) -> None:
    """Both vary alike, so their difference is certain."""
    results = collect([*scored(record, 0, 7.0), *scored(record, 2, 9.0)])

    found = at(results, Quantity(metric="frechet", relative="difference", to={"model.skip_exponent": 0}), 2)

    assert [found.value, found.low, found.high] == pytest.approx([2.0, 2.0, 2.0])


def test_values_of_images_are_paired_image_by_image(record: Make) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.2, 50)
    results = collect(
        [
            record("zero", c, metric="ssim", part="", values=tuple(base + gain), unit="1")
            for c, gain in ((0.0, 0.0), (2.0, 0.03))
        ]
    )

    found = at(
        results,
        Quantity(metric="ssim", reduce="mean", relative="difference", to={"model.skip_exponent": 0}),
        2,
    )

    assert [found.value, found.low, found.high] == pytest.approx([0.03, 0.03, 0.03])
    alone = at(results, Quantity(metric="ssim", reduce="mean"), 2)
    assert alone.low is not None and alone.high is not None
    assert 0.05 < alone.high - alone.low < 0.2


def test_a_product_multiplies_a_count_by_a_time(record: Make) -> None:
    results = collect(
        [
            record("zero", 0.0, metric="steps", part="", values=(10.0, 20.0, 30.0, 20.0, 20.0), unit="calls"),
            *(
                record("zero", 0.0, metric="clock", part=f"p{p}r{r}", values=(0.5,), unit="s")
                for p in range(2)
                for r in range(3)
            ),
        ]
    )

    found = at(results, Quantity(metric="steps", reduce="mean", times=Companion(metric="clock")), 0)

    assert found.value == pytest.approx(10.0)
    assert found.unit == "s"
    assert found.low is not None and found.high is not None
    assert 5 <= found.low < 10 < found.high <= 15


def test_a_product_relative_to_another_cell_takes_the_product_of_both(record: Make) -> None:
    results = collect(
        [
            made
            for c, steps, seconds in ((0.0, 10.0, 2.0), (2.0, 5.0, 1.0))
            for made in (
                record("zero", c, metric="steps", part="", values=(steps,), unit="calls"),
                record("zero", c, metric="clock", part="p0r0", values=(seconds,), unit="s"),
            )
        ]
    )
    saved = Quantity(
        metric="steps",
        reduce="value",
        times=Companion(metric="clock"),
        relative="time_saved",
        to={"model.skip_exponent": 0},
    )

    found = at(results, saved, 2)
    assert (found.value, found.unit, found.low) == (0.75, "1", None)
    assert found.note == "one of its factors has no interval, so it has none"
    assert at(results, saved, 0).is_reference


def test_a_product_with_an_unmeasured_factor_says_so(record: Make) -> None:
    results = collect([record("zero", 0.0, metric="steps", part="", values=(10.0,), unit="calls")])

    found = found_at(results, Quantity(metric="steps", times=Companion(metric="clock")), 0)

    assert isinstance(found, Missing)
    assert "clock is not among the metrics" in found.reason


def chosen(**rule: object) -> Quantity:
    made = Chosen(over="model.skip_exponent", by=Companion(metric="judge"), **rule)  # type: ignore[arg-type]
    return Quantity(metric="score", chosen=made)


def judged(record: Make) -> Results:
    """The judge likes c = 2 best; the score there is not the best score."""
    return collect(
        [
            made
            for c, judge, score in ((0.0, 5.0, 1.0), (1.0, 3.0, 2.0), (2.0, 1.0, 3.0), (3.0, 4.0, 4.0))
            for made in (
                record("zero", c, metric="judge", part="", values=(judge,), unit="1"),
                record("zero", c, metric="score", part="", values=(score,), unit="1"),
            )
        ]
    )


@pytest.mark.parametrize(
    ("rule", "score"),
    [({"prefer": "lower"}, 3.0), ({"prefer": "higher"}, 1.0), ({"at_most": 4.5}, 4.0), ({"at_most": 1.0}, 3.0)],
)
def test_the_cell_is_chosen_by_another_number_than_is_shown(
    record: Make, rule: dict[str, object], score: float
) -> None:
    found = at(judged(record), chosen(**rule), 0, 1, 2, 3)

    assert found.value == score
    assert len(found.cells) == 1


def test_a_budget_that_no_cell_meets_gives_no_number(record: Make) -> None:
    found = found_at(judged(record), chosen(at_most=0.5), 0, 1, 2, 3)

    assert isinstance(found, Missing)
    assert found.reason == "no model.skip_exponent has judge of at most 0.5; the least is 1"


def test_nothing_is_chosen_while_a_candidate_has_no_number(record: Make) -> None:
    """The one that is missing might be the best."""
    results = collect([*judged(record).by_metric[(record("zero", 0.0).cell, "judge")], record("zero", 9.0)])

    found = found_at(results, chosen(prefer="lower"), 0, 9)

    assert isinstance(found, Missing)
    assert found.reason.startswith("cannot choose: judge at model.skip_exponent = 9.0")


def test_cells_that_differ_in_something_else_are_not_chosen_from(record: Make) -> None:
    results = collect(
        [
            record(skip, c, metric=metric, part="", values=(1.0,), unit="1")
            for skip in ("zero", "duplicate")
            for c in (0.0, 1.0)
            for metric in ("judge", "score")
        ]
    )

    found = place(results, results.points, chosen(prefer="lower"))

    assert isinstance(found, Missing)
    assert "which differ in model.skip besides model.skip_exponent" in found.reason


def test_a_reference_is_chosen_by_the_same_rule(record: Make) -> None:
    results = collect(
        [
            made
            for skip, scores in (("zero", (5.0, 2.0)), ("duplicate", (3.0, 8.0)))
            for c, score in zip((0.0, 1.0), scores, strict=True)
            for made in (record(skip, c, metric="score", part="", values=(score,), unit="1"),)
        ]
    )
    best = Chosen(over="model.skip_exponent", by=Companion(metric="score"), prefer="lower")
    quantity = Quantity(metric="score", chosen=best, relative="ratio", to={"model.skip": "duplicate"})

    found = place(results, results.find({"model.skip": "zero"}), quantity)

    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(2 / 3)
