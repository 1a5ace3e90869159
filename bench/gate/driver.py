"""A gate from beginning to end: two trees, exact numbers, a forecast, pairs of processes, verdicts, one file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.gate.asked import Asked
from bench.gate.outlook import outlook
from bench.gate.pairs import Unit
from bench.gate.rule import Plan
from bench.gate.saved import prepare, save
from bench.gate.sequence import Deadline, Story, judge
from bench.gate.setting import Setting
from bench.gate.verdicts import time_verdict
from bench.run.environment import machine, packages
from bench.run.outcome import utc_text
from bench.run.signals import stopped_by_signals
from bench.run.wall import utc_now
from bench.verdict.outcome import Comparison, Outcome, Verdict

WORK = frozenset({"nfe", "ode_nfe", "macs"})
"""Exact metrics whose change explains a change of time."""


@dataclass(frozen=True)
class Outcomes:
    """What a gate found."""

    comparison: Comparison
    saved: Path
    """The file with every raw time."""
    seconds: float


def run_gate(asked: Asked, results: Path, tell: Callable[[str], None]) -> Outcomes:
    """Measure and judge. tell: told in plain sentences what goes on, never while something is timed.

    Raises UserError when the base is nowhere to be found or a side cannot be started, SaveError when nothing can be
    written, and KeyboardInterrupt for Ctrl-C, SIGTERM and SIGHUP, with no process and no temporary file left behind.
    """
    started, begin = utc_text(utc_now()), time.monotonic()
    folder_of_gates = prepare(results)
    deadline = Deadline() if asked.time_limit_s is None else Deadline(begin + asked.time_limit_s)
    temporary = tempfile.TemporaryDirectory(prefix="bench-gate-", ignore_cleanup_errors=True)
    with stopped_by_signals(), temporary as folder:
        setting = Setting(asked, Path(folder))
        tell(f"base: {setting.base.tree.what}")
        tell(f"head: {setting.head.tree.what}")
        for note in setting.notes:
            tell(f"note: {note}")
        exact, usable = setting.exact()
        plan = Plan(max(1, len(usable)), asked.tolerance, asked.looks)
        calibration: Mapping[int, tuple[Unit, ...]] = {}
        stories: dict[int, Story] = {}
        notes = list(setting.notes)
        if usable and not asked.exact_only:
            groups = setting.groups(usable)
            calibrated = setting.calibrate(groups)
            calibration = calibrated.units
            ahead = outlook(calibration, calibrated.start_s, plan)
            notes.append(ahead.sees)
            tell(ahead.sees)
            tell(ahead.takes)
            stories = judge(groups, setting.partner, plan, setting.pair, tell=tell, deadline=deadline)
        verdicts = (*exact, *_times(asked, stories, plan, exact))
        comparison = Comparison(setting.base.tree.what, setting.head.tree.what, verdicts, tuple(notes))
        facts = {
            "suite": asked.suite.suite,
            "base": comparison.base,
            "head": comparison.new,
            "seconds": round(time.monotonic() - begin, 1),
            "plan": {**asdict(plan), "alpha": plan.alpha},
            "machine": dict(machine()),
            "packages": dict(packages()),
            "notes": notes,
        }
        path = save(folder_of_gates, started, facts, asked.cells, calibration, stories, verdicts)
    return Outcomes(comparison, path, time.monotonic() - begin)


def _times(asked: Asked, stories: Mapping[int, Story], plan: Plan, exact: tuple[Verdict, ...]) -> list[Verdict]:
    moved = (Outcome.REGRESSED, Outcome.IMPROVED)
    changed = {each.cell for each in exact if each.metric in WORK and each.outcome in moved}
    return [
        time_verdict(asked.cells[cell], story, plan, changed_work=asked.cells[cell].id in changed)
        for cell, story in stories.items()
    ]
