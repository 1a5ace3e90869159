"""How the classifier behind `frechet[digits-cnn]` is made: one YAML file, read into frozen types. Imports no torch."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from bench.registry import DATASETS
from bench.suite.documents import parse_document, top_keys
from bench.suite.schema import Frozen, Ref

KEY = "classifier"
"""What tells such a recipe from that of a denoiser."""


class TrainSpec(Frozen):
    """The length and size of a training."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    shift: Annotated[int, Field(ge=0, le=7)] = 0
    """Pixels by which every image is moved at most, at random, in both directions."""


class OptimizerSpec(Frozen):
    """Adam, its learning rate falling to 0 as a cosine."""

    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class ClassifierRecipe(Frozen):
    """One training, from labelled images to a feature network."""

    schema_version: Literal[1] = Field(alias="schema")
    recipe: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    """Name of the recipe and of the checkpoint it makes."""
    title: str
    classifier: Literal["digits-cnn"]
    """The network."""
    data: Ref
    """Images with labels to train on."""
    held_out: Ref
    """Images with labels that must be known at the end."""
    train: TrainSpec
    optimizer: OptimizerSpec
    seed: Annotated[int, Field(ge=0)] = 0
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes the weights."""
        said = self.model_dump(mode="json", by_alias=True, exclude={"title", "notes"})
        return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def is_classifier(text: str) -> bool:
    """Whether a recipe's text is that of a classifier."""
    return KEY in top_keys(text)


def parse_classifier(text: str, name: str) -> ClassifierRecipe:
    """The recipe a text holds; `name` stands in front of every mistake. Raises SuiteError."""
    return parse_document(text, name, ClassifierRecipe, {"data": DATASETS, "held_out": DATASETS})
