"""The time, asked at one place so that a test can move it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """An aware time in UTC."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Now."""
        return datetime.now(UTC)
