from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from bench.errors import SuiteError
from bench.suite.expand import MAX_CELLS, expand, identity
from bench.suite.plan import PlanCounts, plan_counts, plan_rows
from bench.suite.read import parse_suite
from bench.suite.schema import Block, BlockRef, Cell, Each, Ref, Suite

SUITE = (Path(__file__).parent / "toy.yaml").read_text("utf-8")


def suite_of(grid: str, metrics: str = "[clock]", rest: str = "") -> Suite:
    return parse_suite(f"schema: 1\nsuite: toy\ntitle: T\ngrid:\n{grid}metrics: {metrics}\n{rest}", "toy.yaml")


def cells_of(grid: str, metrics: str = "[clock]", rest: str = "") -> tuple[Cell, ...]:
    return expand(suite_of(grid, metrics, rest))


def problems_of(grid: str, metrics: str = "[clock]", rest: str = "") -> tuple[str, ...]:
    suite = suite_of(grid, metrics, rest)
    with pytest.raises(SuiteError) as caught:
        expand(suite)
    return caught.value.problems


def test_the_axis_written_first_varies_slowest() -> None:
    cells = cells_of(
        "  - sampler: {name: walk, timesteps: {each: [5, 3]}}\n"
        "    model: {name: net, exponent: {each: [2, 1]}, skip: {each: [zero, copy]}}\n"
    )

    found = [
        (cell.factors["sampler.timesteps"], cell.factors["model.exponent"], cell.factors["model.skip"])
        for cell in cells
    ]
    assert found == [(t, e, s) for t in (5, 3) for e in (2.0, 1.0) for s in ("zero", "copy")]


def test_defaults_are_filled_in_and_whole_numbers_become_the_floats_that_are_declared() -> None:
    (cell,) = cells_of("  - {model: {name: net, exponent: 3}, sampler: walk, data: dots}\n", "[count]")

    assert cell.model == Ref(name="net", params={"skip": "zero", "exponent": 3.0, "widths": (8, 16)})
    assert [type(value) for value in cell.model.params.values()] == [str, float, tuple]
    assert cell.sampler == Ref(name="walk", params={"timesteps": 10, "eta": 0.0, "clip": True})
    assert cell.metrics == (Ref(name="count", params={"images": 10, "kind": "a"}),)
    assert cell.factors == {
        "model": "net",
        "model.skip": "zero",
        "model.exponent": 3.0,
        "model.widths": "8,16",
        "data": "dots",
        "data.split": "test",
        "sampler": "walk",
        "sampler.timesteps": 10,
        "sampler.eta": 0.0,
        "sampler.clip": True,
    }


@pytest.mark.parametrize("other", ["{name: net, exponent: 2.0}", "net", "{exponent: 2e0, name: net, skip: zero}"])
def test_one_cell_has_one_id_however_it_is_written(other: str) -> None:
    (one,) = cells_of("  - {model: {name: net, exponent: 2}}\n")
    (same,) = cells_of(f"  - model: {other}\n")

    assert same.id == one.id


def test_minus_zero_is_zero() -> None:
    (one,) = cells_of("  - {model: {name: net, exponent: 0}}\n")
    (same,) = cells_of("  - {model: {name: net, exponent: -0.0}}\n")

    assert same.id == one.id


@pytest.mark.parametrize(
    "change",
    [
        ("name: net", "name: net, skip: copy"),
        ("timesteps: 5", "timesteps: 6"),
        ("data: dots", "data: {name: dots, split: train}"),
        ("    data: dots\n", ""),
        ("threads: 1", "threads: 2"),
        ("seed: 7", "seed: 8"),
    ],
)
def test_what_changes_the_numbers_changes_the_id(change: tuple[str, str]) -> None:
    text = SUITE[: SUITE.index("tables:")].replace(
        "skip: {each: [zero, copy]}, exponent: {each: [0, 2]}", "exponent: 1"
    )
    before = expand(parse_suite(text, "toy.yaml"))
    after = expand(parse_suite(text.replace(*change), "toy.yaml"))

    assert [cell.id for cell in before] != [cell.id for cell in after]


@pytest.mark.parametrize(("old", "new"), [("metrics: [clock, ", "metrics: ["), ("repeats: 2", "repeats: 9")])
def test_metrics_and_effort_are_not_identity(old: str, new: str) -> None:
    text = SUITE[: SUITE.index("tables:")]

    before, after = (expand(parse_suite(each, "toy.yaml")) for each in (text, text.replace(old, new)))

    assert [cell.id for cell in before] == [cell.id for cell in after]


def test_a_block_may_have_metrics_of_its_own() -> None:
    first, second = cells_of(
        "  - {model: net, data: dots}\n  - {model: net, metrics: [{name: count, images: 3}]}\n", "[clock, count]"
    )

    assert [ref.name for ref in first.metrics] == ["clock", "count"]
    assert second.metrics == (Ref(name="count", params={"images": 3, "kind": "a"}),)


def test_a_table_may_ask_for_what_one_block_measures() -> None:
    table = "tables: [{id: t, caption: C, rows: model, values: [{metric: blur}]}]\n"

    assert cells_of("  - {model: net, metrics: [{name: blur, images: 3}]}\n", rest=table)


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ("[clok]", "toy.yaml:5:28: grid[0].metrics[0]: no metric named 'clok'"),
        ("[{name: count, image: 3}]", "toy.yaml:5:42: grid[0].metrics[0].image:"),
        ("[clock, clock]", "toy.yaml:5:35: grid[0].metrics[1]: the metric 'clock' stands twice"),
        ("[]", "toy.yaml:5:27: grid[0].metrics: expected at least one metric, got an empty list"),
        ("[{name: count, images: {each: [3, 4]}}]", "toy.yaml:5:50: grid[0].metrics[0].images: a metric has no axes"),
    ],
)
def test_what_is_wrong_in_a_blocks_metrics_is_told_with_its_place(metrics: str, problem: str) -> None:
    with pytest.raises(SuiteError) as caught:
        cells_of(f"  - {{model: net, metrics: {metrics}}}\n")

    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_an_id_reads_as_what_varies_and_ends_in_the_hash_of_the_identity() -> None:
    cells = expand(parse_suite(SUITE, "toy.yaml"))

    assert [cell.id[:-9] for cell in cells] == [
        f"toy/skip={skip},exponent={exponent}" for skip in ("zero", "copy") for exponent in (0, 2)
    ]
    for cell in cells:
        assert cell.id.rpartition("-")[2] == sha256(identity(cell).encode()).hexdigest()[:8]


def test_the_identity_is_pinned_because_stored_results_depend_on_it() -> None:
    (cell,) = cells_of("  - {model: {name: net, widths: [1]}, sampler: walk}\n")

    assert identity(cell) == (
        '{"conditions":{"batch_size":1,"compile":false,"device":"cpu","dtype":"float32","memory_format":"contiguous",'
        '"threads":1},"data":null,"model":["net",{"exponent":2.0,"skip":"zero","widths":[1]}],'
        '"sampler":["walk",{"clip":true,"eta":0.0,"timesteps":10}],"seed":0}'
    )
    assert cell.id == "toy/net-" + sha256(identity(cell).encode()).hexdigest()[:8]


def test_what_follows_from_a_name_is_not_in_the_id() -> None:
    cells = cells_of("  - {model: net, sampler: {each: [walk, jump]}}\n")

    assert [cell.id[:-9] for cell in cells] == ["toy/sampler=walk", "toy/sampler=jump"]


def test_factors_that_end_alike_are_named_in_full_in_the_id() -> None:
    cells = cells_of(
        "  - {model: {each: [{name: net}, {name: plain, depth: 1}]}, sampler: {name: walk, timesteps: {each: [1, 2]}},"
        " conditions: {threads: {each: [1, 2]}}}\n"
    )

    assert cells[0].id.startswith("toy/model=net,timesteps=1,threads=1-")
    assert len({cell.id for cell in cells}) == 8


def test_odd_characters_and_long_values_stay_out_of_ids() -> None:
    notes = "['../x y', 'Ünicode/ß', '" + "z" * 500 + '\', "tab\\there"]'
    cells = cells_of(f"  - {{model: {{name: plain, depth: 1, note: {{each: {notes}}}}}}}\n")

    assert len({cell.id for cell in cells}) == 4
    assert all(re.fullmatch(r"toy/[A-Za-z0-9._+=,-]{1,129}", cell.id) for cell in cells)


def test_a_cell_that_two_blocks_describe_is_there_once_at_its_first_place() -> None:
    cells = cells_of(
        "  - model: {name: net, exponent: {each: [0, 1]}}\n  - model: {name: net, exponent: {each: [1.0, 2]}}\n"
    )

    assert [cell.factors["model.exponent"] for cell in cells] == [0.0, 1.0, 2.0]


def test_conditions_of_a_block_override_those_of_the_suite_and_may_be_axes() -> None:
    cells = cells_of(
        "  - {model: net, conditions: {threads: {each: [1, 2]}, dtype: bfloat16}}\n  - {model: net}\n",
        rest="conditions: {batch_size: 4}\n",
    )

    found = [(cell.conditions.threads, cell.conditions.dtype, cell.conditions.batch_size) for cell in cells]
    assert found == [(1, "bfloat16", 4), (2, "bfloat16", 4), (1, "float32", 4)]


def test_models_in_an_axis_take_their_own_arguments_and_axes() -> None:
    cells = cells_of("  - model: {each: [{name: plain, depth: {each: [1, 2]}}, {name: net, skip: copy}]}\n")

    assert [(cell.model.name, cell.factors.get("model.depth")) for cell in cells] == [
        ("plain", 1),
        ("plain", 2),
        ("net", None),
    ]


def test_cells_survive_the_way_to_a_worker_and_back() -> None:
    cells = cells_of("  - {model: {name: net, widths: {each: [[1], [2, 3]]}}, sampler: {name: walk, eta: 1}}\n")

    for cell in cells:
        back = Cell.model_validate_json(cell.model_dump_json())
        assert back == cell
        assert identity(back) == identity(cell)


def test_a_suite_made_in_code_expands_like_one_that_was_read() -> None:
    (read,) = cells_of("  - {model: {name: net, skip: copy}}\n")
    made = Suite(
        schema=1,
        suite="toy",
        title="T",
        grid=(Block(model=BlockRef(name="net", params={"skip": "copy"})),),
        metrics=(Ref(name="clock"),),
    )

    assert expand(made) == (read,)


def test_mistakes_of_a_suite_made_in_code_are_named_by_their_path() -> None:
    axis = Each[BlockRef](each=(BlockRef(name="nett"),))
    made = Suite(schema=1, suite="toy", title="T", grid=(Block(model=axis),), metrics=(Ref(name="clock"),))

    with pytest.raises(SuiteError, match=r"^grid\[0\]\.model\.each\[0\]\.name: no model named 'nett'"):
        expand(made)


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ("{model: nett}", "5:13: grid[0].model: no model named 'nett'; did you mean 'net'? (known: net, plain)"),
        ("{model: plain}", "5:13: grid[0].model: 'plain' needs the parameter 'depth'; add it"),
        ("{model: {name: net, skp: zero}}", "5:25: grid[0].model.skp: 'net' takes no parameter 'skp'; did you mean"),
        (
            "{model: {name: net, skip: {each: [zero, cpy]}}}",
            "5:45: grid[0].model.skip.each[1]: expected one of 'zero',",
        ),
        ("{model: {name: net, skip: [zero, copy]}}", "got ('zero', 'copy'); an axis is written {each: [...]}"),
        ("{model: {name: net, exponent: {each: [0, 0.0]}}}", "exponent.each[1]: 0.0 stands twice in this axis"),
        ("{model: {name: net, exponent: true}}", "grid[0].model.exponent: expected a number, got True"),
        ("{model: net, sampler: {name: walk, timesteps: 5.0}}", "expected a whole number, got 5.0; did you mean 5?"),
        ("{model: net, data: walk}", "grid[0].data: no data set named 'walk' (known: dots)"),
    ],
)
def test_names_and_arguments_are_checked_at_their_place(grid: str, problem: str) -> None:
    problems = problems_of(f"  - {grid}\n")

    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ("[clok]", "6:11: metrics[0]: no metric named 'clok'; did you mean 'clock'?"),
        ("[{name: count, images: many}]", "6:33: metrics[0].images: expected a whole number, got 'many'"),
        ("[blur]", "metrics[0]: 'blur' needs the parameter 'images'"),
        ("[count, {name: count, images: 10}]", "6:18: metrics[1]: the metric 'count' stands twice; remove one of them"),
    ],
)
def test_metrics_are_checked_against_their_signatures(metrics: str, problem: str) -> None:
    problems = problems_of("  - model: net\n", metrics)

    assert any(problem in each for each in problems), problems


def test_one_metric_may_be_measured_with_different_arguments() -> None:
    (cell,) = cells_of("  - model: net\n", "[count, {name: count, images: 20}]")

    assert [metric.params["images"] for metric in cell.metrics] == [10, 20]


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        (
            "rows: skip, values: [{metric: clock}]",
            "tables[0].rows: no cell has the factor 'skip'; did you mean 'model.skip'?",
        ),
        (
            "rows: [model, modl.skip], values: [{metric: clock}]",
            "tables[0].rows[1]: no cell has the factor 'modl.skip'",
        ),
        (
            "rows: model, values: [{metric: clock, times: {metric: clok}}]",
            "tables[0].values[0].times.metric: the metric 'clok' is not in 'metrics'",
        ),
        (
            "rows: model, values: [{metric: clock, chosen: {over: skip, prefer: lower, by: {metric: clock}}}]",
            "tables[0].values[0].chosen.over: no cell has the factor 'skip'",
        ),
        (
            "rows: model, values: [{metric: clock, chosen: {over: model, prefer: lower, by: {metric: clok}}}]",
            "tables[0].values[0].chosen.by.metric: the metric 'clok' is not in 'metrics'",
        ),
        (
            "rows: model, where: {model: nett}, values: [{metric: clock}]",
            "tables[0].where.model: no cell has model = 'nett'; expected one of",
        ),
        (
            "rows: model, where: {'model.exponnt?': 0}, values: [{metric: clock}]",
            "no cell has the factor 'model.exponnt'; did you mean 'model.exponent'",
        ),
        (
            "rows: model, where: {'model.exponent?': 3}, values: [{metric: clock}]",
            "no cell has model.exponent? = 3; expected one of 0, 2",
        ),
        (
            "rows: model, values: [{metric: clock, relative: ratio, to: {'model.exponent?': 0}}]",
            "no cell has the factor 'model.exponent?'",
        ),
        ("rows: model, values: [{metric: clok}]", "the metric 'clok' is not in 'metrics'; did you mean 'clock'?"),
        ("rows: model, values: [{metric: count}]", "the metric 'count' is not in 'metrics'; expected one of clock"),
        (
            "rows: model, columns: model.exponent, value: {metric: clock, relative: ratio, to: {model.exponent: 3}}",
            "tables[0].value.to.model.exponent: no cell has model.exponent = 3; expected one of 0, 2",
        ),
        (
            "rows: model, columns: model.exponent, value: {metric: clock, relative: ratio, to: {exponent: 0}}",
            "no cell has the factor 'exponent'; did you mean 'model.exponent'?",
        ),
        (
            "rows: model, values: [{metric: clock}], published: {paper: adaptive-skp, table: x}",
            "did you mean 'adaptive-skip'?",
        ),
        ("rows: model, values: [{metric: clock}], published: {paper: adaptive-skip, table: '77'}", "has no table '77'"),
    ],
)
def test_tables_can_only_show_what_the_cells_have(rest: str, problem: str) -> None:
    grid = "  - model: {name: net, exponent: {each: [0, 2]}}\n"

    problems = problems_of(grid, rest=f"tables:\n  - {{id: t, caption: C, {rest}}}\n")

    assert any(problem in each for each in problems), problems
    assert all(each.startswith("toy.yaml:8:") for each in problems)


def test_figures_and_claims_can_only_speak_of_what_the_cells_have() -> None:
    problems = problems_of(
        "  - model: net\n",
        rest="figures:\n"
        "  - {id: a, caption: C, kind: lines, value: {metric: clock}, x: model.skp, series: model.skip}\n"
        "  - {id: b, caption: C, kind: stage_times}\n"
        "claims:\n"
        "  - {id: c, sentence: S, value: {metric: clock}, where: {model.skip: copy}, holds: '<', than: 1}\n",
    )

    assert problems == (
        "toy.yaml:8:65: figures[0].x: no cell has the factor 'model.skp'; did you mean 'model.skip' or 'model'?",
        "toy.yaml:9:31: figures[1].kind: a figure of kind 'stage_times' draws the metric 'step_time', which 'metrics' "
        "does not list",
        "toy.yaml:11:70: claims[0].where.model.skip: no cell has model.skip = 'copy'; expected one of zero",
    )


def test_claims_about_cells_that_are_not_there_are_refused() -> None:
    problems = problems_of(
        "  - model: net\n",
        rest="claims:\n"
        "  - {id: c, sentence: S, value: {metric: clock}, where: {model.skip: copy}, holds: '<', than: 1}\n",
    )

    assert problems == (
        "toy.yaml:8:70: claims[0].where.model.skip: no cell has model.skip = 'copy'; expected one of zero",
    )


@pytest.mark.parametrize("name", ["threads", "conditions.threads"])
def test_conditions_are_factors_by_both_their_names(name: str) -> None:
    cells = cells_of(
        "  - {model: net, conditions: {threads: {each: [1, 2]}}}\n",
        rest=f"tables:\n  - {{id: t, caption: C, rows: {name}, values: [{{metric: clock}}]}}\n",
    )

    assert len(cells) == 2


def test_too_many_cells_are_counted_not_made() -> None:
    axis = "{each: [" + ",".join(map(str, range(1000))) + "]}"

    problems = problems_of(
        f"  - {{model: {{name: plain, depth: {axis}}}, sampler: {{name: walk, timesteps: {axis}, eta: {axis}}}}}\n"
    )

    assert problems == (
        f"toy.yaml:5:3: grid: makes 1,000,000,000 cells; at most {MAX_CELLS:,} are planned; "
        "shorten an axis or split the suite",
    )


def test_plan_rows_show_what_varies_and_count_the_work() -> None:
    cells = expand(parse_suite(SUITE, "toy.yaml"))

    rows = plan_rows(cells)

    assert [row.cell for row in rows] == [cell.id for cell in cells]
    assert rows[1].factors == {"model.skip": "zero", "model.exponent": 2.0}
    assert rows[1].metrics == ("clock", "count")
    assert plan_counts(cells) == PlanCounts(cells=4, measurements=8, timed_calls=4 * 3 * 3 * 2)
