"""`python fake_run.py RESULTS [SECONDS [MAX_FILE_BYTES]]`: runs a suite of fake cells as `bench run` would, for tests that kill it.

Prints one line for each visit that is safely on disk. Exits as the command line does.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError, ExitCode, SaveError
from bench.registry import load_plugins
from bench.run import environment
from bench.run.isolated import IsolatedExecutor
from bench.run.progress import QuietProgress
from bench.run.runner import run_suite
from bench.run.schedule import Visit
from bench.store.record import Record
from bench.suite.schema import Ref

PLUGIN = str(Path(__file__).with_name("fake_plugin.py"))


class Acknowledging(QuietProgress):
    """Says what is saved."""

    def ended(self, visit: Visit, records: Sequence[Record]) -> None:
        if records:
            print("\t".join(visit.key), flush=True)


def main(results: str, seconds: str = "0.01", limit: str = "") -> int:
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    # Editing this project while its tests run must not look like another program to the continued run.
    environment.code_hash = lambda: "0" * 64  # type: ignore[assignment]
    load_plugins([PLUGIN])
    fake = sys.modules["bench_plugin_fake_plugin"]
    metrics = ("fake-exact", "fake-time", Ref(name="fake-stages", params={"stages": 8}))
    cells = [fake.cell_of({"level": level, "seconds": float(seconds)}, metrics) for level in range(2)]
    cells.append(fake.cell_of({"level": 2, "seconds": float(seconds)}, (*metrics, "fake-bytes")))
    try:
        outcome = run_suite(
            fake.suite_of(),
            cells,
            results=Path(results),
            plugins=[PLUGIN],
            executor=IsolatedExecutor(builder="bench_plugin_fake_plugin:build"),
            progress=Acknowledging(),
        )
    except SaveError as error:
        print(error, file=sys.stderr)
        return ExitCode.CANNOT_SAVE
    except BenchError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
