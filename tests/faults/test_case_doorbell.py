"""The cases of this folder, until the runner's own test takes them."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from tests.faults.case import Case, Ground
from triage.guard import Guard

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("case_*.py"))
ALL = [case for name in MODULES for case in importlib.import_module(f"tests.faults.{name}").CASES]
SEED = int(os.environ.get("SEED", "1"))


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_case(case: Case, store: str, tmp_path: Path, guard: Guard, request: pytest.FixtureRequest) -> None:
    """Every promise is kept."""
    if store not in case.stores or (not case.short and "LONG" not in os.environ):
        pytest.skip("not in the short run, or not on this database")
    url = request.getfixturevalue("database") if store == "postgresql" else f"sqlite:///{tmp_path}/store/triage.db"
    ground = Ground(tmp_path, url, guard, SEED)
    try:
        case.run(ground)
    finally:
        print(case.name, store, dict(ground.notes))
