from __future__ import annotations

import pytest

from bench.errors import UserError
from bench.suite.schema import Cell
from bench.suite.select import select


@pytest.mark.parametrize(
    ("expressions", "count"),
    [
        ([], 9),
        (["skip=zero"], 4),
        (["model.skip=zero"], 4),
        (["skip=zero", "skip=copy"], 8),
        (["skip=zero", "exponent=2"], 2),
        (["exponent=2.0"], 4),
        (["clip=true"], 4),
        (["model=plain"], 1),
        (["sampler=walk", "exponent=0", "skip=copy"], 1),
        (["threads=2"], 1),
        (["conditions.threads=1"], 8),
        (["note=null"], 1),
        ([" skip = zero "], 4),
    ],
)
def test_several_factors_all_hold_and_several_values_of_one_are_alternatives(
    cells: tuple[Cell, ...], expressions: list[str], count: int
) -> None:
    chosen = select(cells, expressions)

    assert len(chosen) == count
    assert list(chosen) == [cell for cell in cells if cell in chosen]


@pytest.mark.parametrize(
    ("expressions", "sentence"),
    [
        (["skp=zero"], "-k 'skp=zero': no cell has the factor 'skp'"),
        (["model.skp=zero"], "did you mean 'model.skip' or 'model'?"),
        (["skip=cpy"], "no cell has model.skip = cpy; expected one of zero, copy"),
        (["exponent=1"], "no cell has model.exponent = 1; expected one of 0, 2"),
        (["clip=1"], "no cell has sampler.clip = 1; expected one of true, false"),
        (["exponent=.nan"], "no cell has model.exponent = .nan"),
        (["skip"], "expected factor=value, such as skip=zero"),
        (["=zero"], "expected factor=value"),
        (["skip=zero", "model=plain"], "none of the 9 cells has model.skip = zero, model = plain together"),
    ],
)
def test_what_cannot_be_chosen_is_said_with_what_can(
    cells: tuple[Cell, ...], expressions: list[str], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        select(cells, expressions)

    assert sentence in str(caught.value)


def test_an_ending_that_fits_two_factors_is_not_guessed(cells: tuple[Cell, ...]) -> None:
    first = cells[0]
    both = first.model_copy(update={"factors": {**first.factors, "data.skip": "zero"}})

    with pytest.raises(UserError, match=r"'skip' may be model\.skip or data\.skip; write one of them"):
        select([both], ["skip=zero"])
