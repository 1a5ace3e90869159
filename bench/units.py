"""Numbers as people read them. Everything inside the program is in SI base units; only the edges come here.

A `Scale` is chosen once for a whole row of numbers, so that they can be compared at a glance, and then writes each
of them with no more figures than its interval supports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Style = Literal["auto", "percent", "seconds", "count", "bytes", "mib", "number"]

SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
MIB = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
TIMES = "\N{MULTIPLICATION SIGN}"
MEANING = {
    "kB": "1 kB = 10^3 bytes",
    "MB": "1 MB = 10^6 bytes",
    "GB": "1 GB = 10^9 bytes",
    "KiB": "1 KiB = 2^10 bytes",
    "MiB": "1 MiB = 2^20 bytes",
    "GiB": "1 GiB = 2^30 bytes",
}
"""Said beside every table that uses the symbol, because MB alone means two things."""

WHOLE_UP_TO = 1e8
"""Counts below this are written digit by digit: a parameter count is a fingerprint."""

LONG = 1e4
"""In a prefix, from which on a number is long."""
SMALLEST = 1e-300
"""Intervals narrower than this have no width."""
MOST_DECIMALS = 6

UNIT_STYLE: dict[str, Style] = {
    "s": "seconds",
    "bytes": "bytes",
    "B": "bytes",
    "MAC": "count",
    "MACs": "count",
    "FLOP": "count",
    "FLOPs": "count",
    "count": "count",
    "calls": "count",
    "parameters": "count",
}


@dataclass(frozen=True)
class Scale:
    """How a row of numbers is written."""

    divisor: float
    symbol: str
    """Follows the number after a space; empty for plain numbers. The multiplication sign follows without one."""
    whole: bool = False
    """Values are counts: written without decimals when nothing was divided."""
    exact_decimals: int | None = None
    """Decimals of a number that has no spread; None for four significant figures."""

    @property
    def meaning(self) -> str | None:
        """A sentence saying what the symbol stands for, when it is not common knowledge."""
        return MEANING.get(self.symbol)


def choose_scale(values: Iterable[float], unit: str, style: Style = "auto") -> Scale:
    """The scale for numbers of one kind: the largest prefix that the median of them still fills.

    The next larger one where the largest number would have more than four digits before its point, so that 0.15, 0.97,
    6.1 and 301 ms stand below each other, and not 301,000 µs.

    unit: as stored (`s`, `bytes`, `MAC`, `1`, `x` for a factor, ...); decides when style is `auto`.
    """
    if style == "auto":
        style = UNIT_STYLE.get(unit, "number")
    sizes = sorted(abs(value) for value in values if value)
    middle = sizes[len(sizes) // 2] if sizes else 1.0
    if style == "percent":
        return Scale(0.01, "%", exact_decimals=2)
    if style == "seconds":
        return Scale(*_prefix(SECONDS, middle, sizes))
    if style == "bytes":
        return Scale(*_prefix(BYTES, middle, sizes), whole=True)
    if style == "mib":
        return Scale(*_prefix(MIB, middle, sizes), whole=True)
    if style == "count":
        if max(sizes, default=0.0) < WHOLE_UP_TO:
            return Scale(1.0, "", whole=True)
        return Scale(*_prefix((*COUNTS, (1.0, "")), middle, sizes), whole=True)
    return Scale(1.0, TIMES if unit == "x" else "")


def write(
    value: float, scale: Scale, low: float | None = None, high: float | None = None, decimals: int | None = None
) -> str:
    """`47.5 % [46.9, 48.1]`, or `35.61 %` when there is no interval.

    decimals: as many as the interval supports unless said otherwise (see `supported_decimals`).
    """
    decimals = supported_decimals(value, scale, low, high) if decimals is None else decimals
    suffix = scale.symbol if scale.symbol in ("", TIMES) else f" {scale.symbol}"
    text = _round(value / scale.divisor, decimals) + suffix
    if low is None or high is None:
        return text
    return f"{text} [{_round(low / scale.divisor, decimals)}, {_round(high / scale.divisor, decimals)}]"


def write_unsure(value: float, scale: Scale) -> str:
    """A measured number of which no interval is known: three significant figures, no promise beyond them."""
    shown = abs(value / scale.divisor)
    decimals = min(MOST_DECIMALS, 2 - math.floor(math.log10(shown))) if shown else 0
    suffix = scale.symbol if scale.symbol in ("", TIMES) else f" {scale.symbol}"
    return _round(value / scale.divisor, decimals) + suffix


def supported_decimals(value: float, scale: Scale, low: float | None = None, high: float | None = None) -> int:
    """Decimals in which the interval's half-width has one or two significant figures; -1 rounds to tens.

    Without an interval, those of an exact number.
    """
    half = (high - low) / 2 / scale.divisor if low is not None and high is not None else 0.0
    if half > SMALLEST:
        exponent = math.floor(math.log10(half))
        leading = half / 10.0**exponent
        return min(MOST_DECIMALS, -exponent + (1 if leading < 2 else 0))
    shown = abs(value / scale.divisor)
    if shown == 0 or (scale.whole and scale.divisor == 1.0):
        return 0
    if scale.exact_decimals is not None:
        return scale.exact_decimals
    return min(MOST_DECIMALS, max(0, 3 - math.floor(math.log10(shown))))


def even_decimals(own: int, usual: int) -> int:
    """Decimals of one number in a row that usually has `usual`: never more than it supports, and no ragged edge.

    A number of another magnitude, which supports two decimals more, keeps them.
    """
    return own if own > usual + 1 else min(own, usual)


def write_printed(text: str, unit: str) -> str:
    """A published number with its unit, digit for digit as it was printed: `47.52 %`."""
    return f"{text} {unit}" if unit else text


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """`1 cell`, `15 cells`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def duration(seconds: float) -> str:
    """A length of time for people: `38 s`, `3 min 12 s`, `2 h 05 min`, `12 days 3 h`."""
    whole = round(seconds)
    if whole < 60:
        return write(seconds, Scale(1.0, "s")) if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} days {whole % 86400 // 3600} h"


def _prefix(prefixes: tuple[tuple[float, str], ...], middle: float, sizes: Sequence[float]) -> tuple[float, str]:
    """The largest prefix that is not larger than the middle one, the smallest for smaller ones, or the next larger."""
    filled = next((index for index, prefix in enumerate(prefixes) if middle >= prefix[0]), len(prefixes) - 1)
    long = max(sizes, default=0.0) >= LONG * prefixes[filled][0]
    return prefixes[max(0, filled - 1) if long else filled]


def _round(value: float, decimals: int) -> str:
    """Fixed decimals with thousands separators and no minus zero; what is too small for them is `1.23e-08`."""
    rounded = round(value, decimals) + 0.0
    if rounded == 0 and decimals >= MOST_DECIMALS and abs(value) > SMALLEST:
        return f"{value:.3g}"
    return f"{rounded:,.{max(0, decimals)}f}"
