"""Results of pytest-benchmark (`--benchmark-json FILE`) as records, so that they are compared by the same rules.

One file is one process. Its rounds are cut into at most 20 runs of neighbours, each a visit: neighbouring rounds share
their momentary machine and do not count one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.contracts import MetricSpec, Scalar
from bench.errors import StoreError
from bench.store.record import SCHEMA, Record, RunInfo, Status

VISITS = 20
SUITE = "pytest-benchmark"
TIME = MetricSpec("time", "s", "lower", "timing")
MOST_BYTES = 1 << 30
HEAD = 4096


def is_pytest_benchmark(path: Path) -> bool:
    """Whether a file looks like pytest-benchmark's rather than like records, from its first bytes."""
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and b'"machine_info"' in head


def read_pytest_benchmark(path: Path) -> tuple[tuple[Record, ...], RunInfo, Mapping[str, MetricSpec]]:
    """Its records, its place and its one metric, `time`. Raises StoreError when the file is not what it seems."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise StoreError(f"{path}: larger than {MOST_BYTES:,} bytes; write it again with fewer rounds")
        data: dict[str, Any] = json.loads(path.read_bytes())
        info = _info(data)
        records = tuple(record for each in data["benchmarks"] for record in _records(each, info))
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
    data = each["stats"].get("data") or [each["stats"]["median"]]
    values = tuple(float(value) for value in data)
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"{each['fullname']}: times must be above 0")
    visits = min(VISITS, len(values))
    edges = [round(index * len(values) / visits) for index in range(visits + 1)]
    params = {str(name): value for name, value in (each.get("params") or {}).items() if isinstance(value, Scalar)}
    for index, (lo, hi) in enumerate(pairwise(edges)):
        yield Record(
            schema=SCHEMA,
            run=info.id,
            cell=str(each["fullname"]),
            suite=SUITE,
            factors={"benchmark": str(each["fullname"]), **params},
            conditions={},
            metric=TIME.name,
            metric_params={},
            unit=TIME.unit,
            at={},
            part=f"p0r{index}",
            values=values[lo:hi],
            nfe=None,
            status=Status.OK,
            reason=None,
            warnings=(),
            subject={},
            inputs=(),
            effort={},
            seed=0,
            started=info.started,
            duration_s=0.0,
            artifact=None,
        )
