from __future__ import annotations

from itertools import combinations

import pytest

from bench.errors import UserError
from bench.suite.expressions import Expressions
from bench.suite.schema import Cell
from bench.suite.select import select


def test_expressions_select_exactly_each_cell_each_pair_and_each_three(cells: tuple[Cell, ...]) -> None:
    expressions = Expressions(cells)
    for size in (1, 2, 3):
        for wanted in combinations(cells, size):
            found = expressions.selecting(cell.id for cell in wanted)

            assert select(cells, found) == wanted


def test_a_cell_is_named_by_few_factors_in_their_short_form(cells: tuple[Cell, ...]) -> None:
    expressions = Expressions(cells)

    assert expressions.selecting([cells[0].id]) == ("skip=zero", "exponent=0", "sampler=walk")
    assert expressions.selecting([cells[0].id, cells[2].id]) == ("skip=zero", "sampler=walk")  # every exponent
    assert expressions.selecting([cells[8].id]) == ("model=plain",)


def test_cells_that_factors_cannot_single_out_are_named_by_their_hashes(cells: tuple[Cell, ...]) -> None:
    crossed = [cells[0], cells[7]]  # differ in everything, so factors would select all eight

    found = Expressions(cells).selecting(cell.id for cell in crossed)

    assert found == tuple(f"cell={cell.id.rpartition('-')[2]}" for cell in crossed)


def test_a_cell_within_which_another_lies_is_named_by_its_hash(cells: tuple[Cell, ...]) -> None:
    bare = cells[0].model_copy(update={"id": "toy/bare-0123abcd", "factors": {"model": "net"}})
    everything = (*cells[:8], bare)

    assert Expressions(everything).selecting([bare.id]) == ("cell=0123abcd",)


@pytest.mark.parametrize("odd", ["true", "0", " zero", "zero ", "a\nb", "", "a b", "c=d", "null", "'x'"])
def test_values_that_look_like_others_are_still_told_apart(cells: tuple[Cell, ...], odd: str) -> None:
    values = ("zero", True, 0, None, odd)
    everything = tuple(
        cells[0].model_copy(update={"id": f"toy/x-{number:08x}", "factors": {**cells[0].factors, "model.skip": value}})
        for number, value in enumerate(values)
    )
    expressions = Expressions(everything)

    for cell in everything:
        assert select(everything, expressions.selecting([cell.id])) == (cell,)


def test_a_cell_is_selected_by_its_id_its_hash_and_nothing_less(cells: tuple[Cell, ...]) -> None:
    ending = cells[3].id.rpartition("-")[2]

    assert select(cells, [f"cell={cells[3].id}"]) == (cells[3],)
    assert select(cells, [f"cell={ending}", f"cell = {cells[1].id}"]) == (cells[1], cells[3])
    with pytest.raises(UserError, match=r"no cell's id is that or ends with it; see `bench plan`"):
        select(cells, [f"cell={ending[:-1]}"])
    with pytest.raises(UserError, match=rf"none of the 9 cells has model.skip = copy, cell = {ending} together"):
        select(cells, [f"cell={ending}", "skip=copy"])
