"""What the printed numbers say about each other: contradictions that can be computed, each with its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bench.analysis.published import Published, PublishedTable

LEVELS = 4
TIMESTEPS = 1000


@dataclass(frozen=True)
class Finding:
    """One sentence, and the tables it is about."""

    tables: tuple[str, ...]
    sentence: str


def findings(paper: Published) -> tuple[Finding, ...]:
    """Everything that can be computed from the printed tables of a paper."""
    check = CHECKS.get(paper.paper)
    return check(paper) if check else ()


def adaptive_skip(paper: Published) -> tuple[Finding, ...]:
    """Table 2 against the schedule k(t), its first two rows against each other, tables 1 and 3 against each other."""
    saved = paper.table("2")
    return (
        *(skip_consistency(saved, row.label) for row in saved.rows),
        same_work(saved, "Zero", "Duplicate"),
        one_configuration(paper, ("1", "Zero", "c = 2"), ("3", "DDPM", "ours 1000"), "zero skip, c = 2, 1000 steps"),
    )


def missing_u(paper: Published) -> tuple[Finding, ...]:
    """Seconds for a step in tables 1 and 3, ratios of table 5 and figure 6, rows that tables 2 and 4 share."""
    synthesis, walks = paper.table("1"), paper.table("3")
    columns = ("U-Net", "cU-Net")
    return (
        *(size_independence(synthesis, row.label, ("MNIST", "CelebA", "LSUN Church")) for row in synthesis.rows),
        *(odd_row_out(walks, f"SSIM time {name}", f"SSIM step {name}") for name in columns),
        *(time_for_time(synthesis, data) for data in ("MNIST", "CelebA", "LSUN Church")),
        share(paper.table("5"), "GFLOPS", "cU-Net", "U-Net", "about 30 % of the operations"),
        share(paper.table("figure-6"), "parameters", "cU-Net", "U-Net", "about a quarter of the parameters"),
    )


CHECKS: Mapping[str, Callable[[Published], tuple[Finding, ...]]] = {
    "adaptive-skip": adaptive_skip,
    "missing-u": missing_u,
}


def skip_shares(exponent: float, levels: int = LEVELS, timesteps: int = TIMESTEPS) -> tuple[float, ...]:
    """Share of the timesteps at which k = 0..levels-1 levels are skipped.

    k(t) = min(N-1, floor(N - N (1-t)^c)) with N levels, exponent c and t in [0, 1). Source: Giladi et al., eq. (1).
    """
    depth = [min(levels - 1, math.floor(levels - levels * (1 - t / timesteps) ** exponent)) for t in range(timesteps)]
    return tuple(depth.count(k) / timesteps for k in range(levels))


def skip_consistency(table: PublishedTable, row: str) -> Finding:
    """Whether one saving for each skipped level explains a whole row of time saved.

    Time saved at exponent c must be sum_k share_k(c) s_k with savings 0 <= s_1 <= s_2 <= s_3: every level that is left
    out in addition saves something. Fitted by least squares; the misfit is in percentage points.
    """
    entries = [table.entry(row, column.label) for column in table.columns]
    exponents = [float(str(entry.factors[0]["model.skip_exponent"])) for entry in entries]
    printed = np.array([100 * entry.value for entry in entries])
    shares = np.array([skip_shares(exponent)[1:] for exponent in exponents])
    steps = shares[:, ::-1].cumsum(axis=1)[:, ::-1]  # s_k - s_(k-1) counts at every k and above
    fitted = steps @ nonnegative_least_squares(steps, printed)
    misfit = float(np.sqrt(np.mean((fitted - printed)[1:] ** 2)))
    worst = int(np.abs(fitted - printed).argmax())
    if misfit < 0.25:
        verdict = f"agrees with one saving for each level (misfit {misfit:.2f} points)"
    else:
        verdict = (
            f"cannot come from one saving for each level: the closest fit is {misfit:.1f} points off and gives "
            f"{fitted[worst]:.1f} % at {entries[worst].column}, where {entries[worst].text} % is printed"
        )
    return Finding((table.id,), f"{table.name}, {row}: {verdict}.")


def nonnegative_least_squares(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """x >= 0 that minimises |a x - b|, by trying every set of columns: a [rows, few columns], b [rows] -> [columns]."""
    columns = a.shape[1]
    best, least = np.zeros(columns), float(b @ b)
    for size in range(1, columns + 1):
        for chosen in combinations(range(columns), size):
            x = np.zeros(columns)
            x[list(chosen)] = np.linalg.lstsq(a[:, chosen], b, rcond=None)[0]
            error = float(np.sum((a @ x - b) ** 2))
            if (x >= 0).all() and error < least:
                best, least = x, error
    return best


def same_work(table: PublishedTable, one: str, other: str) -> Finding:
    """The largest gap between two rows that stand for the same amount of work."""
    pairs = [(table.entry(one, c.label), table.entry(other, c.label)) for c in table.columns]
    first, second = max(pairs, key=lambda pair: abs(pair[0].value - pair[1].value))
    gap = 100 * abs(first.value - second.value)
    return Finding(
        (table.id,),
        f"{table.name}: {one} and {other} run the same layers, but at {first.column} they differ by "
        f"|{first.text} - {second.text}| = {gap:.2f} points; its timing noise is no smaller.",
    )


def one_configuration(paper: Published, one: tuple[str, str, str], other: tuple[str, str, str], what: str) -> Finding:
    """Two different numbers that are printed for one configuration; each place is (table, row, column)."""
    first, second = (paper.table(table).entry(row, column) for table, row, column in (one, other))
    names = [paper.table(place[0]).name for place in (one, other)]
    return Finding(
        (one[0], other[0]),
        f"For {what}, {names[0]} prints {first.text} and {names[1]} prints {second.text}: "
        f"{first.text} / {second.text} = {first.value / second.value:.2f}.",
    )


def per_step(table: PublishedTable, row: str, time: str, steps: str) -> float:
    """Seconds for a step: a printed time over a printed number of steps."""
    return table.entry(row, time).value / table.entry(row, steps).value


def size_independence(table: PublishedTable, row: str, data: Sequence[str]) -> Finding:
    """Seconds for a step on several data sets, which should grow with the size of their images."""
    parts = []
    values = []
    for name in data:
        time, steps = table.entry(row, f"{name} time"), table.entry(row, f"{name} steps")
        values.append(time.value / steps.value)
        parts.append(f"{time.text} / {steps.text} = {values[-1]:.3f} s ({name})")
    change = max(values) / min(values)
    return Finding(
        (table.id,),
        f"{table.name}, {row}: a step takes {', '.join(parts)}; they differ by a factor {change:.2f} only, "
        "though the images are said to be of 28, 64 and 128 pixels.",
    )


def odd_row_out(table: PublishedTable, time: str, steps: str) -> Finding:
    """The row whose seconds for a step lie farthest from the median of all rows."""
    values = {row.label: per_step(table, row.label, time, steps) for row in table.rows}
    usual = float(np.median(list(values.values())))
    row = max(values, key=lambda name: abs(math.log(values[name] / usual)))
    seconds, count = table.entry(row, time), table.entry(row, steps)
    return Finding(
        (table.id,),
        f"{table.name}, {time}: in row {row} a step takes {seconds.text} / {count.text} = {values[row]:.3f} s, "
        f"in the other rows about {usual:.3f} s; a factor {usual / values[row]:.2f}, so conditions differed.",
    )


def time_for_time(table: PublishedTable, data: str) -> Finding:
    """Time saved by the smaller network, in all and for one step."""
    parts = []
    for sampler, ending in (("DDPM", ""), ("DDIM", " + DDIM")):
        new, old = (table.entry(f"{name}{ending}", f"{data} time") for name in ("cU-Net", "U-Net"))
        step_new, step_old = (
            per_step(table, f"{name}{ending}", f"{data} time", f"{data} steps") for name in ("cU-Net", "U-Net")
        )
        parts.append(
            f"with {sampler} 1 - {new.text} / {old.text} = {100 * (1 - new.value / old.value):.1f} % less time, "
            f"but {100 * (1 - step_new / step_old):.1f} % less for one step"
        )
    return Finding((table.id,), f"{table.name}, {data}: {'; '.join(parts)}.")


def share(table: PublishedTable, column: str, part: str, whole: str, claim: str) -> Finding:
    """A printed number as a share of another, beside the sentence that speaks of it."""
    one, other = table.entry(part, column), table.entry(whole, column)
    return Finding(
        (table.id,),
        f"{table.name}, {column}: {one.text} / {other.text} = {100 * one.value / other.value:.1f} %; "
        f"the text says {claim}.",
    )
