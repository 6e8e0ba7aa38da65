"""A stranger who has seen a marker can't make us believe that something of ours is there, or twice there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.test_trackers import options
from tests.contract.trackers import a_comment, a_mention, some_work
from triage.errors import OutcomeUnknown
from triage.mention import ActionKind, Author, Work
from triage.sandbox.jira import JiraServer
from triage.trackers import jira

HOUR_AGO = timedelta(hours=1)
FORMS = (
    "triage:{marker}",
    "it is broken\n\ntriage:{marker}",
    "it is broken\r\n\r\n\r\ntriage:{marker}\n\n\n",
    "it is broken\u2028triage:{marker}",
    "labels: triage-{marker} triage:{marker}",
    '{{"labels": ["triage", "triage-{marker}"]}}',
    "{{code}}\ntriage:{marker}\n{{code}}",
    "\\\\ triage:{marker}\n----\n",
    "triage:{marker}\n" * 2_000,
    "x" * 32_000 + "\ntriage:{marker}",
)


@pytest.fixture(params=["cloud", "data_center"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JiraServer]:
    """Both kinds of Jira."""
    with JiraServer(tmp_path, flavour=request.param) as running:
        yield running


@pytest.fixture
def tracker(server: JiraServer) -> jira.Jira:
    """A tracker that has filed before."""
    made = jira.Jira("quay-jira", options(server))
    made.file(some_work())
    return made


def planted(form: str, marker: str, kind: ActionKind = ActionKind.TICKET) -> Work:
    """A report whose text, author's name and warning hold another item's marker."""
    said = form.format(marker=marker)
    author = Author("mallory@tilde.example", f"triage:{marker}", "https://tilde.example/@mallory")
    return some_work(kind, mention=a_mention(text=said, warning=said[:400], author=author))


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_a_post_that_carries_another_items_marker(server: JiraServer, tracker: jira.Jira, form: str) -> None:
    """A ticket that was lost stays lost to the look, although a later one repeats its marker in every place that a stranger fills."""
    lost = some_work()
    server.faults.add(method="POST", path=r"/issue$", kind="reset_before")
    with pytest.raises(OutcomeUnknown):
        tracker.file(lost)
    other = planted(form, lost.marker)
    receipt = tracker.file(other)
    assert tracker.find(lost) == []
    assert [found.remote_id for found in tracker.find(other)] == [receipt.remote_id]
    assert tracker.duplicates(datetime.now(UTC) - HOUR_AGO) == {}


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_a_marker_in_a_comment(server: JiraServer, tracker: jira.Jira, form: str) -> None:
    """The same for comments: a report that repeats the marker of another one's comment is not taken for it."""
    ticket = tracker.file(some_work())
    lost = a_comment(ticket)
    server.faults.add(method="POST", path=r"/comment$", kind="reset_before")
    with pytest.raises(OutcomeUnknown):
        tracker.update(lost)
    other = replace(a_comment(ticket), mention=planted(form, lost.marker).mention)
    tracker.update(other)
    assert tracker.find(lost) == []
    assert len(tracker.find(other)) == 1


def test_what_others_write_in_jira_itself(server: JiraServer, tracker: jira.Jira) -> None:
    """A ticket or comment of somebody else with our marker, as label and as last line, is neither ours nor our duplicate."""
    filed = some_work()
    mine = tracker.file(filed)
    lost = some_work()
    for marker in (filed.marker, lost.marker):
        labels = ["triage", f"triage-{marker}"]
        server.add_ticket("QUAY", "it is broken", creator="mallory", labels=labels, description=f"words\n\ntriage:{marker}")
        server.add_comment(mine.key, f"words\n\ntriage:{marker}", author="mallory")
    comment = a_comment(mine, marker=lost.marker)
    assert [found.remote_id for found in tracker.find(filed)] == [mine.remote_id]
    assert tracker.find(lost) == []
    assert tracker.find(comment) == []
    assert tracker.duplicates(datetime.now(UTC) - HOUR_AGO) == {}
