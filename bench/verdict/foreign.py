"""Results of pytest-benchmark (`--benchmark-json FILE`) as records, so that they are compared by the same rules.

One file is one process. Its rounds are cut into at most 20 runs of neighbours, each a visit: neighbouring rounds share
their momentary machine and do not count one by one. `--benchmark-autosave` keeps no rounds: then the median is the one
value, and what the file says of their number and spread stands among the facts of the record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.contracts import MetricSpec, Scalar
from bench.errors import StoreError
from bench.files import TooLarge, open_regular, read_regular
from bench.store.record import SCHEMA, Record, RunInfo, Status
from bench.verdict.summaries import IQR, MEDIAN, ROUNDS, STDDEV, STORED, VISITS

SUITE = "pytest-benchmark"
TIME = MetricSpec("time", "s", "lower", "timing")
MOST_BYTES = 1 << 30
HEAD = 4096
SPREAD = {ROUNDS: "rounds", IQR: "iqr", STDDEV: "stddev"}
"""Facts of a median that was kept alone, and what pytest-benchmark calls them."""


def is_pytest_benchmark(path: Path) -> bool:
    """Whether a file looks like pytest-benchmark's rather than like records, from its first bytes."""
    if path.suffix != ".json":
        return False
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and b'"machine_info"' in head


def read_pytest_benchmark(path: Path) -> tuple[tuple[Record, ...], RunInfo, Mapping[str, MetricSpec]]:
    """Its records, its place and its one metric, `time`. Raises StoreError when the file is not what it seems."""
    try:
        data: dict[str, Any] = json.loads(read_regular(path, MOST_BYTES))
        info = _info(data)
        records = tuple(record for each in data["benchmarks"] for record in _records(each, info))
    except TooLarge as error:
        raise StoreError(f"{path}: {error.strerror}; write it again with fewer rounds") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path}: not pytest-benchmark's JSON: {type(error).__name__}: {error}") from error
    if not records:
        raise StoreError(f"{path}: no benchmark in it; run pytest with --benchmark-enable")
    return records, info, {TIME.name: TIME}


def _info(data: Mapping[str, Any]) -> RunInfo:
    """What pytest-benchmark knows of the place. The name of the host is left out."""
    place, commit = data["machine_info"], data.get("commit_info") or {}
    cpu = place.get("cpu") or {}
    machine: dict[str, Scalar] = {
        "cpu": cpu.get("brand_raw") or place.get("processor") or None,
        "logical_cores": cpu.get("count"),
        "architecture": place.get("machine"),
        "os": place.get("system"),
        "kernel": place.get("release"),
    }
    started = str(data["datetime"])
    return RunInfo(
        schema=SCHEMA,
        id=f"{SUITE} {started}",
        suite=SUITE,
        suite_path="",
        suite_text="",
        suite_sha256="",
        command="",
        started=started,
        bench_version=str(data.get("version", "")),
        code_sha256="",
        git_commit=commit.get("id"),
        git_dirty=commit.get("dirty"),
        machine={name: value for name, value in machine.items() if value is not None},
        packages={
            "python": str(place.get("python_version")),
            "python implementation": str(place.get("python_implementation")),
        },
        environment={},
    )


def _records(each: Mapping[str, Any], info: RunInfo) -> Iterator[Record]:
    """One record for each visit of one benchmark; one with the median alone where the rounds were not saved."""
    name = str(each["fullname"])
    empty = _empty(name, each.get("params") or {}, info)
    stats: Mapping[str, Any] = each.get("stats") or {}
    values = tuple(float(value) for value in stats.get("data") or ())
    facts: dict[str, Scalar] = {}
    if not values:
        median = stats.get("median")
        if median is None:
            yield empty
            return
        values = (float(median),)
        facts = {STORED: MEDIAN, **{fact: float(stats[word]) for fact, word in SPREAD.items() if stats.get(word)}}
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"{name}: times must be above 0")
    visits = min(VISITS, len(values))
    edges = [round(index * len(values) / visits) for index in range(visits + 1)]
    for index, (lo, hi) in enumerate(pairwise(edges)):
        yield replace(empty, status=Status.OK, reason=None, part=f"p0r{index}", values=values[lo:hi], subject=facts)


def _empty(name: str, params: Mapping[str, Any], info: RunInfo) -> Record:
    """A benchmark without times, as pytest-benchmark writes one that failed."""
    return Record(
        schema=SCHEMA,
        run=info.id,
        cell=name,
        suite=SUITE,
        factors={"benchmark": name, **{str(key): value for key, value in params.items() if isinstance(value, Scalar)}},
        conditions={},
        metric=TIME.name,
        metric_params={},
        unit=TIME.unit,
        at={},
        part="p0r0",
        values=(),
        nfe=None,
        status=Status.FAILED,
        reason=f"{name} has no times: it failed",
        warnings=(),
        subject={},
        inputs=(),
        effort={},
        seed=0,
        started=info.started,
        duration_s=0.0,
        artifact=None,
    )
