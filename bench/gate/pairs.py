"""One pair of fresh processes visiting every cell: the unit that the rule counts."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import WorkerDied
from bench.gate import quiet
from bench.gate.process import START_S, ArmProcess, Side

SLOT_PAIRS = 4
CALLS = 5
"""Values of a slot; the slot counts as their median."""
WARM_UP = 2
"""Untimed values after a cell is built. A fixed number: warming up until it looks steady would choose what is seen."""
SHORTEST_VALUE_S = 0.005
"""Shorter calls are repeated until one value takes this long."""
MOST_REPEATS = 100
CALL_S = 3600.0
"""How long one answer may take."""


@dataclass(frozen=True)
class Work:
    """What both sides are told to measure."""

    suite: Path
    """The suite as both sides read it: no tables, no claims, one metric."""
    select: tuple[str, ...]
    plugins: tuple[str, ...]
    builder: str | None
    threads: int
    device: str
    folder: Path
    """For logs and for what a metric may write."""

    def arguments(self, side: Side) -> tuple[str, ...]:
        """Of `arm`, with the plug-ins as a side has them."""
        return (
            *("--suite", str(self.suite), "--folder", str(self.folder)),
            *(word for each in self.select for word in ("--select", each)),
            *(word for each in map(side.plugin, self.plugins) for word in ("--plugin", each)),
            *(() if self.builder is None else ("--builder", self.builder)),
        )


@dataclass(frozen=True)
class Unit:
    """What one process pair says about one cell."""

    base: tuple[float, ...]
    """Seconds of each slot, in the order they were measured."""
    head: tuple[float, ...]
    repeat: int
    """Calls behind each value."""
    took_s: float
    """Of the whole visit, with building and warming up."""
    disturbed: str | None = None
    """Why it does not count."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """log(head / base) of each slot pair."""
        return tuple(math.log(head / base) for base, head in zip(self.base, self.head, strict=True))

    @property
    def value(self) -> float:
        """u: the median of the slot pairs."""
        return statistics.median(self.ratios)


class Pair:
    """Two fresh processes, base and head, on the same processors. Only one of them works at any time."""

    def __init__(self, base: ArmProcess, head: ArmProcess, cores: frozenset[int]) -> None:
        self.base, self.head, self.cores = base, head, cores

    def open(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Let both import everything, at the same time; what each says about its cells."""
        for each in (self.base, self.head):
            each.tell("open")
        answers = self.base.hear(START_S), self.head.hear(START_S)
        for each in (self.base, self.head):
            if self.cores:
                each.ask("pin", CALL_S, cores=sorted(self.cores))
        return answers

    def visit(self, base_cell: int, head_cell: int, *, head_first: bool) -> Unit:
        """Build a cell on both sides and time it in turns: A B B A A B B A.

        head_first: A is head. Raises WorkerDied when a side cannot.
        """
        begin = time.perf_counter()
        repeat = self._prepare(base_cell, head_cell)
        before = quiet.moment(self.cores)
        seconds: dict[str, list[float]] = {"base": [], "head": []}
        cpu_s, switches = 0.0, 0
        for index in range(SLOT_PAIRS):
            order = (self.base, self.head) if (index % 2 == 0) != head_first else (self.head, self.base)
            for each in order:
                answer = each.ask("slot", CALL_S, calls=CALLS)
                seconds[each.name].append(answer["seconds"])
                cpu_s += answer["cpu_s"]
                switches += answer["switches"]
        why = quiet.disturbed(before, quiet.moment(self.cores), self.cores, cpu_s, switches)
        took_s = time.perf_counter() - begin
        return Unit(tuple(seconds["base"]), tuple(seconds["head"]), repeat, took_s, why)

    def _prepare(self, base_cell: int, head_cell: int) -> int:
        """Build and warm up on both sides; how many calls make up a value, decided by the faster side."""
        times: list[float] = []
        for each, cell in ((self.base, base_cell), (self.head, head_cell)):
            each.ask("build", CALL_S, cell=cell)
            times.append(each.ask("warm", CALL_S, calls=WARM_UP, repeat=1)["seconds"])
        repeat = min(MOST_REPEATS, max(1, math.ceil(SHORTEST_VALUE_S / min(times))))
        if repeat > 1:
            for each in (self.base, self.head):
                each.ask("warm", CALL_S, calls=1, repeat=repeat)
        return repeat

    def exact(
        self, cells: Sequence[tuple[int, int]], metrics: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any] | str, Mapping[str, Any] | str]]:
        """The exact numbers of every cell on both sides, or why a side has none."""
        for indices in cells:
            found: list[Mapping[str, Any] | str] = []
            for each, index in zip((self.base, self.head), indices, strict=True):
                try:
                    each.ask("build", CALL_S, cell=index)
                    found.append(each.ask("exact", CALL_S, metrics=list(metrics)))
                except WorkerDied as error:
                    found.append(str(error))
            yield found[0], found[1]

    def base_files(self) -> tuple[str, ...]:
        """Where the modules come from that the base has loaded."""
        return tuple(self.base.ask("files", CALL_S)["files"])


@contextmanager
def pair(base: Side, head: Side, work: Work) -> Iterator[Pair]:
    """A fresh pair, ended when the block ends, however it ends."""
    cores = quiet.quietest(work.threads) if work.device == "cpu" else frozenset()
    arms: list[ArmProcess] = []
    try:
        for side, name in ((base, "base"), (head, "head")):
            log = work.folder / f"{name}.log"
            arms.append(ArmProcess(side, name, work.arguments(side), log, threads=work.threads, device=work.device))
        yield Pair(arms[0], arms[1], cores)
    finally:
        for each in arms:
            each.close()
