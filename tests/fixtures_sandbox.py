"""The stand-in servers as fixtures, each on a free port with a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from triage.sandbox.jira import JiraServer
from triage.sandbox.mastodon import MastodonServer
from triage.sandbox.receiver import Receiver


@pytest.fixture
def mastodon_server(tmp_path: Path) -> Iterator[MastodonServer]:
    """A Mastodon 4.4 with the account quayside; `mastodon_server.knobs.change(version="4.2.10")` makes it another one."""
    with MastodonServer(tmp_path / "mastodon") as server:
        yield server


@pytest.fixture
def jira_cloud(tmp_path: Path) -> Iterator[JiraServer]:
    """A Jira Cloud with the projects QUAY and OPS."""
    with JiraServer(tmp_path / "jira-cloud", flavour="cloud") as server:
        yield server


@pytest.fixture
def jira_dc(tmp_path: Path) -> Iterator[JiraServer]:
    """A Jira Data Center with the projects QUAY and OPS."""
    with JiraServer(tmp_path / "jira-dc", flavour="data_center") as server:
        yield server


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """An Alertmanager and a webhook."""
    with Receiver(tmp_path / "receiver") as server:
        yield server
