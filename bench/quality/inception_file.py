"""Where the weights of the FID's network lie. Free of torch: a plan says that they are missing before a run does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.downloads import DOWNLOADS, by_hand, data_root, fetched_path

NAME: Final = "inception"
"""Of the download."""
SHA256: Final = DOWNLOADS[NAME].files[0].hash.removeprefix("sha256:")


def weights_path() -> Path:
    """Where the weights are looked for: where `bench fetch inception` puts them."""
    return fetched_path(NAME, data_root())


def not_there(path: Path, sha256: str = SHA256) -> str:
    """The sentence for a file that is missing."""
    return (
        f"FID needs the Inception weights {path} (SHA-256 {sha256[:12]}...), which are not there; "
        f"{by_hand(NAME, data_root())}; they are never downloaded in a run"
    )


def missing_inception() -> Iterator[str]:
    """For a plan."""
    if not weights_path().is_file():
        yield not_there(weights_path())
