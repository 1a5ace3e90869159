"""A gate as a file: every raw time of every run of the rule, so that nothing has to be believed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import SaveError
from bench.files import own_folder, prove_room, write_whole
from bench.gate.pairs import Unit
from bench.gate.sequence import Course, Story
from bench.store.files import PROBE_BYTES
from bench.suite.schema import Cell
from bench.verdict.outcome import Verdict

SCHEMA = 1
FOLDER = "gates"


def prepare(results: Path) -> Path:
    """The folder of gates, no link, and proved to be writable before anything is measured. Raises SaveError."""
    folder = own_folder(results, FOLDER)
    try:
        prove_room(folder, PROBE_BYTES)
    except OSError as error:
        raise SaveError(f"{folder}: cannot be written to: {error.strerror or error}; use --results DIR") from error
    return folder


def save(
    folder: Path,
    started: str,
    facts: Mapping[str, Any],
    cells: Sequence[Cell],
    calibration: Mapping[int, Sequence[Unit]],
    stories: Mapping[int, Story],
    verdicts: Sequence[Verdict],
) -> Path:
    """Write `<time>-<suite>-<token>.json` into the folder of gates. started: UTC, ISO 8601. Raises SaveError."""
    data = {
        "schema": SCHEMA,
        "started": started,
        **facts,
        "verdicts": [{**asdict(each), "outcome": str(each.outcome)} for each in verdicts],
        "calibration": {cells[cell].id: [_unit(unit) for unit in found] for cell, found in calibration.items()},
        "cells": {
            cells[cell].id: {
                "first": _course(story.first),
                "confirmation": None if story.confirmation is None else _course(story.confirmation),
            }
            for cell, story in stories.items()
        },
    }
    stamp = "".join(letter for letter in started[:19] if letter.isdigit() or letter == "T")
    path = folder / f"{stamp}-{facts['suite']}-{secrets.token_hex(3)}.json"
    write_whole(path, json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n", advice="make room and gate again")
    return path


def _course(course: Course) -> dict[str, Any]:
    return {"decision": str(course.decision), "why": course.why, "units": [_unit(unit) for unit in course.units]}


def _unit(unit: Unit) -> dict[str, Any]:
    """Seconds of every slot in the order in which each side had them; the ratios follow from them."""
    return {
        "base": list(unit.base),
        "head": list(unit.head),
        "repeat": unit.repeat,
        "took_s": round(unit.took_s, 3),
        "disturbed": unit.disturbed,
    }
