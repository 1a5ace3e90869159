"""What stands behind one number: every digit of it, its interval, how often it was taken, what speaks against it."""

from __future__ import annotations

from bench import units
from bench.analysis import stats
from bench.analysis.published import Printed, Published, PublishedTable
from bench.analysis.reduce import Estimate
from bench.analysis.samples import Missing
from bench.report.document import Entry, Fact, Origin
from bench.report.grids import Grid, Outcome, written
from bench.report.plain import clean, factor_text, listing
from bench.report.provenance import spread_text

PLAIN_UNITS = ("", "1")
"""Of numbers that are shares or scores."""


def number_entry(estimate: Estimate, grid: Grid) -> Entry:
    """The number by itself, as a figure or a claim shows it."""
    text, interval = written(estimate, grid)
    return Entry(
        text,
        estimate.unit,
        interval,
        estimate.value,
        estimate.low,
        estimate.high,
        cells=estimate.cells,
        exact=estimate.exact,
        origin=origin_of(estimate, grid),
    )


def origin_of(outcome: Outcome, grid: Grid, printed: Printed | None = None) -> Origin | None:
    """What is behind a number of a table or a figure; None where the suite has no cell.

    printed: the number that a paper prints for the same cell.
    """
    if outcome is None:
        return None
    return measured_origin(outcome, *grid.told, printed)


def measured_origin(outcome: Estimate | Missing, name: str, meaning: str, printed: Printed | None = None) -> Origin:
    """What is behind a number of ours, or behind its absence."""
    if isinstance(outcome, Missing):
        return Origin(name, meaning, (Fact("No number", clean(f"{outcome.status}: {outcome.reason}")),))
    facts = [
        Fact("Value", digits(outcome.value, outcome.unit)),
        Fact("Interval", _interval(outcome)),
        Fact("Taken", clean(_taken(outcome))),
    ]
    if outcome.spread is not None:
        facts.append(
            Fact("Spread of raw values", f"{spread_text(outcome.spread)} of their median (interquartile range)")
        )
    if outcome.recipe:
        told = [factor_text(name, value) for name, value in outcome.recipe.items()]
        facts.append(Fact("Recipe", clean(", ".join(told))))
    if printed is not None:
        facts.append(Fact("Printed", clean(units.write_printed(printed.text, printed.unit))))
    return Origin(name, meaning, tuple(facts), tuple(dict.fromkeys(map(clean, outcome.warnings))))


def printed_origin(printed: Printed, paper: tuple[Published, PublishedTable]) -> Origin:
    """Where a printed number is printed."""
    work, table = paper
    page = f", page {table.page}" if table.page else ""
    facts = [
        Fact("Printed as", clean(units.write_printed(printed.text, printed.unit))),
        Fact("Where", clean(f"{work.cite}, {work.title}, {table.name}{page}: row {printed.row}, {printed.column}")),
        Fact("Not stated there", clean(listing(table.not_stated, 20)) or "nothing is missing"),
    ]
    return Origin(
        "paper", "a printed number; it was not measured here", tuple(facts), tuple(map(clean, printed.caveats))
    )


def digits(value: float, unit: str) -> str:
    """Every digit that is stored, with the unit it is stored in: `0.012345678901234567 s`."""
    text = repr(value).removesuffix(".0")
    return (
        f"{text} \N{MULTIPLICATION SIGN}" if unit == "x" else text if unit in PLAIN_UNITS else clean(f"{text} {unit}")
    )


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        if estimate.is_reference:
            return "none: it is the reference, so the number is so by definition"
        return "none: an exact number" if estimate.exact else clean(f"none: {estimate.note or 'it is not known'}")
    ends = f"{digits(estimate.low, estimate.unit)} to {digits(estimate.high, estimate.unit)}"
    drawn = "processes and of the rounds inside them" if estimate.visits > 1 else "the values"
    if estimate.resamples is not None:
        drawn = "the images" if estimate.of_images else "what it was measured on"
    count = stats.RESAMPLES if estimate.resamples is None else estimate.resamples
    told = f"{ends} ({100 * stats.CONFIDENCE:.0f} %, from {count:,} bootstrap resamples of {drawn})"
    return clean(f"{told}; {estimate.note}" if estimate.note else told)


def _taken(estimate: Estimate) -> str:
    if estimate.of_images:
        return f"of {units.plural(estimate.n, 'image')}"
    values = units.plural(estimate.n, "value")
    if estimate.visits == 1:
        return f"{values} of one visit"
    return f"{values} in {units.plural(estimate.visits, 'visit')} by {_processes(estimate.processes)}"


def _processes(count: int) -> str:
    return units.plural(count, "process", "processes")
