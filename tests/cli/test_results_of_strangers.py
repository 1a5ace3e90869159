"""Every verb that reads results, on a folder in which right checksums stand over any content at all."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli import main
from bench.errors import ExitCode, StoreError
from bench.registry import load_builtins, metric_spec
from bench.run.outcome import Circumstances, missed
from bench.run.schedule import Visit
from bench.store.files import RECORDS_FILE, RUN_FILE, _checksum, new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import InputFile, Record, RunInfo, Status, _canonical, checksum
from bench.suite.expand import expand
from bench.suite.read import parse_suite

SUITE = """\
schema: 1
suite: tiny
title: Tiny
grid:
  - model: {name: skip-unet, weights: random, skip: zero, skip_exponent: {each: [0, 2]}}
    sampler: {name: ddpm, timesteps: 4}
metrics: [latency, parameters, nfe]
tables:
  - {id: t, caption: Sizes, rows: model.skip_exponent, values: [{metric: parameters}, {metric: latency}]}
claims:
  - {id: small, sentence: "It is small.", value: {metric: parameters, reduce: value}, holds: "<", than: 1000}
"""
RUN = "20261120-101500-ab12cd"
NUMBERS = (0, -1, 1, 2**63, -(2**63), 10**30, 10**400, 1e308, -1e308, 1e149, 5e-324, 1.5, True, False)
TEXTS = (
    *("", "x" * 20_000, "\x00", "\x1b[31mred\x07", "\u202eevil", "\ud800", "\udcff", "../../../etc/passwd"),
    *("a\nb\r\nc", "nan", "`|*_[x](javascript:alert(1))", "=cmd|' /C calc'!A0", "$\\input{/etc/passwd}$", "%s%n{0}"),
)
OTHERS: tuple[Any, ...] = (
    *(None, [], {}, [[]], {"a": {}}, {"": ""}, [None], [1, "a"]),
    *({"a": [1]}, {"a": None}, {"x" * 300: "y"}, [1e149] * 9),
)
Data = dict[str, Any]
Answer = tuple[int, str]


def records() -> Iterator[Record]:
    """Two cells: times of two visits, and counts."""
    load_builtins()
    for index, cell in enumerate(expand(parse_suite(SUITE, "tiny.yaml"))):
        for metric in cell.metrics:
            spec = metric_spec(metric.name)
            for part in ("p0r0", "p1r0") if spec.kind == "timing" else ("",):
                around = Circumstances(RUN, "2026-11-20T10:15:04Z", 0.5, {"weights.origin": "random"})
                (record,) = missed(Visit(cell, metric, spec, part), Status.FAILED, "to be replaced", around)
                yield replace(
                    record, status=Status.OK, reason=None, values=(1.5 + index, 1.25), nfe=4, warnings=("busy",),
                    inputs=(InputFile("{home}/w.safetensors", 5, 7, "0" * 64),), artifact="artifacts/a.png",
                )  # fmt: skip


def head() -> RunInfo:
    return RunInfo(
        1, RUN, "tiny", "tiny.yaml", SUITE, "0" * 64, "bench run tiny.yaml", "2026-11-20T10:15:00Z", "0.1", "1" * 64,
        None, None, {"cpu": "Toy"}, {"python": "3.11"}, {},
    )  # fmt: skip


def line(data: Data) -> bytes:
    text = _canonical({key: value for key, value in data.items() if key != "checksum"})
    return f'{text[:-1]},"checksum":"{checksum(text)}"}}\n'.encode("utf-8", "surrogatepass")


def write(folder: Path, rows: list[Data], top: Data) -> None:
    (folder / RECORDS_FILE).write_bytes(b"".join(map(line, rows)))
    top = {key: value for key, value in top.items() if key != "checksum"}
    (folder / RUN_FILE).write_text(json.dumps({**top, "checksum": _checksum(top)}))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    with (
        writing(tmp_path / "good", "tiny", "a test") as folder,
        new_run(folder, head()) as path,
        LineWriter(path / RECORDS_FILE) as writer,
    ):
        writer.append(tuple(records()))
    return tmp_path / "good" / "tiny" / RUN


@pytest.fixture
def bad(good: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    folder = tmp_path / "bad" / "tiny" / RUN
    (folder / "artifacts").mkdir(parents=True)
    for name in (RECORDS_FILE, RUN_FILE):
        (folder / name).write_bytes((good / name).read_bytes())
    return folder


@pytest.fixture
def ask(good: Path, bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], Iterator[Answer]]:
    """Exit code and all words of every verb on the spoiled folder."""
    cell = next(records()).cell
    (tmp_path / "tiny.yaml").write_text(SUITE)

    def answers() -> Iterator[Answer]:
        for words in (
            ("report", bad, "--out", tmp_path / "out", "--format", "md,html,csv,tex"),
            ("compare", good, bad),
            ("check", bad),
            ("why", cell, "--results", tmp_path / "bad"),
            ("diff", good, bad),
            ("plan", tmp_path / "tiny.yaml", "--results", tmp_path / "bad"),
        ):
            code = main([str(word) for word in words])
            printed = capsys.readouterr()
            yield code, printed.out + printed.err

    return answers


def spoiled(rows: list[Data], top: Data) -> Iterator[tuple[str, list[Data], Data]]:
    """Every field of the first and the last record, and of run.json, with everything that can stand there."""
    anything = (*NUMBERS, *TEXTS, *OTHERS)
    for key, whole in rows[0].items():
        for value in anything:
            yield f"{key}", [{**rows[0], key: value}, *rows[1:]], top
            yield f"last {key}", [*rows[:-1], {**rows[-1], key: value}], top
            if isinstance(whole, dict) and whole:
                yield f"in {key}", [{**rows[0], key: {**whole, next(iter(whole)): value}}, *rows[1:]], top
            if isinstance(whole, list):
                yield f"in {key}", [{**rows[0], key: [value]}, *rows[1:]], top
    for key, whole in top.items():
        for value in anything:
            yield f"run {key}", rows, {**top, key: value}
            if isinstance(whole, dict):
                yield f"run in {key}", rows, {**top, key: {**whole, "cpu": value}}


def as_data(record: Record) -> Data:
    data = json.loads(json.dumps(asdict(record)))
    del data["checksum"]
    return dict(data)


def judge(bad: Path, ask: Callable[[], Iterator[Answer]], cases: Iterator[tuple[str, list[Data], Data]]) -> None:
    for name, rows, top in cases:
        try:
            write(bad, rows, top)
        except (ValueError, OverflowError):
            continue  # JSON cannot say it
        for code, words in ask():
            assert code in (ExitCode.OK, ExitCode.REGRESSION, ExitCode.BAD_INPUT, ExitCode.SOME_FAILED), (name, words)
            assert "Traceback" not in words, name
            assert not {"\x1b", "\x07", "\x00", "\u202e"} & set(words), (name, words)


def test_a_field_with_anything_in_it_ends_in_a_sentence(bad: Path, ask: Callable[[], Iterator[Answer]]) -> None:
    rows, top = [as_data(record) for record in records()], asdict(head())
    cases = list(spoiled(rows, top))

    judge(bad, ask, iter(random.Random(5).sample(cases, 24)))


@pytest.mark.slow
def test_every_field_with_anything_in_it_ends_in_a_sentence(bad: Path, ask: Callable[[], Iterator[Answer]]) -> None:
    rows, top = [as_data(record) for record in records()], asdict(head())

    judge(bad, ask, spoiled(copy.deepcopy(rows), top))


def test_python_is_told_in_a_sentence_too(bad: Path) -> None:
    write(bad, [as_data(record) for record in records()], {**asdict(head()), "machine": 0})

    with pytest.raises(StoreError, match=r"run\.json: damaged: machine is 0, expected an object"):
        bench.load(bad)


def test_names_of_files_that_are_not_utf_8_are_shown_everywhere(bad: Path, ask: Callable[[], Iterator[Answer]]) -> None:
    odd = os.fsdecode(b"caf\xe9")
    rows = [as_data(record) for record in records()]
    for row in rows:
        row["factors"]["model.weights"] = row["subject"]["weights.source"] = row["inputs"][0]["path"] = odd
        row |= {"warnings": [odd], "unit": odd, "at": {odd: odd}}
    top = {**asdict(head()), "suite_path": odd, "command": odd, "machine": {odd: odd}}

    judge(bad, ask, iter([("odd", rows, top), ("odd cell", [{**row, "cell": odd} for row in rows], top)]))


def test_a_run_whose_command_is_null_does_not_wait_for_words_from_the_terminal(
    bad: Path, ask: Callable[[], Iterator[Answer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def read(self, size: int = -1) -> str:
            raise AssertionError("somebody waits for the terminal")

        readline = read

    monkeypatch.setattr("sys.stdin", Terminal())
    write(bad, [as_data(record) for record in records()], {**asdict(head()), "command": None})

    assert [code for code, _ in ask()] == [2, 2, 2, 2, 2, 0]


@pytest.mark.parametrize(
    "change", [{"command": ""}, {"command": "'"}, {"suite_path": "x" * 5_000}, {"suite_path": "/"}]
)
def test_a_run_with_a_command_or_a_path_that_is_none_is_read(
    bad: Path, ask: Callable[[], Iterator[Answer]], change: Data
) -> None:
    write(bad, [as_data(record) for record in records()], {**asdict(head()), **change})

    assert [code for code, _ in ask()] == [0, 0, 0, 0, 0, 0]


def test_the_suite_that_a_run_names_is_not_read_from_a_pipe(
    bad: Path, ask: Callable[[], Iterator[Answer]], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "suite.yaml")
    write(
        bad,
        [as_data(record) for record in records()],
        {**asdict(head()), "suite_path": str(tmp_path / "suite.yaml")},
    )

    judge(bad, ask, iter(()))
    assert all(code in (0, 1, 2, 3) for code, _ in ask())
