"""The command line: parse, call, print, exit. Nothing heavy is imported before it is needed."""

from bench.cli.main import main

__all__ = ["main"]
