"""Which cell is best, and which cannot be told from it, on made-up cells with known differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from bench.analysis.results import Point, Results
from bench.analysis.separation import Ranking, holm, ranking, two_sided
from bench.contracts import Scalar
from bench.store.record import Record, Status
from bench.suite.schema import Companion, Quantity

NAMES = ("good", "twin", "bad")
SCORE = Quantity(metric="score", reduce="mean")


def record(cell: str, values: Sequence[float], at: Mapping[str, Scalar] | None = None, **more: object) -> Record:
    fields: dict[str, object] = {
        "schema": 1,
        "run": "r",
        "cell": cell,
        "suite": "s",
        "factors": {"model": cell},
        "conditions": {},
        "metric": "score",
        "metric_params": {},
        "unit": "1",
        "at": dict(at or {}),
        "part": "",
        "values": tuple(map(float, values)),
        "nfe": None,
        "status": Status.OK,
        "reason": None,
        "warnings": (),
        "subject": {},
        "inputs": (),
        "effort": {},
        "seed": 0,
        "started": "",
        "duration_s": 0.0,
        "artifact": None,
        **more,
    }
    return Record(**fields)  # type: ignore[arg-type]


def results(values: Mapping[str, Sequence[float]], data: Mapping[str, str] | None = None) -> Results:
    known = data or {}
    points = tuple(
        Point(name, {"model": name, **({"data": known[name]} if name in known else {})}, {}, 0, ("score",))
        for name in values
    )
    return Results(points, {(name, "score"): (record(name, each),) for name, each in values.items()})


def ranked(values: Mapping[str, Sequence[float]], quantity: Quantity = SCORE, **more: Mapping[str, str]) -> Ranking:
    made = results(values, **more)
    found = ranking(made, {point.id: (point,) for point in made.points}, quantity, "higher")
    assert found is not None
    return found


def images(seed: int = 0, count: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def test_a_small_difference_is_seen_where_it_is_the_same_in_every_image() -> None:
    """Images differ far more than methods do; only pairs show which method is better."""
    hard = images() * 10
    small = 0.1 + images(1) * 0.05

    assert ranked({"good": hard + small, "bad": hard}) == Ranking("good", ("bad",), (), ())
    assert ranked({"good": images(2) * 10 + small, "bad": hard}).behind == ()


def test_what_is_not_surely_worse_is_not_separated() -> None:
    base = images()
    found = ranked({"good": base + 0.02, "twin": base + images(2) * 0.5 - 0.05, "bad": images(3) - 5})

    assert found == Ranking("good", ("bad",), ("twin",), ())
    assert found.comparisons == 2


def test_lower_may_be_better() -> None:
    made = results({"good": images() * 0.1, "bad": images() * 0.1 + 1})
    found = ranking(made, {point.id: (point,) for point in made.points}, SCORE, "lower")

    assert found == Ranking("good", ("bad",), (), ())


def test_equal_rows_are_level() -> None:
    assert ranked({"good": images(), "twin": images()}).level == ("twin",)


def test_asking_often_needs_larger_differences() -> None:
    """One pair at p = 0.03 is a difference; as one of ten it is not."""
    assert holm({"a": 0.03}) == {"a": True}
    assert not any(holm({"a": 0.03, **{str(i): 0.5 for i in range(9)}}).values())
    assert holm({"a": 0.001, "b": 0.02, "c": 0.04, "d": 0.3}) == {"a": True, "b": False, "c": False, "d": False}
    assert holm({"a": 0.001, "b": 0.011, "c": 0.02, "d": 0.04}) == {"a": True, "b": True, "c": True, "d": True}


def test_noise_alone_is_hardly_ever_separated() -> None:
    """Of 40 tables of five equal methods about two may show a difference."""
    wrong = 0
    for seed in range(40):
        found = ranked({str(i): images(100 * seed + i, 30) for i in range(5)})
        wrong += bool(found.behind)

    assert wrong <= 6


def test_a_chance_is_two_sided_and_never_zero() -> None:
    assert two_sided(np.array([1.0] * 100)) == 0.01
    assert two_sided(np.array([-1.0, 1.0] * 50)) == 1.0
    assert two_sided(np.array([-1.0] * 5 + [1.0] * 95)) == pytest.approx(0.1)
    assert two_sided(np.zeros(50)) == 1.0


def test_cells_of_other_data_or_of_too_few_values_are_not_paired() -> None:
    other = ranked({"good": images() + 1, "bad": images()}, data={"good": "digits", "bad": "photos"})
    few = ranked({"good": [1.0, 2.0], "bad": [0.0, 1.0]})

    assert other == Ranking("good", (), (), ("bad",)) == few
    assert other.comparisons == 0


def test_numbers_that_were_resampled_where_they_were_measured_are_paired_resample_by_resample() -> None:
    shared = images(0, 200)
    rows = {"good": (0.5, shared + 0.5), "twin": (0.49, images(9, 200) * 0.5), "bad": (0.0, shared)}
    points = tuple(Point(name, {"model": name}, {}, 0, ("score",)) for name in rows)
    records = {
        (name, "score"): (
            record(name, [value], {"statistic": "value"}),
            record(name, replicates, {"statistic": "replicates"}),
        )
        for name, (value, replicates) in rows.items()
    }
    found = ranking(Results(points, records), {point.id: (point,) for point in points}, SCORE, "higher")

    assert found == Ranking("good", ("bad",), ("twin",), ())


@pytest.mark.parametrize(
    "quantity",
    [
        SCORE.model_copy(update={"relative": "difference", "to": {"model": "good"}}),
        SCORE.model_copy(update={"times": Companion(metric="score")}),
    ],
)
def test_products_and_differences_are_not_ranked(quantity: Quantity) -> None:
    made = results({"good": images(), "bad": images() - 1})

    assert ranking(made, {point.id: (point,) for point in made.points}, quantity, "higher") is None


def test_one_number_is_no_ranking() -> None:
    made = results({"good": images()})

    assert ranking(made, {"good": made.points, "absent": ()}, SCORE, "higher") is None
