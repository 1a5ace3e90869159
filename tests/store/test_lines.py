"""A line is whole or it is not there."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import SaveError, StoreError
from bench.store.attempts import current
from bench.store.lines import LineWriter, parse_lines, read_lines
from bench.store.record import Record, Status, checksum, from_line, to_line

MakeRecord = Callable[..., Record]

ODD_TEXTS = [
    "",
    "plain",
    "new\nline",
    "nul \x00 bell \x07",
    "line\u2028separators\u2029",
    "emoji 🧪 rtl \u202e",
    "\udcff",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


def write(path: Path, *records: Record) -> None:
    with LineWriter(path) as writer:
        writer.append(records)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text_survives_the_way_to_disk_and_back(path: Path, record: MakeRecord, text: str) -> None:
    original = record(status=Status.FAILED, reason=f"reason {text}", factors={"model": text}, warnings=(text,))

    write(path, original, record())

    assert read_lines(path).records == (original, record())


@pytest.mark.parametrize("status", list(Status))
def test_every_status_survives_the_way_to_disk_and_back(path: Path, record: MakeRecord, status: Status) -> None:
    write(path, record(status=status))

    assert read_lines(path).records == (record(status=status),)


def test_missing_file_holds_nothing(path: Path) -> None:
    found = read_lines(path)

    assert (found.records, found.damaged) == ((), ())


def test_folder_in_place_of_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path}: cannot be read"):
        read_lines(tmp_path)


def test_file_cut_at_any_byte_gives_the_whole_lines_before_the_cut(path: Path, record: MakeRecord) -> None:
    records = (record(part="p0r0"), record(part="p0r1"))
    write(path, *records)
    whole = path.read_bytes()
    ends = [n for n, byte in enumerate(whole) if byte == ord("\n")]

    for cut in range(len(whole)):
        complete = sum(end <= cut for end in ends)  # a line that lacks only its newline is whole
        assert parse_lines(whole[:cut]).records == records[:complete]


def test_lines_of_the_first_format_are_read_and_name_no_code(record: MakeRecord) -> None:
    data = json.loads(to_line(record(schema=1)))
    del data["checksum"]
    assert "code" not in data
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    found = from_line(f'{text[:-1]},"checksum":"{checksum(text)}"}}')

    assert found == record(schema=1, code={})


def test_append_after_a_torn_line_starts_a_new_one(path: Path, record: MakeRecord) -> None:
    records = [record(part=f"p0r{n}") for n in range(3)]
    write(path, *records)
    path.write_bytes(path.read_bytes()[:-20])

    write(path, record(part="p9r9"))

    found = read_lines(path)
    assert found.records == (*records[:2], record(part="p9r9"))
    assert [line.number for line in found.damaged] == [3]


def test_no_flipped_bit_is_ever_shown_as_a_number(path: Path, record: MakeRecord) -> None:
    records = [
        *(record(at={"stage": stage}, siblings=3, values=(1.5 + stage, 2e-7)) for stage in range(3)),
        record(metric="macs", unit="1", values=(6070000000.0,)),
        record(status=Status.FAILED, part="p0r1", reason="it broke\nbadly"),
    ]
    write(path, *records)
    whole = path.read_bytes()
    rng = random.Random(7)
    noticed = 0

    for _ in range(2000):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        found = parse_lines(bytes(data))
        assert all(each in records for each in found.records)
        assert all(each in records for attempt in current(found.records).values() for each in attempt.records)
        noticed += bool(found.damaged)

    # What goes unnoticed is only a flip that leaves the meaning alone, such as 1e-7 for 1E-7.
    assert noticed > 1950


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b'{"checksum":1}',
        b'{"schema":1,"schema":1,"checksum":"0123456789abcdef"}',
        b"9" * 5000,
    ],
)
def test_foreign_lines_are_skipped_and_counted(path: Path, record: MakeRecord, line: bytes) -> None:
    write(path, record())
    path.write_bytes(path.read_bytes() + line + b"\n")

    found = read_lines(path)

    assert found.records == (record(),)
    assert [each.number for each in found.damaged] == [2]


def test_newer_format_is_named(record: MakeRecord) -> None:
    with pytest.raises(StoreError, match="newer than this program"):
        from_line(to_line(record(schema=99)))


def test_file_in_place_of_the_folder_is_a_save_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")

    with pytest.raises(SaveError, match="blocked: results cannot be saved"):
        LineWriter(tmp_path / "blocked" / "records.jsonl")


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "pipe"])
def test_lines_are_appended_to_a_file_of_our_own_only(tmp_path: Path, path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("precious\n")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / kind.rsplit(maxsplit=1)[1])

    with pytest.raises(SaveError, match="expected a regular file; remove it or use another results folder"):
        LineWriter(path)

    assert (tmp_path / "file").read_text() == "precious\n"
    assert not (tmp_path / "nothing").exists()


FULL = """
    import resource, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from conftest import BASE
    from dataclasses import replace
    from bench.errors import SaveError
    from bench.store.lines import LineWriter

    limit = {limit}
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    saved = 0
    with LineWriter(Path({path!r})) as writer:
        try:
            while True:
                writer.append([replace(BASE, part=f"p0r{{saved}}")] * 2)
                saved += 1
        except SaveError as error:
            first = str(error)
        try:
            writer.append([replace(BASE, part=f"p0r{{saved}}")] * 2)
        except SaveError:
            print(saved, first)
"""


def test_full_disk_is_a_save_error_and_keeps_every_line_before_it(path: Path, tmp_path: Path) -> None:
    code = textwrap.dedent(FULL).format(tests=str(Path(__file__).parent), path=str(path), limit=5000)

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    saved, _, message = out.partition(" ")
    found = read_lines(path)
    assert len(found.records) == 2 * int(saved) > 0
    assert found.damaged == ()
    assert message.startswith(f"{tmp_path}: results cannot be saved: File too large; make room")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_file_system_is_a_save_error_and_keeps_every_line_before_it(tmp_path: Path) -> None:
    code = textwrap.dedent(FULL).format(tests=str(Path(__file__).parent), path="{path}", limit=resource.RLIM_INFINITY)
    script = tmp_path / "fill.py"
    script.write_text(code.replace("'{path}'", "sys.argv[1]"))
    mount = tmp_path / "small"
    mount.mkdir()
    commands = (
        f"mount -t tmpfs -o size=64k tmpfs {mount} || exit 77; "
        f"{sys.executable} {script} {mount}/records.jsonl && cp {mount}/records.jsonl {tmp_path}/copy.jsonl"
    )

    done = subprocess.run(["unshare", "-m", "sh", "-c", commands], capture_output=True, text=True, check=False)

    if done.returncode in (1, 77) and "records" not in done.stdout:
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    saved, _, message = done.stdout.partition(" ")
    found = read_lines(tmp_path / "copy.jsonl")
    assert len(found.records) == 2 * int(saved) > 0
    assert found.damaged == ()
    assert "No space left on device" in message


def test_failed_sync_is_a_save_error_and_the_lines_are_not_counted_on(
    path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LineWriter(path) as writer:
        writer.append([record()])

        def broken(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            with pytest.raises(SaveError, match="Input/output error"):
                writer.append([record(part="p0r1")])
        writer.append([record(part="p0r2")])

    assert read_lines(path).records == (record(), record(part="p0r2"))


def test_lines_and_the_name_of_the_file_are_on_disk_when_append_returns(
    path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    write_really, sync_really = os.write, os.fsync

    def write_and_tell(fd: int, data: memoryview) -> int:
        calls.append(("write", str(Path(f"/proc/self/fd/{fd}").readlink())))
        return write_really(fd, data)

    def sync_and_tell(fd: int) -> None:
        calls.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        sync_really(fd)

    monkeypatch.setattr(os, "write", write_and_tell)
    monkeypatch.setattr(os, "fsync", sync_and_tell)
    write(path, record())
    write(path, record())

    assert calls == [("sync", str(path.parent)), *[("write", str(path)), ("sync", str(path))] * 2]


def test_short_writes_are_continued(path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write_all(fd, data[:7]))

    write(path, record(), record(part="p0r1"))

    assert read_lines(path).records == (record(), record(part="p0r1"))
