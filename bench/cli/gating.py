"""The verb that decides whether the current folder is slower than a base."""

from __future__ import annotations

import argparse

from bench.cli.loading import load_registry
from bench.cli.streams import say_lines
from bench.cli.text import print_line
from bench.cli.verdicts import exit_code, tell
from bench.suite.expand import expand
from bench.suite.read import read_suite
from bench.suite.select import select


def gate(options: argparse.Namespace) -> int:
    """Base and head in turns, in fresh processes, until it is sure."""
    from bench.gate.asked import Asked
    from bench.gate.driver import run_gate

    load_registry(options.plugin)
    suite = read_suite(options.suite)
    asked = Asked(
        suite=suite,
        cells=select(expand(suite), options.select),
        base=options.base,
        select=tuple(options.select),
        plugins=tuple(options.plugin),
        tolerance=options.tolerance,
        pixels=options.pixels,
        exact_only=options.exact_only,
        time_limit_s=None if options.time_limit is None else 60 * options.time_limit,
        base_python=options.base_python,
    )
    found = run_gate(asked, options.results, lambda text: None if options.quiet else say_lines([text]))
    tell(found.comparison, options, "bench gate")
    if not options.json:
        print_line(f"raw times: {found.saved}")
    return exit_code(found.comparison)
