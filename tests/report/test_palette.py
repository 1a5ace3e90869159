"""Colours that everybody can tell apart, on light and on dark pages."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.report.palette import MARKERS, SERIES, TOKENS

Array = NDArray[np.float64]

SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> Array:
    shares = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(rgb: Array) -> Array:
    found = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(found > 0.008856, np.cbrt(found), 7.787 * found + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float((XYZ @ linear(each))[1]) for each in (one, other))
    return (light + 0.05) / (dark + 0.05)


def page_colours() -> dict[str, tuple[str, str]]:
    """Name -> its colours on light and on dark pages."""
    text = (files("bench.report") / "templates" / "page.css").read_text("utf-8")
    return {
        name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", text)
    }


def test_the_page_draws_in_the_colours_of_the_figures() -> None:
    colours = page_colours()

    assert {name: colours[f"fig-{name}"][0] for name in TOKENS.values()} == {name: c for c, name in TOKENS.items()}
    assert len(MARKERS) == len(SERIES) == len(set(MARKERS))


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_series_can_be_told_apart(theme: int, sight: str) -> None:
    series = [page_colours()[f"fig-series-{index}"][theme] for index in range(len(SERIES))]
    seen = [lab(SIGHT[sight] @ linear(colour)) for colour in series]

    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) >= 20


@pytest.mark.parametrize("theme", [0, 1])
def test_marks_and_texts_stand_out_from_the_page(theme: int) -> None:
    colours = {name: pair[theme] for name, pair in page_colours().items()}

    assert all(contrast(colours[f"fig-series-{i}"], colours["page"]) >= 3 for i in range(len(SERIES)))
    for ink in ("ink", "muted", "accent", "good", "bad"):
        assert contrast(colours[ink], colours["page"]) >= 4.5
    for ink, ground in (
        ("ink", "raised"),
        ("muted", "raised"),
        ("ink", "card"),
        ("muted", "card"),
        ("bad", "bad-card"),
    ):
        assert contrast(colours[ink], colours[ground]) >= 4.5
    assert contrast(colours["ink"], colours["notice-card"]) >= 4.5
