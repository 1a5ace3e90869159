"""Records by hand: only what a test speaks of."""

from __future__ import annotations

from functools import partial

import pytest
from records import MakeRecord, make_record


@pytest.fixture
def record() -> MakeRecord:
    """record("zero", 2, metric="latency", values=(1.0,), ...): a visit of the cell skip=zero, c=2."""
    return partial(make_record, part="p0r0", run="run-1")
