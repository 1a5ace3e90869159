"""What a plan counts: pictures once, network calls as the sampler makes them, and what it cannot know by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.contracts import Need
from bench.errors import ParamError
from bench.outlook import Stages, Work
from bench.registry import register_dataset, register_metric, register_model, register_sampler
from bench.suite.missing import cell_lacks, lacking
from bench.suite.schema import Cell, Conditions, Effort, Ref
from bench.suite.workload import call_timesteps, stage_calls, workload

MakeCell = Callable[..., Cell]
DEEP, EVEN = Ref(name="deep"), Ref(name="even")


@pytest.fixture(autouse=True)
def names(toys: None) -> None:
    """Toys that say what they ask for (`deep`, `even`, `draw`), beside `net`, `walk` and `blur`, which do not."""

    def stages(limit: int, **_: Any) -> Callable[[int], int]:
        return lambda t: int(t >= limit)

    def calls(num_train_timesteps: int, timesteps: int) -> tuple[int, ...]:
        if timesteps > num_train_timesteps:
            raise ParamError(f"timesteps must be at most {num_train_timesteps}")
        return tuple(range(0, num_train_timesteps, num_train_timesteps // timesteps))

    def no_weights(weights: str, **_: Any) -> Iterator[str]:
        if weights == "elsewhere":
            yield "weights: put them there"

    def no_images(**_: Any) -> Iterator[str]:
        yield "images: fetch them"

    def no_features(cell: Cell, images: int) -> Iterator[str]:
        if images > 100 and cell.data is not None:
            yield "features: fetch them"

    @register_model("deep", missing=no_weights, stages=Stages(stages, frozenset({"limit"})))
    def deep(limit: int = 500, weights: str = "shipped") -> Any: ...

    @register_sampler("even", calls=calls)
    def even(schedule: Any, timesteps: int = 10) -> Any: ...

    @register_dataset("absent", missing=no_images)
    def absent(split: str = "test") -> Any: ...

    @register_metric(
        "draw",
        unit="1",
        better=None,
        kind="quality",
        needs=[Need.TRAINED_WEIGHTS, Need.SAMPLER],
        work=lambda effort, images: Work(samples=images),
        missing=no_features,
    )
    def draw(subject: Any, effort: Any, images: int = 64) -> Any: ...

    @register_metric(
        "time", unit="s", better=None, kind="timing", work=lambda effort: Work(walks=effort.rounds, calls_per_stage=2)
    )
    def time(subject: Any, effort: Any) -> Any: ...

    @register_metric("restore", unit="1", better=None, kind="quality", work=lambda effort: Work(image_calls=300))
    def restore(subject: Any, effort: Any) -> Any: ...


@pytest.fixture
def make_cell() -> MakeCell:
    def make(
        *metrics: str | Ref,
        model: Ref = DEEP,
        sampler: Ref | None = EVEN,
        **fields: Any,
    ) -> Cell:
        found = {"data": None, "conditions": Conditions(), "seed": 0, "effort": Effort(rounds=3), **fields}
        refs = tuple(each if isinstance(each, Ref) else Ref(name=each) for each in metrics)
        identity = f"s/c-{hash((model.model_dump_json(), str(sampler), str(found)))}"
        return Cell(id=identity, suite="s", model=model, sampler=sampler, factors={}, metrics=refs, **found)

    return make


def test_pictures_are_drawn_once_for_all_metrics_and_as_many_as_the_largest_asks_for(make_cell: MakeCell) -> None:
    work = workload([make_cell("draw", Ref(name="draw", params={"images": 640}))])

    assert (work.images, work.network_calls) == (640, 6400)
    assert work.uncounted == ()


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({}, 64),
        ({"data": Ref(name="dots")}, 64),
        ({"conditions": Conditions(threads=2, batch_size=8)}, 64),
        ({"seed": 1}, 128),
        ({"conditions": Conditions(dtype="bfloat16")}, 128),
        ({"model": Ref(name="deep", params={"limit": 1})}, 128),
        ({"model": Ref(name="deep", params={"weights": "other"})}, 128),
        ({"sampler": Ref(name="even", params={"timesteps": 20})}, 128),
    ],
)
def test_cells_share_the_pictures_of_one_walk(make_cell: MakeCell, changes: dict[str, Any], images: int) -> None:
    work = workload([make_cell("draw"), make_cell("draw", **changes)])

    assert work.images == images
    assert sum(drawing.cells for drawing in work.drawings) == 2


def test_timed_walks_are_shared_with_nothing(make_cell: MakeCell) -> None:
    work = workload([make_cell("time", "draw"), make_cell("time", conditions=Conditions(threads=2))])

    assert [each.work for each in work.alone] == [Work(walks=3, calls_per_stage=2)] * 2
    assert (work.images, work.network_calls) == (64, 640)


def test_calls_that_a_metric_makes_on_images_of_its_own_are_counted(make_cell: MakeCell) -> None:
    assert workload([make_cell("restore")]).network_calls == 300


def test_what_says_nothing_of_itself_is_named_and_exact_numbers_ask_for_nothing(make_cell: MakeCell) -> None:
    work = workload([make_cell("blur", "clock", "count"), make_cell("draw", sampler=Ref(name="walk"))])

    assert work.uncounted == (
        "blur: it does not say how much it asks of the network",
        "clock: it does not say how much it asks of the network",
        "walk: it does not say when it calls the network",
    )
    assert work.network_calls == 0


def test_what_would_be_skipped_is_not_counted(make_cell: MakeCell) -> None:
    random = Ref(name="deep", params={"weights": "random"})

    assert workload([make_cell("draw", model=random), make_cell("draw", sampler=None)]).images == 0


def test_a_walk_that_cannot_be_made_is_said(make_cell: MakeCell) -> None:
    cell = make_cell("draw", sampler=Ref(name="even", params={"timesteps": 2000}))

    assert workload([cell]).uncounted == (f"{cell.id}: timesteps must be at most 1000",)


def test_stages_are_those_of_the_calls_of_the_walk(make_cell: MakeCell) -> None:
    cell = make_cell(model=Ref(name="deep", params={"limit": 300}))
    timesteps = call_timesteps(cell)

    assert timesteps is not None and len(timesteps) == 10
    assert stage_calls(cell, timesteps) == {0: 3, 1: 7}
    assert stage_calls(make_cell(model=Ref(name="net")), timesteps) == {0: 10}
    assert len(call_timesteps(make_cell(sampler=None)) or ()) == 1000


def test_each_missing_thing_is_said_once_with_the_cells_that_need_it(make_cell: MakeCell) -> None:
    away, data = Ref(name="deep", params={"weights": "elsewhere"}), Ref(name="absent")
    cells = [make_cell("draw"), make_cell("draw", model=away, data=data), make_cell("count", data=data)]

    assert [(lack.sentence, lack.cells) for lack in lacking(cells)] == [
        ("weights: put them there", (cells[1].id,)),
        ("images: fetch them", (cells[1].id, cells[2].id)),
    ]
    assert cell_lacks(cells[1]) == ("weights: put them there", "images: fetch them")


def test_what_a_metric_lacks_may_depend_on_the_cell(make_cell: MakeCell) -> None:
    many = Ref(name="draw", params={"images": 640})
    without, having = make_cell(many), make_cell(many, data=Ref(name="dots"))

    assert [lack.cells for lack in lacking([without, having])] == [(having.id,)]
    assert cell_lacks(having) == ()


def test_wrong_names_and_arguments_are_left_to_whoever_builds_them(make_cell: MakeCell) -> None:
    wrong = make_cell(model=Ref(name="nobody"), data=Ref(name="absent", params={"colour": "red"}))

    assert cell_lacks(wrong) == ()
