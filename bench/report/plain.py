"""Texts of strangers, made safe to show: names, reasons and file names end up on pages, in tables and in terminals."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from bench.contracts import Scalar

LONGEST = 2_000
"""Characters of one text on a page; what is longer is cut and says so."""


def clean(text: str, longest: int = LONGEST) -> str:
    """One line of visible text.

    White space of any kind becomes single spaces; control characters go; characters that are invisible or change the
    direction of writing, and halves of surrogate pairs, are shown as `\\u202e`.
    """
    if text.isascii() and text.isprintable():
        line = " ".join(text.split())
    else:
        line = " ".join("".join(map(_visible, text)).split())
    if len(line) <= longest:
        return line
    return f"{line[:longest]}\N{HORIZONTAL ELLIPSIS} ({len(line) - longest:,} more characters)"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category in ("Zl", "Zp"):
        return " "
    if category == "Cc":
        return ""
    if category in ("Cf", "Cs", "Co", "Cn"):
        code = ord(character)
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


def label(value: Scalar) -> str:
    """A factor's value in a heading: `2` for 2 and 2.0, `true`, `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    return clean(str(value), 200) or "(empty)"


def short(name: str) -> str:
    """A factor's name without its kind: `skip_exponent` of `model.skip_exponent`."""
    return clean(name.rpartition(".")[2] or name, 200)


def listing(items: Iterable[str], most: int = 6) -> str:
    """`a, b and c`; of a long list the first few and how many more."""
    known = list(items)
    if len(known) > most:
        known = [*known[: most - 1], f"{len(known) - most + 1:,} more"]
    return f"{', '.join(known[:-1])} and {known[-1]}" if len(known) > 1 else "".join(known)


def factor_text(name: str, value: Scalar) -> str:
    """`skip_exponent = 2`."""
    return f"{short(name)} = {label(value)}".strip()
