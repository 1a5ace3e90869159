"""What a person sees of a run, and the estimate of how long it will take."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.contracts import Measurement
from bench.registry import metric_spec
from bench.run.forecast import Forecast
from bench.run.outcome import Circumstances, measured, missed
from bench.run.progress import (
    LiveProgress,
    PlainProgress,
    Progress,
    QuietProgress,
    Step,
    counted,
    duration,
    progress_for,
    stage,
)
from bench.run.schedule import Visit
from bench.store.record import Status
from bench.suite.schema import Cell, Ref

MakeCell = Callable[..., Cell]


def visit_of(cell: Cell, metric: str, part: str = "") -> Visit:
    return Visit(cell, Ref(name=metric), metric_spec(metric), part)


@pytest.fixture
def visits(make_cell: MakeCell) -> list[Visit]:
    a, b = make_cell({"level": 1}), make_cell({"level": 2})
    timing = [visit_of(cell, "fake-time", f"p0r{number}") for number in range(2) for cell in (a, b)]
    return [visit_of(a, "fake-exact"), visit_of(b, "fake-exact"), *timing]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def play(progress: Progress, visits: list[Visit], status: Status = Status.OK) -> Iterator[str]:
    """A whole run; yields before and after each visit."""
    around = Circumstances("run", "now", 0.0, {})
    progress.start(visits)
    for done, visit in enumerate(visits):
        progress.cell(Step(visit, done, len(visits), 0, 2, 60.0 * (len(visits) - done)))
        yield "measuring"
        progress.ended(visit, ok(visit) if status is Status.OK else missed(visit, status, "it broke", around))
        yield "between"
    progress.note("a note")
    progress.finish("the end")


def ok(visit: Visit) -> Any:
    number = Measurement(visit.metric.name, visit.spec.unit, (1.0,))
    return measured(visit, [number], Circumstances("run", "now", 0.0, {}))


def test_plain_progress_is_one_line_for_a_cell_or_a_round(visits: list[Visit]) -> None:
    stream = io.StringIO()

    list(play(PlainProgress(stream), visits))

    a, b = visits[0].cell.id, visits[1].cell.id
    assert stream.getvalue().splitlines() == [
        "6 visits to make",
        f"exact: {a}: 1 record (1 of 6, about 6 min 0 s left)",
        f"exact: {b}: 1 record (2 of 6, about 5 min 0 s left)",
        "timing, process 1, round 1: 2 records (4 of 6, about 3 min 0 s left)",
        "timing, process 1, round 2: 2 records (6 of 6, about 1 min 0 s left)",
        "a note",
        "the end",
    ]


def test_plain_progress_says_what_is_missing_and_why(visits: list[Visit]) -> None:
    stream = io.StringIO()

    list(play(PlainProgress(stream), visits[:1], Status.FAILED))

    assert f"failed: fake-exact of {visits[0].cell.id}: it broke" in stream.getvalue().splitlines()


def test_plain_progress_says_when_there_is_nothing_to_do() -> None:
    stream = io.StringIO()

    PlainProgress(stream).start([])

    assert stream.getvalue() == "everything is there already\n"


@pytest.mark.parametrize("make", [PlainProgress, LiveProgress])
def test_reader_that_went_away_does_not_end_the_run(make: Callable[[Any], Progress], visits: list[Visit]) -> None:
    assert len(list(play(make(Closed()), visits))) == 2 * len(visits)


def test_live_progress_draws_nothing_while_a_visit_is_measured(visits: list[Visit]) -> None:
    stream = Terminal()
    seen: dict[str, list[str]] = {"measuring": [], "between": []}
    threads = threading.active_count()

    for moment in play(LiveProgress(stream), visits):
        seen[moment].append(stream.getvalue())
        assert threading.active_count() == threads  # nobody else draws either

    for during, after in zip(seen["measuring"], seen["between"], strict=True):
        assert during == after  # the end of a good visit is drawn with the beginning of the next one
    assert len(set(seen["measuring"])) == len(visits)


def test_live_progress_shows_cells_stage_and_times(visits: list[Visit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    stream = Terminal()
    now = iter([0.0, 65.0])

    progress = LiveProgress(stream, clock=lambda: next(now))
    progress.start(visits)
    progress.cell(Step(visits[3], 3, 6, 1, 2, 30.0))

    text = stream.getvalue()
    for part in ("50 %", "1 of 2 cells", "1 min 5 s, about 30 s left", "timing, process 1, round 1: fake-time of toy/"):
        assert part in text
    progress.finish("the end")
    assert stream.getvalue().rstrip().endswith("the end")


def test_live_progress_shows_text_as_it_is_and_never_as_markup(visits: list[Visit]) -> None:
    stream = Terminal()
    progress = LiveProgress(stream)

    progress.note("[bold]not bold[/bold] :smile:")

    assert "[bold]not bold[/bold] :smile:" in stream.getvalue()


def test_live_progress_fits_a_narrow_terminal(visits: list[Visit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = Visit(visits[0].cell.model_copy(update={"id": f"toy/{'x' * 200}"}), visits[0].metric, visits[0].spec)
    stream = Terminal()

    progress = LiveProgress(stream)
    progress.start([long])
    progress.cell(Step(long, 45, 150, 13, 15, 7500.0))

    lines = re.sub(r"\x1b\[[0-9;?]*[a-z]", "", stream.getvalue(), flags=re.IGNORECASE).splitlines()
    assert "13 of 15 cells  0 s, about 2 h 5 min left" in lines[0]
    assert max(len(line) for line in lines) <= 80
    assert lines[1].endswith("…")


def test_what_a_terminal_cannot_show_is_written_as_an_escape(visits: list[Visit]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    progress = PlainProgress(stream)
    progress.note("ellipsis … and surrogate \udcff")
    progress.note("still there")

    assert raw.getvalue() == b"ellipsis \\u2026 and surrogate \\udcff\nstill there\n"


def test_progress_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(Terminal()), PlainProgress)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_for(Terminal()), LiveProgress)
    assert isinstance(progress_for(io.StringIO()), PlainProgress)
    assert isinstance(progress_for(Terminal(), quiet=True), QuietProgress)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    assert [counted(count, "visit") for count in (0, 1, 2)] == ["0 visits", "1 visit", "2 visits"]


def test_stage_counts_processes_and_rounds_from_one(visits: list[Visit]) -> None:
    assert (stage(visits[0]), stage(visits[4])) == ("exact", "timing, process 1, round 2")


def test_rest_takes_as_long_as_what_is_most_like_it(visits: list[Visit]) -> None:
    forecast = Forecast(visits)
    assert forecast.left_s() is None

    forecast.took(visits[0], 1.0)
    assert forecast.left_s() is None  # nothing is known of timing yet

    forecast.took(visits[2], 10.0)
    assert forecast.left_s() == pytest.approx(1.0 + 3 * 10.0)

    forecast.took(visits[3], 20.0)
    assert forecast.left_s() == pytest.approx(1.0 + 10.0 + 20.0)

    forecast.drop(visits[1])
    forecast.took(visits[4], 12.0)
    assert forecast.left_s() == pytest.approx(20.0)

    forecast.took(visits[5], 20.0)
    assert forecast.left_s() == 0.0


def test_what_is_made_side_by_side_takes_a_part_of_the_time(visits: list[Visit]) -> None:
    forecast = Forecast(visits, lambda visit: 2 if visit.spec.kind == "timing" else 1)
    forecast.took(visits[0], 1.0)
    forecast.took(visits[2], 10.0)

    assert forecast.left_s() == pytest.approx(1.0 + 3 * 10.0 / 2)
