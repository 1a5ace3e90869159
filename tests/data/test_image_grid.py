"""Many images as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.grid import EMPTY, LINE, image_grid, save_png
from bench.errors import SaveError


def test_images_stand_row_by_row_in_lines_and_empty_places_are_white() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    pixels = np.asarray(image_grid(images, columns=2))

    assert pixels.tolist() == [
        [LINE] * 6,
        [LINE, 0, LINE, LINE, 128, LINE],
        [LINE] * 6,
        [LINE] * 3 + [EMPTY] * 3,
        [LINE, 255, LINE] + [EMPTY] * 3,
        [LINE] * 3 + [EMPTY] * 3,
    ]


def test_every_pixel_is_repeated_and_colours_stay() -> None:
    image = torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1)
    picture = image_grid(image, columns=1, scale=2)

    assert (picture.size, picture.mode) == ((6, 6), "RGB")
    assert np.asarray(picture)[2:4, 2:4].reshape(-1, 3).tolist() == [[255, 128, 0]] * 4


def test_what_lies_outside_of_the_range_is_cut() -> None:
    images = torch.tensor([-7.0, 7.0]).reshape(2, 1, 1, 1)

    assert np.asarray(image_grid(images, columns=2))[1, [1, 4]].tolist() == [0, 255]


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (1, 2, 2, 2)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no grid of 2 columns"):
        image_grid(torch.zeros(shape), columns=2)


def test_the_same_picture_gives_the_same_bytes_without_metadata(tmp_path: Path) -> None:
    picture = image_grid(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8), columns=2)
    picture.info["secret"] = "text"
    for name in ("a.png", "b.png"):
        save_png(picture, tmp_path / "new" / name)

    assert (tmp_path / "new/a.png").read_bytes() == (tmp_path / "new/b.png").read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]
    with Image.open(tmp_path / "new/a.png") as read:
        assert read.info == {}
        assert np.array_equal(np.asarray(read), np.asarray(picture))


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(SaveError, match="file: is a file, expected a folder of its own"):
        save_png(image_grid(torch.zeros(1, 1, 2, 2), columns=1), tmp_path / "file" / "a.png")


def test_below_its_root_a_picture_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "artifacts").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SaveError, match="artifacts: is a symbolic link, expected a folder of its own"):
        save_png(
            image_grid(torch.zeros(1, 1, 2, 2), columns=1),
            tmp_path / "run" / "artifacts" / "a.png",
            root=tmp_path / "run",
        )
    assert list((tmp_path / "elsewhere").iterdir()) == []
