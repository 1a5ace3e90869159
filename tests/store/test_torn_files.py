"""Files of records in every state that a disk, an editor or a merge leaves them in: never a wrong number, and what is
written afterwards stands."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import StoreError
from bench.store.attempts import attempts
from bench.store.files import RECORDS_FILE, RUN_FILE, load_info, load_run, new_run, writing
from bench.store.lines import LineWriter
from bench.store.record import Record, RunInfo, Status

MakeRecord = Callable[..., Record]
Identity = tuple[str, str, str, str]


@pytest.fixture
def run(tmp_path: Path, info: RunInfo, record: MakeRecord) -> Path:
    """A run of six visits; one gave three numbers, one failed."""
    kinds = [
        *(record(part=f"p0r{n}", values=(0.25 + n, 1e-7)) for n in range(3)),
        *(record(metric="step", at={"stage": n}, siblings=3, values=(1.5 + n,)) for n in range(3)),
        record(metric="macs", unit="1", values=(6_070_000_000.0,)),
        record(metric="nfe", status=Status.FAILED, reason="it broke\nbadly"),
    ]
    with (
        writing(tmp_path, "toy", "a test") as folder,
        new_run(folder, info) as new,
        LineWriter(new / RECORDS_FILE) as writer,
    ):
        writer.append(kinds)
    return tmp_path / "toy" / info.id


def numbers(records: tuple[Record, ...]) -> dict[Identity, object]:
    return {
        (each.cell, each.metric, str(each.at), each.part): (each.values, each.unit, each.status, each.reason, each.nfe)
        for each in records
    }


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        where = rng.randrange(len(changed))
        changed[where] = rng.choice((changed[where] ^ (1 << rng.randrange(8)), rng.randrange(256), 10, 0))
    return bytes(changed)


def rearranged(data: bytes, rng: random.Random) -> bytes:
    """A line lost, doubled, swapped, joined with the next, drowned in noise, or full of zeros."""
    rows = data.splitlines(keepends=True)
    one, other = rng.randrange(len(rows)), rng.randrange(len(rows))
    match rng.randrange(6):
        case 0:
            del rows[one]
        case 1:
            rows.insert(other, rows[one])
        case 2:
            rows[one], rows[other] = rows[other], rows[one]
        case 3:
            rows[one] = rows[one].rstrip(b"\n")
        case 4:
            rows.insert(one, rng.randbytes(rng.choice((1, 100, 70_000))))
        case _:
            rows[one] = bytes(len(rows[one]))
    return b"".join(rows)


def states(data: bytes, count: int) -> Iterator[bytes]:
    rng = random.Random(4)
    for _ in range(count):
        yield rng.choice((cut, flipped, rearranged))(data, rng)


def judge(run: Path, count: int) -> None:
    whole, file = load_run(run), run / RECORDS_FILE
    truth, data = numbers(whole.records), file.read_bytes()
    for state in states(data, count):
        file.write_bytes(state)

        found = load_run(run)

        assert numbers(found.records).items() <= truth.items()
        with LineWriter(file) as writer:
            for attempt in attempts(whole.records):
                if attempt.key not in found.found.attempts:
                    writer.append([replace(each, started="2030-01-01T00:00:00Z") for each in attempt.records])
        assert numbers(load_run(run).records) == truth
        assert file.read_bytes().startswith(state)


def test_torn_file_shows_no_wrong_number_and_is_made_whole_by_writing_on(run: Path) -> None:
    judge(run, 100)


@pytest.mark.slow
def test_file_torn_in_thousands_of_ways_shows_no_wrong_number(run: Path) -> None:
    judge(run, 8_000)


def test_run_page_that_is_torn_or_changed_is_never_believed(run: Path) -> None:
    info, data, rng = load_info(run), (run / RUN_FILE).read_bytes(), random.Random(5)

    for state in (rng.choice((cut, flipped))(data, rng) for _ in range(300)):
        (run / RUN_FILE).write_bytes(state)
        with suppress(StoreError):
            assert load_info(run) == info
