"""The `training_loss` metric: the curve that the training of a checkpoint left in its passport, for the report."""

from __future__ import annotations

from collections.abc import Iterator

from bench.contracts import Measurement
from bench.errors import Unsupported
from bench.passport import passport_path, read_passport
from bench.subject import Subject


def training_loss(subject: Subject) -> Iterator[Measurement]:
    """at={"of": "loss" | "step" | "final"}: values[i] of loss is the mean loss between step i - 1 and step i of step.

    final: the last of the losses. Raises Unsupported where no curve is known, as for weights from elsewhere, and
    BadCheckpoint for a passport that is none.
    """
    files = [path for path in subject.denoiser.inputs if passport_path(path).is_file()]
    curve = next((found for path in files if (found := read_passport(path).curve)), None)
    if curve is None:
        raise Unsupported("no training curve is known of these weights: only weights of `bench train` have one")
    steps, losses = tuple(point[0] for point in curve), tuple(point[1] for point in curve)
    for of, values in (("loss", losses), ("step", steps), ("final", losses[-1:])):
        yield Measurement("training_loss", "1", values, at={"of": of})
