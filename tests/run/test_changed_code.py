"""A change of code measures again what it is the code of, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bench.registry import load_plugins
from bench.run import code as run_code
from bench.run import opening
from bench.store.files import RUN_FILE, load_info, load_run, run_ids
from bench.store.record import Status, checksum
from bench.suite.schema import Cell

MakeCell = Callable[..., Cell]

PLUGIN = """
from bench.contracts import Measurement
from bench.registry import register_metric

BASE = 1.0

def helper():
    return BASE

def other():
    return 2.0

@register_metric("NAME-a", unit="1", better=None, kind="exact")
def metric_a(subject, effort):
    yield Measurement("NAME-a", "1", (helper(),))

@register_metric("NAME-b", unit="1", better=None, kind="exact")
def metric_b(subject, effort):
    yield Measurement("NAME-b", "1", (other(),))
"""


@pytest.fixture
def plugin(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A loaded plug-in of two metrics, called by the file's name with -a and -b."""
    name = f"changing{abs(hash(request.node.nodeid))}"
    path = tmp_path / f"{name}.py"
    path.write_text(PLUGIN.replace("NAME", name))
    load_plugins([str(path)])
    return path


def measured(inline: Any, *cells: Cell, **options: Any) -> dict[str, int]:
    """How many visits of each metric a call makes, by the last letter of the metric's name."""
    inline.run(*cells, **options)
    return dict(Counter(visit.metric.name[-1] for visit, records in inline.heard.of("ended") if records))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("BASE = 1.0", "# why\nBASE = 1.0", {}),
        ("def helper():", 'def helper():\n    """Says something."""', {}),
        ("def other():\n    return 2.0", "def other():\n    return 3.0", {"b": 1}),
        ("BASE = 1.0", "BASE = 5.0", {"a": 1}),
        ("def other():", "def unused():\n    return 9\n\n\ndef other():", {}),
    ],
)
def test_a_changed_plugin_measures_again_what_its_change_reaches(
    inline: Any, make_cell: MakeCell, plugin: Path, old: str, new: str, again: dict[str, int]
) -> None:
    cell = make_cell({}, [f"{plugin.stem}-a", f"{plugin.stem}-b"])
    assert measured(inline, cell) == {"a": 1, "b": 1}

    edit(plugin, old, new)

    assert measured(inline, cell) == again
    assert measured(inline, cell) == {}
    assert len(run_ids(inline.results, "toy")) == 1


def test_what_changed_is_called_by_its_name(inline: Any, make_cell: MakeCell, plugin: Path) -> None:
    cell = make_cell({}, [f"{plugin.stem}-a", f"{plugin.stem}-b"])
    inline.run(cell)

    edit(plugin, "BASE = 1.0", "BASE = 5.0")
    inline.run(cell)

    metric = f"{plugin.stem}-a"
    assert inline.heard.of("note") == [f"1 visit to be made again: the code of the metric {metric!r} changed since"]


def test_numbers_of_changed_code_are_withdrawn_also_where_they_are_not_measured_now(
    inline: Any, make_cell: MakeCell, plugin: Path
) -> None:
    one, other = make_cell({"level": 1}, [f"{plugin.stem}-a"]), make_cell({"level": 2}, [f"{plugin.stem}-b"])
    path = inline.run(one, other).path

    edit(plugin, "BASE = 1.0", "BASE = 5.0")
    inline.run(other)
    inline.run(other)

    statuses = {record.metric[-1]: record.status for record in load_run(path).records}
    assert statuses == {"a": Status.SKIPPED, "b": Status.OK}
    assert len((path / "records.jsonl").read_bytes().splitlines()) == 3


def test_our_own_code_begins_a_new_run_only_where_something_is_measured(
    inline: Any, make_cell: MakeCell, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_cell({"level": 1}, [f"{plugin.stem}-a"]), make_cell({"level": 2}, [f"{plugin.stem}-b"])
    first = inline.run(one)
    monkeypatch.setattr(opening, "all_code", lambda: "f" * 64)

    assert inline.run(one).path == first.path
    second = inline.run(one, other)

    assert second.path != first.path
    assert inline.heard.of("note")[-1].startswith("carried over the numbers of 1 visit from earlier runs")
    assert (second.measured, load_info(second.path).code_sha256) == (1, "f" * 64)
    assert {record.metric[-1]: record.reused for record in load_run(second.path).records} == {
        "a": first.path.name,
        "b": None,
    }


def test_a_changed_harness_measures_everything_again(
    inline: Any, make_cell: MakeCell, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell({}, [f"{plugin.stem}-a", f"{plugin.stem}-b"])
    inline.run(cell)

    monkeypatch.setattr(run_code, "HARNESS", run_code.HARNESS[:1])

    assert measured(inline, cell) == {"a": 1, "b": 1}


def test_a_run_of_the_first_format_is_left_as_it_is_and_measured_anew(
    inline: Any, make_cell: MakeCell, plugin: Path
) -> None:
    cell = make_cell({}, [f"{plugin.stem}-a"])
    first = inline.run(cell).path
    as_of_the_first_format(first)
    before = (first / "records.jsonl").read_bytes()

    second = inline.run(cell)

    assert (second.path != first, second.measured) == (True, 1)
    assert (first / "records.jsonl").read_bytes() == before
    assert "measured by an earlier version, which did not note by what code" in inline.heard.of("note")[0]
    assert [record.code for record in load_run(first).records] == [{}]


def as_of_the_first_format(run: Path) -> None:
    """Write a run again as the program wrote it that did not note the code of a record."""
    info = json.loads((run / RUN_FILE).read_text()) | {"schema": 1}
    del info["checksum"]
    text = json.dumps(info, sort_keys=True, separators=(",", ":"))
    (run / RUN_FILE).write_text(json.dumps(info | {"checksum": sha256(text.encode()).hexdigest()[:16]}))
    lines = []
    for line in (run / "records.jsonl").read_text().splitlines():
        data = json.loads(line) | {"schema": 1}
        del data["checksum"], data["code"]
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        lines.append(f'{text[:-1]},"checksum":"{checksum(text)}"}}\n')
    (run / "records.jsonl").write_text("".join(lines))
