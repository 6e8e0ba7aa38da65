"""Every tracker keeps the contract of `tests.contract.trackers`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.contract.trackers import TrackerSuite
from triage.contracts import Tracker
from triage.mention import Receipt
from triage.sandbox.jira import JiraServer
from triage.sandbox.jira_documents import document, plain
from triage.trackers import jira, memory
from triage.trackers.markup import escape


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

    def add_by_hand(self, tracker: Any, made: Receipt, above: str, below: str) -> None:
        (kept,) = [kept for kept in tracker.tickets if kept.id == made.remote_id]
        kept.text = f"{escape(above)}\n\n{kept.text}\n\n{escape(below)}"

    def replace_by_hand(self, tracker: Any, made: Receipt, old: str, new: str) -> None:
        (kept,) = [kept for kept in tracker.tickets if kept.id == made.remote_id]
        kept.summary, kept.text = kept.summary.replace(old, new), kept.text.replace(old, new)

    def edits(self, tracker: Any) -> int:
        return int(tracker.edits)


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

    def add_by_hand(self, tracker: Tracker, made: Receipt, above: str, below: str) -> None:
        body = self.server.ticket(made.key).description
        if isinstance(body, dict):
            body = {**body, "content": [*document(above)["content"], *body["content"], *document(below)["content"]]}
        else:
            body = f"{escape(above)}\r\n\r\n{body}\r\n\r\n{escape(below)}"
        self.server.edit(made.key, description=body)

    def replace_by_hand(self, tracker: Tracker, made: Receipt, old: str, new: str) -> None:
        ticket = self.server.ticket(made.key)
        said = json.loads(json.dumps(ticket.description).replace(old, new))
        self.server.edit(made.key, summary=ticket.summary.replace(old, new), description=said)

    def edits(self, tracker: Tracker) -> int:
        return sum(len(self.server.ledger.entries(kind)) for kind in ("edit", "comment_edit"))


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
