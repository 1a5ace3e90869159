"""Pictures of a walk on a toy whose every picture is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bench.contracts import Denoiser, Measurement, Prediction, Restorer, ScheduleSpec, Weights
from bench.diffusion.restoring import as_denoiser
from bench.diffusion.samplers import build_chain
from bench.errors import MeasurementError, ParamError
from bench.quality.denoised_pictures import Book, even
from bench.registry import METRICS, load_builtins
from bench.report.pictures import read_picture
from bench.subject import Subject
from bench.suite.schema import Effort

Build = Callable[..., Subject]
SPEC = ScheduleSpec("sigmoid")
SIDE = 16 + 2
"""Of a 16x16 image with its line around."""


class Bright(nn.Module):
    """Says that the clean image is all of one brightness, which falls with the timestep."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.full_like(x_t, 1.0 - 2.0 * float(t[0]) / 10.0)


def pictured(subject: Subject, **params: Any) -> dict[object, Measurement]:
    load_builtins()
    wanted = {"images": 2, "frames": 4, "scale": 1, **params}
    return {m.at["show"]: m for m in METRICS.get("denoising_pictures").factory(subject, Effort(), **wanted)}


def walking(subject: Subject, t_start: int = 10) -> Subject:
    made = Denoiser(Bright(), (1, 16, 16), Prediction.X0, SPEC, Weights("trained", "toy", sha256="ef" * 32))
    return replace(subject, denoiser=made, sampler=build_chain(SPEC, t_start, "posterior-mean", 1, True))


def pixels(subject: Subject, measurement: Measurement) -> NDArray[np.uint8]:
    assert measurement.artifact is not None
    read_picture(subject.workspace.run_dir, measurement.artifact)  # a report takes it
    with Image.open(subject.workspace.run_dir / measurement.artifact) as picture:
        return np.asarray(picture)


def middle(picture: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    """The image in a place of the grid."""
    top, left = row * SIDE + 1, column * SIDE + 1
    return picture[top : top + 16, left : left + 16]


def shown(subject: Subject, image: int) -> NDArray[np.uint8]:
    assert subject.data is not None
    return ((subject.data[image : image + 1][0, 0] + 1) * 127.5).round().to(torch.uint8).numpy()


def test_the_walk_has_two_rows_an_image_of_evenly_spaced_steps_the_last_ones_alike(toy_subject: Build) -> None:
    subject = walking(toy_subject())
    picture = pixels(subject, pictured(subject)["walk"])

    assert picture.shape == (4 * SIDE, 4 * SIDE)
    # Steps 1, 4, 7 and 10 call the network at timesteps 9, 6, 3 and 0.
    predicted = [int(middle(picture, 1, column)[0, 0]) for column in range(4)]
    assert predicted == pytest.approx([(1 - t / 10) * 255 for t in (9, 6, 3, 0)], abs=1)
    assert np.array_equal(middle(picture, 0, 3), middle(picture, 1, 3))
    assert np.array_equal(middle(picture, 3, 2), middle(picture, 1, 2))  # the toy says the same of every image


def test_the_result_begins_with_the_clean_image_and_ends_with_the_last_step(toy_subject: Build) -> None:
    subject = walking(toy_subject())
    found = pictured(subject, score="mse")
    picture = pixels(subject, found["result"])

    assert picture.shape == (2 * SIDE, 6 * SIDE)
    assert np.array_equal(middle(picture, 1, 0), shown(subject, 1))
    assert middle(picture, 0, 5).tolist() == [[255] * 16] * 16
    assert int(middle(picture, 0, 2)[0, 0]) == pytest.approx(0.1 * 255, abs=1)
    # Of even pictures the one nearest to the mean brightness has the least squared error.
    brightness = shown(subject, 0).mean() / 255
    nearest = min((1 - t / 10 for t in range(10)), key=lambda each: abs(each - brightness))
    assert int(middle(picture, 0, 3)[0, 0]) == pytest.approx(nearest * 255, abs=1)
    assert found["result"].at == {"show": "result", "columns": 6}


def test_noise_comes_in_from_the_clean_image_to_where_the_walk_starts(toy_subject: Build) -> None:
    subject = walking(toy_subject(), t_start=600)
    picture = pixels(subject, pictured(subject, images=1)["noise"])
    frames = [middle(picture, 0, column).astype(float) for column in range(4)]

    assert np.array_equal(frames[0], shown(subject, 0))
    apart = [np.abs(frame - frames[0]).mean() for frame in frames]
    assert apart == sorted(apart) and apart[1] > 5


def test_a_restorer_has_a_result_of_three_and_no_walk(toy_subject: Build) -> None:
    base = walking(toy_subject())
    restorer = as_denoiser(Restorer(lambda n, s: torch.full_like(n, 0.2), SPEC, Weights("none")), (1, 16, 16))
    subject = replace(base, denoiser=restorer)
    found = pictured(subject)

    assert list(found) == ["noise", "result"]
    picture = pixels(subject, found["result"])
    assert picture.shape == (2 * SIDE, 3 * SIDE)
    assert int(middle(picture, 0, 2)[0, 0]) == 51


def test_the_best_of_each_image_is_kept_as_it_comes() -> None:
    clean = torch.tensor([0.2, 0.8]).reshape(2, 1, 1, 1)
    book = Book(clean, (1, 3), "mse")
    for step, values in enumerate(([0.5, 0.5], [0.3, 0.3], [0.9, 0.9], [0.0, 0.6])):
        pictures = torch.tensor(values).reshape(2, 1, 1, 1)
        book.see(step, pictures, 1 - pictures)

    assert book.best_of_x.flatten().tolist() == pytest.approx([0.3, 0.9])
    assert book.best_of_x0.flatten().tolist() == pytest.approx([0.1, 0.7])
    assert sorted(book.kept) == [1, 3]
    assert book.noisy.flatten().tolist() == [0.5, 0.5]
    assert book.first.flatten().tolist() == pytest.approx([0.7, 0.7])


def test_steps_are_spread_over_the_whole_walk() -> None:
    assert even(100, 4) == (1, 34, 67, 100)
    assert even(3, 10) == (1, 2, 3)
    assert even(800, 10)[-1] == 800


@pytest.mark.parametrize("params", [{"images": 0}, {"images": 65}, {"frames": 1}, {"frames": 25}, {"scale": 9}])
def test_sizes_that_no_page_shows_are_refused(toy_subject: Build, params: dict[str, int]) -> None:
    with pytest.raises(ParamError, match="images must be 1 to 64, frames 2 to 24 and scale 1 to 8"):
        pictured(walking(toy_subject()), **params)


def test_a_cell_without_images_is_refused(toy_subject: Build) -> None:
    with pytest.raises(MeasurementError, match="need a data set that has as many"):
        pictured(replace(walking(toy_subject()), data=None))
