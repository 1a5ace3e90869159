"""The weights' page: what lies in models/weights, from the passports. Run as a module, it rewrites models/README.md.

`python -m bench.train.page` after a training; a test holds that the page says what the passports say.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.files import write_whole
from bench.passport import Passport, read_passport

BEGIN = "<!-- weights: written by `python -m bench.train.page` -->"
END = "<!-- end of weights -->"


def weights_page(folder: Path) -> str:
    """Markdown of every checkpoint in a folder, by name: a table, then the samples of each that has a picture.

    Raises MissingWeights when a checkpoint has no passport.
    """
    files = sorted(folder.glob("*.safetensors"))
    rows = [_row(file, read_passport(file)) for file in files]
    pictures = [
        f"**`{_plain(file.stem)}`**\n\n![samples of {_plain(file.stem)}]({folder.name}/{_plain(file.stem)}.png)\n"
        for file in files
        if file.with_suffix(".png").is_file()
    ]
    head = "| name | made by | steps | last loss | training | file | SHA-256 |\n|---|---|---:|---:|---:|---:|---|"
    return "\n".join([BEGIN, "", head, *rows, "", *pictures, END])


def replace_page(text: str, page: str) -> str:
    """A document with its weights page replaced. Raises ValueError when it has no place for one."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and {END} in the document")
    return before + page + after


def _plain(text: str) -> str:
    """A name of a stranger in letters that mean nothing to Markdown."""
    return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII)[:100].strip("_") or "-"


def _row(file: Path, passport: Passport) -> str:
    loss = f"{passport.curve[-1][1]:.4f}" if passport.curve else "-"
    minutes = f"{passport.seconds / 60:.0f} min" if passport.seconds is not None else "-"
    made_by = f"[{_plain(passport.recipe)}](recipes/{_plain(passport.recipe)})" if passport.recipe else "-"
    size = f"{file.stat().st_size / 1e6:.2f} MB"
    steps = f"{passport.steps:,}" if passport.steps is not None else "-"
    name, digest = _plain(passport.name), _plain(passport.sha256[:12])
    return f"| `{name}` | {made_by} | {steps} | {loss} | {minutes} | {size} | `{digest}` |"


def main() -> None:
    models = Path(__file__).parents[2] / "models"
    readme = models / "README.md"
    write_whole(readme, replace_page(readme.read_text(encoding="utf-8"), weights_page(models / "weights")))


if __name__ == "__main__":
    main()
