"""Records by hand: only what a test speaks of."""

from __future__ import annotations

import pytest
from records import MakeRecord, make_record


@pytest.fixture(scope="session")
def record() -> MakeRecord:
    return make_record
