"""What can become of a number between two measurements, and of all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bench.contracts import MetricKind, Scalar
from bench.errors import ExitCode
from bench.verdict.claims import ClaimResult, Held


class Outcome(StrEnum):
    """What became of one number. The order is the order in which they are shown."""

    REGRESSED = "regressed"
    MISSING = "missing"
    """The base has it, the new results do not."""
    INCOMPARABLE = "incomparable"
    """The two were measured under conditions that differ in something that changes the answer."""
    UNDECIDED = "undecided"
    """The measurements cannot tell."""
    IMPROVED = "improved"
    NEW = "new"
    """The base does not have it."""
    UNCHANGED = "unchanged"


FAILING = frozenset({Outcome.REGRESSED, Outcome.MISSING})
ONE_SIDED = frozenset({Outcome.MISSING, Outcome.NEW})
OPEN = frozenset({Outcome.INCOMPARABLE, Outcome.UNDECIDED})


@dataclass(frozen=True)
class Verdict:
    """One number, then and now."""

    outcome: Outcome
    cell: str
    """Cell id, of the new results where they have it."""
    metric: str
    kind: MetricKind
    unit: str
    sentence: str
    """Everything a reader must know, without the name of the cell."""
    at: Mapping[str, Scalar] = field(default_factory=dict)
    """Which of the metric's numbers."""
    factors: Mapping[str, Scalar] = field(default_factory=dict)
    base: float | None = None
    """Exact value, median over visits, or mean over images; in SI base units."""
    new: float | None = None
    ratio: float | None = None
    """New over base."""
    low: float | None = None
    """Of the 95 % interval of the ratio; of the difference new - base for pictures."""
    high: float | None = None
    differs: str | None = None
    """The field that makes the two incomparable, such as `machine.cpu`."""
    one_sided: bool = False
    """Whether only one side has a number although both have the cell."""

    @property
    def is_comparison(self) -> bool:
        """Whether something of one side was held against something of the other."""
        return self.outcome not in ONE_SIDED and not self.one_sided

    @property
    def name(self) -> str:
        """`macs (stage = 0, counter = dispatch)`."""
        of = ", ".join(f"{name} = {value}" for name, value in self.at.items())
        return f"{self.metric} ({of})" if of else self.metric


@dataclass(frozen=True)
class Comparison:
    """Two sets of results and everything that can be said about what changed."""

    base: str
    """As given by the user; empty where only claims are checked."""
    new: str
    verdicts: tuple[Verdict, ...]
    """Exact numbers first; in each kind the order of the new results, then what is missing."""
    notes: tuple[str, ...] = ()
    """What concerns all of them."""
    claims: tuple[ClaimResult, ...] = ()
    left_open: tuple[str, ...] = ()
    """What could not be judged besides: a sentence each."""

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """How many there are of each, in the order in which they are shown; none are left out."""
        found = Counter(verdict.outcome for verdict in self.verdicts)
        return {outcome: found[outcome] for outcome in Outcome if found[outcome]}

    @property
    def compared_nothing(self) -> str | None:
        """The sentence for two sides of which nothing could be held against each other; None where something was.

        Such a comparison says nothing about a change, however little it complains of.
        """
        if not self.base or any(verdict.is_comparison for verdict in self.verdicts):
            return None
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in self.counts.items())
        why = {
            frozenset(): "neither side has a number that can be judged",
            frozenset({Outcome.NEW}): f"BASE ({self.base}) has nothing of what is in NEW ({self.new})",
            frozenset({Outcome.MISSING}): f"NEW ({self.new}) has nothing of what is in BASE ({self.base})",
            frozenset({Outcome.NEW, Outcome.MISSING}): f"{self.base} and {self.new} have no number in common",
        }.get(frozenset(self.counts), f"BASE ({self.base}) gave no number that NEW ({self.new}) could be held against")
        return f"nothing was compared: {why}{f' ({counts})' if counts else ''}; are these the results you mean?"

    @property
    def exit_code(self) -> ExitCode:
        """1 when something regressed or a claim fails; 2 when nothing was compared; 1 when something is missing beside
        what was; 3 when something is left open; else 0.
        """
        outcomes = {verdict.outcome for verdict in self.verdicts}
        held = {claim.held for claim in self.claims}
        if Outcome.REGRESSED in outcomes or Held.FAILS in held:
            return ExitCode.REGRESSION
        if self.compared_nothing is not None:
            return ExitCode.BAD_INPUT
        if outcomes & FAILING:
            return ExitCode.REGRESSION
        return ExitCode.SOME_FAILED if outcomes & OPEN or held - {Held.HOLDS} or self.left_open else ExitCode.OK

    @property
    def summary(self) -> str:
        """`2 regressed, 1 undecided, 57 unchanged; claims: 1 holds`."""
        nothing = "" if self.compared_nothing is None else "nothing was compared"
        numbers = ", ".join(f"{count:,} {outcome}" for outcome, count in self.counts.items())
        claims = Counter(claim.held for claim in self.claims)
        said = ", ".join(f"{claims[held]} {_plural(held, claims[held])}" for held in Held if claims[held])
        return "; ".join(filter(None, (nothing, numbers, f"claims: {said}" if said else ""))) or "nothing to compare"


def _plural(held: Held, count: int) -> str:
    return {Held.HOLDS: "hold", Held.FAILS: "fail"}.get(held, str(held)) if count > 1 else str(held)
