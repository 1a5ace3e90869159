"""The only reading of the calendar. Durations and deadlines never come from here: this clock may jump."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, in UTC; for people to read and for names of runs."""
    return datetime.now(UTC)
