"""Plain text on a terminal: the only place that prints answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence


def print_line(text: str) -> None:
    """One line on standard output, with control characters made visible."""
    sys.stdout.write(_visible(text) + "\n")


def print_json(value: Mapping[str, object]) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest entry, the last one ragged."""
    lines = [tuple(map(_visible, row)) for row in ([header, *rows] if header else rows)]
    widths = [max((len(row[i]) for row in lines), default=0) for i in range(max(map(len, lines), default=0))]
    for row in lines:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        sys.stdout.write("  ".join([*padded, *row[-1:]]).rstrip() + "\n")


def _visible(text: str) -> str:
    """Names come from files; nothing in them may move the cursor or reorder the line."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
