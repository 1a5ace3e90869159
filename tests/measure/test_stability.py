"""What is said about raw values, and what is not."""

from __future__ import annotations

import pytest

from bench.measure.stability import stability_warnings

QUIET = {f"p{process}r{number}": (1.00, 1.01) for process in range(2) for number in range(5)}


def said(visits: dict[str, tuple[float, ...]]) -> str:
    return " | ".join(stability_warnings(visits))


def test_quiet_values_are_not_remarked_upon() -> None:
    assert stability_warnings(QUIET) == ()


def test_no_values_say_nothing() -> None:
    assert stability_warnings({}) == ()


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ({"": (1.0,)}, "only 1 value: no interval"),
        ({"p0r0": (1.0, 1.0), "p1r0": (1.0, 1.0)}, "only 4 values: no interval"),
        ({"": (5e-4,) * 5}, "the shortest value is 0.5 ms, below 1 ms"),
        ({"": (1.0, 1.0, 1.1, 1.2, 1.2)}, "the interquartile range is 18% of the median"),
        ({"": (1.0,) * 9 + (1.6,)}, "the values reach from 1.00 to 1.60 times the median"),
        ({"": (1.0,) * 9 + (0.4,)}, "the values reach from 0.40 to 1.00 times the median"),
        ({f"p0r{number}": (1.0 + 0.03 * number,) for number in range(6)}, "the later rounds were 9% slower"),
        ({f"p0r{number}": (2.0 - 0.1 * number,) for number in range(6)}, "the later rounds were 16% faster"),
        ({"p0r0": (1.0,) * 5, "p1r0": (1.06,) * 5}, "the medians of 2 processes differ by 6%"),
    ],
)
def test_each_sign_of_trouble_has_its_sentence(visits: dict[str, tuple[float, ...]], expected: str) -> None:
    assert expected in said(visits)


@pytest.mark.parametrize(
    "visits",
    [
        {"": (1e-3,) * 5},
        {"": (1.0, 1.0, 1.0, 1.09, 1.09)},
        {"": (1.0,) * 9 + (1.5,)},
        {f"p0r{number}": (1.0,) if number < 3 else (1.04,) for number in range(6)},
        {"p0r0": (1.0,) * 5, "p1r0": (1.049,) * 5},
    ],
)
def test_up_to_the_limit_nothing_is_said(visits: dict[str, tuple[float, ...]]) -> None:
    assert stability_warnings(visits) == ()


def test_three_rounds_are_too_few_to_speak_of_a_drift() -> None:
    assert "later rounds" not in said({"p0r0": (1.0, 1.0), "p0r1": (1.2, 1.2), "p0r2": (1.4, 1.4)})


def test_every_sentence_says_what_to_do() -> None:
    bad = {f"p{process}r{number}": (1e-4 * (1 + number + 3 * process),) for process in range(2) for number in range(4)}

    warnings = stability_warnings(bad)

    assert len(warnings) == 5
    assert all(any(word in each for word in ("raise", "close", "let", "compare")) for each in warnings)


def test_a_lower_limit_for_short_values_can_be_asked_for() -> None:
    assert stability_warnings({"": (5e-4,) * 5}, shortest_s=1e-4) == ()
