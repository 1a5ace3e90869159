"""A store of 10,000 records becomes a page without taking the machine's memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.store.record import Record, RunInfo

SUITE = """\
schema: 1
suite: speedup
title: Large
grid: [{model: skip-unet}]
metrics: [latency]
tables:
  - id: t
    caption: C
    rows: [model.skip, model.width]
    values: [{metric: latency}, {metric: latency, relative: ratio, to: {model.skip: zero}}]
figures:
  - {id: f, caption: C, kind: pareto, value: {metric: latency}, x_value: {metric: latency, reduce: mean}}
"""
CODE = """\
import re, sys
from pathlib import Path
from bench.report.page import render_report
render_report([Path(sys.argv[1])], Path(sys.argv[2]))
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
"""VmHWM is of this program alone; what getrusage says includes the process that started it."""


def many(record: Record) -> Iterator[Record]:
    """1,000 cells, ten visits each."""
    rng = np.random.default_rng(0)
    for number in range(1000):
        factors = {"model": "skip-unet", "model.skip": ("zero", "duplicate")[number % 2], "model.width": number // 2}
        for visit in range(10):
            part, values = f"p{visit % 2}r{visit // 2}", tuple(rng.uniform(1, 1.1, 3))
            yield replace(record, cell=f"cell {number}", factors=factors, part=part, values=values)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_ten_thousand_records_take_less_than_300_mb(
    write: Callable[..., Path], plain_info: RunInfo, plain_records: tuple[Record, ...], tmp_path: Path
) -> None:
    path = write(tmp_path / "results", replace(plain_info, suite_text=SUITE), many(plain_records[0]))

    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path), str(tmp_path / "out")], capture_output=True, text=True, check=True
    )

    assert int(done.stdout) < 300 * 1024
    page = (tmp_path / "out" / "speedup.html").read_text("utf-8")
    assert page.count("<tr") > 1000
    assert page.count(" data-n=") == 2000 and len(page) < 2_000_000
