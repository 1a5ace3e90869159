"""What a report is made of. Everything here is already decided and formatted: a renderer computes nothing.

Every text is clean (see `bench.report.plain`): no control or direction-changing characters, no line breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Mark = Literal["", "reference", "within", "below", "above", "missing"]
"""reference: 0 or 1 by definition. within, below, above: where our interval lies to the printed number (`within`
holds it, `below` has all of ours under it). missing: there is no number."""

Role = Literal["paper", "ours", "beside"]


@dataclass(frozen=True)
class Fact:
    """One line of a list of facts."""

    label: str
    value: str


@dataclass(frozen=True)
class Origin:
    """What stands behind one number, for who wants to check it."""

    name: str
    """Of the quantity: `latency, time saved`."""
    meaning: str
    """How it is made of raw values."""
    facts: tuple[Fact, ...] = ()
    """Every digit, interval, repeats, spread, recipe."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One number of a table, or the reason why there is none."""

    text: str
    """`47.5 %`, or the status of a missing number."""
    unit: str = ""
    """Of `value` and the numbers below, as stored: `s`, `MAC`, `1` for a fraction, `x` for a factor."""
    interval: str = ""
    """`[46.9, 48.1]`; empty when there is none."""
    value: float | None = None
    """In SI base units; so are the next three."""
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    """The number printed for the same cell."""
    ratio: float | None = None
    """Ours over the printed one."""
    mark: Mark = ""
    notes: tuple[str, ...] = ()
    """Marks of footnotes."""
    cells: tuple[str, ...] = ()
    """Cell ids behind the number."""
    comparable: bool = True
    """False where the printed number is of something else under a like name."""
    exact: bool = False
    """The same on every machine, or so by definition."""
    best: bool = False
    """Significantly the best of those it competes with; see `bench.report.best`."""
    origin: Origin | None = None


@dataclass(frozen=True)
class Line:
    """Numbers of one kind across the columns: what the paper prints, what was measured, what stands beside it."""

    label: str
    role: Role
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Row:
    """One combination of the row factors."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Footnote:
    """A sentence under a table; those with a mark belong to the entries that carry it."""

    text: str
    mark: str = ""
    about: Literal["conditions", "warning", "ours", "paper"] = "ours"
    """conditions, warning: what no reader may miss. ours: how our numbers were made. paper: of the printed ones."""


@dataclass(frozen=True)
class Table:
    """A table of the report."""

    id: str
    caption: str
    row_titles: tuple[str, ...]
    column_title: str
    """What the columns are of; empty when every column is a quantity of its own."""
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    findings: tuple[str, ...] = ()
    """What the table says, in sentences that were computed from it."""
    footnotes: tuple[Footnote, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether lines need their labels, because a row has more than one."""
        return any(len(row.lines) > 1 for row in self.rows)


@dataclass(frozen=True)
class Series:
    """Numbers over a common x."""

    label: str
    role: Role
    x: tuple[float, ...]
    """Positions: indices of `Panel.ticks` where there are some."""
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    texts: tuple[str, ...] = ()
    """What each number says of itself, such as `zero, c = 2, ours: 47.5 % [46.9, 48.1]`."""
    entries: tuple[Entry | None, ...] = ()
    """Each number as it would stand in a table, with what is behind it; empty where that is not known."""


Look = Literal["bars", "steps", "lines", "points", "plane"]
"""points: with the front of what is lower in both numbers. plane: with the convex hull, and each point's name."""


@dataclass(frozen=True)
class Vertical:
    """A dashed line at one place of the x axis."""

    x: float
    label: str
    """Of the series it belongs to."""
    text: str
    """What it says of itself."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    look: Look
    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()
    """Names on the x axis; empty for a numeric axis."""
    subtitle: str = ""
    verticals: tuple[Vertical, ...] = ()


@dataclass(frozen=True)
class Picture:
    """One panel that shows a file of the run, or says why it cannot."""

    title: str
    """What tells it from the others; empty for the only one."""
    alt: str
    """What it shows, for who cannot see it."""
    name: str = ""
    """The file in the run's folder; empty where no record names one."""
    content: bytes = b""
    """A whole PNG; empty where there is none to show."""
    width: int = 0
    """Of the picture, in pixels; so is the height."""
    height: int = 0
    sha256: str = ""
    status: str = ""
    """What is the matter, where there is nothing to show."""
    reason: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of the report: panels that share their axes' meaning, and one legend."""

    id: str
    caption: str
    x_label: str
    y_label: str
    panels: tuple[Panel, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    """Sentences under the figure."""
    svg: str = ""
    """All panels in one picture, for a file of its own."""
    panel_svgs: tuple[str, ...] = ()
    """One picture for each panel, for a page that arranges them itself."""
    panel_marks: tuple[tuple[Entry | None, ...], ...] = ()
    """For each panel, the numbers behind the groups `mark0`, `mark1`, ... of its picture."""
    pictures: tuple[Picture, ...] = ()
    """Files that are shown as they are, instead of panels."""
    wide: bool = False
    """Pictures that each take a whole row."""

    @property
    def legend(self) -> tuple[Series, ...]:
        """The different series, in order of first appearance; empty where there is only one."""
        found = {series.label: series for panel in self.panels for series in panel.series}
        return tuple(found.values()) if len(found) > 1 else ()


@dataclass(frozen=True)
class Facts:
    """A titled list of facts."""

    title: str
    items: tuple[Fact, ...]


@dataclass(frozen=True)
class Failure:
    """Cells that gave no number for one reason."""

    status: str
    metrics: tuple[str, ...]
    cells: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class ClaimLine:
    """What one cell says about a claim."""

    about: str
    """What tells this cell from the others of the claim; empty when there are no others."""
    value: Entry
    wanted: str
    """`> 40 %`, or `< 5.1 [4.9, 5.3]` of the counterpart."""
    difference: str
    """From the counterpart, with its interval; empty where there is none."""
    verdict: str
    """`holds`, `fails`, `undecided` or `no number`."""
    sentence: str


@dataclass(frozen=True)
class Claim:
    """A sentence of the suite, and whether the results bear it out."""

    id: str
    sentence: str
    """As the suite says it."""
    verdict: str
    """The worst of its lines."""
    finding: str
    """The verdict and the number that decided it."""
    lines: tuple[ClaimLine, ...]


@dataclass(frozen=True)
class CellFacts:
    """What is known of a cell besides its numbers."""

    id: str
    """As it stands in `Entry.cells`; the one text here that is not clean."""
    name: str
    """The same, to be shown."""
    factors: tuple[Fact, ...]
    """What tells it from the other cells comes first."""
    facts: tuple[Fact, ...]
    """Conditions, weights, data, seed, when it was measured."""


@dataclass(frozen=True)
class Section:
    """One run of one suite."""

    id: str
    title: str
    subtitle: str
    highlights: tuple[Fact, ...]
    """The few facts to see first: cells measured, time taken, processor, date."""
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    """About the whole run: damaged lines, cells that nobody planned."""
    notes: tuple[str, ...]
    """Written in the suite."""
    paper: tuple[Fact, ...]
    """What is known about the paper that the suite reproduces: a sentence of it, and what speaks against it."""
    definitions: tuple[Fact, ...]
    """How each kind of number was taken."""
    provenance: tuple[Facts, ...]
    """Machine, software, what was measured."""
    commands: tuple[Fact, ...]
    """What to type to get these numbers and this page again."""
    claims: tuple[Claim, ...] = ()
    """Sentences of the suite, held against the results."""
    cells: tuple[CellFacts, ...] = ()
    """The cells behind the numbers of this section."""
    reproduce: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Cells of a number -> the command that measures exactly them."""
    run: tuple[Fact, ...] = ()
    """What is the same for every number: run, machine, code."""


@dataclass(frozen=True)
class Report:
    """One page, of one or more runs."""

    title: str
    sections: tuple[Section, ...]
    made_by: str

    @property
    def first_numbers(self) -> tuple[tuple[int, int], ...]:
        """For each section, the numbers of its first table and of its first figure: both are counted through."""
        found, table, figure = [], 1, 1
        for section in self.sections:
            found.append((table, figure))
            table, figure = table + len(section.tables), figure + len(section.figures)
        return tuple(found)
