"""What needs no clock: exact numbers and the first image of both sides. They are compared first and always."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.store.record import RECORD, SCHEMA, Record, Status
from bench.suite.schema import Cell
from bench.verdict.compare import compare, side_of
from bench.verdict.outcome import Outcome, Verdict

IMAGES = "images"
"""The metric's name in verdicts."""
Answer = Mapping[str, Any] | str
"""What a side says of a cell, or why it says nothing."""


def exact_verdicts(cell: Cell, base: Answer, head: Answer, pixels: float) -> tuple[Verdict, ...]:
    """Everything exact about one cell. pixels: largest difference of a pixel that counts as none."""
    if isinstance(base, str) and isinstance(head, str):
        return (_verdict(cell, Outcome.UNDECIDED, f"neither side works: {head}; before: {base}"),)
    if isinstance(head, str):
        return (_verdict(cell, Outcome.REGRESSED, f"it worked and now does not: {head}"),)
    if isinstance(base, str):
        return (replace(_verdict(cell, Outcome.IMPROVED, f"it works now; before: {base}"), one_sided=True),)
    sides = [list(_records(cell, answer["numbers"])) for answer in (base, head)]
    found = compare(side_of(sides[0], "base"), side_of(sides[1], "head")).verdicts
    if not base["image"] and not head["image"]:
        return found
    return (*found, images_verdict(cell, base, head, pixels))


def images_verdict(cell: Cell, base: Mapping[str, Any], head: Mapping[str, Any], pixels: float) -> Verdict:
    """Whether the first image is the same."""
    if base["sha256"] == head["sha256"]:
        return _verdict(cell, Outcome.UNCHANGED, f"the first image is the same to the bit ({head['sha256'][:12]})")
    one, other = (np.frombuffer(base64.b64decode(side["image"]), dtype=np.float32) for side in (base, head))
    if one.size != other.size:
        return _verdict(cell, Outcome.REGRESSED, f"the first image had {one.size:,} pixels and has {other.size:,}")
    apart = float(np.abs(one - other).max()) if one.size else 0.0
    if apart <= pixels:
        sentence = f"the first image differs by at most {apart:.2g} in [-1, 1], within the {pixels:g} allowed"
        return _verdict(cell, Outcome.UNCHANGED, sentence)
    sentence = (
        f"the first image differs by up to {apart:.2g} in [-1, 1]; where that is rounding, allow it with "
        f"--pixels {_above(apart)}"
    )
    return _verdict(cell, Outcome.REGRESSED, sentence)


def unsteady_images(verdict: Verdict) -> Verdict:
    """The verdict on images when the base does not even repeat its own."""
    sentence = "the base draws another image in every process, so its images cannot be compared; is a seed missing?"
    return replace(verdict, outcome=Outcome.UNDECIDED, sentence=sentence)


def _above(value: float) -> str:
    """The next power of ten: 3e-7 gives 1e-06."""
    return f"{10.0 ** np.ceil(np.log10(value)):.0e}" if np.isfinite(value) and value > 0 else "1"


def _verdict(cell: Cell, outcome: Outcome, sentence: str) -> Verdict:
    return Verdict(outcome, cell.id, IMAGES, "exact", "sha256", sentence, factors=cell.factors)


def _records(cell: Cell, numbers: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
    """A side's exact numbers as records. A metric the side does not know is left out: it is new, or gone."""
    for number in numbers:
        written = number.get("params", {})
        params = {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
        empty = replace(_empty(cell, number["metric"]), metric_params=params)
        if "error" in number:
            if not number["error"].startswith("UnknownName"):
                yield replace(empty, reason=number["error"])
            continue
        try:
            fields = {name: RECORD[name](name, number[name]) for name in ("unit", "at", "values")}
            yield replace(empty, status=Status.OK, reason=None, **fields)
        except ValueError as error:
            yield replace(empty, reason=f"{number['metric']} gave what is no measurement: {error}")


def _empty(cell: Cell, metric: str) -> Record:
    return Record(
        schema=SCHEMA,
        run="gate",
        cell=cell.id,
        suite=cell.suite,
        factors=cell.factors,
        conditions=cell.conditions.model_dump(),
        metric=metric,
        metric_params={},
        unit="",
        at={},
        part="",
        values=(),
        nfe=None,
        status=Status.FAILED,
        reason="no reason was given",
        warnings=(),
        subject={},
        inputs=(),
        effort={},
        seed=cell.seed,
        started="",
        duration_s=0.0,
        artifact=None,
    )
