"""What the printed numbers say about each other, against the figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis import derived
from bench.analysis.derived import findings, nonnegative_least_squares, skip_shares
from bench.analysis.published import parse_published, read_published


@pytest.mark.parametrize(
    ("exponent", "counts"),
    [
        (0, (1000, 0, 0, 0)),
        (1, (250, 250, 250, 250)),
        (2, (134, 159, 207, 500)),
        (3, (92, 115, 164, 629)),
        (5, (56, 74, 113, 757)),
    ],
)
def test_the_shares_of_skipped_levels_are_those_of_the_papers_schedule(
    exponent: float, counts: tuple[int, ...]
) -> None:
    assert [round(1000 * share) for share in skip_shares(exponent)] == list(counts)


def test_least_squares_stays_nonnegative_where_the_free_solution_does_not() -> None:
    a = np.array([[1.0, 1.0], [1.0, 1.1], [1.0, 1.2]])
    b = np.array([3.0, 2.0, 1.0])

    found = nonnegative_least_squares(a, b)

    assert found[1] == 0.0
    assert found[0] == pytest.approx(2.0)


def test_least_squares_recovers_a_solution_that_is_there() -> None:
    a = np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
    x = np.array([1.0, 2.0, 3.0])

    assert nonnegative_least_squares(a, a @ x) == pytest.approx(x)


def sentences(paper: str) -> str:
    return "\n".join(finding.sentence for finding in findings(read_published(paper)))


@pytest.mark.parametrize(
    "words",
    [
        "Table 2, Zero: cannot come from one saving for each level",
        "the closest fit is 1.0 points off and gives 45.8 % at c = 2, where 47.52 % is printed",
        "Table 2, Duplicate: agrees with one saving for each level (misfit 0.06 points)",
        "Table 2, Interpolate: agrees with one saving for each level (misfit 0.10 points)",
        "|47.52 - 45.63| = 1.89 points",
        "Table 1 prints 5.59 and Table 3 prints 4.57: 5.59 / 4.57 = 1.22",
    ],
)
def test_what_is_computed_from_adaptive_skip(words: str) -> None:
    assert words in sentences("adaptive-skip")


@pytest.mark.parametrize(
    "words",
    [
        "3.56 / 30 = 0.119 s (MNIST), 12.48 / 100 = 0.125 s (CelebA), 12.14 / 100 = 0.121 s (LSUN Church)",
        "in row t = 50 a step takes 5.45 / 47 = 0.116 s, in the other rows about 0.211 s; a factor 1.82",
        "in row t = 50 a step takes 4.40 / 39 = 0.113 s",
        "with DDPM 1 - 0.54 / 3.56 = 84.8 % less time, but 9.0 % less for one step",
        "2.90 / 7.21 = 40.2 %; the text says about 30 % of the operations",
        "8811875 / 35710339 = 24.7 %",
    ],
)
def test_what_is_computed_from_missing_u(words: str) -> None:
    assert words in sentences("missing-u")


def test_a_paper_without_checks_has_no_findings() -> None:
    text = "{schema: 1, paper: other, title: T, authors: A, cite: C, tables: []}"

    assert findings(parse_published(text, "other.yaml")) == ()


def test_every_finding_names_tables_that_are_there() -> None:
    for name in derived.CHECKS:
        paper = read_published(name)
        known = {table.id for table in paper.tables}
        assert all(set(finding.tables) <= known for finding in findings(paper))
