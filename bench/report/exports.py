"""Numbers in the formats of services that keep histories: Bencher and github-action-benchmark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.report.plain import clean
from bench.verdict.values import Number

FORMATS = ("bencher", "github-action-benchmark")
"""Names on the command line."""
NANO = 1e9
"""Bencher's own measure `latency` is in nanoseconds, so seconds are written as nanoseconds for it."""


def bencher(numbers: Iterable[Number]) -> str:
    """Bencher Metric Format: cell -> measure -> value with its interval. Times are in nanoseconds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for number in numbers:
        scale = NANO if number.unit == "s" else 1.0
        ends = {"lower_value": number.low, "upper_value": number.high}
        measure = {"value": scale * number.value}
        measure |= {name: scale * end for name, end in ends.items() if end is not None}
        found.setdefault(clean(number.cell, 1000), {})[_slug(number)] = measure
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _slug(number: Number) -> str:
    """`macs-0-dispatch`: letters, digits and hyphens, as measures are named there."""
    words = [number.metric, *map(str, number.at.values())]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:64] or "number"


def github_action_benchmark(numbers: Iterable[Number]) -> str:
    """The list that `tool: customSmallerIsBetter` and `customBiggerIsBetter` read."""
    return json.dumps([_entry(number) for number in numbers], indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _entry(number: Number) -> dict[str, str | float]:
    entry: dict[str, str | float] = {
        "name": f"{clean(number.cell, 300)}: {clean(number.name, 300)}",
        "unit": clean(number.unit, 100),
        "value": number.value,
    }
    if number.low is not None and number.high is not None:
        entry["range"] = f"{(number.high - number.low) / 2:.3g}"
        entry["extra"] = f"95 % interval [{number.low:.6g}, {number.high:.6g}]"
    return entry


def files(format_name: str, path: Path, numbers: Iterable[Number]) -> Mapping[Path, str]:
    """What to write where. Numbers of which more is better go to `NAME.bigger.json` for github-action-benchmark."""
    known = list(numbers)
    if format_name == "bencher":
        return {path: bencher(known)}
    bigger = [number for number in known if number.better == "higher"]
    found = {path: github_action_benchmark(number for number in known if number.better != "higher")}
    if bigger:
        found[path.with_suffix(f".bigger{path.suffix}")] = github_action_benchmark(bigger)
    return found
