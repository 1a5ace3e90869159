"""The two sides of one gate: what cells they have, and every kind of pair that is made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError, WorkerDied
from bench.gate.asked import Asked, exact_metrics, match_cells, reduced
from bench.gate.exact import IMAGES, exact_verdicts, unsteady_images
from bench.gate.pairs import Pair, Unit, Work, pair
from bench.gate.process import Side
from bench.gate.sequence import Group
from bench.gate.trees import Tree, base_tree, check_files, head_tree, interpreter, other_requirements, same_files
from bench.verdict.outcome import Outcome, Verdict

CALIBRATION = 3
"""Process pairs of the base against itself before anything is judged."""


@dataclass(frozen=True)
class Calibration:
    """What the base says about the machine when it is measured against itself."""

    units: Mapping[int, tuple[Unit, ...]]
    """By head's cell."""
    start_s: float
    """What it takes to start one pair of processes for every group."""


class Setting:
    """Base and head, ready to be started."""

    def __init__(self, asked: Asked, folder: Path) -> None:
        """folder: for trees, interpreters and logs. Raises UserError when the base is nowhere to be found."""
        self.asked = asked
        head = head_tree()
        base = base_tree(asked.base, head, folder / "base-tree")
        self.head = Side(head, interpreter(head, folder), head)
        self.base = Side(base, asked.base_python or interpreter(base, folder), head)
        self._folder = folder
        self._suite = folder / "suite.yaml"
        self._suite.write_text(reduced(asked.suite), encoding="utf-8")
        for plugin in asked.plugins:
            self.base.plugin(plugin)
        differ = other_requirements(base, head) if asked.base_python is None else None
        self.notes = tuple(note for note in (same_files(base, head), differ) if note)
        self.partner: Mapping[int, int] = {}
        """Head's cell -> base's cell, once the exact numbers were compared."""

    def groups(self, cells: Sequence[int]) -> tuple[Group, ...]:
        """Cells that can share a process together."""
        found: dict[tuple[int, str], list[int]] = {}
        for cell in cells:
            conditions = self.asked.cells[cell].conditions
            found.setdefault((conditions.threads, conditions.device), []).append(cell)
        return tuple(Group(threads, device, tuple(each)) for (threads, device), each in found.items())

    @contextmanager
    def pair(self, group: Group) -> Iterator[Pair]:
        """A fresh process of the base and one of the head."""
        with pair(self.base, self.head, self._work(group)) as found:
            yield found

    @contextmanager
    def twins(self, group: Group) -> Iterator[Pair]:
        """Two fresh processes of the base: whatever they differ by is noise."""
        with pair(self.base, self.base, self._work(group)) as found:
            yield found

    def _work(self, group: Group) -> Work:
        return Work(
            suite=self._suite,
            select=self.asked.select,
            plugins=self.asked.plugins,
            builder=self.asked.builder,
            threads=group.threads,
            device=group.device,
            folder=self._folder,
        )

    def exact(self) -> tuple[tuple[Verdict, ...], tuple[int, ...]]:
        """Match the cells and compare all that needs no clock: the verdicts, and the cells that both sides can build.

        Raises UserError when a side cannot be started.
        """
        metrics = exact_metrics(self.asked.suite)
        verdicts: list[Verdict] = []
        usable: list[int] = []
        for number, group in enumerate(self.groups(range(len(self.asked.cells)))):
            with self.pair(group) as arms:
                base, head = self._opened(arms)
                if number == 0:
                    self.partner = match_cells(head, base)
                    verdicts += self._unmatched(base)
                both = [cell for cell in group.cells if cell in self.partner]
                answers = arms.exact([(self.partner[cell], cell) for cell in both], metrics)
                for cell, (one, other) in zip(both, answers, strict=True):
                    verdicts += exact_verdicts(self.asked.cells[cell], one, other, self.asked.pixels)
                    if not isinstance(one, str) and not isinstance(other, str):
                        usable.append(cell)
                if number == 0:
                    self._check_files(arms)
        return self._sure_of_images(verdicts), tuple(sorted(usable))

    def _opened(self, arms: Pair) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        base, head = _opened(arms)
        for side, answer in ((self.base, base), (self.head, head)):
            _check_home(side.tree, Path(answer["bench"]))
        if [cell["id"] for cell in head["cells"]] != [cell.id for cell in self.asked.cells]:
            raise UserError("head's own process finds other cells in the suite than this one; is a plug-in missing?")
        return base["cells"], head["cells"]

    def _check_files(self, arms: Pair) -> None:
        try:
            files = arms.base_files()
        except WorkerDied:
            return  # it ended while it made a cell, which is a verdict already
        check_files(self.base.tree, self.head.tree, files)

    def _unmatched(self, base: Sequence[Mapping[str, Any]]) -> Iterator[Verdict]:
        for index, cell in enumerate(self.asked.cells):
            if index not in self.partner:
                said = "the base has no such cell"
                yield Verdict(Outcome.NEW, cell.id, "cell", "exact", "", said, factors=cell.factors)
        known = set(self.partner.values())
        for index, other in enumerate(base):
            if index not in known:
                yield Verdict(Outcome.MISSING, other["id"], "cell", "exact", "", "the base has this cell, head has not")

    def _sure_of_images(self, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
        """Images that differ between two processes of the base itself say nothing against head."""
        changed = {each.cell for each in verdicts if each.metric == IMAGES and each.outcome is Outcome.REGRESSED}
        suspects = [number for number, cell in enumerate(self.asked.cells) if cell.id in changed]
        unsteady: set[str] = set()
        for group in self.groups(suspects):
            with self.twins(group) as arms:
                _opened(arms)
                answers = arms.exact([(self.partner[cell], self.partner[cell]) for cell in group.cells], [])
                for cell, (one, other) in zip(group.cells, answers, strict=True):
                    if isinstance(one, str) or isinstance(other, str) or one["sha256"] != other["sha256"]:
                        unsteady.add(self.asked.cells[cell].id)
        return tuple(
            unsteady_images(each) if each.metric == IMAGES and each.cell in unsteady else each for each in verdicts
        )

    def calibrate(self, groups: Sequence[Group]) -> Calibration:
        """Measure the base against itself. Raises UserError when a cell cannot be timed."""
        found: dict[int, list[Unit]] = {cell: [] for group in groups for cell in group.cells}
        start_s = 0.0
        for turn in range(CALIBRATION):
            for group in groups:
                begin = time.perf_counter()
                with self.twins(group) as arms:
                    _opened(arms)
                    start_s += (time.perf_counter() - begin) / CALIBRATION
                    for cell in group.cells:
                        own = self.partner[cell]
                        found[cell].append(self._timed(arms, own, cell, head_first=turn % 2 == 1))
        return Calibration({cell: tuple(each) for cell, each in found.items()}, start_s)

    def _timed(self, arms: Pair, own: int, cell: int, *, head_first: bool) -> Unit:
        try:
            return arms.visit(own, own, head_first=head_first)
        except WorkerDied as death:
            raise UserError(f"{self.asked.cells[cell].id}: cannot be timed: {death}") from death


def _opened(arms: Pair) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        return arms.open()
    except WorkerDied as death:
        raise UserError(f"a side cannot be started: {death}") from death


def _check_home(tree: Tree, found: Path) -> None:
    """That a side runs the code it should."""
    expected = tree.bench / "bench" / "__init__.py"
    if not found.exists() or not found.samefile(expected):
        raise UserError(f"{tree.name} runs {found}, expected {expected}; is another `bench` in front of it?")
