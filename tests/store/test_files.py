"""The results folder: made whole, found again, written by one program at a time."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.errors import SaveError, StoreError, UserError
from bench.store.attempts import Attempt, key_of
from bench.store.files import (
    RECORDS_FILE,
    RUN_FILE,
    bring_artifacts,
    continue_run,
    latest_run,
    load_info,
    load_records,
    load_run,
    new_run,
    new_run_id,
    run_ids,
    writing,
)
from bench.store.lines import LineWriter
from bench.store.record import Record, RunInfo, Status

MakeRecord = Callable[..., Record]


@pytest.fixture
def run(tmp_path: Path, info: RunInfo, record: MakeRecord) -> Path:
    """A run on disk with one good record."""
    with (
        writing(tmp_path, "toy", "this test") as folder,
        new_run(folder, info) as staging,
        LineWriter(staging / RECORDS_FILE) as writer,
    ):
        writer.append([record()])
    return tmp_path / "toy" / info.id


def test_run_is_read_as_it_was_written(run: Path, info: RunInfo, record: MakeRecord) -> None:
    loaded = load_run(run)

    assert loaded.info == info
    assert loaded.records == (record(),)
    assert loaded.damaged == ()


def test_run_has_places_for_logs_and_artifacts(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == ["artifacts", "logs", "records.jsonl", "run.json"]


def test_run_without_records_yet_is_empty(tmp_path: Path, info: RunInfo) -> None:
    with writing(tmp_path, "toy", "this test") as folder, new_run(folder, info):
        pass

    assert load_run(tmp_path / "toy" / info.id).records == ()


def test_superseded_and_damaged_records_are_counted_and_not_shown(run: Path, record: MakeRecord) -> None:
    with LineWriter(run / RECORDS_FILE) as writer:
        writer.append([record(status=Status.FAILED, started="later")])
        writer.append([record(part="p0r1", siblings=2)])
    with (run / RECORDS_FILE).open("ab") as file:
        file.write(b'{"torn')

    loaded = load_run(run)

    assert [each.status for each in loaded.records] == [Status.FAILED]
    assert loaded.found.superseded == 2
    assert [line.number for line in loaded.damaged] == [4]


def test_records_file_alone_can_be_loaded(run: Path, record: MakeRecord, tmp_path: Path) -> None:
    baseline = tmp_path / "smoke.jsonl"
    shutil.copy(run / RECORDS_FILE, baseline)

    assert load_records(baseline).current == (record(),)


def test_missing_records_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.jsonl: no such file"):
        load_records(tmp_path / "none.jsonl")


def test_folder_that_is_no_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"not a run folder: it has no run.json; run `bench run` first"):
        load_run(tmp_path)


def test_no_flipped_bit_in_run_json_is_believed(run: Path, info: RunInfo) -> None:
    whole = (run / RUN_FILE).read_bytes()
    rng = random.Random(3)
    refused = 0

    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (run / RUN_FILE).write_bytes(bytes(data))
        try:
            found = load_info(run)
        except StoreError as error:
            refused += 1
            assert str(run) in str(error)
        else:
            assert found == info  # only white space or the case of an escape was touched

    assert refused > 250


def test_run_json_of_a_newer_program_says_so(tmp_path: Path, info: RunInfo) -> None:
    with writing(tmp_path, "toy", "this test") as folder, new_run(folder, replace(info, schema=99)):
        pass

    with pytest.raises(StoreError, match=r"format 99 is newer than this program's 2; update it"):
        load_info(tmp_path / "toy" / info.id)


def test_any_text_survives_in_run_json(tmp_path: Path, info: RunInfo) -> None:
    odd = replace(info, suite_text="emoji 🧪 \udcff \u2028 \x00", command="bench run 'ü'")
    with writing(tmp_path, "toy", "this test") as folder, new_run(folder, odd):
        pass

    assert load_info(tmp_path / "toy" / info.id) == odd


def test_newest_run_is_found_and_foreign_things_are_not_runs(run: Path, tmp_path: Path) -> None:
    newer = tmp_path / "toy" / "20261121-000000-000000"
    shutil.copytree(run, newer)
    (tmp_path / "toy" / "20269999-000000-zzzzzz").mkdir()
    (tmp_path / "toy" / "20261231-000000-ffffff").mkdir()  # no run.json
    (tmp_path / "toy" / "notes.txt").write_text("mine")

    assert run_ids(tmp_path, "toy") == (run.name, newer.name)
    assert latest_run(tmp_path, "toy") == newer


def test_suite_that_never_ran_has_no_run(tmp_path: Path) -> None:
    assert latest_run(tmp_path, "toy") is None


@pytest.mark.parametrize(
    ("now", "existing", "expected"),
    [
        (datetime(2026, 11, 20, 10, 15, tzinfo=UTC), [], "20261120-101500-ab12cd"),
        (datetime(2026, 11, 20, 10, 15, tzinfo=UTC), ["20261120-101400-ffffff"], "20261120-101500-ab12cd"),
        (datetime(2026, 11, 20, 10, 15, tzinfo=UTC), ["20261120-101500-ffffff"], "20261120-101501-ab12cd"),
        (datetime(2026, 11, 20, 10, 15, tzinfo=UTC), ["20361231-235959-ffffff"], "20370101-000000-ab12cd"),
    ],
)
def test_new_run_sorts_last_even_when_the_clock_went_back(now: datetime, existing: list[str], expected: str) -> None:
    assert new_run_id(now, "ab12cd", existing) == expected


def test_run_that_could_not_be_finished_does_not_appear(tmp_path: Path, info: RunInfo) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path, "toy", "this test") as folder, new_run(folder, info):
        raise ZeroDivisionError

    assert run_ids(tmp_path, "toy") == ()

    with writing(tmp_path, "toy", "this test") as folder, new_run(folder, info):
        pass
    assert run_ids(tmp_path, "toy") == (info.id,)
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == [".lock", info.id]


def test_run_is_on_disk_before_and_after_it_gets_its_name(
    tmp_path: Path, info: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync_really, rename_really = os.fsync, os.rename

    def sync_and_tell(fd: int) -> None:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            calls.append("a new file")
        else:
            calls.append(str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path)))
        sync_really(fd)

    def rename_and_tell(old: Path, new: Path, **folders: int) -> None:
        calls.append(f"rename to {Path(new).name}")
        rename_really(old, new, **folders)

    with writing(tmp_path, "toy", "this test") as folder:
        monkeypatch.setattr(os, "fsync", sync_and_tell)
        monkeypatch.setattr(os, "rename", rename_and_tell)
        with new_run(folder, info):
            pass

    run_json = ["a new file", "rename to run.json", "toy/.new"]
    assert calls == [*run_json, "toy/.new/artifacts", "toy/.new", f"rename to {info.id}", "toy"]


def test_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with (
        writing(tmp_path, "toy", "process 4711 (bench run toy.yaml)"),
        pytest.raises(UserError, match=r"process 4711 \(bench run toy.yaml\) is writing results of this suite"),
        writing(tmp_path, "toy", "another"),
    ):
        raise AssertionError("two writers")


def test_writers_of_different_suites_do_not_meet(tmp_path: Path) -> None:
    with writing(tmp_path, "toy", "one"), writing(tmp_path, "other", "two"):
        pass


def test_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from bench.store.files import writing\n"
        "with writing(Path(sys.argv[1]), 'toy', 'victim'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)

    assert "victim" in (tmp_path / "toy" / ".lock").read_text()
    with writing(tmp_path, "toy", "next"):
        pass


def test_file_in_place_of_the_results_folder_is_a_save_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")

    with (
        pytest.raises(SaveError, match=rf"{re.escape(str(tmp_path))}/results: is a file, expected a folder of its own"),
        writing(tmp_path / "results", "toy", "this test"),
    ):
        raise AssertionError("writable")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only file system needs root")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [("ro", "Read-only file system"), ("size=32k", "No space left on device")],
)
def test_folder_that_takes_no_data_is_found_out_at_once(tmp_path: Path, options: str, sentence: str) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    code = (
        "import sys; from pathlib import Path; from bench.store.files import writing\n"
        "with writing(Path(sys.argv[1]), 'toy', 'x'): print('writable')"
    )
    commands = f'mount -t tmpfs -o {options} tmpfs {mount} || exit 77; {sys.executable} -c "{code}" {mount}'

    done = subprocess.run(["unshare", "-m", "sh", "-c", commands], capture_output=True, text=True, check=False)

    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert done.stderr.splitlines()[-1].startswith(f"bench.errors.SaveError: {mount}/toy: ")
    assert sentence in done.stderr
    assert "writable" not in done.stdout


@pytest.mark.parametrize("name", [".lock", ".probe", ".new"])
@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "link to a folder", "pipe"])
def test_nothing_that_stands_in_a_suites_folder_is_written_through(
    tmp_path: Path, info: RunInfo, name: str, kind: str
) -> None:
    (tmp_path / "home" / "folder").mkdir(parents=True)
    (tmp_path / "home" / "file").write_text("precious")
    (tmp_path / "results" / "toy").mkdir(parents=True)
    place = tmp_path / "results" / "toy" / name
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "home" / kind.rsplit(maxsplit=1)[1])

    if name == ".lock":
        with (
            pytest.raises(SaveError, match=r"\.lock is a (symbolic link|pipe), expected a regular file; remove it"),
            writing(tmp_path / "results", "toy", "this test"),
        ):
            raise AssertionError("writable")
    else:
        with writing(tmp_path / "results", "toy", "this test") as folder, new_run(folder, info):
            pass
        assert run_ids(tmp_path / "results", "toy") == (info.id,)

    assert (tmp_path / "home" / "file").read_text() == "precious"
    assert sorted(path.name for path in (tmp_path / "home").rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("part", ["logs", "artifacts", "."])
def test_a_run_with_a_link_for_a_folder_is_not_continued(tmp_path: Path, run: Path, part: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(run / part)
    (run / part).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SaveError, match="is a symbolic link, expected a folder of its own; remove it"):
        continue_run(run.parent, run.name)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_folders_that_were_deleted_from_a_run_are_made_again(run: Path) -> None:
    shutil.rmtree(run / "logs")
    shutil.rmtree(run / "artifacts")

    assert continue_run(run.parent, run.name) == run

    assert (run / "logs").is_dir()
    assert (run / "artifacts").is_dir()


def test_artifacts_come_along_or_their_attempt_does_not(tmp_path: Path, record: MakeRecord) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "artifacts").mkdir(parents=True)
    (old / "artifacts" / "x0.npz").write_bytes(b"pixels")
    there, gone, none = (record(artifact=name) for name in ("artifacts/x0.npz", "artifacts/gone.npz", None))

    brought = [bring_artifacts(Attempt(key_of(each), (each,)), old, new) for each in (there, gone, none)]

    assert brought == [True, False, True]
    assert (new / "artifacts" / "x0.npz").read_bytes() == b"pixels"


def test_artifact_that_is_a_link_does_not_come_along(tmp_path: Path, record: MakeRecord) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "artifacts").mkdir(parents=True)
    (tmp_path / "secret").write_text("of the user")
    (old / "artifacts" / "x0.npz").symlink_to(tmp_path / "secret")
    each = record(artifact="artifacts/x0.npz")

    assert not bring_artifacts(Attempt(key_of(each), (each,)), old, new)
    assert not new.exists()


def test_artifacts_of_a_folder_elsewhere_do_not_come_along(tmp_path: Path, record: MakeRecord) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "x0.npz").write_text("of the user")
    (old / "artifacts").symlink_to(tmp_path / "private")
    each = record(artifact="artifacts/x0.npz")

    assert not bring_artifacts(Attempt(key_of(each), (each,)), old, new)


def test_artifacts_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "x0.npz").write_bytes(b"pixels")
    each = record(artifact="x0.npz")

    def refuse(*paths: object, **how: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)

    assert bring_artifacts(Attempt(key_of(each), (each,)), old, new)
    assert [path.name for path in new.iterdir()] == ["x0.npz"]


def test_reading_side_of_the_store_starts_without_torch_and_pandas() -> None:
    code = "import sys, bench.store.files, bench.store.resume; sys.exit(bool({'torch', 'pandas'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
