"""The sign of life that a supervised process gives: it touches a file, and `triage up` sees it change."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

HEARTBEAT = "TRIAGE_HEARTBEAT"


def beat() -> None:
    """Touch the file that TRIAGE_HEARTBEAT names; nothing where it is not set. A full disk is no reason to stop working."""
    path = os.environ.get(HEARTBEAT)
    if path:
        with suppress(OSError):
            Path(path).touch()
