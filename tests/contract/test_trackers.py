"""Every tracker keeps the contract of `tests.contract.trackers`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.contract.trackers import TrackerSuite
from triage.contracts import Tracker
from triage.sandbox.jira import JiraServer
from triage.sandbox.jira_documents import plain
from triage.trackers import jira, memory


def unescaped(wiki: str) -> str:
    """Wiki text as its reader sees it."""
    for entity, character in (("&#58;", ":"), ("&#46;", "."), ("&#92;", "\0"), ("&amp;", "&")):
        wiki = wiki.replace(entity, character)
    return re.sub(r"\\([^\w\s])", r"\1", wiki).replace("\0", "\\")


class TestMemory(TrackerSuite):
    """The tracker that keeps its tickets in memory."""

    @pytest.fixture
    def tracker(self) -> memory.Memory:
        return memory.Memory("memory", memory.Options())

    def again(self, tracker: Tracker) -> Tracker:
        return tracker

    def text_of(self, tracker: Any, key: str) -> str:
        kept = next(kept for kept in tracker.tickets if kept.key == key)
        return "\n".join([kept.summary, *(unescaped(text) for text in (kept.text, *(comment.text for comment in kept.comments)))])

    def resolve(self, tracker: Any, key: str, resolution: str, fix_versions: list[str]) -> None:
        tracker.resolve(key, resolution, fix_versions)

    def delete(self, tracker: Any, key: str) -> None:
        tracker.delete(key)


def options(server: JiraServer, **changes: Any) -> jira.Options:
    """The configuration of a tracker on that server."""
    values = {"url": server.url, "token": server.token, "project": "QUAY"}
    values |= {"deployment": "cloud", "user": server.email} if server.is_cloud else {"deployment": "data_center"}
    return jira.Options(**values | changes)


class JiraSuite(TrackerSuite):
    """What both kinds of Jira share."""

    server: JiraServer

    @pytest.fixture
    def tracker(self) -> jira.Jira:
        return jira.Jira("jira", options(self.server))

    def again(self, tracker: Any) -> Tracker:
        return jira.Jira("jira", tracker.options)

    def text_of(self, tracker: Tracker, key: str) -> str:
        ticket = self.server.ticket(key)
        texts = [plain(body) for body in (ticket.description, *(comment.body for comment in ticket.comments))]
        return "\n".join([ticket.summary, *(texts if self.server.is_cloud else map(unescaped, texts))])

    def resolve(self, tracker: Tracker, key: str, resolution: str, fix_versions: list[str]) -> None:
        self.server.resolve(key, resolution, fix_versions)

    def delete(self, tracker: Tracker, key: str) -> None:
        self.server.delete(key)


class TestJiraCloud(JiraSuite):
    """Jira Cloud, API v3."""

    @pytest.fixture(autouse=True)
    def _server(self, jira_cloud: JiraServer) -> None:
        self.server = jira_cloud


class TestJiraDataCenter(JiraSuite):
    """Jira Data Center, API v2."""

    @pytest.fixture(autouse=True)
    def _server(self, jira_dc: JiraServer) -> None:
        self.server = jira_dc
