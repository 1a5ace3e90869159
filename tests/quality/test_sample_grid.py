"""The first samples as one picture, on a toy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.contracts import Measurement, Need
from bench.errors import MeasurementError, ParamError
from bench.quality.generate import samples_of
from bench.registry import METRICS, load_builtins, metric_spec
from bench.report.pictures import read_picture
from bench.subject import Subject
from bench.suite.schema import Effort

Build = Callable[..., Subject]


def grid(subject: Subject, **params: Any) -> Measurement:
    load_builtins()
    (found,) = METRICS.get("samples").factory(subject, Effort(), **params)
    return found


def test_the_picture_shows_the_first_samples_and_a_report_takes_it(toy_subject: Build) -> None:
    subject = toy_subject(data=None)
    found = grid(subject, images=3, columns=2, scale=1)
    (shard,) = samples_of(subject).first(3)

    assert (found.metric, found.values, found.unit) == ("samples", (3.0,), "images")
    assert found.artifact is not None and found.warnings == ()
    png = read_picture(subject.workspace.run_dir, found.artifact)
    assert (png.width, png.height) == (36, 36)
    pixels = np.asarray(Image.open(subject.workspace.run_dir / found.artifact))
    third = ((shard.images[2, 0].clamp(-1, 1) + 1) * 127.5).round().numpy()
    assert np.array_equal(pixels[19:35, 1:17], third)


def test_defaults_are_sixty_in_rows_of_twelve(toy_subject: Build) -> None:
    subject = toy_subject(data=None)
    found = grid(subject)

    assert found.values == (60.0,)
    png = read_picture(subject.workspace.run_dir, str(found.artifact))
    assert (png.width, png.height) == (12 * 18 * 2, 5 * 18 * 2)


def test_two_runs_give_the_same_bytes_and_other_weights_another_hash(toy_subject: Build, tmp_path: Path) -> None:
    first, again = toy_subject(folder=tmp_path / "a", data=None), toy_subject(folder=tmp_path / "b", data=None)
    other = toy_subject(folder=tmp_path / "c", data=None, seed=1)
    one, two, three = (grid(each, images=5) for each in (first, again, other))

    assert one == two
    assert one.artifact is not None and three.artifact is not None
    bytes_of = [
        (subject.workspace.run_dir / str(found.artifact)).read_bytes()
        for subject, found in ((first, one), (again, two), (other, three))
    ]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]
    assert one.at["sample_hash"] != three.at["sample_hash"]


def test_samples_that_another_metric_drew_are_not_drawn_again(toy_subject: Build) -> None:
    subject = toy_subject(data=None)
    list(samples_of(subject).first(64))
    before = subject.calls.count
    grid(subject, images=60)

    assert subject.calls.count == before


def test_copies_are_shown_and_said(toy_subject: Build) -> None:
    toy = toy_subject(data=None)
    blind = replace(toy.denoiser, network=lambda x_t, t: torch.ones_like(x_t))

    found = grid(replace(toy, denoiser=blind), images=4)

    assert found.warnings == ("3 of 4 samples are copies of others",)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"images": 0}, "must be at least 1, got 0, 12 and 2"),
        ({"columns": 0}, "must be at least 1"),
        ({"scale": 0}, "must be at least 1"),
        ({"images": 1200, "scale": 9}, "ask for fewer images or a smaller scale"),
    ],
)
def test_sizes_that_no_page_shows_are_refused_before_drawing(
    toy_subject: Build, params: dict[str, int], sentence: str
) -> None:
    subject = toy_subject(data=None)

    with pytest.raises(ParamError, match=sentence):
        grid(subject, **params)
    assert subject.calls.count == 0


def test_channels_that_are_no_colour_are_refused(toy_subject: Build) -> None:
    subject = toy_subject(data=None)
    odd = replace(subject, denoiser=replace(subject.denoiser, image_shape=(2, 16, 16)))

    with pytest.raises(MeasurementError, match="2 channels are neither grey nor colour"):
        grid(odd)


def test_it_needs_weights_and_a_sampler_but_no_data_set() -> None:
    load_builtins()
    spec = metric_spec("samples")

    assert spec.needs == {Need.TRAINED_WEIGHTS, Need.SAMPLER}
    assert (spec.kind, spec.better) == ("quality", None)


def test_a_row_that_is_not_full_keeps_its_width(toy_subject: Build) -> None:
    subject = toy_subject(data=None)
    found = grid(subject, images=1)

    with Image.open(subject.workspace.run_dir / str(found.artifact)) as picture:
        assert (picture.mode, picture.size) == ("L", (12 * 36, 36))
