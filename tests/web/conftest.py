"""The pages over a service in memory: `site` on SQLite, `both` on each database in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import service
from tests.web.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The pages of a service on SQLite."""
    yield from _serve(tmp_path, f"sqlite:///{tmp_path}/triage.db")


@pytest.fixture
def both(tmp_path: Path, store_url: str) -> Iterator[Site]:
    """The same on each database in turn."""
    yield from _serve(tmp_path, store_url)


def _serve(folder: Path, store: str) -> Iterator[Site]:
    app = service(folder, store)
    yield Site(app)
    app.close()
