"""Plain text on a terminal: the only place that prints answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.cli.streams import answers
from bench.terminal import json_text, visible


def print_line(text: str) -> None:
    """One line of the answer, with control characters made visible."""
    answers().write(visible(text) + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Several lines of the answer."""
    for line in lines:
        print_line(line)


def print_json(value: Mapping[str, object]) -> None:
    """The answer as one JSON document."""
    stream = answers()
    stream.write(json_text(value, stream.encoding))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest entry, the last one ragged."""
    lines = [tuple(map(visible, row)) for row in ([header, *rows] if header else rows)]
    widths = [max((len(row[i]) for row in lines), default=0) for i in range(max(map(len, lines), default=0))]
    for row in lines:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print_line("  ".join([*padded, *row[-1:]]).rstrip())
