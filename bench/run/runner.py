"""The loop of a run: what is there already, what must be measured, one visit after another, saved as it ends."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bench.errors import SaveError
from bench.run.code import code_of, forget_code
from bench.run.environment import available_processors, describe_run
from bench.run.executor import Beginning, Dropped, Ended, Executor, Happening, Setting
from bench.run.fate import RunOutcome, outcome, unanswered
from bench.run.forecast import Forecast
from bench.run.isolated import IsolatedExecutor, side_by_side
from bench.run.opening import Opened, open_run
from bench.run.outcome import Circumstances, missed, utc_text, withdrawn
from bench.run.progress import Progress, QuietProgress, Step, counted
from bench.run.schedule import Quantity, Visit, WorkerPlan, only, plan, unmet_need
from bench.run.signals import stopped_by_signals
from bench.run.wall import utc_now
from bench.store.attempts import Key, current
from bench.store.files import RECORDS_FILE, writing
from bench.store.inputs import Inputs
from bench.store.lines import LineWriter
from bench.store.record import Record, Status
from bench.store.resume import Lack, changed_code, changed_input, lacking
from bench.suite.missing import cells_lack
from bench.suite.schema import Cell, Suite


def run_suite(
    suite: Suite,
    cells: Sequence[Cell],
    *,
    results: Path,
    plugins: Sequence[str] = (),
    executor: Executor | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    command: str = "",
) -> RunOutcome:
    """Measure what is not measured yet and give every planned metric of every cell at least one record.

    cells: of this suite; all or some. results: the folder that holds `<suite>/<run-id>/`. plugins: files and modules
    that are loaded already and that workers load too. executor: fresh processes when None. resume: False measures
    everything anew in a new run. command: as typed, for `run.json`.

    Raises SaveError when results cannot be written, UserError when another program writes the same suite's, and
    KeyboardInterrupt for Ctrl-C, SIGTERM and SIGHUP. In each case what was saved stays, no process is left behind, and
    the same call continues.
    """
    progress = progress or QuietProgress()
    forget_code()
    plans = plan(cells, suite.seed)
    visits = tuple(visit for worker in plans for visit in worker.visits)
    started = utc_text(utc_now())
    text = suite.source.text or suite.model_dump_json()
    info = describe_run(suite.suite, suite.source.name, text, command, started)
    holder = f"process {os.getpid()} ({command or 'bench run'}, since {started})"
    inputs = Inputs()
    with stopped_by_signals(), writing(results, suite.suite, holder) as folder:
        opened = open_run(folder, info, visits, inputs, resume=resume, note=progress.note)
        with LineWriter(opened.run.path / RECORDS_FILE) as writer:
            loop = _Loop(opened, plans, inputs, writer, progress)
            return loop.go(executor or IsolatedExecutor(), tuple(_absolute(plugin) for plugin in plugins))


class _Loop:
    """One call's way through its visits: what is known, what is left."""

    def __init__(
        self, opened: Opened, plans: Sequence[WorkerPlan], inputs: Inputs, writer: LineWriter, progress: Progress
    ) -> None:
        self._opened = opened
        self._writer = writer
        self._progress = progress
        self._attempts = dict(opened.run.found.attempts)
        self._inputs = inputs
        self._visits = tuple(visit for worker in plans for visit in worker.visits)
        self._lacks: dict[Key, Lack] = {}
        for visit in self._visits:
            lack = lacking(visit.wanted, self._attempts.get(visit.key), inputs.unchanged)
            if lack is not None:
                self._lacks[visit.key] = lack
        self._hopeless: set[Quantity] = set()
        cells = {visit.cell.id: visit.cell for visit in self._visits}
        self._not_there = {cell.id: "; ".join(sentences) for cell, sentences in cells_lack(cells.values())}
        self._plans = only(plans, lambda visit: visit.key in self._lacks and self._unmet(visit) is None)
        self._left = {visit.key: visit for worker in self._plans for visit in worker.visits}
        self._left_of_cell = Counter(visit.cell.id for visit in self._left.values())
        together = {
            visit.key: min(side_by_side(worker, available_processors()), len(self._plans))
            for worker in self._plans
            for visit in worker.visits
        }
        self._forecast = Forecast(self._left.values(), lambda visit: together[visit.key])
        self._cells = len(cells)
        self._began: dict[Key, float] = {}
        self._measured = 0

    def go(self, executor: Executor, plugins: tuple[str, ...]) -> RunOutcome:
        """Make all visits that are left."""
        run = self._opened.run
        setting = Setting(run.info.id, run.path, plugins, lambda visit: visit.quantity not in self._hopeless)
        summary = "stopped by an error; what was saved before is kept"
        try:
            self._tell_what_is_there()
            self._progress.start(tuple(self._left.values()))
            self._withdraw_stale_numbers()
            self._refuse_what_cells_lack()
            with closing(executor.run(self._plans, setting)) as happenings:
                for happening in happenings:
                    self._hear(happening)
            self._answer_the_unanswered()
            found = outcome(
                run.path,
                self._visits,
                self._attempts,
                measured=self._measured,
                carried=self._opened.carried,
                damaged=len(run.damaged),
            )
            summary = found.summary
            return found
        except KeyboardInterrupt:
            summary = f"interrupted after {counted(self._measured, 'visit')}; the same command continues"
            raise
        except SaveError:
            summary = f"stopped after {counted(self._measured, 'visit')} because results cannot be saved"
            raise
        finally:
            self._progress.finish(summary)

    def _hear(self, happening: Happening) -> None:
        visit = happening.visit
        match happening:
            case Beginning():
                self._began[visit.key] = time.monotonic()
                self._progress.cell(self._step(visit))
            case Ended(records=records):
                self._measured += 1
                self._cross_off(visit)
                self._forecast.took(visit, time.monotonic() - self._began[visit.key])
                self._save(visit, records)
                if self._attempts[visit.key].status is not Status.OK:
                    self._give_up(visit.quantity)
            case Dropped():
                pass  # given up before

    def _give_up(self, quantity: Quantity) -> None:
        """What failed once is not tried in further rounds of this call."""
        self._hopeless.add(quantity)
        for visit in [visit for visit in self._left.values() if visit.quantity == quantity]:
            self._cross_off(visit)
            self._forecast.drop(visit)
            self._progress.ended(visit, ())

    def _cross_off(self, visit: Visit) -> None:
        del self._left[visit.key]
        self._left_of_cell[visit.cell.id] -= 1
        if self._left_of_cell[visit.cell.id] == 0:
            del self._left_of_cell[visit.cell.id]

    def _save(self, visit: Visit, records: Sequence[Record]) -> None:
        # Here and not in the worker, which would read the files later, when they may have changed.
        code = visit.wanted.code
        records = [replace(record, code=code) for record in records]
        self._writer.append(records)
        self._attempts |= current(records)
        self._progress.ended(visit, records)

    def _step(self, visit: Visit) -> Step:
        return Step(
            visit=visit,
            done=self._measured,
            of=self._measured + len(self._left),
            cells_done=self._cells - len(self._left_of_cell),
            cells=self._cells,
            left_s=self._forecast.left_s(),
        )

    def _tell_what_is_there(self) -> None:
        damaged = self._opened.run.damaged
        if damaged:
            self._progress.note(
                f"{self._opened.run.path / RECORDS_FILE}: skipped {counted(len(damaged), 'damaged line')} "
                f"(the first is line {damaged[0].number}: {damaged[0].reason})"
            )
        again = Counter(self._lacks[visit.key].reason for visit in self._visits if visit.key in self._lacks)
        for reason, count in again.items():
            if reason != "not measured yet":
                self._progress.note(f"{counted(count, 'visit')} to be made again: {reason}")

    def _withdraw_stale_numbers(self) -> None:
        """Numbers of something that has changed must not stand beside new ones, not even after an interruption.

        That goes for all cells of the run, also for those that this call does not measure.
        """
        planned = {visit.key for visit in self._visits}
        reasons = {key: lack.reason for key, lack in self._lacks.items() if lack.stale}
        for key, attempt in self._attempts.items():
            changed = changed_input(attempt, self._inputs.unchanged)
            if changed is None and key not in planned and attempt.status is Status.OK:
                first = attempt.records[0]
                parts = (first.factors.get(part) for part in ("model", "sampler", "data"))
                changed = changed_code(first, code_of(first.metric, *parts))
            if changed is not None:
                reasons.setdefault(key, changed)
        started = utc_text(utc_now())
        records = [
            withdrawn(self._attempts[key].records[0], f"{reason}; not measured again yet, run the suite again", started)
            for key, reason in reasons.items()
        ]
        if records:
            self._writer.append(records)
            self._attempts |= current(records)

    def _refuse_what_cells_lack(self) -> None:
        """Cells that cannot have a metric are told so here: no process is started for them."""
        for visit in self._visits:
            reason = self._unmet(visit)
            if reason is None or visit.key not in self._lacks or visit.quantity in self._hopeless:
                continue  # numbers that are there stand, even where what they were made from has gone
            self._hopeless.add(visit.quantity)
            known = self._attempts.get(visit.key)
            if known is None or (known.status, known.reason) != (Status.SKIPPED, reason):
                self._save(visit, self._missed(visit, Status.SKIPPED, reason))

    def _unmet(self, visit: Visit) -> str | None:
        """Why no process need be started for a visit: what its cell was not given, or what is not on this machine."""
        return unmet_need(visit.cell, visit.spec) or self._not_there[visit.cell.id] or None

    def _answer_the_unanswered(self) -> None:
        for visit in unanswered(self._visits, self._attempts):
            self._save(visit, self._missed(visit, Status.FAILED, "nothing was heard of it"))

    def _missed(self, visit: Visit, status: Status, reason: str) -> tuple[Record, ...]:
        return missed(visit, status, reason, Circumstances(self._opened.run.info.id, utc_text(utc_now()), 0.0, {}))


def _absolute(plugin: str) -> str:
    """A plug-in as a worker can find it from any folder."""
    return str(Path(plugin).resolve()) if plugin.endswith(".py") else plugin
