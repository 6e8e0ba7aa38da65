"""Fixtures of the acceptance tier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.rig import Rig
from triage.guard import Guard


@pytest.fixture
def new_rig(tmp_path: Path, guard: Guard) -> Iterator[Callable[..., Rig]]:
    """Call it for a rig of the test's own; it ends with the test."""
    made: list[Rig] = []

    def new(**options: Any) -> Rig:
        folder = tmp_path / f"rig{len(made)}"
        folder.mkdir()
        rig = Rig(folder, guard, **options)
        rig.__enter__()
        made.append(rig)
        return rig

    yield new
    for rig in made:
        rig.__exit__(None)


@pytest.fixture
def rig(new_rig: Callable[..., Rig]) -> Rig:
    """One on SQLite, without a broker."""
    return new_rig()
