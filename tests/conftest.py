"""Fixtures for every tier. The servers are real processes or real sockets; each is started once a session where it can be shared."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests import stores
from triage import logs

logs.setup("warning")  # what a test prints when it fails is read by people
stores.never_wait_for_the_disk()
stores.compile_once()

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

pytest_plugins = ["tests.fixtures_sandbox", "tests.fixtures_services"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store with this version's tables, on each database in turn."""
    if request.param == "sqlite":
        stores.furnish(f"sqlite:///{tmp_path}/triage.db")
        return f"sqlite:///{tmp_path}/triage.db"
    url: str = request.getfixturevalue("migrated_database")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of each kind in turn; SQLite's file is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/triage.db"
    url: str = request.getfixturevalue("database")
    return url


TIERS = ("faults", "acceptance", "browser", "integration", "measure", "web", "contract", "unit")
"""The folders of tests, the slowest first: a process that gets a slow file last keeps the whole run waiting."""


NO_CHROMIUM = "no Chromium is on this machine; on Debian: apt install chromium"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly that the browser's tests were left out; here, since xdist's controller knows no subfolder's conftest."""
    left_out = [report for report in terminalreporter.getreports("skipped") if NO_CHROMIUM in str(report.longrepr)]
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} tests in a real browser were left out: {NO_CHROMIUM}", yellow=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by their tier, and within one as they were."""
    names = {name: number for number, name in enumerate(TIERS)}
    items.sort(key=lambda item: next((names[part] for part in item.path.parts if part in names), len(names)))
