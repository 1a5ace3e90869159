"""What `bench plan` says beside the cells: pictures to draw, network calls, what is missing, how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import units
from bench.run.environment import available_processors
from bench.run.estimate import Estimate, Source, Target, commands, estimate
from bench.run.step_times import KnownTimes
from bench.suite.missing import Lacking, lacking
from bench.suite.schema import Cell
from bench.suite.workload import Workload, workload

DRIVER_PLACES = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg")
"""Where the driver of a GPU shows itself, on Linux and inside Windows."""


@dataclass(frozen=True)
class Ahead:
    """Everything that is known of a plan before it runs."""

    work: Workload
    missing: tuple[Lacking, ...]
    time: Estimate
    cells: int


def outlook(cells: Sequence[Cell], results: Path) -> Ahead:
    """The outlook of these cells on this machine, with step times from below the results folder."""
    work = workload(cells)
    return Ahead(
        work,
        (*lacking(cells), *_devices_lack(cells)),
        estimate(work, KnownTimes(results), available_processors()),
        len(cells),
    )


def _devices_lack(cells: Sequence[Cell]) -> Iterator[Lacking]:
    """Cells for a GPU where none is to be seen. Torch has the last word; a plan does not wait for it."""
    wanting = tuple(cell.id for cell in cells if cell.conditions.device == "cuda")
    if wanting and not any(Path(place).exists() for place in DRIVER_PLACES):
        sentence = "conditions.device is 'cuda' and no NVIDIA driver is loaded; use device: cpu, or run it where one is"
        yield Lacking(sentence, wanting)


def outlook_lines(ahead: Ahead) -> Iterator[str]:
    """For people."""
    work = ahead.work
    if work.drawings:
        asking = sum(drawing.cells for drawing in work.drawings)
        shared = f", shared by {asking} cells" if asking > len(work.drawings) else ""
        walks = units.plural(len(work.drawings), "walk")
        yield f"to draw: {work.images:,} images of {walks}{shared}; {work.network_calls:,} network calls"
    elif work.network_calls:
        yield f"to compute: {work.network_calls:,} network calls"
    for sentence in work.uncounted:
        yield f"  not counted: {sentence}"
    for lack in ahead.missing:
        yield f"missing here: {lack.sentence} ({_needed_by(lack, ahead.cells)})"
    yield from _time_lines(ahead.time)


def _time_lines(time: Estimate) -> Iterator[str]:
    if time.sources:
        beside = ""
        if time.drawing_s and time.workers > 1:
            beside = f" ({units.duration(time.drawing_s + time.alone_s)} of work, {time.workers} workers side by side)"
        known = ", as far as it is known" if time.unknown else ""
        yield f"time: about {units.duration(time.wall_s)}{beside}{known}: network calls alone, from nothing"
    grouped: dict[tuple[Path, int], list[Source]] = {}
    for source in time.sources:
        grouped.setdefault((source.times.run, source.times.batch_size), []).append(source)
    for (run, batch), sources in grouped.items():
        values = units.plural(min(source.times.n for source in sources), "value")
        networks = ", ".join(source.network for source in sources)
        disturbed = ", measured while other programs ran" if any(each.times.disturbed for each in sources) else ""
        yield f"  from step times of {networks}: {values} a stage at batch {batch}, in {run}{disturbed}"
    closer = commands(source.closer for source in time.sources if source.closer is not None)
    for command in closer:
        yield f"  that is far from the batch that is needed, so times per image differ; closer after `{command}`"
    if time.unknown:
        calls = sum(each.network_calls for each in time.unknown)
        networks = ", ".join(each.network for each in time.unknown)
        yield f"time of {calls:,} network calls is not known: this machine has no step times of {networks}"
    for command in commands(each.target for each in time.unknown if each.target is not None):
        yield f"  measure them with `{command}`"
    for each in time.unknown:
        if each.target is None:
            yield f"  no suite that ships measures {each.network}: add step_time to the metrics of one that has it"


def _targets(time: Estimate) -> Iterator[Target]:
    """Everything that would make the estimate better."""
    yield from (each.target for each in time.unknown if each.target is not None)
    yield from (source.closer for source in time.sources if source.closer is not None)


def _needed_by(lack: Lacking, cells: int) -> str:
    if len(lack.cells) == cells:
        return "every cell needs it"
    return f"{units.plural(len(lack.cells), 'cell')} of {cells} {'needs' if len(lack.cells) == 1 else 'need'} it"


def outlook_json(ahead: Ahead) -> Mapping[str, Any]:
    """The same for programs. Seconds are of network calls alone."""
    time = ahead.time
    return {
        "images": ahead.work.images,
        "network_calls": ahead.work.network_calls,
        "not_counted": list(ahead.work.uncounted),
        "missing": [{"sentence": lack.sentence, "cells": list(lack.cells)} for lack in ahead.missing],
        "time": {
            "wall_s": time.wall_s if time.sources else None,
            "drawing_s": time.drawing_s if time.sources else None,
            "alone_s": time.alone_s if time.sources else None,
            "workers": time.workers,
            "sources": [
                {
                    "network": source.network,
                    "run": str(source.times.run),
                    "batch_size": source.times.batch_size,
                    "values": source.times.n,
                }
                for source in time.sources
            ],
            "unknown": [{"network": each.network, "network_calls": each.network_calls} for each in time.unknown],
            "measure": list(commands([*_targets(time)])),
        },
    }
