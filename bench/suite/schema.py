"""What a suite says, as frozen, validated types. The YAML is exactly this, plus `each:` for axes.

A mapping is a mapping, a list is a list, and only `each:` makes an axis. Unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PrivateAttr, Tag

from bench.contracts import Scalar, Value
from bench.suite.source import NOWHERE, Source

T = TypeVar("T")


class Frozen(BaseModel):
    """The common rule: immutable, closed, strict about types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Conditions(Frozen):
    """Where and how a cell is measured. Identity: changing one changes the answer."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network and the sampler run."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the network's weights and activations; the sampler's arithmetic stays float32."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Intra-op threads of torch, set before it is imported and recorded as found."""
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 1
    """Images walked at once."""
    compile: bool = False
    """Run the network through torch.compile; compilation happens in the warm-up."""
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    """How images and weights lie in memory."""


class Effort(Frozen):
    """How hard to try. Not identity: changes only the precision of a number."""

    warmup: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Untimed calls before the first timed one, in every visit."""
    repeats: Annotated[int, Field(ge=1, le=100_000)] = 2
    """Timed calls in one visit of one cell."""
    rounds: Annotated[int, Field(ge=1, le=10_000)] = 5
    """How often a worker visits every cell; visits of different cells alternate."""
    processes: Annotated[int, Field(ge=1, le=1000)] = 2
    """Fresh worker processes that each do all the rounds, so that placement effects show in the spread."""


class Ref(Frozen):
    """A registered name and its arguments: `{name: skip-unet, skip: zero}` in the YAML."""

    name: str
    params: Mapping[str, Value] = Field(default_factory=dict)


class Each(Frozen, Generic[T]):
    """An axis: `{each: [zero, duplicate]}`. The values of one factor, in written order."""

    each: Annotated[tuple[T, ...], Field(min_length=1)]


def _kind(value: object) -> str:
    """Which side of `X | Each[X]` a value is, so that a mistake is reported for that side only."""
    return "(axis)" if isinstance(value, Each) or (isinstance(value, Mapping) and "each" in value) else "(one)"


Factor = Annotated[Annotated[Value, Tag("(one)")] | Annotated[Each[Value], Tag("(axis)")], Discriminator(_kind)]
"""A value, or an axis of values."""


class BlockRef(Frozen):
    """A reference as a block writes it: a `Ref` whose arguments may be axes. Expansion makes it one or more `Ref`s."""

    name: str
    params: Mapping[str, Factor] = Field(default_factory=dict)


BlockRefs = Annotated[
    Annotated[BlockRef, Tag("(one)")] | Annotated[Each[BlockRef], Tag("(axis)")], Discriminator(_kind)
]
"""One reference, or an axis of references that need not take the same arguments."""


class Block(Frozen):
    """One block of the grid: its axes (`each:`) are multiplied; blocks are united."""

    model: BlockRefs
    """What is measured; an axis of models need not have the same arguments."""
    data: BlockRefs | None = None
    """Images, for metrics that need some."""
    sampler: BlockRefs | None = None
    """The reverse walk, for metrics that need one."""
    conditions: Mapping[str, Factor] = Field(default_factory=dict)
    """Overrides of the suite's conditions for this block; axes are allowed here too."""
    metrics: tuple[Ref, ...] | None = None
    """What is measured of this block's cells, instead of the suite's `metrics`: fewer images of a slow network, say."""


Reduce = Literal["median", "mean", "min", "max", "total", "composed", "value"]
"""median/mean/min/max over the raw values. total: sum over stages weighted with their calls (MACs of a whole walk).
composed: like total, from the median of each stage (step times). value: the one exact value."""

Relative = Literal["time_saved", "speedup", "ratio", "difference"]
"""time_saved: 1 - x/ref. speedup: ref/x. ratio: x/ref. difference: x - ref."""

Format = Literal["auto", "percent", "seconds", "count", "bytes", "mib", "number"]


class Companion(Frozen):
    """Another quantity of the same cell, that a number is multiplied by or chosen by."""

    metric: str
    """A name in `metrics`."""
    at: Mapping[str, Scalar] = Field(default_factory=dict)
    """Which of a metric's numbers, when it gives several."""
    reduce: Reduce = "median"
    """How its raw values become one, as for a quantity."""


class Chosen(Frozen):
    """Which of several cells is meant: those that differ in one factor, such as the number of timesteps."""

    over: str
    """The factor in which the cells differ."""
    by: Companion
    """What decides. It should be measured on other images than the quantity itself: the smallest of several noisy
    numbers is too small."""
    prefer: Literal["lower", "higher"] | None = None
    """The cell where `by` is lowest, or highest. Of equal ones the first."""
    at_most: float | None = None
    """Or the cell with the largest `by` that is no larger than this, in the unit of the metric: a budget of time or
    MACs."""


class Quantity(Frozen):
    """One number per cell: which metric, how its raw values become one, and against what it is shown."""

    metric: str
    """A name in `metrics`."""
    at: Mapping[str, Scalar] = Field(default_factory=dict)
    """Which of a metric's numbers, when it gives several; a subset of the record's `at`."""
    reduce: Reduce = "median"
    """median, mean, min, max: over the raw values. total: sum over stages weighted with their calls, such as the MACs
    of a whole walk. composed: the same of the median of each stage, such as step times. value: the one exact value."""
    relative: Relative | None = None
    """Against the cell of `to`: time_saved is 1 - x/ref, speedup ref/x, ratio x/ref, difference x - ref."""
    to: Mapping[str, Scalar] | None = None
    """Factors of the reference cell; the others are those of the cell itself."""
    where: Mapping[str, Value] = Field(default_factory=dict)
    """Which cells of its row a column is about, each factor with one value or a list; empty for all."""
    times: Companion | None = None
    """Multiplied by another quantity of the same cell: steps x seconds per step."""
    chosen: Chosen | None = None
    """Where a place of the table has several cells, which of them; its reference is chosen in the same way."""
    label: str | None = None
    """Column heading; the metric's name otherwise."""
    format: Format = "auto"
    """How the number is written; mib is 2^20 bytes."""


class PublishedRef(Frozen):
    """Which printed table stands beside ours."""

    paper: str
    """Stem of a file in suites/published/."""
    table: str
    """The id of a table in that file; in quotes when it is a number."""


class TableSpec(Frozen):
    """A table of the report.

    Either `columns` and `value` (a pivot: one quantity over two factors), or `values` (a list: one row per
    combination of the row factors, one column per quantity).
    """

    id: str
    """Names the table in the report; letters, digits, `.`, `_` and `-`."""
    caption: str
    """The sentence above the table."""
    rows: str | tuple[str, ...]
    """One factor, or several whose combinations are the rows, such as `model.skip`; conditions are factors too. A cell
    that lacks one is in no row, unless the factor ends in `?`: `sampler.eta?`."""
    where: Mapping[str, Value] = Field(default_factory=dict)
    """Factors that choose the cells of the table, each with one value or a list; empty for all. Behind the name of a
    factor, `?` lets cells pass that lack it. Reference cells may be others."""
    columns: str | None = None
    """The factor over the columns of a pivot."""
    value: Quantity | None = None
    """The quantity in each entry of a pivot."""
    beside: tuple[Quantity, ...] = ()
    """Further quantities in each entry of a pivot, such as the arithmetic limit."""
    values: tuple[Quantity, ...] = ()
    """The columns of a list."""
    ranking: Literal["rows", "differences"] | None = None
    """What a list says in sentences of itself. rows: for each column in which one way is better, the best row, and the
    rows that paired comparisons cannot tell from it. differences: where each column of differences is surely above or
    below zero."""
    published: PublishedRef | None = None
    """The printed table that stands beside our numbers."""
    notes: tuple[str, ...] = ()
    """Sentences under the table."""


class FigureSpec(Frozen):
    """A figure of the report."""

    id: str
    """Names the figure in the report; letters, digits, `.`, `_` and `-`."""
    caption: str
    """The sentence under the figure."""
    kind: Literal["bars", "lines", "curves", "stages", "stage_times", "pareto", "plane", "strip", "images"]
    """bars, lines: the quantity over `x`, one series per value of `series`. curves: the raw values of `value` against
    those of `x_value`, in their order, a line for each cell. stages: which stage runs at which timestep.
    stage_times: step time and MACs of each stage. pareto: `value` against `x_value` with the front of what is lower in
    both. plane: the same with its convex hull and every point named. images: the PNG file that `value`
    left in each cell, in a grid. strip: the same, each in a row of its own."""
    where: Mapping[str, Value] = Field(default_factory=dict)
    """Factors that choose the cells of the figure, each with one value or a list; empty for all. Behind the name of a
    factor, `?` lets cells pass that lack it. Reference cells may be others."""
    value: Quantity | None = None
    """What is drawn upwards; of images and strips, the metric whose picture is shown."""
    x: str | None = None
    """The factor drawn to the right."""
    x_value: Quantity | None = None
    """The quantity drawn to the right of a pareto figure, a plane or curves."""
    series: str | None = None
    """The factor that has a colour or a panel for each value; of images and strips, the title of each panel."""
    panels: str | None = None
    """The factor that has a panel of its own for each value; for curves and planes."""
    beside: tuple[Quantity, ...] = ()
    """Further quantities marked on every bar, such as the arithmetic limit; of curves, places on the x axis that are
    marked by a dashed line, such as the best step."""
    published: PublishedRef | None = None
    """The printed table that is drawn beside our numbers."""


class ClaimSpec(Frozen):
    """A sentence that can be true or false of the results."""

    id: str
    """Names the claim in the report; letters, digits, `.`, `_` and `-`."""
    sentence: str
    """As the paper or the user says it."""
    value: Quantity
    """The quantity the claim is about."""
    where: Mapping[str, Value] = Field(default_factory=dict)
    """Factors that choose the cells the claim is about, each with one value or a list of them; every one of these
    cells must satisfy it."""
    holds: Literal["<", "<=", ">", ">="]
    """The claim is true when value `holds` than: `value > 0.25`."""
    than: float | None = None
    """A number, in the unit of the value."""
    than_where: Mapping[str, Scalar] | None = None
    """Or other cells: their factors that differ from the claim's own. Cell by cell, each against its counterpart."""


class Reproduces(Frozen):
    """Which part of which paper the suite measures again; shown in the report."""

    paper: str
    """Stem of a file in suites/published/."""
    table: int | str | None = None
    """Number of the table in the paper."""
    figure: int | str | None = None
    """Number of the figure in the paper."""


class Suite(Frozen):
    """A whole suite file."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of the format."""
    suite: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    """The suite's name: its folder under results, and the beginning of every cell id."""
    title: str
    """Heading of the report."""
    reproduces: Reproduces | None = None
    """The paper's table or figure that is measured again."""
    conditions: Conditions = Conditions()
    """Conditions of every cell; a block may have its own."""
    effort: Effort = Effort()
    """How often things are measured."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of the noise: image i of a walk depends on (seed, i) alone."""
    grid: tuple[Block, ...]
    """The cells: blocks are united, the axes inside a block multiplied, in written order. At most 10,000."""
    metrics: tuple[Ref, ...]
    """What is measured of every cell; a block may have its own."""
    tables: tuple[TableSpec, ...] = ()
    """Tables of the report."""
    figures: tuple[FigureSpec, ...] = ()
    """Figures of the report."""
    claims: tuple[ClaimSpec, ...] = ()
    """Sentences that are checked against the results; `bench check` fails when one is false."""
    notes: tuple[str, ...] = ()
    """Sentences printed in the report, such as known contradictions."""

    _source: Source = PrivateAttr(default=NOWHERE)

    @property
    def source(self) -> Source:
        """The file the suite was read from, and where everything stands in it; nameless for a suite made in code."""
        return self._source

    def with_source(self, source: Source) -> Suite:
        """The same suite, knowing where it was read from."""
        suite = self.model_copy()
        suite._source = source
        return suite


class Cell(Frozen):
    """One point of the expanded grid: everything a worker needs to measure it."""

    id: str
    """`speedup/skip=zero,skip_exponent=2-04159c42`: factors to read, 8 hex digits of the canonical identity."""
    suite: str
    model: Ref
    sampler: Ref | None
    data: Ref | None
    conditions: Conditions
    seed: int
    factors: Mapping[str, Scalar]
    """{"model": "skip-unet", "model.skip": "zero", ..., "sampler": "ddpm", "data": "digits"}: every name and every
    checked parameter, defaults included (lists as text)."""
    metrics: tuple[Ref, ...]
    effort: Effort
