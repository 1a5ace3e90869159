"""Patches of 32x32 colour pixels from photographs that come inside scikit-image: natural images without a download.

Train and test are cut from different photographs, so no scene is in both. Test patches are the tiles of a grid and
never overlap, which keeps them as independent as two photographs allow; training patches are crops at fixed places,
half of them of the original pixels and half made smaller by two, because few photographs have few scales.
Halving is the mean of 2x2 pixels, rounded half up: whole numbers, the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.images import ArrayImages, fingerprint
from bench.data.places import Split, photos_folder
from bench.errors import BadData, MissingData

SIZE: Final = 32
TRAIN: Final = ("astronaut.png", "coffee.png", "ihc.png", "rocket.jpg")
"""A portrait, a table, a stained tissue, a launch pad at dusk."""
TEST: Final = ("chelsea.png", "motorcycle_left.png")
"""A cat, and a motorcycle in a garage. Labels number the photographs in this order, after those of TRAIN."""
CROPS: Final = 800
"""Training patches of each photograph."""
MIN_SPREAD: Final = 0.04
"""Smallest standard deviation inside a training patch, of pixels in [0, 1], mean of its colours: sky teaches little."""
SEED: Final = "photos-0"
TRAIN_PREPARATION: Final = (
    f"{SIZE}x{SIZE}; {CROPS} crops of each by {SEED}, every second halved, spread >= {MIN_SPREAD}"
)
TEST_PREPARATION: Final = f"{SIZE}x{SIZE}; every whole tile of the halved photographs; order by {SEED}"
PREPARATIONS: Final = {
    "train": TRAIN_PREPARATION,
    "test": TEST_PREPARATION,
    "all": f"{TRAIN_PREPARATION}; {TEST_PREPARATION}",
}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Place:
    """One patch of a photograph."""

    photo: str
    top: int
    left: int
    halved: bool


def load_photos(split: Split = "test") -> ArrayImages:
    """The patches as [N, 3, 32, 32] in [-1, 1]: 3,200 to train, 105 to test, or both; labels number the photographs.

    The order mixes the photographs by a fixed hash, so the first n are a fair part of all. Raises MissingData when
    scikit-image, or a photograph in it, is not there, and BadData when a file is damaged or of another size.
    """
    names = {"train": TRAIN, "test": TEST, "all": TRAIN + TEST}[split]
    folder = photos_folder()
    photos = {name: read_photo(folder / name) for name in names}
    places = [place for name in names for place in (crops if name in TRAIN else tiles)(name, photos[name])]
    places.sort(key=lambda place: _hash(f"order/{place.photo}/{place.top}/{place.left}/{place.halved}"))
    pixels = np.stack([cut(photos[place.photo], place) for place in places]).transpose(0, 3, 1, 2)
    pixels = np.ascontiguousarray(pixels)
    return ArrayImages(
        pixels=pixels,
        labels=np.array([(TRAIN + TEST).index(place.photo) for place in places], dtype=np.int64),
        split=split,
        fingerprint=fingerprint("photos", split, PREPARATIONS[split], [pixels.tobytes()]),
        inputs=tuple(folder / name for name in names),
    )


def read_photo(path: Path) -> Pixels:
    """[H, W, 3] of one photograph."""
    if not path.is_file():
        raise MissingData(f"photos: expected the photograph {path}, which is not there; reinstall scikit-image")
    try:
        with Image.open(path) as image:
            pixels: Pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for a broken PNG is a SyntaxError
        raise BadData(f"photos: {path} is damaged ({error}); reinstall scikit-image") from error
    if min(pixels.shape[:2]) < 4 * SIZE:
        raise BadData(f"photos: {path} is {pixels.shape[1]}x{pixels.shape[0]} pixels, too small; reinstall it")
    return pixels


def tiles(name: str, photo: Pixels) -> Iterator[Place]:
    """Every whole tile of the grid over the halved photograph; none is left out, however plain."""
    side = 2 * SIZE
    for top in range(0, photo.shape[0] - side + 1, side):
        for left in range(0, photo.shape[1] - side + 1, side):
            yield Place(name, top, left, halved=True)


def crops(name: str, photo: Pixels) -> Iterator[Place]:
    """Crops at places that a hash chooses, until there are enough that show something."""
    found = tried = 0
    while found < CROPS:
        if tried == 100 * CROPS:
            raise BadData(f"photos: {name} shows too little for {CROPS} crops; reinstall scikit-image")
        digest = _hash(f"crop/{name}/{tried}")
        tried += 1
        halved = found % 2 == 1
        side = SIZE * (2 if halved else 1)
        place = Place(
            name,
            int.from_bytes(digest[:8], "big") % (photo.shape[0] - side + 1),
            int.from_bytes(digest[8:16], "big") % (photo.shape[1] - side + 1),
            halved,
        )
        if float(cut(photo, place).std(axis=(0, 1)).mean()) >= MIN_SPREAD * 255:
            found += 1
            yield place


def cut(photo: Pixels, place: Place) -> Pixels:
    """[32, 32, 3] of a photograph [H, W, 3]."""
    side = SIZE * (2 if place.halved else 1)
    patch = photo[place.top : place.top + side, place.left : place.left + side]
    return halve(patch) if place.halved else patch


def halve(pixels: Pixels) -> Pixels:
    """[2h, 2w, C] -> [h, w, C]: means of 2x2 pixels, rounded half up."""
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // 2, 2, width // 2, 2, channels).astype(np.uint16)
    halved: Pixels = ((blocks.sum(axis=(1, 3)) + 2) // 4).astype(np.uint8)
    return halved


def _hash(text: str) -> bytes:
    return hashlib.sha256(f"{SEED}/{text}".encode()).digest()
