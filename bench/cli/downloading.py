"""How a download shows itself: a live bar on a terminal, one line a file elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from bench.cli.streams import say_lines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class DownloadProgress:
    """A context in which `update` may be called after every piece that arrived."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.named: set[str] = set()

    def __enter__(self) -> DownloadProgress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
            )
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, file: str, there: int, size: int | None) -> None:
        """`there` of `size` bytes of a file have arrived; size is None while it is not known."""
        if self.bar is not None:
            if file not in self.tasks:
                self.tasks[file] = self.bar.add_task(file, total=size)
            self.bar.update(self.tasks[file], completed=there, total=size)
        elif not self.quiet and file not in self.named:
            self.named.add(file)
            say_lines([f"fetching {file}{f', {size / 1e6:.1f} MB' if size else ''}"])
