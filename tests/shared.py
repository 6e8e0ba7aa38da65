"""The folder of recorded answers and vendors' documents, beside the checkout or where TRIAGE_SHARED points."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared(name: str) -> Path:
    """The path of a file in it; the test is skipped, and says so, on a machine that doesn't have it."""
    folder = Path(os.environ.get("TRIAGE_SHARED") or ROOT.parent / "shared")
    path = folder / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine: it is licensed for tests only and does not travel with the project")
    return path
