"""Which run folder a call writes into: the newest one when nothing changed, else a new one with what still stands."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import StoreError
from bench.run.code import all_code
from bench.run.environment import commit
from bench.run.progress import counted
from bench.run.schedule import Visit
from bench.run.wall import utc_now
from bench.store.attempts import Attempt, Key
from bench.store.files import (
    RECORDS_FILE,
    Run,
    bring_artifacts,
    continue_run,
    load_info,
    load_run,
    new_run,
    new_run_id,
    run_ids,
)
from bench.store.inputs import Inputs
from bench.store.lines import LineWriter
from bench.store.record import RunInfo
from bench.store.resume import Lack, carried_over, differences, lacking


@dataclass(frozen=True)
class Opened:
    """The run to write into."""

    run: Run
    carried: int
    """Attempts carried over into it just now."""


def open_run(
    folder: Path,
    info: RunInfo,
    visits: Sequence[Visit],
    inputs: Inputs,
    *,
    resume: bool,
    note: Callable[[str], None],
) -> Opened:
    """The newest run of `folder`, when it is of the same suite text, surroundings and code, or a new one.

    Other code matters only when something is to be measured: a run is of the code that its numbers come from.
    info: what a run of here and now would say, still without id, commit and code. resume: False always begins a new
    run and carries nothing over. note: told why a new run begins and what was carried over. Raises SaveError, also when
    the run would have to be written through a link.
    """
    ids = run_ids(folder.parent, folder.name)
    if resume and ids:
        latest = _readable(folder / ids[-1], note)
        changes = differences(latest, info) if latest is not None else ()
        if latest is not None and not changes and latest.suite_sha256 == info.suite_sha256:
            run = load_run(continue_run(folder, ids[-1]))
            lacks = _lacks(visits, run, inputs)
            if not lacks or (latest.schema, latest.code_sha256) == (info.schema, all_code()):
                return Opened(run, 0)
            stale = next((lack.reason for lack in lacks if lack.stale), "the measuring code or a model's code changed")
            changes = (stale,)
        if changes:
            more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
            note(f"a new run begins, because since {ids[-1]} something changed: {changes[0]}{more}")
    info = replace(info, code_sha256=all_code())
    head, dirty = commit(info.suite_path)
    info = replace(info, id=new_run_id(utc_now(), secrets.token_hex(3), ids), git_commit=head, git_dirty=dirty)
    sources = _standing(folder, ids, info, visits, inputs, note) if resume else {}
    with new_run(folder, info) as staging:
        brought = {
            key: attempt for key, (source, attempt) in sources.items() if bring_artifacts(attempt, source, staging)
        }
        if brought:
            with LineWriter(staging / RECORDS_FILE) as writer:
                writer.append(
                    carried_over((record for attempt in brought.values() for record in attempt.records), info.id)
                )
    if brought:
        note(f"carried over the numbers of {counted(len(brought), 'visit')} from earlier runs: nothing in them changed")
    return Opened(load_run(folder / info.id), len(brought))


def _lacks(visits: Sequence[Visit], run: Run, inputs: Inputs) -> list[Lack]:
    """Why visits would have to be made (again), one for each."""
    attempts = run.found.attempts
    lacks = (lacking(visit.wanted, attempts.get(visit.key), inputs.unchanged) for visit in visits)
    return [lack for lack in lacks if lack is not None]


def _standing(
    folder: Path,
    ids: Sequence[str],
    info: RunInfo,
    visits: Sequence[Visit],
    inputs: Inputs,
    note: Callable[[str], None],
) -> dict[Key, tuple[Path, Attempt]]:
    """What earlier runs in the same surroundings measured and still stands, the newest first."""
    missing = {visit.key: visit.wanted for visit in visits}
    found: dict[Key, tuple[Path, Attempt]] = {}
    for run_id in reversed(ids):
        path = folder / run_id
        earlier = _readable(path, note) if missing else None
        if earlier is None or differences(earlier, info):
            continue
        attempts = load_run(path).found.attempts
        for key, wanted in tuple(missing.items()):
            attempt = attempts.get(key)
            if attempt is not None and lacking(wanted, attempt, inputs.unchanged) is None:
                found[key] = path, attempt
                del missing[key]
    return {visit.key: found[visit.key] for visit in visits if visit.key in found}


def _readable(path: Path, note: Callable[[str], None]) -> RunInfo | None:
    """What an earlier run says about itself; a damaged one is left alone."""
    try:
        return load_info(path)
    except StoreError as error:
        note(f"an earlier run is left alone: {error}")
        return None
