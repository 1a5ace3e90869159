"""Links in a download cache of the Hugging Face hub.

`models--OWNER--NAME/snapshots/REVISION/...` holds links into `blobs/` of the same repository, so a link there is how
the file was saved and not a trick. It is followed as long as it stays inside its `models--*` folder; every other link
is refused, because what is hashed must be what was named.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import BadCheckpoint, MissingWeights, printable

PREFIX = "models--"


def link_target(link: Path) -> Path:
    """The file that a link of a hub's cache names.

    Raises BadCheckpoint when the link lies in no such cache or leads out of it, MissingWeights when it leads nowhere.
    """
    repository = repository_of(link)
    if repository is None:
        raise BadCheckpoint(f"{printable(link)}: is a symbolic link; give the path of the file itself")
    try:
        target = Path(os.path.realpath(link, strict=True))
    except FileNotFoundError:
        raise MissingWeights(f"{printable(link)}: is a link to a file that is not there; download it again") from None
    except OSError as error:
        raise BadCheckpoint(f"{printable(link)}: is a link that leads nowhere: {error.strerror}") from error
    if not target.is_relative_to(os.path.realpath(repository)):
        raise BadCheckpoint(
            f"{printable(link)}: is a symbolic link that leads out of {printable(repository.name)}; give the path of "
            "the file itself"
        )
    return target


def repository_of(path: Path) -> Path | None:
    """The innermost `models--*` folder that a path lies in, unless that is a link itself."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolving links would leave the folder that is looked for
    repository = next((parent for parent in absolute.parents if parent.name.startswith(PREFIX)), None)
    return None if repository is None or repository.is_symlink() else repository
