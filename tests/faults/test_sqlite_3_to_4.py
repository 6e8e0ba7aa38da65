"""Cases 3 to 4 on SQLite: answers that are lost, and the search."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.case import Case
from tests.faults.short import short_runs


@short_runs("sqlite", range(3, 5))
def test_the_promise_is_kept(case: Case, seed: int, short_run: Callable[[Case, str, int], None]) -> None:
    """Under this attack nothing is lost, nothing is sent twice, and nothing is left in limbo."""
    short_run(case, "sqlite", seed)
