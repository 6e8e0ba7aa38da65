"""The short run of the fault suite: every case with its first seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.case import Case
from tests.faults.runs import Job, run_case
from triage.guard import Guard


@pytest.fixture
def short_run(request: pytest.FixtureRequest, tmp_path: Path, guard: Guard) -> Callable[[Case, str, int], None]:
    """Call it for one run; it says how to repeat it."""

    def run(case: Case, store: str, seed: int) -> None:
        print(f"again: {Job(case.name, store, seed).again}")
        postgres = request.getfixturevalue("postgres_url") if store == "postgresql" else ""
        notes: Counter[str] = Counter()
        run_case(case, store, seed, guard, postgres, tmp_path, notes)
        print(dict(notes))

    return run
