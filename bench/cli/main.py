"""From the command line to a verb, and from an exception to an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bench.cli.parser import parse
from bench.errors import BenchError, ExitCode, SaveError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; the person at the terminal never sees a traceback of a known error."""
    options = parse(arguments)
    if getattr(options, "data", None) is not None:
        os.environ["BENCH_DATA"] = str(options.data)
    from bench.cli.verbs import VERBS

    try:
        code = int(VERBS[options.verb](options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone, as in `bench list | head`; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped", file=sys.stderr)  # noqa: T201
        return int(ExitCode.INTERRUPTED)
    except SaveError as error:
        return _fail(error, ExitCode.CANNOT_SAVE)
    except BenchError as error:
        return _fail(error, ExitCode.BAD_INPUT)


def _fail(error: BenchError, code: ExitCode) -> int:
    for line in str(error).splitlines():
        print(f"bench: {line}", file=sys.stderr)  # noqa: T201
    return int(code)
