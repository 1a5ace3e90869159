"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import units
from bench.units import Scale, choose_scale, write

PERCENT = choose_scale([0.5], "1", "percent")


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.4752, 0.4694, 0.4807, "47.5 % [46.9, 48.1]"),
        (0.4752, 0.4742, 0.4763, "47.52 % [47.42, 47.63]"),
        (0.4752, 0.30, 0.60, "48 % [30, 60]"),
        (-0.013, -0.02, -0.006, "-1.3 % [-2.0, -0.6]"),
        (0.0001, -0.004, 0.004, "0.0 % [-0.4, 0.4]"),
    ],
)
def test_a_number_has_the_figures_that_its_interval_supports(value: float, low: float, high: float, text: str) -> None:
    assert write(value, PERCENT, low, high) == text


def test_an_exact_percentage_has_two_decimals_and_zero_has_none() -> None:
    assert [write(value, PERCENT) for value in (0.3561, 0.0, 0.0413)] == ["35.61 %", "0 %", "4.13 %"]


def test_a_number_too_small_for_decimals_is_written_with_its_power() -> None:
    assert write(1.234e-8, Scale(1.0, "")) == "1.23e-08"


def test_a_wide_interval_rounds_to_tens() -> None:
    assert write(12_345, Scale(1.0, ""), 10_800, 13_900) == "12,300 [10,800, 13,900]"


@pytest.mark.parametrize(
    ("values", "unit", "style", "first"),
    [
        ([0.0123], "s", "auto", "12.30 ms"),
        ([2.4, 1.1, 0.9], "s", "auto", "2.400 s"),
        ([3.2e-6], "s", "auto", "3.200 µs"),
        ([4e-10], "s", "auto", "0.4000 ns"),
        ([571_600_000], "bytes", "auto", "571.6 MB"),
        ([571_600_000], "bytes", "mib", "545.1 MiB"),
        ([512], "bytes", "mib", "512 B"),
        ([35_746_307], "count", "auto", "35,746,307"),
        ([6.239e9, 2.249e9], "MAC", "auto", "6.239 G"),
        ([6.239e12], "MAC", "auto", "6.239 T"),
        ([1797], "", "count", "1,797"),
        ([1.9], "x", "auto", f"1.900{units.TIMES}"),
        ([0.7399], "", "auto", "0.7399"),
    ],
)
def test_the_unit_decides_the_scale(values: list[float], unit: str, style: units.Style, first: str) -> None:
    assert write(values[0], choose_scale(values, unit, style)) == first


def test_a_row_that_reaches_far_takes_the_larger_prefix() -> None:
    values = [0.00015, 0.00097, 0.301]

    scale = choose_scale(values, "s")

    assert [write(value, scale) for value in values] == ["0.1500 ms", "0.9700 ms", "301.0 ms"]
    assert choose_scale([0.00015, 0.00097, 0.00999], "s").symbol == "µs"
    assert choose_scale([20_000.0], "s").symbol == "s"


def test_one_scale_serves_a_whole_row() -> None:
    scale = choose_scale([0.0005, 0.002, 0.003], "s")

    assert [write(value, scale) for value in (0.0005, 0.002)] == ["0.5000 ms", "2.000 ms"]


def test_megabytes_and_mebibytes_say_what_they_are() -> None:
    assert choose_scale([5e6], "bytes").meaning == "1 MB = 10^6 bytes"
    assert choose_scale([5e6], "bytes", "mib").meaning == "1 MiB = 2^20 bytes"
    assert choose_scale([5], "s").meaning is None


def test_a_number_without_interval_keeps_three_figures() -> None:
    assert units.write_unsure(0.123456, PERCENT) == "12.3 %"
    assert units.write_unsure(12_345.6, Scale(1.0, "s")) == "12,300 s"
    assert units.write_unsure(0.0, PERCENT) == "0 %"


@pytest.mark.parametrize(
    ("own", "usual", "shown"), [(2, 1, 1), (1, 1, 1), (0, 1, 0), (4, 1, 4), (3, 1, 3), (-1, 1, -1)]
)
def test_a_row_is_even_unless_a_number_is_of_another_magnitude(own: int, usual: int, shown: int) -> None:
    assert units.even_decimals(own, usual) == shown


@given(st.floats(-1e15, 1e15), st.floats(0, 1e12))
def test_writing_never_shows_minus_zero_and_reads_back_within_the_interval(value: float, half: float) -> None:
    scale = Scale(1.0, "")
    text = write(value, scale, value - half, value + half)
    number = text.partition(" [")[0].replace(",", "")

    assert not number.startswith("-0") or float(number) != 0
    assert abs(float(number) - value) <= max(half, abs(value) * 1e-3, 1e-6)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.2, "4.200 s"),
        (38.4, "38 s"),
        (192, "3 min 12 s"),
        (7_500, "2 h 05 min"),
        (59.7, "1 min 00 s"),
        (1e6, "11 days 13 h"),
    ],
)
def test_lengths_of_time_are_for_people(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


def test_plurals() -> None:
    assert [units.plural(1, "cell"), units.plural(15_000, "cell"), units.plural(2, "entry", "entries")] == [
        "1 cell",
        "15,000 cells",
        "2 entries",
    ]
