"""How a training shows itself: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from bench.cli.streams import say_lines
from bench.cli.text import print_json, print_line
from bench.errors import ExitCode

if TYPE_CHECKING:
    from rich.progress import Progress

LINES = 20
"""Lines a whole training prints where there is no terminal."""


class Step(Protocol):
    """What a training reports after each step."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def seconds(self) -> float: ...


def train_classifier(text: str, name: str, options: argparse.Namespace) -> int:
    """The recipe of a classifier to its weights and their passport, and whether they are the pinned ones.

    text, name: of the recipe's file. Only the pinned weights are ever used, so others need a new pin in the code.
    """
    import torch

    from bench.files import file_hash
    from bench.quality import digits_cnn
    from bench.quality.classifier_recipe import parse_classifier

    how = parse_classifier(text, name)
    torch.set_num_threads(options.threads)
    folder = options.out or digits_cnn.shipped_weights().parent
    weights = folder / f"{how.recipe}.safetensors"
    with TrainingProgress(how.recipe, quiet=options.json) as progress:
        digits_cnn.make_digits_cnn(how, Path(name).name, weights, progress.step)
    pinned = file_hash(weights) == digits_cnn.SHA256
    if options.json:
        print_json({"weights": str(weights), "pinned": pinned})
        return ExitCode.OK
    print_line(f"weights: {weights}")
    print_line(
        "the same file as the shipped one, bit for bit"
        if pinned
        else f"another file than the shipped one, so no metric takes it; its SHA-256 is {file_hash(weights)}"
    )
    return ExitCode.OK


class TrainingProgress:
    """A context in which `step` may be called after every training step."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self.name = name
        self.quiet = quiet
        self.bar: Progress | None = None

    def __enter__(self) -> TrainingProgress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} steps, loss {task.fields[loss]:.4f}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.bar.add_task(self.name, total=1, loss=float("nan"))
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self, done: Step) -> None:
        """Show one finished step."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done.step, total=done.steps, loss=done.loss)
        elif not self.quiet and (done.step % max(1, done.steps // LINES) == 0 or done.step == done.steps):
            left = done.seconds / done.step * (done.steps - done.step)
            say_lines(
                [
                    f"{self.name}: step {done.step} of {done.steps}, loss {done.loss:.4f}, "
                    f"{done.seconds:.0f} s so far, about {left:.0f} s left"
                ]
            )
