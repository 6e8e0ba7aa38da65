"""Cases 1 to 2 on SQLite: kills and stops."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.case import Case
from tests.faults.short import short_runs


@short_runs("sqlite", range(1, 3))
def test_the_promise_is_kept(case: Case, seed: int, short_run: Callable[[Case, str, int], None]) -> None:
    """Under this attack nothing is lost, nothing is sent twice, and nothing is left in limbo."""
    short_run(case, "sqlite", seed)
