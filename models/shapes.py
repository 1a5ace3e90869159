"""What the configurations of paper B's networks and of those it compares them with are made of. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from bench.contracts import Range
from bench.models.image_size import SizeError, check_image_size

Depth = Annotated[int, Range(1, 64)]
Width = Annotated[int, Range(1, 2048)]
Channels = Annotated[int, Range(1, 64)]
ImageSize = Annotated[int, Range(1, 1024)]
SolverSteps = Annotated[int, Range(1, 1000)]
Tolerance = Annotated[float, Range(1e-9, 1.0)]
WIDEST = 2048
"""Channels of the widest layer that is built: a network beyond it has gigabytes of weights."""

MOST_HALVINGS = 11
"""Levels of a U that any image allowed here can have."""

Config = Literal["digits", "photos", "paper"]
Schedule = Literal["linear", "cosine", "sigmoid"]


@dataclass(frozen=True)
class Shape:
    """The sizes that all these networks share."""

    image_size: int
    channels: int
    width: int
    depth: int


def sized(config: Shape, depth: int | None, width: int | None, channels: int | None, image_size: int | None) -> Shape:
    """The config's sizes, with those given in their place."""
    return Shape(
        image_size=config.image_size if image_size is None else image_size,
        channels=config.channels if channels is None else channels,
        width=config.width if width is None else width,
        depth=config.depth if depth is None else depth,
    )


def size_problems(
    shape: Shape, *, multiple: int = 1, least_depth: int = 1, least_bottom: int = 1, halves: bool = False
) -> Iterator[str]:
    """Sentences: why a U-shaped network of these sizes cannot be built.

    multiple: what its width must be a multiple of. halves: its width counts half the channels at full resolution, and
    `shape` all of them.
    """
    asked = shape.width // 2 if halves else shape.width
    if shape.depth < least_depth:
        yield f"depth must be at least {least_depth} here, got {shape.depth}"
        return
    if shape.width % multiple:
        factor = multiple // 2 if halves else multiple
        yield f"width must be a multiple of {factor}, the groups of its norms; got {asked}"
    if shape.depth > MOST_HALVINGS or shape.width << (shape.depth - 1) > WIDEST:
        yield f"width {asked} and depth {shape.depth} make layers of more than {WIDEST:,} channels; make one smaller"
        return
    try:
        check_image_size((shape.image_size, shape.image_size), shape.depth, least_bottom=least_bottom)
    except SizeError as error:
        yield str(error)


def shipped_name(name: str, shape: Shape, shapes: Mapping[Config, Shape]) -> str | None:
    """The checkpoint of a network at these sizes, or None: one ships for every config but the paper's."""
    config = next((config for config, its in shapes.items() if its == shape), "paper")
    return None if config == "paper" else f"{config}-{name}"
