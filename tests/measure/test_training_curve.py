"""The curve a training left, as a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from bench.contracts import Denoiser
from bench.errors import BadCheckpoint, Unsupported
from bench.measure.training_curve import training_loss
from bench.passport import Passport, write_passport
from bench.registry import MODELS, load_builtins
from bench.subject import Subject


def network(x: Tensor, t: Tensor) -> Tensor:
    return x


def passport(curve: tuple[tuple[float, ...], ...]) -> Passport:
    return Passport(1, "toy", "0" * 64, "native", "1" * 64, "toy", {}, "v", True, 30, "float32", "trained", curve=curve)


def with_files(subject: Subject, *files: Path) -> Subject:
    return replace(subject, denoiser=replace(subject.denoiser, inputs=files))


def test_the_curve_in_the_passport_becomes_losses_over_steps(
    make_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    weights = tmp_path / "toy.safetensors"
    write_passport(passport(((10.0, 0.5), (20.0, 0.25), (30.0, 0.125))), weights)

    found = {each.at["of"]: each.values for each in training_loss(with_files(make_subject(network), weights))}

    assert found == {"loss": (0.5, 0.25, 0.125), "step": (10.0, 20.0, 30.0), "final": (0.125,)}


def test_weights_without_a_curve_are_unsupported(make_subject: Callable[..., Subject], tmp_path: Path) -> None:
    known = tmp_path / "known.safetensors"
    write_passport(passport(()), known)

    for files in ((), (tmp_path / "stranger.ckpt",), (known,)):
        with pytest.raises(Unsupported, match="no training curve is known of these weights"):
            list(training_loss(with_files(make_subject(network), *files)))


def test_a_broken_passport_is_not_taken_for_none(make_subject: Callable[..., Subject], tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text("{}")

    with pytest.raises(BadCheckpoint):
        list(training_loss(with_files(make_subject(network), tmp_path / "toy.safetensors")))


def test_shipped_weights_have_theirs(make_subject: Callable[..., Subject]) -> None:
    load_builtins()
    denoiser = MODELS.get("lucid-unet").factory()
    assert isinstance(denoiser, Denoiser)

    found = {each.at["of"]: each.values for each in training_loss(with_files(make_subject(network), *denoiser.inputs))}

    assert found["step"][-1] == denoiser.weights.steps
    assert found["loss"][0] > 2 * found["final"][0] > 0
