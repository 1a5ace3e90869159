"""What the configurations of paper B's networks and of those it compares them with are made of. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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


def shipped_name(name: str, shape: Shape, shapes: Mapping[Config, Shape]) -> str | None:
    """The checkpoint of a network at these sizes, or None: one ships for every config but the paper's."""
    config = next((config for config, its in shapes.items() if its == shape), "paper")
    return None if config == "paper" else f"{config}-{name}"
