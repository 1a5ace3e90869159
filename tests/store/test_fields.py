"""A line or a run.json with a right checksum and wrong content is damaged; it is never a record."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import pytest

from bench.errors import StoreError
from bench.store import lines
from bench.store.files import RECORDS_FILE, RUN_FILE, _checksum, load_info, load_run, new_run, writing
from bench.store.lines import LineWriter, parse_lines, read_lines
from bench.store.record import RECORD, RUN_INFO, Record, RunInfo, _canonical, checksum, from_line, to_line

MakeRecord = Callable[..., Record]
ROOT = Path(__file__).parents[2]


def signed(data: dict[str, Any]) -> str:
    """A line of any content with the checksum that belongs to it."""
    text = _canonical({key: value for key, value in data.items() if key != "checksum"})
    return f'{text[:-1]},"checksum":"{checksum(text)}"}}'


def with_field(record: Record, name: str, value: object) -> str:
    return signed({**json.loads(to_line(record)), name: value})


@pytest.fixture
def run(tmp_path: Path, info: RunInfo, record: MakeRecord) -> Path:
    with (
        writing(tmp_path, "toy", "a test") as folder,
        new_run(folder, info) as new,
        LineWriter(new / RECORDS_FILE) as writer,
    ):
        writer.append([record()])
    return tmp_path / "toy" / info.id


def write_info(run: Path, **changes: object) -> None:
    """Its run.json with some keys changed and the checksum that belongs to it."""
    data = {**json.loads((run / RUN_FILE).read_text()), **changes}
    del data["checksum"]
    (run / RUN_FILE).write_text(json.dumps({**data, "checksum": _checksum(data)}))


def test_every_field_has_its_rule() -> None:
    assert [*RECORD, "checksum"] == [field.name for field in fields_of(Record)]
    assert list(RUN_INFO) == [field.name for field in fields_of(RunInfo)]


LONG = "x" * ((1 << 20) + 1)
WRONG: list[tuple[str, object, str]] = [
    ("schema", 0, "schema is 0, expected a whole number from 1"),
    ("schema", True, "schema is true"),
    ("schema", "1", "schema is '1'"),
    ("metric", "", "metric is '', expected text of 1 to"),
    ("run", 5, "run is 5"),
    ("cell", [], "cell is a list of 0, expected text"),
    ("cell", "\ud800", "text without halves of surrogate pairs"),
    ("cell", LONG, r"cell is 'xxx.*\.\.\.' \(1,048,577 characters\)"),
    ("factors", None, "factors is null, expected an object"),
    ("factors", {"a": [1]}, r"factors\['a'\] is a list of 1, expected text, a number, true, false or null"),
    ("factors", {"a": 2**63}, r"factors\['a'\] is a whole number of 64 bits"),
    ("factors", {"x" * 201: 1}, "a name in factors is 'xxx.* expected text of 0 to 200 characters"),
    ("conditions", {"a": {}}, r"conditions\['a'\] is an object of 0"),
    ("metric", None, "metric is null"),
    ("metric_params", {"a": [[1]]}, r"metric_params\['a'\]\[0\] is a list of 1"),
    ("metric_params", {"a": {"b": 1}}, r"metric_params\['a'\] is an object of 1"),
    ("unit", 1, "unit is 1, expected text"),
    ("at", 1, "at is 1, expected an object"),
    ("at", {"a\x1b[31m": []}, r"at\['a\\x1b\[31m'\] is a list"),
    ("part", {}, "part is an object"),
    ("values", "12", "values is '12', expected a list"),
    ("values", [10**400], r"values\[0\] is a whole number of 1,329 bits, expected a finite number"),
    ("values", [1.0, True], r"values\[1\] is true"),
    ("values", [1.0, "1"], r"values\[1\] is '1'"),
    ("values", [1e308], r"values\[0\] is 1e\+308, expected a finite number of a magnitude below 1e\+150"),
    ("values", [None], r"values\[0\] is null"),
    ("values", [], "an ok record needs values"),
    ("nfe", 1.5, "nfe is 1.5, expected a whole number from 0"),
    ("nfe", -1, "nfe is -1"),
    ("status", "fine", "status is 'fine', expected 'ok' or"),
    ("status", [], "status is a list"),
    ("status", "failed", "a failed record needs a reason and no values"),
    ("reason", 5, "reason is 5"),
    ("warnings", "text", "warnings is 'text', expected a list"),
    ("warnings", [{}], r"warnings\[0\] is an object of 0, expected text"),
    ("subject", 1, "subject is 1"),
    ("inputs", {}, "inputs is an object of 0, expected a list"),
    ("inputs", [1], r"inputs\[0\] is 1, expected an object with path, size, mtime_ns, sha256"),
    ("inputs", [{"path": 1, "size": 1, "mtime_ns": 1, "sha256": ""}], r"inputs\[0\]\['path'\] is 1"),
    ("effort", {"rounds": 1.5}, r"effort\['rounds'\] is 1.5, expected a whole number"),
    ("seed", 0.5, "seed is 0.5"),
    ("started", 0, "started is 0"),
    ("duration_s", "x", "duration_s is 'x', expected a finite number"),
    ("artifact", "/etc/passwd", "artifact is '/etc/passwd', expected the name of a file below artifacts/"),
    ("artifact", "artifacts/../../x", "expected the name of a file below artifacts/"),
    ("artifact", "run.json", "expected the name of a file below artifacts/"),
    ("artifact", "artifacts", "expected the name of a file below artifacts/"),
    ("artifact", "artifacts/a\0b", "expected the name of a file below artifacts/"),
    ("reused", [], "reused is a list"),
    ("siblings", "x", "siblings is 'x'"),
    ("siblings", 0, "siblings is 0, expected a whole number from 1"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG)
def test_field_of_another_kind_makes_a_damaged_line(
    record: MakeRecord, name: str, value: object, sentence: str
) -> None:
    with pytest.raises(StoreError, match=sentence):
        from_line(with_field(record(), name, value))


def test_sentence_about_a_damaged_line_is_short_and_plain(record: MakeRecord) -> None:
    line = signed({**json.loads(to_line(record())), "cell": "\x1b[31m" * 10_000, "values": []})

    with pytest.raises(StoreError, match=r"^not a record: \\x1b\[31m") as caught:
        from_line(line)
    assert len(str(caught.value)) < 2_000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_no_numbers_of_a_line(record: MakeRecord, word: str) -> None:
    text = _canonical({**json.loads(to_line(record())), "values": [0.25], "checksum": 0})
    body = text.removesuffix(',"checksum":0}').replace("[0.25]", f"[{word}]") + "}"
    line = f'{body[:-1]},"checksum":"{checksum(body)}"}}'

    with pytest.raises(StoreError, match=r"is not a number of JSON|values.0. is inf"):
        from_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"checksum":' * 10_000,
        '{"at":' + "[" * 5_000 + "]" * 5_000 + ',"checksum":""}',
        "1",
        '"x"',
        "null",
    ],
)
def test_what_is_no_object_of_fields_is_a_damaged_line(line: str) -> None:
    with pytest.raises(StoreError):
        from_line(line)


def test_name_of_a_file_that_is_not_utf_8_stays_a_text(record: MakeRecord) -> None:
    original = record(factors={"model.weights": os.fsdecode(b"caf\xe9.safetensors")})

    assert from_line(to_line(original)) == original


def test_line_that_was_formatted_anew_is_still_the_record(record: MakeRecord) -> None:
    text = json.dumps(json.loads(to_line(record())), indent=None)

    assert from_line(text) == record()


def test_parts_that_differ_only_in_their_kind_are_kept_apart(record: MakeRecord) -> None:
    kinds: tuple[Any, ...] = (1, 1.0, True, "1", -0.0, 0.0, None)
    records = [record(at={"x": kind}, part=str(index)) for index, kind in enumerate(kinds)]

    found = parse_lines("".join(f"{to_line(each)}\n" for each in records).encode()).records

    assert [repr(each.at["x"]) for each in found] == [repr(kind) for kind in kinds]


def test_equal_parts_of_many_lines_are_held_once(record: MakeRecord) -> None:
    data = "".join(f"{to_line(record(part=f'p0r{n}'))}\n" for n in range(3)).encode()

    first, *others = parse_lines(data).records

    assert all(each.factors is first.factors and each.cell is first.cell for each in others)


RUN_WRONG: list[tuple[str, object, str]] = [
    ("schema", None, "schema is null"),
    ("id", 5, "id is 5"),
    ("suite", {}, "suite is an object"),
    ("suite_path", None, "suite_path is null"),
    ("suite_text", 1, "suite_text is 1"),
    ("command", None, "command is null, expected text"),
    ("started", 0, "started is 0"),
    ("git_commit", 1, "git_commit is 1"),
    ("git_dirty", "no", "git_dirty is 'no', expected true or false"),
    ("machine", 0, "machine is 0"),
    ("machine", {"cpu": []}, r"machine\['cpu'\] is a list"),
    ("packages", {"torch": 2}, r"packages\['torch'\] is 2, expected text"),
    ("environment", {"A": None}, r"environment\['A'\] is null"),
    ("more", 1, "keys differ: 'more'"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), RUN_WRONG)
def test_run_json_with_a_field_of_another_kind_is_refused_by_name(
    run: Path, name: str, value: object, sentence: str
) -> None:
    write_info(run, **{name: value})

    with pytest.raises(StoreError, match=rf"run\.json: .*{sentence}.*; run the suite again"):
        load_info(run)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"5", b"\xff\xfe{\0}", b"{}", b"[" * 100_000])
def test_run_json_that_is_no_object_of_fields_is_refused(run: Path, content: bytes) -> None:
    (run / RUN_FILE).write_bytes(content)

    with pytest.raises(StoreError, match=r"run\.json: "):
        load_info(run)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


@pytest.fixture
def quickly() -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("name", [RUN_FILE, RECORDS_FILE])
@pytest.mark.parametrize("make", [a_pipe, an_endless_device, a_socket])
@pytest.mark.usefixtures("quickly")
def test_what_is_no_file_is_not_waited_for(run: Path, name: str, make: Callable[[Path], None]) -> None:
    (run / name).unlink()
    make(run / name)

    with pytest.raises(StoreError, match=f"{name}: cannot be read: "):
        load_run(run)


@pytest.mark.parametrize("name", [RUN_FILE, RECORDS_FILE])
@pytest.mark.usefixtures("quickly")
def test_huge_file_is_refused_before_it_fills_the_memory(run: Path, name: str) -> None:
    os.truncate(run / name, 1 << 40)

    with pytest.raises(StoreError, match=f"{name}: .*(has|more than) .* bytes|{name}: cannot be read: .*bytes"):
        load_run(run)


def test_records_that_memory_does_not_hold_are_refused(
    run: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_MEMORY", 1 << 20)
    with LineWriter(run / RECORDS_FILE) as writer:
        writer.append([record(values=(0.5,) * 10_000, part=f"p0r{n}") for n in range(5)])

    with pytest.raises(StoreError, match=r"records\.jsonl: takes more than 1 MiB of memory up to line 5; leave out"):
        load_run(run)


def test_damaged_lines_that_memory_does_not_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_MEMORY", 1 << 20)

    with pytest.raises(StoreError, match="takes more than 1 MiB"):
        parse_lines(b"x\n" * 2_000)


def test_endless_line_is_damaged_and_the_next_one_is_read(
    tmp_path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2_000)
    path = tmp_path / RECORDS_FILE
    path.write_bytes(b"x" * 5_000 + b"\n" + to_line(record()).encode() + b"\n" + b"y" * 9_000)

    found = read_lines(path)

    assert found.records == (record(),)
    assert [(each.number, each.reason) for each in found.damaged] == [
        (1, "not a record: longer than 2,000 bytes"),
        (3, "not a record: longer than 2,000 bytes"),
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "results").rglob(RUN_FILE)), ids=lambda path: path.parts[-3])
def test_runs_that_are_published_are_read_as_they_were_written(path: Path) -> None:
    file = path.parent / RECORDS_FILE

    found = read_lines(file)

    assert load_info(path.parent).id == path.parent.name
    assert found.damaged == ()
    written = file.read_text("utf-8").splitlines()
    assert len(found.records) == len(written)
    assert [to_line(record) for record in found.records[::40]] == written[::40]
