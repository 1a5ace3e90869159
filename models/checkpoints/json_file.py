"""Small JSON files that lie beside weights: read in bounds, and a table or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.models.checkpoints.source import open_source

MAX_JSON_BYTES = 1 << 20


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The table in a JSON file. Raises MissingWeights when it is not there, BadCheckpoint when it is none."""
    with open_source(path) as source:
        if source.size > max_bytes:
            raise source.refuse(f"has {source.size:,} bytes; {max_bytes:,} are read at most")
        try:
            table = json.loads(source.read(0, source.size).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise source.refuse(f"is no JSON: {' '.join(str(error).split())[:120]}") from error
        if not isinstance(table, dict):
            raise source.refuse("is no JSON table")
        return table
