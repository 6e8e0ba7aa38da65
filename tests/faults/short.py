"""The seeds of the short run. Its tests stand in several files, because pytest-xdist gives each file to one process."""

from __future__ import annotations

from collections.abc import Container

import pytest

from tests.faults.cases import ALL


def short_runs(store: str, numbers: Container[int]) -> pytest.MarkDecorator:
    """A parametrization: the cases of these numbers on a database, each with its first seeds."""
    found = [
        (case, seed) for case in ALL if store in (case.short_stores or case.stores) and case.number in numbers for seed in range(case.short)
    ]
    return pytest.mark.parametrize(("case", "seed"), found, ids=[f"{case.name}-{seed}" for case, seed in found])
