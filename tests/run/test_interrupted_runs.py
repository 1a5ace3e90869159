"""Whatever kills a run at whatever moment: nothing saved is lost or measured twice, and nothing is left running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store.attempts import attempts
from bench.store.files import RECORDS_FILE, latest_run, load_run
from bench.store.lines import read_lines

SCRIPT = str(Path(__file__).with_name("fake_run.py"))
Values = dict[tuple[str, ...], tuple[float, ...]]
Whole = tuple[Values, Counter[str], float]
Survivors = Callable[[Path], list[int]]


def start(folder: Path, *, limit: int | None = None, seconds: float = 0.01) -> subprocess.Popen[str]:
    """A run in a session of its own, with its ledger beside its results; each visit takes some seconds.

    limit: of the size of any file, in bytes.
    """
    return subprocess.Popen(
        [sys.executable, SCRIPT, str(folder / "results"), str(seconds), *([str(limit)] if limit else [])],
        env={**os.environ, "FAKE_LEDGER": str(folder / "ledger.tsv"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(folder: Path) -> tuple[int, list[str]]:
    """Exit code of a run that is left alone, and what it acknowledged."""
    process = start(folder)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out.splitlines()


def values(folder: Path) -> Values:
    path = latest_run(folder / "results", "toy")
    assert path is not None
    return {
        (record.cell, record.metric, str(record.at), record.part): record.values for record in load_run(path).records
    }


def visits_in_file(folder: Path) -> Counter[str]:
    """How many whole attempts each visit has in the newest run."""
    path = latest_run(folder / "results", "toy")
    records = read_lines(path / RECORDS_FILE).records if path else ()
    return Counter("\t".join(attempt.key) for attempt in attempts(records) if attempt.whole)


def executions(folder: Path) -> Counter[str]:
    ledger = folder / "ledger.tsv"
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return Counter("\t".join(line.split("\t")[:2]) for line in lines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What an undisturbed run gives, how often it executes what, and how long it takes."""
    folder = tmp_path_factory.mktemp("whole")
    begin = time.monotonic()
    code, acknowledged = finish(folder)
    assert code == 0
    assert len(acknowledged) == 3 * (1 + 4 + 4) + 1
    return values(folder), executions(folder), time.monotonic() - begin


def check_after_kill(folder: Path, acknowledged: list[str]) -> None:
    """Nothing acknowledged is missing from the file, and nothing is in it twice."""
    found = visits_in_file(folder)
    assert set(acknowledged) <= set(found)
    assert all(count == 1 for count in found.values())


def kill_and_resume(folder: Path, whole: Whole, survivors: Survivors, rng: random.Random, kills: int) -> None:
    acknowledged: list[str] = []
    for _ in range(kills):
        process = start(folder)
        time.sleep(rng.uniform(0.0, whole[2]))
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
        acknowledged += [line for line in out.splitlines() if line.count("\t") == 3]
        assert survivors(folder) == []
        check_after_kill(folder, acknowledged)

    code, more = finish(folder)

    assert code == 0
    assert not set(acknowledged) & set(more)
    check_after_kill(folder, acknowledged + more)
    assert values(folder) == whole[0]
    # Each kill can make a visit that was under way, or two of memory, be executed once more.
    again = executions(folder) - whole[1]
    assert again.total() <= 2 * kills


@pytest.mark.parametrize("seed", range(2))
def test_kill_at_a_random_moment_loses_and_repeats_nothing(
    tmp_path: Path, whole: Whole, survivors: Survivors, seed: int
) -> None:
    kill_and_resume(tmp_path, whole, survivors, random.Random(seed), kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_two_kills_at_random_moments_lose_and_repeat_nothing(
    tmp_path: Path, whole: Whole, survivors: Survivors, seed: int
) -> None:
    kill_and_resume(tmp_path, whole, survivors, random.Random(seed), kills=2)


def test_worker_in_the_middle_of_a_visit_dies_with_its_parent(tmp_path: Path, survivors: Survivors) -> None:
    process = start(tmp_path, seconds=60)
    while not list(tmp_path.glob("results/toy/*/asleep")):
        assert process.poll() is None
        time.sleep(0.01)

    process.kill()
    process.communicate(timeout=30)

    assert survivors(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_signal_ends_the_run_with_130_and_it_can_be_continued(
    tmp_path: Path, whole: Whole, survivors: Survivors, number: signal.Signals
) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().rstrip("\n") for _ in range(5)]

    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err == ""
    assert survivors(tmp_path) == []
    acknowledged += out.splitlines()
    check_after_kill(tmp_path, acknowledged)
    code, more = finish(tmp_path)
    assert (code, set(acknowledged) & set(more)) == (0, set())
    assert values(tmp_path) == whole[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_second_ctrl_c_leaves_nothing_behind_either(
    tmp_path: Path, whole: Whole, survivors: Survivors, seed: int
) -> None:
    rng = random.Random(seed)
    process = start(tmp_path)
    time.sleep(rng.uniform(0.3, whole[2]))
    os.kill(process.pid, signal.SIGINT)
    time.sleep(rng.uniform(0.0, 0.02))
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)

    out, _ = process.communicate(timeout=30)

    assert survivors(tmp_path) == []
    check_after_kill(tmp_path, [line for line in out.splitlines() if line.count("\t") == 3])
    assert finish(tmp_path)[0] == 0
    assert values(tmp_path) == whole[0]


def test_full_disk_ends_the_run_with_4_and_it_can_be_continued(
    tmp_path: Path, whole: Whole, survivors: Survivors
) -> None:
    process = start(tmp_path, limit=65_536 + 1)
    # The limit is for each file: room for the probe, and for most of the records.
    out, err = process.communicate(timeout=60)

    path = latest_run(tmp_path / "results", "toy")
    assert process.returncode == 4
    assert err.startswith(f"{path}: results cannot be saved: File too large; make room")
    assert err.count("\n") == 1
    acknowledged = out.splitlines()
    assert acknowledged
    assert survivors(tmp_path) == []
    check_after_kill(tmp_path, acknowledged)
    code, more = finish(tmp_path)
    assert (code, set(acknowledged) & set(more)) == (0, set())
    assert values(tmp_path) == whole[0]


def test_two_programs_at_once_measure_everything_once(tmp_path: Path, whole: Whole, survivors: Survivors) -> None:
    first = start(tmp_path)
    assert first.stdout is not None
    first.stdout.readline()

    second = start(tmp_path)
    _, err = second.communicate(timeout=30)
    first.communicate(timeout=60)

    assert (first.returncode, second.returncode) == (0, 2)
    assert f"process {first.pid} (bench run, since " in err
    assert err.count("\n") == 1
    assert executions(tmp_path) == whole[1]
    assert values(tmp_path) == whole[0]
